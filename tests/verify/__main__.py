"""`make verify`: explores the C, and plants faults in it: python -m verify --help."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from . import build, faults, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m verify", description=__doc__)
    parser.add_argument("names", nargs="*", help="scenarios; by default all of the short run")
    parser.add_argument("--late", action="store_true", help="also those that take longer")
    parser.add_argument("--faults", action="store_true", help="plant each fault instead")
    options = parser.parse_args()
    why = build.why_not()
    if why is not None:
        print(f"nothing is explored: {why}")
        return 0
    with tempfile.TemporaryDirectory(prefix="verify-") as name:
        folder = Path(name)
        program = build.build(folder / "sound")
        if options.faults:
            return plant_all(program, folder, options.names)
        return explore_all(program, options.names, options.late)


def explore_all(program: Path, names: list[str], late: bool) -> int:
    chosen = [
        scenario
        for scenario in run.scenarios(program)
        if (scenario.name in names if names else late or not scenario.late)
    ]
    good = True

    def explore(scenario: run.Scenario) -> None:
        nonlocal good
        outcome = run.explore(program, scenario)
        good &= outcome.sound
        print(outcome.said, end="", flush=True)

    run.at_once(explore, chosen)
    return not good


def plant_all(program: Path, folder: Path, names: list[str]) -> int:
    by_name = {scenario.name: scenario for scenario in run.scenarios(program)}
    missed = 0

    def plant(fault: faults.Fault) -> None:
        nonlocal missed
        start = time.monotonic()
        place = folder / fault.name
        files = [name for name, _, _ in fault.edits]
        copy = faults.plant(fault, place)
        planted = build.build(place / "built", copy, program.parent, files)
        for name in fault.found_by:
            outcome = run.explore(planted, by_name[name], "--quiet")
            missed += outcome.status != 1
            said = outcome.violation if outcome.status == 1 else f"NOT FOUND {outcome.said.strip()}"
            seconds = time.monotonic() - start
            print(f"{fault.primitive}: {fault.what}\n    {name}: {said}, {outcome.length} steps,"
                  f" {seconds:.1f} s", flush=True)  # fmt: skip

    run.at_once(plant, [f for f in faults.ALL if not names or f.name in names])
    return 1 if missed else 0


sys.exit(main())
