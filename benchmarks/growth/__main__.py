"""`python -m benchmarks.growth [--quick]` prints the figures and writes nothing."""

from __future__ import annotations

import argparse
import json
from time import perf_counter

from ..measuring.machine import machine
from .page import table
from .runner import SERIES, run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, a few seconds")
    parser.add_argument("--series", choices=SERIES, help="the points of one series, as JSON")
    options = parser.parse_args()
    if options.series:
        print(json.dumps(SERIES[options.series].measure(options.quick)))
        return
    print(", ".join(f"{key}: {value}" for key, value in machine().items()))
    start = perf_counter()
    figures = run(options.quick)
    for name, series in SERIES.items():
        print(f"\n{series.title}\n\n{table(series, figures[name])}")
    print(f"\n{perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
