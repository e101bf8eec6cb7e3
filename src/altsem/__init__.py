"""Multiprocessing where there are no POSIX semaphores.

``import altsem`` registers the contexts ``altsem``, ``altsem-fork``, ``altsem-spawn`` and
``altsem-forkserver`` with :mod:`multiprocessing`::

    import altsem, multiprocessing
    ctx = multiprocessing.get_context("altsem")

and, on an interpreter built without ``_multiprocessing.SemLock``, supplies it.  Where the
interpreter has it, nothing of it is touched, but by `install()`: that puts altsem in the place of
semaphores that do not work, for programs that nobody can edit.
"""

from ._version import __version__
from .dropin import hooks

# An interpreter imports this file as it starts where `python -m altsem enable` was run.  So it
# imports nothing of the standard library, not even `typing`, which takes longer than all the rest.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._core import SemLock, sem_unlink
    from ._death import Death, OwnerDiedWarning, TornMessageError
    from .context import get_context
    from .dropin.install import install, uninstall
    from .dropin.preload import preload_path
    from .synchronize import (
        Barrier,
        BoundedSemaphore,
        Condition,
        Event,
        Lock,
        RLock,
        Semaphore,
    )

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Death",
    "Event",
    "Lock",
    "OwnerDiedWarning",
    "RLock",
    "SemLock",
    "Semaphore",
    "TornMessageError",
    "__version__",
    "backend",
    "get_context",
    "install",
    "preload_path",
    "sem_unlink",
    "uninstall",
]


def _register() -> None:
    from . import context  # noqa: F401 - it registers its contexts
    from .context import supply

    supply.supply()


# Not before: multiprocessing is slow to import.
hooks.when_imported("multiprocessing", _register)


class Backend(str):
    """The name of a backend; `reason` says why it is the one that is used."""

    __slots__ = ("reason",)
    reason: str


def backend() -> Backend:
    """The name of the way in which waiters sleep in this process, for example ``futex``; its
    attribute `reason` says why it is that one.

    Chooses it, if nothing has needed it yet.  Raises OSError if none works here, or if the one
    named by the environment variable ``ALTSEM_BACKEND`` does not.
    """
    from . import _core

    name = Backend(_core.backend())
    name.reason = _core.reason() or ""
    return name


if not TYPE_CHECKING:  # to a type checker, it would make anything a name of this module

    def __getattr__(name):
        # The primitives need multiprocessing.synchronize, which is slow to import; programs that
        # only want the contexts registered do not pay for it.
        if name in ("SemLock", "sem_unlink"):
            from . import _core as module
        elif name in ("install", "uninstall"):
            from .dropin import install as module
        elif name in ("Death", "OwnerDiedWarning", "TornMessageError"):
            from . import _death as module
        elif name == "preload_path":
            from .dropin import preload as module
        elif name == "get_context":
            from . import context as module
        elif name in __all__:
            from . import synchronize as module
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(module, name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
