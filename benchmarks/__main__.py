"""`python -m benchmarks`: the page and its pictures anew, from the figures that are kept."""

from __future__ import annotations

from .figures import SECTIONS
from .page.report import docs, page

if __name__ == "__main__":
    print(f"written: {page(docs(), SECTIONS)}")
