"""The short run, `make bench QUICK=1`: the same rows, with fewer rounds."""

from __future__ import annotations

import os


def quick() -> bool:
    """Whether the short run was asked for."""
    return os.environ.get("QUICK", "") not in ("", "0")


def scaled(n: int) -> int:
    """`n`, or a fifth of it in the short run."""
    return max(1, n // 5) if quick() else n
