"""Programs nobody can edit, where multiprocessing fails: they work, and do not notice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import dropin_support as dropin

PROGRAMS = sorted((dropin.HERE / "programs").glob("*.py"))
STATUS = 7  # what each ends with, if all went well


@pytest.fixture(scope="module")
def pythons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pythons")
    return {
        "gone": dropin.make_python(folder / "healthy"),
        "semless": dropin.make_python(folder / "semless", semless=True),
    }


@pytest.fixture(scope="module")
def enabled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("enabled")
    found = {
        "gone": dropin.make_python(folder / "healthy"),
        "semless": dropin.make_python(folder / "semless", semless=True),
    }
    for name, python in found.items():
        site = dropin.site_of(Path(python).parent.parent)
        done = dropin.run(python, "-m", "altsem", "enable", "--site", site)
        assert done.returncode == 0, (name, done.stderr)
    return found


@pytest.fixture
def place() -> Iterator[Path]:
    """Where everything temporary goes.  Short, for the paths of sockets."""
    private = Path(tempfile.mkdtemp(prefix="p"))
    yield private
    shutil.rmtree(private)


def all_programs_work(*command: str, gone: bool, place: Path) -> None:
    """Each ends with its own status, says nothing on stderr and leaves nothing."""

    def one(program: Path) -> str:
        private = place / str(PROGRAMS.index(program))
        private.mkdir()
        done = dropin.run(*command, program, gone=gone, env={"TMPDIR": str(private)}, timeout=100)
        left = [str(path.relative_to(private)) for path in private.rglob("*")]
        good = (done.returncode, done.stderr, left) == (STATUS, "", [])
        return "" if good else f"{program.stem}: {done.returncode}, left {left}\n{done.stderr}"

    # As many at once as do not make each other slow.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as executor:
        complaints = [text for text in executor.map(one, PROGRAMS) if text]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("bed", ["gone", "semless"])
def test_unmodified_programs_work_under_run(bed: str, pythons: dict[str, str], place: Path) -> None:
    all_programs_work(pythons[bed], "-m", "altsem", "run", gone=bed == "gone", place=place)


@pytest.mark.parametrize("bed", ["gone", "semless"])
@pytest.mark.parametrize("flags", [[], ["-I"]], ids=["plain", "isolated"])
def test_unmodified_programs_work_after_enable(
    flags: list[str], bed: str, enabled: dict[str, str], place: Path
) -> None:
    all_programs_work(enabled[bed], *flags, gone=bed == "gone", place=place)


@pytest.mark.parametrize("bed", ["gone", "semless"])
def test_the_beds_break_what_the_drop_in_mends(bed: str, pythons: dict[str, str]) -> None:
    program = dropin.HERE / "programs" / "thread_pool.py"
    done = dropin.run(pythons[bed], program, gone=bed == "gone")
    assert done.returncode == 1
    assert ("FileNotFoundError" if bed == "gone" else "ImportError") in done.stderr or (
        "ImportError" in done.stderr and dropin.is_semless()
    )


def test_the_packages_that_the_programs_need_are_installed() -> None:
    # Not a reason to skip: without them the programs above would prove nothing.
    code = "import joblib, multiprocess, billiard, tqdm"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
