"""`make verify`: explores the C, and plants faults in it: python -m verify --help."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from . import build, faults, kills, page, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m verify", description=__doc__)
    parser.add_argument("names", nargs="*", help="scenarios, or faults; by default all")
    parser.add_argument("--short", action="store_true", help="without those that take longer")
    parser.add_argument("--faults", action="store_true", help="plant each fault instead")
    parser.add_argument("--kills", action="store_true", help="kill at every instruction instead")
    parser.add_argument("--page", action="store_true", help="the table goes into the page")
    options = parser.parse_args()
    why = build.why_not()
    if why is not None:
        print(f"nothing is explored: {why}")
        return 0
    with tempfile.TemporaryDirectory(prefix="verify-") as name:
        folder = Path(name)
        if options.kills:
            return tell("kills", page.killed(kills.all_of_them(folder)), True, options.page)
        program = build.build(folder / "sound")
        if options.faults:
            found = plant_all(program, folder, options.names)
            good = all(outcome.status == 1 for _, each in found for outcome in each)
            return tell("faults", page.planted(found), good, options.page)
        outcomes = explore_all(program, options.names, options.short)
        good = all(outcome.sound for outcome in outcomes)
        return tell("explored", page.explored(outcomes) if good else (), good, options.page)


def tell(name: str, table: Iterable[str], good: bool, on_page: bool) -> int:
    if good and on_page:
        page.write(name, table)
    return not good


def explore_all(program: Path, names: list[str], short: bool) -> list[run.Outcome]:
    def explore(scenario: run.Scenario) -> run.Outcome:
        outcome = run.explore(program, scenario)
        print(outcome.said, end="", flush=True)
        return outcome

    return run.at_once(
        explore,
        [
            scenario
            for scenario in run.scenarios(program)
            if (scenario.name in names if names else not (short and scenario.late))
        ],
    )


def plant_all(program: Path, folder: Path, names: list[str]) -> list[page.Found]:
    def plant(fault: faults.Fault) -> page.Found:
        outcomes = faults.look_for(fault, folder, program)
        print(f"{fault.primitive}: {fault.what}")
        for outcome in outcomes:
            said = outcome.violation if outcome.status == 1 else f"NOT FOUND {outcome.said}"
            print(f"    {outcome.scenario.name}: {said}", flush=True)
        return fault, outcomes

    return run.at_once(plant, [f for f in faults.ALL if not names or f.name in names])


sys.exit(main())
