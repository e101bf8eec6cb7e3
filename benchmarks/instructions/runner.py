"""Runs the program that is counted in callgrind, and makes the counts of each pair from that."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from .. import ROOT
from . import reference
from .callgrind import Function, Profile, parse
from .counted import CASES, FEW, MANY, PARTS

_VALGRIND = (
    "valgrind",
    "--tool=callgrind",
    "--dump-instr=yes",
    "--dump-line=no",
    "--compress-strings=no",
    "--compress-pos=no",
    "--dump-before=getppid",
)
# On x86 an exchange with memory is locked without saying so.
_LOCKED = re.compile(r"^\s*([0-9a-f]+):\s+(?:[a-z]+ )*?(?:lock\b|xchg\s.*\()", re.MULTILINE)


def _profiles(folder: Path) -> list[Profile]:
    """One for each part of the program, in order."""
    out = folder / "callgrind"
    command = [
        *_VALGRIND,
        f"--callgrind-out-file={out}",
        sys.executable,
        "-m",
        "benchmarks.instructions.counted",
    ]
    if subprocess.run(["setarch", "-R", "true"], capture_output=True).returncode == 0:
        command = ["setarch", "-R", *command]  # the same addresses in every run
    env = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"callgrind failed:\n{done.stderr[-2000:]}")
    parts = []
    for number in range(1, PARTS * len(CASES) + 1):
        with open(f"{out}.{number}") as lines:
            parts.append(parse(lines))
    return parts


def _own_object(whose: str) -> str:
    """The library whose functions are counted: altsem's, or that of the native SemLock."""
    import _multiprocessing

    from altsem import _core

    file = _core.__file__ if whose == "altsem" else getattr(_multiprocessing, "__file__", None)
    return os.path.realpath(file) if file else ""


def _is_own(function: Function, library: str) -> bool:
    # Where _multiprocessing is a part of the interpreter, its functions are known by name.
    return os.path.realpath(function[0]) == library if library else "SemLock" in function[1]


def _is_interpreter(path: str) -> bool:
    return os.path.basename(path).startswith("libpython") or os.path.realpath(
        path
    ) == os.path.realpath(sys.executable)


def _locked(executed: Counter[tuple[str, int]]) -> int | None:
    """How many of the executed instructions were locked; None where that cannot be told."""
    if os.uname().machine not in ("x86_64", "i686") or not shutil.which("objdump"):
        return None
    count = 0
    for path in {path for path, _ in executed}:
        addresses = sorted(address for where, address in executed if where == path)
        # Runs of neighbours: an executed address is the beginning of an instruction.
        runs = [[addresses[0], addresses[0]]]
        for address in addresses[1:]:
            if address - runs[-1][1] > 256:
                runs.append([address, address])
            runs[-1][1] = address
        for first, last in runs:
            limits = (f"--start-address={first}", f"--stop-address={last + 16}")
            text = subprocess.check_output(
                ["objdump", "-d", "--no-show-raw-insn", *limits, path], text=True
            )
            count += sum(executed[path, int(found, 16)] for found in _LOCKED.findall(text))
    return count


def _per_pair(few: int, many: int) -> float:
    return (many - few) / (MANY - FEW)


def counts(few: Profile, many: Profile, whose: str) -> dict[str, Any] | None:
    """The counts per pair of what `many` did more than `few`; None if nothing ran."""
    library = _own_object(whose)
    entries: Counter[str] = Counter()
    for sign, profile in ((1, many), (-1, few)):
        for (caller, callee), cost in profile.calls.items():
            if _is_own(callee, library) and not _is_own(caller, library):
                entries[callee[1]] += sign * cost
    functions = {name: cost / (MANY - FEW) for name, cost in sorted(entries.items()) if cost > 0}
    if not functions:
        return None
    executed: Counter[tuple[str, int]] = Counter()
    own = 0
    for sign, profile in ((1, many), (-1, few)):
        for (function, address), times in profile.own.items():
            if _is_own(function, library):
                own += sign * times
            elif _is_interpreter(function[0]) or not os.path.exists(function[0]):
                continue
            executed[function[0], address] += sign * times
    # Only what every pair executes: one in a thousand is the interpreter's, or the loop's own.
    often = Counter({key: times for key, times in executed.items() if times >= MANY - FEW})
    locked = _locked(often)
    return {
        "total": _per_pair(few.total, many.total),
        "inside": sum(functions.values()),
        "own": own / (MANY - FEW),
        "functions": functions,
        "locked": None if locked is None else locked / (MANY - FEW),
    }


def _once() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        parts = _profiles(Path(folder))
    found: dict[str, Any] = {}
    for number, (form, kind, whose) in enumerate(CASES):
        _, few, many = parts[PARTS * number : PARTS * (number + 1)]
        found.setdefault(f"{form} {kind}", {})[whose] = counts(few, many, whose)
    return found


def run() -> dict[str, Any] | None:
    """The counts, by pair of operations and by whose they are; None without valgrind."""
    if not shutil.which("valgrind"):
        print("instructions are not counted: there is no valgrind here")
        return None
    pairs = _once()
    return {"key": reference.key(), "repeatable": pairs == _once(), "pairs": pairs}
