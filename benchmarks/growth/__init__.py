"""The cost as work grows: more locks, more processes, more waiters, more segments.

One module per series.  Each series says what is asked of the exponents of its costs; the figures
say whether that holds, and the page shows both.
"""

from .page import section
from .runner import run

__all__ = ["run", "section"]
