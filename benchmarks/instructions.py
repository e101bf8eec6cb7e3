"""Instructions of one acquire and release, counted by valgrind: a figure without any noise.

`python -m benchmarks.instructions` prints them; `--check` compares those of our own functions with
instructions.json and fails if one rose; `--update [WHY]` writes that file.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from . import reference
from .callgrind import Function, Profile, parse
from .counted import CASES, FEW, MANY, PARTS

_ROOT = Path(__file__).resolve().parents[1]
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
        "benchmarks.counted",
    ]
    if subprocess.run(["setarch", "-R", "true"], capture_output=True).returncode == 0:
        command = ["setarch", "-R", *command]  # the same addresses in every run
    env = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, cwd=_ROOT, env=env, capture_output=True, text=True)
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


def exact(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")


def table(figures: dict[str, Any]) -> str:
    lines = [
        "| | altsem | inside | locked | SemLock | inside | locked | multiprocessing's class |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for pair, found in figures["pairs"].items():
        form, _, kind = pair.partition(" ")
        work = "bound `a(); r()`" if form == "bound" else "`with L:`"
        cells = [
            exact(found[whose][key]) if found.get(whose) else "-"
            for whose in ("altsem", "SemLock")
            for key in ("total", "inside", "locked")
        ]
        wrapped = found.get("multiprocessing")
        cells.append(exact(wrapped["total"]) if wrapped else "-")
        lines.append(f"| {work}, {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def section(figures: dict[str, Any]) -> str:
    """The Markdown of the counts."""
    same = "the same in both runs" if figures["repeatable"] else "**not the same in both runs**"
    return f"""
### Instructions

Executed by one acquire and release, {figures["key"]}, counted by callgrind, {same}: what {MANY}
turns of a loop execute more than {FEW}, divided by their number.  The first figure is everything,
the interpreter's loop and its calls included; inside is what our functions execute, or those of
`_multiprocessing`, with all that they call; locked are the atomic read-modify-write instructions
executed outside the interpreter itself.

{table(figures)}
"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 if one of our counts rose")
    parser.add_argument("--update", nargs="?", const="", metavar="WHY", help="write the reference")
    options = parser.parse_args(arguments)
    figures = run()
    if figures is None:
        return 0
    if options.update is not None:
        reference.update(figures, options.update)
        return 0
    if options.check:
        return reference.check(figures)
    print(f"{figures['key']}, repeatable: {figures['repeatable']}\n{table(figures)}")
    for pair, found in figures["pairs"].items():
        for whose, seen in found.items():
            inside = seen and ", ".join(f"{n} {exact(c)}" for n, c in seen["functions"].items())
            print(f"{pair:16} {whose:16} {inside or 'not counted'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
