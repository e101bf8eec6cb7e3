"""``python -m altsem enable | disable | status``: for every program of an interpreter.

Two files in site-packages have every interpreter there start altsem: altsem.pth, and altsem.start,
which is what Python 3.15 and later read instead (PEP 829).  Meant for the build of an image.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import site
import sys
import sysconfig

from . import ROOT, VARIABLE, decision, native, preload

_ENTRY = f"{__package__}.startup"
# One line, for that is all that site executes.  Whatever is wrong, for instance that altsem has
# been removed without `disable`, the interpreter has to start, and without a word.
FILES = {
    f"{ROOT}.pth": (
        f"import sys; exec('try:\\n import {_ENTRY} as _a; _a.auto()\\n"
        "except BaseException:\\n pass')\n"
    ),
    f"{ROOT}.start": f"{_ENTRY}:auto\n",
}


def main(argv: list[str]) -> int:
    """Run `enable`, `disable` or `status`, whichever `argv` begins with; return the exit status:
    0, 1 it failed (status: it is not enabled), 2 wrong arguments."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {ROOT} {argv[0]}",
        description={
            "enable": "Have every program of this interpreter use altsem where semaphores fail.",
            "disable": "Undo `enable`.",
            "status": "Tell whether altsem is enabled, and what works here.",
        }[argv[0]],
    )
    parser.add_argument(
        "--site", metavar="DIR", type=_named, help="a site-packages directory (default: ours)"
    )
    directory = parser.parse_args(argv[1:]).site or default_site()
    try:
        return {"enable": _enable, "disable": _disable, "status": _status}[argv[0]](directory)
    except OSError as error:
        print(f"{ROOT} {argv[0]}: {error}", file=sys.stderr)
        return 1


def _named(directory: str) -> str:
    # What a script makes of a variable that it has forgotten to set.
    if not directory:
        raise argparse.ArgumentTypeError("a directory's name is not empty")
    return directory


def default_site() -> str:
    """The directory that altsem is installed in, if interpreters look for such files there; else
    the interpreter's site-packages."""
    here = os.path.abspath(__file__)
    for _ in range(ROOT.count(".") + 3):
        here = os.path.dirname(here)
    return here if here in _sites() else sysconfig.get_path("purelib")


def _sites() -> list[str]:
    # Not every interpreter has them all: no user's one under -I.
    directories = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    with contextlib.suppress(AttributeError):
        directories += [*site.getsitepackages(), site.getusersitepackages()]
    return directories


def enabled(directory: str | None = None) -> list[str]:
    """The files of `enable` in that directory, or in those of this interpreter."""
    paths = (
        os.path.join(folder, name)
        for folder in ([directory] if directory else dict.fromkeys(_sites()))
        for name in FILES
    )
    return [path for path in paths if _is_ours(path)]


def _is_ours(path: str) -> bool:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return _ENTRY in file.read(4096)
    except FileNotFoundError:
        return False


def _enable(directory: str) -> int:
    decision.check_whole()
    for name, text in FILES.items():
        path = os.path.join(directory, name)
        if os.path.lexists(path) and not _is_ours(path):
            raise FileExistsError(f"{path} is there, and is not of {ROOT}'s making")
        # Complete before it has its name: an interpreter may start at this moment.
        temporary = f"{path}.{os.getpid()}"
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            # Of the file that was meant, and of the directory if that is what is wrong.
            missing = not os.path.isdir(directory)
            raise OSError(error.errno, error.strerror, directory if missing else path) from None
        print(f"wrote {path}")
    if not os.path.isdir(os.path.join(directory, *ROOT.split("."))):
        print(
            f"note: {ROOT} itself is not in {directory}; it takes effect in interpreters "
            "that find it elsewhere",
            file=sys.stderr,
        )
    return 0


def _disable(directory: str) -> int:
    paths = enabled(directory)
    for path in paths:
        os.unlink(path)
        print(f"removed {path}")
    if not paths:
        print(f"not enabled in {directory}")
    return 0


def _status(directory: str) -> int:
    paths = enabled(directory)
    _line("enabled", ", ".join(paths) or f"no (not in {directory})")
    mode = os.environ.get("ALTSEM")
    if mode == "0":
        _line("", "but ALTSEM=0 is set, which turns it off")
    elif mode == "always":
        _line("", "ALTSEM=always is set: it takes over, whether anything fails or not")
    # What is tried is the system's own, also where ours has its place: this process may have been
    # started with it, or starts it now, as every program does that comes to need it.
    errors = {part: probe() for part, probe in decision.PROBES.items()}
    errors[decision.SEMAPHORES] = errors[decision.SEMAPHORES] or native.room()
    parts = os.environ.get(VARIABLE, "").split()[1:]
    _line("replaced", ", ".join(parts) if parts else "nothing")
    for part, error in errors.items():
        _line(part, "native ones work" if error is None else f"fail: {native.words(error)}")
    if parts and not paths:
        _line("", "a child whose environment is made anew, or with -E, -I or -S, loses it,")
        _line("", f"unless `python -m {ROOT} enable` is run once")
    _line("preload", preload.said())
    try:
        from .. import _core

        _line("backend", _core.backend())
    except (ImportError, OSError) as error:
        _line("backend", str(error))
    return 0 if paths else 1


def _line(name: str, text: str) -> None:
    print(f"{name:12}{text}")
