"""The time limit of a test (tests/conftest.py) holds, whatever has happened before the hang."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Script

RUN = """
import sys
import pytest
options = ["-p", "conftest", "-c", "/dev/null", "-p", "no:cacheprovider"]
sys.exit(pytest.main([*options, "--basetemp", sys.argv[2], sys.argv[1]]))
"""
TESTS = """
import threading
import pytest

@pytest.fixture
def broken():
    assert False

@pytest.fixture
def hangs(request):
    yield
    if "teardown" in request.node.name:
        threading.Event().wait()

@pytest.mark.limit(2)
def test_hangs():
    threading.Event().wait()

@pytest.mark.limit(2)
def test_hangs_in_teardown(hangs):
    pass

@pytest.mark.limit(2)
def test_fails_and_hangs_in_teardown(hangs):
    assert False

@pytest.mark.limit(2)
def test_is_refused_and_hangs_in_teardown(hangs, broken):
    pass

@pytest.mark.limit(2)
def test_fails(hangs):
    assert False
"""


def run(tmp_path: Path, run_script: Script, name: str) -> tuple[int, str, str]:
    file = tmp_path / "test_made_up.py"
    file.write_text(TESTS)
    tests = str(Path(__file__).parents[1])
    done = run_script(RUN, f"{file}::{name}", tmp_path / "base", env={"PYTHONPATH": tests})
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "test_hangs",
        "test_hangs_in_teardown",
        "test_fails_and_hangs_in_teardown",
        "test_is_refused_and_hangs_in_teardown",
    ],
)
def test_a_hang_is_ended_with_all_stacks(tmp_path: Path, run_script: Script, name: str) -> None:
    code, _, said = run(tmp_path, run_script, name)
    assert code == 1 and "Timeout (0:00:0" in said and "test_made_up.py" in said


def test_a_failure_alone_is_told_as_one(tmp_path: Path, run_script: Script) -> None:
    code, said, errors = run(tmp_path, run_script, "test_fails")
    assert (code, errors) == (1, "") and "1 failed" in said
