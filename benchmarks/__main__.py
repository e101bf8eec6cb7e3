"""`make bench`: runs all benchmarks and writes docs/benchmarks-*.  `python -m benchmarks [PART …]`
runs only those parts and writes nothing."""

from __future__ import annotations

import sys
from time import perf_counter

from . import contended, million, uncontended, whole
from .measure import Row, machine, scaled
from .report import ratio, seconds, write

PARTS = {"uncontended": uncontended.rows, "contended": contended.rows, "whole": whole.rows}


def main(chosen: list[str]) -> int:
    unknown = set(chosen) - set(PARTS)
    if unknown:
        print(f"no such part: {', '.join(unknown)} (there are {', '.join(PARTS)})", file=sys.stderr)
        return 2
    start = perf_counter()
    rows: list[Row] = []
    for part in chosen or PARTS:
        for row in PARTS[part]():
            rows.append(row)
            verdict = {None: "", True: "reached", False: "NOT REACHED"}[row.reached]
            print(
                f"{row.work:45} / {row.peer:18} {ratio(row.ratio):>7} "
                f"[{ratio(row.low)}, {ratio(row.high)}] {seconds(row.ours):>8} "
                f"{seconds(row.theirs):>8}  {verdict} {row.note}",
                flush=True,
            )
    if not chosen:
        write(machine(), rows, million.main(scaled(1_000_000)), perf_counter() - start)
    print(f"{perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
