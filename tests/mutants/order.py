"""A plugin for pytest: notes how long each test takes on sound code; in later runs has the quick
ones of a file run first, and ends the run when one takes far longer than it took then.

Most faults are noticed by a quick test, and a search through a model may stand before it.  A fault
that makes a test hang is noticed, too, but not for as long as the limit of a test is.
"""

from __future__ import annotations

import json
import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

VARIABLE = "ALTSEM_MUTANTS_TIMES"
HANGS = 98  # the exit status
SOUND = 300.0  # seconds for a test on sound code
GRACE = float(os.environ.get("ALTSEM_MUTANTS_GRACE", "0"))

_file = Path(os.environ.get(VARIABLE, "/dev/null"))
_known: dict[str, dict[str, float]] = {}
_times: dict[str, dict[str, float]] = defaultdict(dict)
_output = 1


def pytest_configure() -> None:
    global _output
    _output = os.dup(1)  # pytest does not capture yet


# Before pytest's own, which then keeps those together for which a file sets up the same.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not _file.exists():
        return
    _known.update(json.loads(_file.read_text()))
    modules = list(dict.fromkeys(item.path for item in items))

    def rank(item: pytest.Item) -> tuple[int, float]:
        # Not across files: what a file sets up for its tests would be set up again and again.
        return modules.index(item.path), _known.get(item.nodeid, {}).get("call", 0)

    items.sort(key=rank)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    # What its file sets up is set up by whatever test comes first: that is not in `call`.
    limit = GRACE + 3 * _known.get(item.nodeid, {}).get("call", 0) if _known else SOUND
    timer = threading.Timer(limit, _end, [item.nodeid, limit])
    timer.daemon = True
    timer.start()
    try:
        return (yield)
    finally:
        timer.cancel()


def _end(name: str, limit: float) -> None:
    os.write(_output, f"\nFAILED {name} - takes more than {limit:.0f} s\n".encode())
    os._exit(HANGS)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _times[report.nodeid][report.when or ""] = report.duration


def pytest_sessionfinish(exitstatus: int) -> None:
    if exitstatus == 0 and not _known:
        _file.write_text(json.dumps(_times))
