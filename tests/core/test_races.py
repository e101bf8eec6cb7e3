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

from core.conftest import APART, CSRC

pytestmark = [
    # Between load-exclusive and store-exclusive a single step takes the reservation away, for ever.
    pytest.mark.skipif(
        platform.machine() not in ("x86_64", "i686"), reason="cannot go through atomics in steps"
    ),
    pytest.mark.limit(110),
]

# After every so-maniest instruction; sleeping with each backend, and with a spin before the sleep.
STRIDES = {("futex", "1"): 3, ("futex", "spin"): 7, ("sysv", "1"): 19}
SCENARIOS = {
    "sem": "try-try post-post wait-post post-wait woken-post wait-steal woken-steal",
    "lock": "take-take release-release lock-release release-lock woken-release lock-barge "
    "woken-barge",
    "event": "event-set event-pulse set-event",
    "cond": "sleep-notify notify-sleep sleep-group sleep-groups sleep-more leave-notify "
    "notify-leave",
    "barrier": "party-party wait-arrive arrive-wait wait-act wait-abort wait-reset wait-withdraw "
    "early-trip early-reset",
}
EACH = [(kind, name) for kind, names in SCENARIOS.items() for name in names.split()]


@pytest.fixture(scope="module")
def races(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, with the core in it.  Symbols are bound at its start, not in the traced call."""
    program = tmp_path_factory.mktemp("races") / "races"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    sources = [str(Path(__file__).with_name("races.c"))]
    sources += sorted(str(p) for p in CSRC.glob("*/*.c") if p.parent.name not in APART)
    flags = ["-std=c11", "-O2", "-g", "-Wall", "-Wextra", "-pthread", "-Wl,-z,now"]
    flags.append("-DALTSEM_TEST_BUILD")
    subprocess.run([compiler, *flags, f"-I{CSRC}", "-o", str(program), *sources], check=True)
    return program


def test_every_scenario_is_run(races: Path) -> None:
    listed = subprocess.run([races], capture_output=True, text=True, check=True).stdout.split()
    assert sorted(listed) == sorted(name for _, name in EACH)


@pytest.mark.parametrize(("backend", "switch"), STRIDES)
@pytest.mark.parametrize(("kind", "scenario"), EACH)
def test_what_comes_out_is_right_and_nobody_sleeps_on(
    races: Path, kind: str, scenario: str, backend: str, switch: str
) -> None:
    stride = os.environ.get("ALTSEM_RACES", str(STRIDES[backend, switch]))
    done = subprocess.run(
        [races, scenario, stride],
        env={**os.environ, "ALTSEM_BACKEND": backend, "ALTSEM_TEST_NO_SLICES": switch},
        capture_output=True,
        text=True,
    )
    if done.returncode == 77:
        pytest.skip("processes cannot be traced here")
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > 2
