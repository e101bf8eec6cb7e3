"""What a few threads can do with the C that ships: all of it is well, and a fault would be seen."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from verify import build, faults, run

PRIMITIVES = (
    "Lock", "RLock", "Semaphore", "Event", "Condition", "Barrier", "robust Lock",
    "robust RLock",
)  # fmt: skip
pytestmark = pytest.mark.limit(300)


def test_every_primitive_is_explored(explorer: Path) -> None:
    assert {scenario.primitive for scenario in run.scenarios(explorer)} == set(PRIMITIVES)


@pytest.mark.parametrize("primitive", PRIMITIVES)
def test_nothing_goes_wrong_in_any_order_of_steps(explorer: Path, primitive: str) -> None:
    """Exclusion, no wake-up lost, bounds, counts, deaths: each scenario says what must hold."""
    chosen = [s for s in run.scenarios(explorer) if s.primitive == primitive and not s.late]
    outcomes = run.at_once(lambda scenario: run.explore(explorer, scenario), chosen)
    assert [outcome.said for outcome in outcomes if not outcome.sound] == []


@pytest.mark.parametrize("primitive", faults.PRIMITIVES)
def test_each_planted_fault_is_found(explorer: Path, primitive: str, tmp_path: Path) -> None:
    chosen = [fault for fault in faults.ALL if fault.primitive == primitive]
    found = run.at_once(lambda fault: faults.look_for(fault, tmp_path, explorer), chosen)
    assert [outcome for outcomes in found for outcome in outcomes if outcome.status != 1] == []


def test_a_step_is_the_same_whenever_it_is_taken(explorer: Path) -> None:
    """What a state is hashed from is all there is: the same search finds the same states."""
    said = {
        run.explore(explorer, s).said.rpartition(" ")[0]
        for s in run.scenarios(explorer)
        if s.name == "lock-3x1"
        for _ in range(2)
    }
    assert len(said) == 1


def test_no_access_goes_past_the_explorer() -> None:
    """All that the explored files do with shared memory are calls of <stdatomic.h>'s macros."""
    for pattern in (*build.EXPLORED, "primitives/*.h", "word.h"):
        for path in build.CSRC.glob(pattern):
            text = path.read_text()
            assert "__atomic_" not in text.replace("__atomic_always_lock_free", ""), path
            assert "__sync_" not in text and "asm" not in text, path


def test_the_objects_have_no_atomic_instruction_of_their_own(explorer: Path) -> None:
    for path in sorted(explorer.parent.glob("core-*.o")):
        if path.name == "core-slot.o":
            continue
        done = subprocess.run(["objdump", "-d", path], capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip("no objdump")
        assert re.search(r"\tlock |\txchg .*\(", done.stdout) is None, path
