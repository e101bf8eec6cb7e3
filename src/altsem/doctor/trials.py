"""Everything that is tried, by name, and the order of it.

The programs are started first and run beside each other; meanwhile the system calls are tried one
by one; then the programs' answers are collected.  So the whole takes about as long as the slowest.

    native             programs/native.py         what multiprocessing does without altsem
    native METHOD      programs/start_method.py   a start method without altsem
    altsem METHOD      programs/start_method.py   ... and with it
    names of C         programs/c_names.py        sem_open and shm_open, called from C
    preloaded          programs/c_names.py        ... with the library of `run`
    PyTorch            programs/pytorch.py        if it is installed: can it be given memory
    backend NAME       programs/backend.py        a waiter of another process is woken
    core, memfd, "directory PATH", "file locks", "shm file"     system.py
"""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
import shutil
import tempfile
import time
from typing import TYPE_CHECKING

from .._directories import candidates
from ..dropin import preload
from . import system
from .trial import Answer, Program, Started, forked

if TYPE_CHECKING:
    from collections.abc import Callable

    from .machine import Machine

# If the core does not even say which there are.
BACKENDS = ("futex", "sysv", "filelock")
QUICK = 1.0  # seconds for one system call, at the most
# Sockets lie in our private directory, and their paths may have no more than 108 bytes.
LONGEST = 48


def run(machine: Machine, seconds: float) -> dict[str, Answer]:
    """All of it, in `seconds` at the most.  Never raises; leaves nothing behind."""
    deadline = time.monotonic() + seconds
    answers: dict[str, Answer] = {}

    def quick(name: str, function: Callable[..., object], *arguments: object) -> Answer:
        # However many of them hang, the programs must be left some of the time.
        left = deadline - time.monotonic() - seconds / 2
        answers[name] = forked(function, *arguments, limit=max(0.05, min(QUICK, left)))
        return answers[name]

    usable = [
        path
        for path in candidates(machine.env)
        if quick(f"directory {path}", system.directory, path).ok
    ]
    with _private(usable) as private:
        env = dict(machine.env)
        if private:
            # What altsem and multiprocessing leave in directories goes with this one.
            env.update(ALTSEM_DIR=private, TMPDIR=private)
        core = quick("core", system.backends)
        started = {
            name: Started(program, env, __package__.rpartition(".")[0])
            for name, program in programs(list(core.value) if core.ok else list(BACKENDS)).items()
        }
        try:
            quick("memfd", system.memfd)
            quick("shm file", system.shm_file)
            if usable:
                quick("file locks", system.file_locks, private or usable[0])
        finally:
            for name, program in started.items():
                answers[name] = program.answer(deadline)
            # Of a program that had to be killed.
            forked(system.clean, limit=QUICK)
    return answers


def programs(backends: list[str]) -> dict[str, Program]:
    """The programs, by the name of their trial."""
    # From 3.14 on the list holds whatever was registered, our own contexts too.
    known = multiprocessing.get_all_start_methods()
    methods = [method for method in ("fork", "spawn", "forkserver") if method in known]
    found = {"native": Program("native.py"), "names of C": Program("c_names.py")}
    library = preload.entry()
    if library:
        env = (("ALTSEM", ""), (preload.SWITCH, ""), (preload.VARIABLE, library))
        found["preloaded"] = Program("c_names.py", env=env)
    with contextlib.suppress(Exception):  # a package that is there, and broken
        if importlib.util.find_spec("torch"):
            found["PyTorch"] = Program("pytorch.py")
    for who, altsem in (("native", ""), ("altsem", "1")):
        for method in methods:
            order = (("method", method), ("altsem", altsem))
            found[f"{who} {method}"] = Program("start_method.py", order)
    for name in backends:
        found[f"backend {name}"] = Program(
            "backend.py", (("backend", name),), (("ALTSEM_BACKEND", name),)
        )
    return found


@contextlib.contextmanager
def _private(usable: list[str]):  # type: ignore[no-untyped-def]
    """A directory of our own in the first that can be used, None if there is none."""
    path = None
    for parent in usable:
        with contextlib.suppress(OSError):
            made = tempfile.mkdtemp(prefix="altsem-doctor-", dir=os.path.abspath(parent))
            if len(made) <= LONGEST:
                path = made
                break
            os.rmdir(made)
    try:
        yield path
    finally:
        if path:
            shutil.rmtree(path, ignore_errors=True)
