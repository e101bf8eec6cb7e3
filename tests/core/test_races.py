"""A call that is stopped after any of its instructions, while another is made: races.c does it.

The suite stops after some of the instructions.  ALTSEM_RACES=1 has it stop after each one.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from core.conftest import CSRC
from core.patient import BACKENDS

pytestmark = [
    # Between load-exclusive and store-exclusive a single step takes the reservation away, for ever.
    pytest.mark.skipif(
        platform.machine() not in ("x86_64", "i686"), reason="cannot go through atomics in steps"
    ),
    pytest.mark.limit(110),
]

STRIDE = {"futex": 1, "sysv": 11}
SCENARIOS = (
    "try-try", "post-post", "wait-post", "post-wait", "take-take", "release-release",
    "lock-release", "release-lock", "event-set", "event-pulse", "set-event", "sleep-notify",
    "notify-sleep", "sleep-group", "sleep-groups", "sleep-more",
)  # fmt: skip


@pytest.fixture(scope="module")
def races(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, with the core in it.  Symbols are bound at its start, not in the traced call."""
    program = tmp_path_factory.mktemp("races") / "races"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    sources = [str(Path(__file__).with_name("races.c"))]
    sources += sorted(str(p) for p in CSRC.glob("*/*.c") if p.parent.name != "binding")
    flags = ["-std=c11", "-O2", "-g", "-Wall", "-Wextra", "-pthread", "-Wl,-z,now"]
    flags.append("-DALTSEM_TEST_BUILD")
    subprocess.run([compiler, *flags, f"-I{CSRC}", "-o", str(program), *sources], check=True)
    return program


def test_every_scenario_is_run(races: Path) -> None:
    listed = subprocess.run([races], capture_output=True, text=True, check=True).stdout.split()
    assert sorted(listed) == sorted(SCENARIOS)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_comes_out_is_right_and_nobody_sleeps_on(
    races: Path, scenario: str, backend: str
) -> None:
    done = subprocess.run(
        [races, scenario, os.environ.get("ALTSEM_RACES", str(STRIDE[backend]))],
        env={**os.environ, "ALTSEM_BACKEND": backend, "ALTSEM_TEST_NO_SLICES": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode == 77:
        pytest.skip("processes cannot be traced here")
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > 2
