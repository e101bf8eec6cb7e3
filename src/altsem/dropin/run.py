"""``python -m altsem run``: an unmodified program, with altsem in the place of what fails here.

The interpreter is replaced by itself, with the environment that starts altsem in it.  So argv,
__main__, stdin, signals, tracebacks and the exit status are those of the program called directly,
because it is called directly.
"""

from __future__ import annotations

import os
import sys

from . import ROOT, decision, environment, native, preload, tensors

USAGE = f"""\
usage: python -m {ROOT} run [OPTIONS] [-m MODULE | -c CODE | FILE] [ARGUMENTS]

Runs a Python program as `python` would, with altsem in the place of the semaphores and the shared
memory that fail here, in the program and in all that it starts.

  --force         replace them although they work (as ALTSEM=always does)
  --room SIZE     how much must be free in /dev/shm for the system's own to be left in place
                  (default: 8M; 0: anything will do)
  --backend NAME  the way in which waiters sleep: futex, sysv, filelock
  --no-preload    leave the C code of the program alone (as ALTSEM_PRELOAD=0 does)
  --verbose       say on stderr what fails and what is used instead
  -h, --help      this text

What follows is for the interpreter, its own options included (`run -X dev prog.py`).  Programs
that build the environment of their children anew, or start them with -E, -I or -S, lose altsem
there: `python -m {ROOT} enable`, once, reaches them."""


class _UsageError(Exception):
    pass


def main(argv: list[str]) -> int:  # noqa: RET503 - nor does it return from execv
    """Become the program that `argv` names; return an exit status only if that fails."""
    try:
        options, command = _parse(argv)
        if "help" in options:
            print(USAGE)
            return 0
        _check_is_a_program(command)
        flags = interpreter_flags(len(argv) + 1)
        parts = _parts(options, [*flags, *command])
    except (_UsageError, OSError, ImportError) as error:
        print(f"{ROOT} run: {error}", file=sys.stderr)
        return 2
    if parts:
        if "verbose" in options:
            os.environ[tensors.VERBOSE] = "1"
        loaded = preload.variables()
        os.environ.update(environment.variables(parts, True, os.environ, names=bool(loaded)))
        os.environ.update(loaded)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *flags, *command])


def _parse(argv: list[str]) -> tuple[dict[str, str], list[str]]:
    options: dict[str, str] = {}
    rest = list(argv)
    while rest and (rest[0].startswith("--") or rest[0] == "-h"):
        name, equals, value = rest.pop(0).lstrip("-").partition("=")
        if name == "":
            break
        if name in ("backend", "room"):
            if not equals and not rest:
                raise _UsageError(f"--{name} needs a {'name' if name == 'backend' else 'size'}")
            options[name] = value if equals else rest.pop(0)
        elif name in ("force", "no-preload", "verbose", "help", "h") and not equals:
            options["help" if name == "h" else name] = ""
        else:
            raise _UsageError(f"no such option: --{name}\n{USAGE}")
    if not rest and "help" not in options:
        raise _UsageError(f"what shall it run?\n{USAGE}")
    return options, rest


def _check_is_a_program(command: list[str]) -> None:
    """Raise _UsageError for what looks like a command of the shell, which `run` does not take."""
    if not command or command[0].startswith("-"):
        return
    import shutil

    word = command[0]
    there = os.path.exists(word)
    if not shutil.which(word) or (there and not _is_binary(word)):
        return
    if os.path.basename(word).startswith(("python", "pypy")):
        text = f"leave out {word}: what follows `run` is for {sys.executable} (use another one's "
        raise _UsageError(f"{text}`-m {ROOT} run` for that)")
    if not there:
        text = f"there is no file {word} here (`-m {word}`, or the path of a Python program, is "
        raise _UsageError(f"{text}taken; a command is not looked for)")


def _is_binary(path: str) -> bool:
    if not os.path.isfile(path):
        return False  # a directory can be a program
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def _parts(options: dict[str, str], command: list[str]) -> set[str]:
    """What to replace.  Raises OSError if altsem cannot work here, or not in that program."""
    if os.environ.get("ALTSEM") == "0":
        if "verbose" in options:
            _say("ALTSEM=0 is set: nothing is replaced")
        return set()
    if "backend" in options:
        from .. import _core

        if options["backend"] not in _core.backends():
            names = ", ".join(_core.backends())
            raise _UsageError(f"no such backend: {options['backend']} (there are: {names})")
        os.environ["ALTSEM_BACKEND"] = options["backend"]
    if "room" in options:
        os.environ[native.ROOM] = options["room"]
    if "no-preload" in options:
        os.environ[preload.SWITCH] = "0"
    decision.check_whole()
    failing = decision.failing()
    parts = decision.wanted(set(), force="force" in options)
    if not parts:
        if "verbose" in options:
            _say("semaphores work here: nothing is replaced")
        return parts
    from .. import _core

    parts = decision.usable(parts)
    read = letters(command)
    if "S" in read:
        raise _UsageError(
            "an interpreter with -S imports nothing as it starts, so nothing can be started in it: "
            f"call {ROOT}.install() in the program"
        )
    if isolated(command):
        from . import enable

        if not enable.enabled():
            raise _UsageError(
                "an interpreter with -E or -I takes nothing from the environment: run "
                f"`python -m {ROOT} enable` once, then the program without `run`"
            )
    if "verbose" in options:
        broken: dict[str, list[str]] = {}
        for part, error in failing.items():
            broken.setdefault(native.words(error), []).append(part)
        said = [f"{', '.join(which)} fail: {why}" for why, which in broken.items()]
        what = "; ".join(said) or "nothing fails"
        with_c = "" if preload.is_unwanted() or not preload.entry() else ", and names of C code"
        replaced = ", ".join(sorted(parts))
        _say(f"{what}; replaced: {replaced}{with_c} (backend {_core.backend()})")
    return parts


def _say(text: str) -> None:
    print(f"{ROOT}: {text}", file=sys.stderr)


def interpreter_flags(words: int) -> list[str]:
    """The options that this interpreter was called with, `words` being how many words follow
    ``-m altsem``."""
    flags = sys.orig_argv[1 : len(sys.orig_argv) - words]
    # What is left ends in `-m altsem`, `-maltsem`, or either with other letters before the m.
    if flags and flags[-1] == ROOT:
        flags.pop()
        last = flags.pop()[:-1] if flags else ""
    else:
        last = flags.pop().removesuffix(f"m{ROOT}") if flags else ""
    return [*flags, last] if last not in ("", "-") else flags


def isolated(command: list[str]) -> bool:
    """Whether the interpreter called with these words ignores the environment."""
    return not letters(command).isdisjoint("EI")


def letters(command: list[str]) -> set[str]:
    """The one-letter options of the interpreter among the words that it is called with."""
    found: set[str] = set()
    words = iter(command)
    for word in words:
        if len(word) < 2 or word[0] != "-":
            break
        if word.startswith("--"):
            if word == "--check-hash-based-pycs":
                next(words, None)
            continue
        for at, letter in enumerate(word[1:], 1):
            found.add(letter)
            if letter in "cm":  # the program begins here
                return found
            if letter in "WX":
                if at == len(word) - 1:
                    next(words, None)
                break
    return found
