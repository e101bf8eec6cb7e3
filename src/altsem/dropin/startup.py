"""What an interpreter runs as it starts, in the descendants of a program and after `enable`.

Most programs never use multiprocessing, and pay for a look at the environment and a hook; the rest
happens when they import it.  Nothing here may keep an interpreter from starting.
"""

import os
import sys

from . import ROOT, VARIABLE, hooks

# Whichever is imported first.  The last two are those of other packages than multiprocessing.
_TRIGGERS = ("multiprocessing", "_multiprocessing", "_posixshmem", "_billiard")

# What names the directory of files with names.  A program may change it before it comes to need it.
_PLACES = ("ALTSEM_DIR", "XDG_RUNTIME_DIR", "TMPDIR")
_places: dict[str, str] = {}
_preloaded = os.environ.get("LD_PRELOAD", "")  # of which the same is true

_called = False  # by a file in site-packages and by the environment, for example
_started = False  # one import can be within another


def auto() -> None:
    """Have altsem installed when the program comes to need it, unless ``ALTSEM=0``."""
    global _called
    try:
        if os.environ.get("ALTSEM") == "0":
            _vanish()
        elif not _called:
            _called = True
            _places.update((name, os.environ[name]) for name in _PLACES if name in os.environ)
            if VARIABLE not in os.environ:
                pass
            elif sys.flags.ignore_environment or sys.flags.no_site:
                _keep_children()  # before multiprocessing is imported, which uses both
            else:
                hooks.when_imported("subprocess", _keep_children)
            for name in _TRIGGERS:
                hooks.when_imported(name, _triggered)
    except Exception as error:  # noqa: BLE001 - see above
        _complain(error)


def _vanish() -> None:
    """Be as if altsem had never been imported: a program may yet import it itself."""
    if "multiprocessing" not in sys.modules:
        package = sys.modules[ROOT]
        hooks.forget("multiprocessing", package._register)
        for name in [*sys.modules]:
            if f"{name}.".startswith(f"{ROOT}."):
                del sys.modules[name]


def _triggered() -> None:
    global _started
    if _started:
        return
    _started = True
    for name in _TRIGGERS:
        hooks.forget(name, _triggered)
    try:
        from . import install

        install.start(_places)
    except Exception as error:  # noqa: BLE001 - see above
        _complain(error)


def _keep_children() -> None:
    try:
        from . import children, preload

        preload.started_with = _preloaded
        children.keep()
    except Exception as error:  # noqa: BLE001 - see above
        _complain(error)


def _complain(error: Exception) -> None:
    # An interpreter that our core was not built for (the environment goes to all descendants) is
    # no reason for a message; it would be in the way of what that program prints.
    if not isinstance(error, ImportError) and sys.stderr is not None:
        print(f"{ROOT}: not installed: {type(error).__name__}: {error}", file=sys.stderr)
