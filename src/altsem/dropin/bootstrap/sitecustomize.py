"""Runs at the start of every descendant interpreter, whose PYTHONPATH begins with this directory.

Starts altsem, takes itself off the path and hands over to the sitecustomize that this one hides.
The descendant can be any Python there is: this file runs on all of them, and does nothing on those
that altsem does not support.
"""

import os
import sys

_here = os.path.dirname(os.path.abspath(__file__))
# What is written first in the variable is the name of the package, which may be another package's.
_package = (os.environ.get("ALTSEM_DROPIN") or "").partition(" ")[0]

sys.path[:] = [_entry for _entry in sys.path if os.path.abspath(_entry or ".") != _here]

if _package and os.environ.get("ALTSEM") != "0" and sys.version_info >= (3, 10):
    # The program may have found altsem where this interpreter does not look.
    _root = _here
    for _ in range(_package.count(".") + 3):
        _root = os.path.dirname(_root)
    sys.path.append(_root)
    try:
        __import__(_package + ".dropin.startup")
        sys.modules[_package + ".dropin.startup"].auto()
    except BaseException:  # noqa: BLE001 - whatever is wrong, the interpreter has to start
        pass
    finally:
        if sys.path[-1] == _root:
            sys.path.pop()

_self = sys.modules.pop(__name__, None)  # held: old interpreters empty a module that goes
try:
    __import__(__name__)  # the next one on the path, if there is one
except ImportError as _error:
    # Named differently, something is missing that the user's file wants: that is for the user.
    if getattr(_error, "name", __name__) != __name__:
        raise
finally:
    # An import must leave something behind, and of the two it is rather the user's.
    if _self is not None:
        sys.modules.setdefault(__name__, _self)
