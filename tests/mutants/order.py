"""A plugin for pytest: notes how long each test takes, or has the quick ones of a file run first.

Most faults are noticed by a quick test; without this a search through a model may come before it.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path

import pytest

VARIABLE = "ALTSEM_MUTANTS_TIMES"

_times: dict[str, dict[str, float]] = defaultdict(dict)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    file = Path(os.environ[VARIABLE])
    if not file.exists():
        return
    times = json.loads(file.read_text())
    modules = list(dict.fromkeys(item.path for item in items))
    # Not across files: what a file sets up for all of its tests would be set up again and again.
    items.sort(
        key=lambda item: (modules.index(item.path), times.get(item.nodeid, {}).get("call", 0))
    )


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _times[report.nodeid][report.when or ""] = report.duration


def pytest_sessionfinish(exitstatus: int) -> None:
    file = Path(os.environ[VARIABLE])
    if exitstatus == 0 and not file.exists():
        file.write_text(json.dumps(_times))
