"""Tensors of PyTorch in shared memory that needs no name.

PyTorch takes the memory of tensors that go to other processes from shm_open(), called from C++,
where nothing of ours is in its way unless a library was preloaded (preload.py).  But the names that
its default strategy, `file_descriptor`, makes are removed at once: what it wants is a descriptor.
So it is given that of a memory without a name, as arrays are, by the same private functions that
its own code is made of.  They may change: they are looked at, and tried once, before they are first
needed.  If they do not do what is expected, PyTorch is left alone.

With the strategy `file_system` names have to stay.  There nothing can be done without the library;
but its error can say so.
"""

from __future__ import annotations

import os
import sys
from functools import wraps

from . import ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Why PyTorch is left alone, "" if it is not; None: nobody knows yet.
reason: str | None = None

MODULE, CLASS = "torch.storage", "UntypedStorage"
NAMES = ("_new_using_fd_cpu", "_share_fd_cpu_", "_new_using_filename_cpu", "_share_filename_cpu_")
# That of `run --verbose`: the process has to say what is found out in it.
VERBOSE = "ALTSEM_VERBOSE"


def replacement(name: str) -> Any:
    """What belongs under that name of UntypedStorage; None if there is nothing under it.

    Called when the class is defined, in the middle of PyTorch's import: too early to try anything.
    """
    storage = getattr(sys.modules[MODULE], CLASS)
    return _makers[name](storage) if hasattr(storage, name) else None


def _fits(storage: Any) -> bool:
    """Whether it is as expected: found out once, when it is first needed."""
    global reason
    if reason is None:
        reason = ""  # what is tried must not come back here
        reason = misfit(storage)
        if reason and os.environ.pop(VERBOSE, "") and sys.stderr is not None:
            print(f"{ROOT}: PyTorch is left as it is: {reason}", file=sys.stderr)
    return not reason


def misfit(storage: Any) -> str:
    """What is not as expected in this PyTorch, by its UntypedStorage; "" if all is."""
    used = (*NAMES, "_new_shared_fd_cpu", "_get_shared_fd", "_swap_data_ptr_", "nbytes", "copy_")
    missing = [name for name in used if not hasattr(storage, name)]
    if missing:
        return f"it has no {', '.join(missing)}"
    try:
        return _try(storage)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a reason
        return f"{type(error).__name__}: {error}"


def _try(storage: Any) -> str:
    shared = _nameless(storage, 16)
    if not (shared.is_shared() and shared.nbytes() == 16 and shared._get_shared_fd() > 2):
        return "memory by its descriptor is not what was expected"
    one, other = storage(16), storage(16)
    if _has_descriptor(one):
        return "memory of its own is not what was expected"
    one.fill_(7)
    other.copy_(one)
    one._swap_data_ptr_(shared)
    one.copy_(other)
    status, again = os.fstat(one._get_shared_fd()), storage._new_shared_fd_cpu
    seen = again(one._get_shared_fd(), 16)
    if status.st_size < 16 or shared.is_shared() or list(seen) != [7] * 16:
        return "memory that is exchanged is not what was expected"
    return ""


def _nameless(storage: Any, size: int) -> Any:
    from .. import _core

    fd, _ = _core.memory(size)
    try:
        return storage._new_shared_fd_cpu(fd, size)  # it keeps a descriptor of its own
    finally:
        os.close(fd)


def _has_descriptor(storage: Any) -> bool:
    try:
        storage._get_shared_fd()
    except RuntimeError:
        return False
    return True


# --- in place of theirs ---------------------------------------------------------------------------


def _new_using_fd_cpu(storage: Any) -> Any:
    original = storage._new_using_fd_cpu

    def new(cls: Any, size: int) -> Any:
        return _nameless(cls, size) if size > 0 and _fits(storage) else original(size)

    return classmethod(new)


def _share_fd_cpu_(storage: Any) -> Any:
    original = storage._share_fd_cpu_
    # Two threads may share the same one at once; PyTorch has this for its own.
    protected = getattr(sys.modules[MODULE], "_share_memory_lock_protected", None)

    @wraps(original)
    def share(self: Any, *args: Any, **kwargs: Any) -> Any:
        concerned = self.device.type == "cpu" and self.nbytes() > 0 and _fits(storage)
        if concerned and not _has_descriptor(self):
            shared = _nameless(type(self), self.nbytes())
            shared.copy_(self)
            self._swap_data_ptr_(shared)
        return original(self, *args, **kwargs)

    return protected(share) if protected else share


def _explained(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        except RuntimeError as error:
            from . import preload

            if "shared memory" not in str(error) or preload.is_loaded():
                raise
            text = (
                f"{error}\n{ROOT}: the sharing strategy file_system makes names in C++.  Start the "
                f"program with `python -m {ROOT} run`, or use the strategy file_descriptor, for "
                "which nothing is missing"
            )
            raise RuntimeError(text) from error

    return call


def _new_using_filename_cpu(storage: Any) -> Any:
    # Bound to the class; a subclass of theirs would be natively the one that is made.
    original = storage._new_using_filename_cpu
    function = getattr(original, "__func__", None)
    return classmethod(_explained(function)) if function else staticmethod(_explained(original))


def _share_filename_cpu_(storage: Any) -> Any:
    return _explained(storage._share_filename_cpu_)


_makers: dict[str, Callable[[Any], Any]] = {
    function.__name__: function
    for function in (
        _new_using_fd_cpu,
        _share_fd_cpu_,
        _new_using_filename_cpu,
        _share_filename_cpu_,
    )
}
