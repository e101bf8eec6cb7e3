"""Paired rounds: ours, the peer's, ours, the peer's, so that a drift of the machine hits both."""

from __future__ import annotations

import os
import platform
import random
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

Timing = Callable[[], float]  # one round; seconds per operation


@dataclass(frozen=True)
class Row:
    """One line of the table.  Times are medians, in seconds per operation."""

    work: str
    peer: str
    ours: float
    theirs: float
    ratio: float
    low: float  # the ratios of the middle 80 % of the rounds lie between low and high
    high: float
    rounds: int
    at_most: float | None  # what the design asks for
    note: str = ""

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    @property
    def reached(self) -> bool | None:
        return None if self.at_most is None else self.ratio <= self.at_most


Rows = Iterator[Row]


def paired(
    work: str,
    peer: str,
    ours: Timing,
    theirs: Timing,
    at_most: float | None,
    rounds: int,
    note: Callable[[], str] = str,
) -> Row:
    """Median of the ratios of `rounds` pairs, after one round of each that is not counted."""
    ours()
    theirs()
    pairs = []
    for number in range(rounds):
        # Which comes first is alternated, in case the first disturbs the second.
        if number % 2:
            b, a = theirs(), ours()
        else:
            a, b = ours(), theirs()
        pairs.append((a, b))
    ratios = sorted(a / b for a, b in pairs)
    tenth = len(ratios) // 10
    return Row(
        work,
        peer,
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(ratios),
        ratios[tenth],
        ratios[-1 - tenth],
        rounds,
        at_most,
        note(),
    )


def name() -> str:
    """A fresh name for a native semaphore."""
    return f"/altsem-bench-{random.getrandbits(60):x}"


def quick() -> bool:
    """Whether the short run was asked for (`make bench QUICK=1`)."""
    return os.environ.get("QUICK", "") not in ("", "0")


def scaled(n: int) -> int:
    """`n`, or a fifth of it in the short run."""
    return max(1, n // 5) if quick() else n


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "processor": model,
        "usable CPUs": str(len(os.sched_getaffinity(0))),
        "governor": governor.read_text().strip() if governor.exists() else "not told",
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "libc": " ".join(platform.libc_ver()) or "not told",
        "Python": f"{platform.python_implementation()} {sys.version.split()[0]}",
    }
