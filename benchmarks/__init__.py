"""Benchmarks: every figure a ratio against a peer, in paired rounds of one run.

Rooms, each of which uses only those above it:

    measuring/    how long a round takes, and what many rounds say together
    workloads/    what is timed, and the peers that it is timed against
    page/         rows as a table, a chart, lines for a terminal; docs/benchmarks/
    million.py  growth/  instructions/      figures that are no pairs, each a command of its own
    figures.py    these three by name; `python -m benchmarks` makes the page from what is kept
    rows/         `make bench`: the rows of the page, collected by pytest
"""

from pathlib import Path

# Where `python -m benchmarks...` finds this package: for the processes that measure on their own.
ROOT = Path(__file__).resolve().parent.parent
