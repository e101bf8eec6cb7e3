"""What descendants are started with: the variables that have them do as their ancestor did.

They are in the environment, and most children get all of it.  Two kinds do not:

- A program gives its child an environment like its own, but with another PYTHONPATH, or has changed
  its own.  The first entry, which starts altsem there, is put back in front: by standing in for the
  method of subprocess.Popen that is given the environment, and for the function with which
  multiprocessing, loky and their like start theirs.  Who leaves ALTSEM_DROPIN out means it, and
  whose child needs no altsem is not hindered by the entry.
- Interpreters with -E, -I or -S read neither variables nor site-packages, and hand these options
  down to the helpers and children of multiprocessing.  Those are told on their command line.

The first is of use in every descendant, and cheap: nothing here is imported before subprocess is.
"""

from __future__ import annotations

import os
import sys
from functools import partial

from . import ROOT, VARIABLE, hooks, preload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

PATH = "PYTHONPATH"
BOOTSTRAP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bootstrap")

# Where children are started.
MODULES = ("subprocess", "_posixsubprocess", "multiprocessing.util", "multiprocess.util")

# (object, name, what was there, what we put there)
_undo: list[tuple[Any, str, Any, Any]] = []
_hooked: list[tuple[str, Callable[[], None]]] = []


def with_bootstrap(path: str) -> str:
    """That PYTHONPATH, beginning with our directory.  An empty entry, which means the current
    directory, stays where it is; but an empty text has no entries."""
    entries = path.split(os.pathsep) if path else []
    return os.pathsep.join([BOOTSTRAP, *(entry for entry in entries if entry != BOOTSTRAP)])


def without_bootstrap(path: str) -> str:
    """That PYTHONPATH without our directory."""
    entries = [entry for entry in path.split(os.pathsep) if entry != BOOTSTRAP]
    # One empty entry alone would be a text without entries.
    return os.pathsep if entries == [""] else os.pathsep.join(entries)


def keep() -> None:
    """See to it that these children are reached, from now on.  May be called twice."""
    if _hooked:
        return
    wanted: dict[str, Callable[[], None]] = {"subprocess": _keep_path}
    if (sys.flags.ignore_environment or sys.flags.no_site) and not getattr(sys, "frozen", False):
        for name in ("multiprocessing.util", "multiprocess.util"):
            wanted[name] = partial(_tell_helpers, name)
    _hooked.extend(wanted.items())
    for name, callback in wanted.items():
        hooks.when_imported(name, callback)


def let_go() -> None:
    """Undo keep()."""
    for name, callback in _hooked:
        hooks.forget(name, callback)
    _hooked.clear()
    while _undo:
        place, name, was, ours = _undo.pop()
        if vars(place).get(name) is ours:
            setattr(place, name, was)


def _put(place: Any, name: str, ours: Any) -> None:
    _undo.append((place, name, vars(place)[name], ours))
    setattr(place, name, ours)


# --- another PYTHONPATH ---------------------------------------------------------------------------


def _keep_path() -> None:
    popen: Any = getattr(sys.modules["subprocess"], "Popen", None)
    original = getattr(popen, "__dict__", {}).get("_execute_child")
    code = getattr(original, "__code__", None)
    parameters = code.co_varnames[: code.co_argcount] if code else ()
    if original is None or "env" not in parameters:
        return  # not the one that we know
    at = parameters.index("env")

    def _execute_child(*words: Any, **named: Any) -> Any:
        if len(words) > at:
            words = (*words[:at], _given(words[at]), *words[at + 1 :])
        return original(*words, **named)

    _put(popen, "_execute_child", _execute_child)
    _keep_path_of_helpers()


def _keep_path_of_helpers() -> None:
    """The same for whoever calls what is below subprocess: it takes the environment as a list."""
    module: Any = sys.modules.get("_posixsubprocess")
    original = getattr(module, "fork_exec", None)
    if original is None:
        return
    at = 5  # after args, executable_list, close_fds, pass_fds and cwd

    def fork_exec(*words: Any) -> Any:
        if len(words) > at:
            words = (*words[:at], _listed(words[at]), *words[at + 1 :])
        return original(*words)

    _put(module, "fork_exec", fork_exec)


def _given(environment: Any) -> Any:
    """What to give a child that was to have this environment, or that of this process for None."""
    if environment is not None:
        return restored(environment)
    found = restored(os.environ)
    return None if found is os.environ else found


def _listed(entries: Any) -> Any:
    """The same, for an environment in the form that execve() wants."""
    if entries is None:
        found = _given(None)
        return None if found is None else _entries(found)
    try:
        # The first of several is the one that the child finds.
        pairs = [os.fsdecode(entry).partition("=")[::2] for entry in reversed(entries)]
    except Exception:  # noqa: BLE001 - see restored()
        return entries
    before = dict(pairs)
    found = restored(before)
    return entries if found is before else _entries(found)


def _entries(environment: Mapping[str, str]) -> list[bytes]:
    return [os.fsencode(f"{name}={value}") for name, value in environment.items()]


def restored(environment: Any) -> Any:
    """An environment with our directory first on its PYTHONPATH, and our library on its LD_PRELOAD
    if it was on ours, if it is one of a descendant of ours.  It is whatever Popen takes: names and
    values may be text, bytes or paths."""
    try:
        found = {os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()}
    except Exception:  # noqa: BLE001 - whatever it is, it is not for us to judge
        return environment
    if found.get(VARIABLE, "").partition(" ")[0] != ROOT:
        return environment
    changed = {}
    path = found.get(PATH, "")
    if path.split(os.pathsep)[0] != BOOTSTRAP:
        changed[PATH] = with_bootstrap(path)
    library, value = preload.of(preload.started_with), found.get(preload.VARIABLE, "")
    if library and not preload.of(value) and found.get(preload.SWITCH) != "0":
        changed[preload.VARIABLE] = preload.put_first(library, value)
    return {**found, **changed} if changed else environment


# --- interpreters that read nothing ---------------------------------------------------------------

_TOLD = """\
import sys; sys.path.append({root!r})
try:
 from {package}.dropin.startup import auto
 auto()
except BaseException: pass
sys.path.remove({root!r})
"""


def _tell_helpers(name: str) -> None:
    util: Any = sys.modules[name]
    original = getattr(util, "spawnv_passfds", None)
    if original is None:
        return  # not the one that we know
    root = BOOTSTRAP
    for _ in range(ROOT.count(".") + 3):
        root = os.path.dirname(root)
    told = _TOLD.format(root=root, package=ROOT)

    def spawnv_passfds(path: Any, args: Any, passfds: Any) -> Any:
        words = list(args)
        at = words.index("-c") + 1 if "-c" in words else 0
        if 0 < at < len(words) and isinstance(words[at], str):
            words[at] = told + words[at]
        return original(path, words, passfds)

    _put(util, "spawnv_passfds", spawnv_passfds)
