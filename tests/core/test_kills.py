"""A process killed after any instruction of a call strands nobody: kills.c does it.

The suite kills after some of the instructions.  ALTSEM_KILLS=1 has it kill after each one, 2 after
every second, and so on.
"""

from __future__ import annotations

import itertools
import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from core.conftest import APART, CSRC

# Between load-exclusive and store-exclusive a single step takes the reservation away, for ever.
pytestmark = [
    pytest.mark.skipif(
        platform.machine() not in ("x86_64", "i686"), reason="cannot go through atomics in steps"
    ),
    pytest.mark.limit(110),
]

STRIDE = {"futex": 5, "sysv": 23, "filelock": 23}
CALLS = {
    "notify": ["notify-one", "notify-second", "notify-all", "notify-two-groups"],
    "enter and leave": ["enter", "leave", "leave-notified", "take"],
    "arrive": ["arrive-last", "arrive-second"],
    "action": ["arrive-act-trip", "trip", "fail"],
    "withdraw": ["withdraw", "time-out"],
    "abort and reset": ["abort", "reset"],
    "release, post, set": ["release", "post", "set"],
    "robust lock": ["lock", "lock-wakes", "rlock", "rlock-wakes"],
    "take a token, clear": ["sem", "clear"],
    "wait for a lock, a token": ["lock-waits", "sem-waits"],
    "wait for an event, for others": ["event-waits", "cond-waits", "barrier-waits"],
    "hold": ["hold"],
    "inherit": ["inherit"],
}


@pytest.fixture(scope="module")
def kills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, with the core in it.  Symbols are bound at its start, not in the traced call."""
    program = tmp_path_factory.mktemp("kills") / "kills"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    sources = [str(Path(__file__).with_name("kills.c"))]
    sources += sorted(str(p) for p in CSRC.glob("*/*.c") if p.parent.name not in APART)
    flags = ["-std=c11", "-O2", "-g", "-Wall", "-Wextra", "-pthread", "-Wl,-z,now"]
    subprocess.run([compiler, *flags, f"-I{CSRC}", "-o", str(program), *sources], check=True)
    return program


def test_every_scenario_is_run(kills: Path) -> None:
    listed = subprocess.run([kills], capture_output=True, text=True, check=True).stdout.split()
    assert sorted(listed) == sorted(itertools.chain(*CALLS.values()))


@pytest.mark.parametrize("backend", ["futex", "sysv", "filelock"])
@pytest.mark.parametrize("call", CALLS)
def test_nobody_sleeps_beyond_a_slice_when_a_process_is_killed_in(
    kills: Path, call: str, backend: str
) -> None:
    # Most of a takeover is looking into /proc, and what waits is looked at step by step.
    longer = 67 if call == "inherit" else 11 if call.startswith("wait") else 1
    stride = int(os.environ.get("ALTSEM_KILLS", STRIDE[backend] * longer))
    # At once: they spend most of their time asleep.
    running = [
        subprocess.Popen(
            [kills, scenario, str(stride), str(number % stride)],
            env={**os.environ, "ALTSEM_BACKEND": backend},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number, scenario in enumerate(CALLS[call])
    ]
    said = [process.communicate()[0] for process in running]
    if any(process.returncode == 77 for process in running):
        pytest.skip("processes cannot be traced here")
    for scenario, process, text in zip(CALLS[call], running, said, strict=True):
        assert process.returncode == 0, f"{scenario}\n{text}"
        instructions, made, _ = (int(word) for word in text.split() if word.isdigit())
        assert instructions > 20 and made >= instructions // stride, text


@pytest.mark.parametrize("call", ["take", "leave", "wait", "withdraw"])
def test_one_that_was_stopped_while_the_numbers_came_round_hurts_nobody(
    kills: Path, call: str
) -> None:
    """4096 groups of a condition, 65536 generations of a barrier: the numbers are whole."""
    done = subprocess.run([kills, f"overtaken-{call}"], capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("processes cannot be traced here")
    assert (done.returncode, done.stdout) == (0, ""), done
