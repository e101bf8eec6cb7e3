"""Supplies what an interpreter built without working semaphores lacks, and only that."""

from __future__ import annotations

import sys


def supply() -> None:
    """Give ``_multiprocessing`` the names SemLock and sem_unlink that it does not have.

    Either can be missing without the other.  An executor that has refused to work for lack of
    them remembers it; that verdict is withdrawn.
    """
    try:
        import _multiprocessing
    except ImportError:  # an interpreter without processes: nothing to supply it to
        return
    missing = [name for name in ("SemLock", "sem_unlink") if not hasattr(_multiprocessing, name)]
    if not missing:
        return
    from .. import _core

    for name in missing:
        setattr(_multiprocessing, name, getattr(_core, name))
    withdraw_refusal()


def withdraw_refusal() -> None:
    """Let ``concurrent.futures.process`` look again, if it has found semaphores missing."""
    process = sys.modules.get("concurrent.futures.process")
    if process is not None and getattr(process, "_system_limited", None):
        process._system_limits_checked = False  # type: ignore[attr-defined]
        process._system_limited = None  # type: ignore[attr-defined]
