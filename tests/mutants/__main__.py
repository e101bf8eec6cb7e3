"""Plants small faults in the C, one at a time, and says which of them the tests miss.

Works on copies; the tree is not touched.  A fault that the compiler refuses, or that changes no
instruction, does not count.  Those that no test can notice are explained in
tests/mutants/explained.txt, which is checked: an entry whose fault is noticed after all, or that
fits no line any more, is an error.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutants import explained, plan
from mutants.bed import NOTICED, REFUSED, SAME, SURVIVED, Bed, NotSoundError
from mutants.operators import ALWAYS, Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
ONE_IN = 24  # of the sample
LEAST = 95.0  # per cent that must be noticed
SOUND = 1200.0  # seconds at most for all tests on sound code, also on a busy machine

Tests = dict[str, list[str]]


def main(arguments: list[str] | None = None) -> int:
    """0 if every fault was noticed or is explained, and the list of those is right."""
    parser = argparse.ArgumentParser(prog="make mutants ARGS=...", description=__doc__)
    parser.add_argument(
        "only", nargs="*", help="of the sample those in this path; or a kind, an id"
    )
    parser.add_argument("--all", action="store_true", help="all faults, not only the sample")
    parser.add_argument("--python", action="store_true", help="in src/altsem instead of csrc")
    parser.add_argument("--list", action="store_true", help="only say what would be planted")
    parser.add_argument("--say", action="store_true", help="print what the tests print")
    parser.add_argument("--jobs", "-j", type=int, default=1, help="so many at a time (1)")
    # For the tests of this.
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    parser.add_argument("--explained", type=Path, default=explained.FILE, help=argparse.SUPPRESS)
    parser.add_argument("--grace", type=float, default=20.0, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)

    tests = plan.files(options.root, options.python)
    every = [m for path in tests for m in mutants(path, (options.root / path).read_text())]
    entries = explained.read(options.explained.read_text())
    chosen = choose(every, options.only, options.all)
    if options.list:
        for mutant in chosen:
            print(mutant)
        print(f"{len(chosen)} of {len(every)}")
        return 0
    try:
        results = run(chosen, tests, entries, options)
    except NotSoundError as error:
        print(error)
        return 2
    stale = [name for name in entries.keys() - {m.id for m in every}
             if entries[name].path.endswith(".py") == options.python]  # fmt: skip
    return report(chosen, results, entries, stale, bool(options.only))


def choose(every: list[Mutant], only: list[str], everything: bool) -> list[Mutant]:
    """The sample depends on each fault alone: what is edited elsewhere does not change it."""
    named = [m for m in every if not {m.kind, m.id}.isdisjoint(only)]
    if named:
        return named
    found = [m for m in every if not only or any(part in m.path for part in only)]
    return [m for m in found if everything or sampled(m)]


def sampled(mutant: Mutant) -> bool:
    return mutant.kind in ALWAYS or int(mutant.id, 16) % ONE_IN == 0


def run(
    chosen: list[Mutant],
    tests: Tests,
    entries: dict[str, explained.Entry],
    options: argparse.Namespace,
) -> dict[str, str]:
    """What became of each."""
    free = [Bed(options.root, options.grace) for _ in range(max(1, options.jobs))]
    beds = list(free)
    results: dict[str, str] = {}
    start = time.monotonic()

    def judge(mutant: Mutant) -> None:
        bed, begun, by = free.pop(), time.monotonic(), ""
        try:
            outcome = bed.plant(mutant)
            if outcome is None:
                files = tests[mutant.path]
                limit = options.grace + 3 * sum(took[file] for file in ["", *files])
                select = plan.selection(mutant.path)
                outcome, by = bed.run(files, limit, *select)
                if mutant.id in entries and outcome in NOTICED:
                    # Lest a test that was only unlucky decides.
                    outcome, by = bed.run(files, limit, *select)
        finally:
            bed.restore(mutant)
            free.append(bed)
        results[mutant.id] = outcome
        if options.say:
            print(by)
        seconds, test = (
            time.monotonic() - begun,
            re.search(r"^(?:FAILED|ERROR) (\S+)", by, re.MULTILINE),
        )
        print(f"{seconds:5.1f} s  {outcome}  [{mutant.id}] {mutant.path}:{mutant.line} "
              f"{mutant.kind}  {test[1] if test else ''}", flush=True)  # fmt: skip

    try:
        if not beds[0].is_apart:
            print("no namespaces here: the tests of one fault can meet what others have left")
        for bed in beds:
            bed.prepare(options.python)
        used = list(dict.fromkeys(test for m in chosen for test in tests[m.path]))
        took = beds[0].time(used, SOUND)
        for bed in beds[1:]:
            bed.know(beds[0])
        print(f"{len(chosen)} faults; on sound code their tests take {sum(took.values()):.0f} s")
        with ThreadPoolExecutor(len(beds)) as pool:
            list(pool.map(judge, chosen))
    finally:
        for bed in beds:
            bed.close()
    print(f"in {(time.monotonic() - start) / 60:.0f} minutes")
    return results


def report(
    chosen: list[Mutant],
    results: dict[str, str],
    entries: dict[str, explained.Entry],
    stale: list[str],
    partial: bool,
) -> int:
    errors = 0
    for mutant in chosen:
        survived, entry = results[mutant.id] == SURVIVED, entries.get(mutant.id)
        if survived and entry:
            print(f"{mutant}\n    explained: {entry.reason}")
        elif survived:
            errors += 1
            print(f"{mutant}\n    SURVIVED, and nothing explains it")
        elif entry:
            errors += 1
            print(f"{mutant}\n    EXPLAINED, but {results[mutant.id]}: take it off the list")
    for name in sorted(stale):
        errors += 1
        path, reason = entries[name]
        print(f"[{name}] {path}\n    EXPLAINED, but there is no such fault any more: {reason}")
    count = Counter(results.values())
    noticed = sum(count[outcome] for outcome in NOTICED)
    counted = noticed + count[SURVIVED]
    share = 100 * noticed / counted if counted else 100.0
    known = sum(results[mutant.id] == SURVIVED and mutant.id in entries for mutant in chosen)
    print(
        f"{noticed} of {counted} faults noticed: {share:.1f} % of all that compile and change an "
        f"instruction.\n{count[SURVIVED]} survived, {known} of them explained; they are among the "
        f"{counted}.\n{count[SAME]} change no instruction and {count[REFUSED]} do not compile: "
        f"those do not count."
    )
    if share < LEAST and not partial:
        errors += 1
        print(f"Fewer than {LEAST:.0f} %.")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
