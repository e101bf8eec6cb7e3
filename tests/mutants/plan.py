"""Which files get faults, and which tests must notice them."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

FAIR = ("test_races", "test_fair", "test_lost_wakes", "test_stress", "test_kills")
# The first pattern that fits a file decides; the tests that are quickest to notice come first.
TESTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "csrc/primitives/fast.h",
        ("test_sem", "test_lock", "test_races", "test_fair", "test_lost_wakes", "test_stress"),
    ),
    ("csrc/primitives/fair.h", ("test_fair",)),
    ("csrc/primitives/lock.c", ("test_lock", *FAIR)),
    ("csrc/primitives/sem.c", ("test_sem", *FAIR)),
    (
        "csrc/primitives/*.c",
        ("test_{stem}", "test_races", "test_lost_wakes", "test_stress", "test_kills"),
    ),
    (
        "csrc/wait/wait.c",
        (
            "test_wait",
            "test_wait_simulated",
            "test_now",
            "test_sem",
            "test_segment",
            "test_lost_wakes",
        ),
    ),
    ("csrc/wait/futex.c", ("test_wait", "test_lost_wakes")),
    ("csrc/wait/sysv*.c", ("test_wait_simulated", "test_wait_sysv", "test_lost_wakes")),
    ("csrc/wait/filelock.c", ("test_wait_filelock",)),
    ("csrc/wait/spin.c", ("test_spin",)),
    (
        "csrc/memory/segment.c",
        ("test_slot", "test_segment", "test_memory", "test_name", "test_wait_filelock"),
    ),
    ("csrc/memory/slot.c", ("test_slot", "test_segment", "test_fork_kinds")),
    (
        "csrc/memory/*.c",
        ("test_slot", "test_segment", "test_memory", "test_fork_kinds", "test_{stem}"),
    ),
    ("csrc/names/*.c", ("test_name", "test_{stem}")),
    (
        "csrc/process/*.c",
        (
            "test_owner",
            "test_owner_interrupted",
            "test_proc",
            "test_fork",
            "test_fork_kinds",
            "test_judge",
            "test_wait",
            "test_namespaces",
        ),
    ),
)
# Of the tests that go through a call in steps those of the primitive: by words in their names.
STEPPED = {
    "csrc/primitives/fast.h": ("sem", "lock"),
    "csrc/primitives/fair.h": ("sem", "lock"),
    "csrc/primitives/cond.c": ("cond", "notify", "enter"),
    "csrc/primitives/barrier.c": ("barrier", "arrive", "action", "withdraw", "abort"),
}
PYTHON_TESTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("src/altsem/dropin/install.py", ("dropin/test_install", "dropin/test_shared_memory")),
    ("src/altsem/synchronize/travel.py", ("contexts/test_travel",)),
    ("src/altsem/context/__init__.py", ("contexts/test_context", "contexts/test_executor")),
)


def files(root: Path, python: bool = False) -> dict[str, list[str]]:
    """The files that get faults, each with its tests."""
    rows = PYTHON_TESTS if python else TESTS
    found: dict[str, list[str]] = {}
    for pattern, names in rows:
        for path in sorted(root.glob(pattern)):
            name = str(path.relative_to(root))
            if name not in found:
                found[name] = _tests(root, name, names)
    return found


def _tests(root: Path, name: str, names: tuple[str, ...]) -> list[str]:
    """Those of a file: of its row, and any that is called after it."""
    folder = "tests/core/" if name.startswith("csrc/") else "tests/"
    asked = [f"{folder}{test.format(stem=Path(name).stem)}.py" for test in names]
    more = sorted(
        str(path.relative_to(root))
        for path in (root / folder).glob("test_*.py")
        if fnmatch(path.stem, f"test_{Path(name).stem}_*") and "test_{stem}" in names
    )
    tests = [test for test in dict.fromkeys([*asked, *more]) if (root / test).is_file()]
    if not tests:
        raise LookupError(f"no tests for {name}: {', '.join(asked)}")
    return tests


def selection(path: str) -> list[str]:
    """Options for pytest."""
    if "/primitives/" not in path:
        return []
    words = STEPPED.get(path, (Path(path).stem,))
    return ["-k", " or ".join(["(not test_races and not test_kills)", *words])]
