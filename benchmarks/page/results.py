"""What one run has found so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from ..measuring.machine import machine
from ..measuring.quick import quick
from ..measuring.row import Row
from . import kept


@dataclass
class Results:
    rows: list[Row] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)  # what is no pair, by the name in the JSON
    start: float = field(default_factory=perf_counter)

    def as_dict(self) -> dict[str, Any]:
        """As it is kept in the JSON file from which the page is made."""
        elapsed = f"{perf_counter() - self.start:.0f} s"
        return {
            "form": kept.FORM,
            "machine": machine(),
            "run": elapsed + (", the short run" if quick() else ""),
            "rows": [kept.flat(row) for row in self.rows],
            **self.more,
        }
