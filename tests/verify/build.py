"""Builds the explorer: the real files of csrc/primitives/ and others, and the scheduler."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
CSRC = HERE.parents[1] / "csrc"
# Those whose every access to a slot is a choice.  slot.c only makes new slots.
EXPLORED = ("primitives/*.c", "wait/wait.c", "process/judge.c", "memory/slot.c")
KERNEL = ("-Dkill=vf_kill", "-Dsyscall=vf_syscall")
# Coroutines are switched by hand, which a shadow stack or a canary would take for an attack.
FLAGS = (
    "-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-fno-pie", "-fomit-frame-pointer",
    "-fcf-protection=none", "-fno-stack-protector", "-DALTSEM_TEST_BUILD",
)  # fmt: skip
# The slots are read and copied as bytes, and a scenario says again what its kind says already.
OWN_FLAGS = ("-fno-strict-aliasing", "-Wno-override-init")


class CompileError(Exception):
    """What the compiler said."""


def why_not() -> str | None:
    """Why nothing can be explored here, in words."""
    if compiler() is None:
        return "no C compiler"
    if platform.machine() != "x86_64":
        return "coroutines are switched by hand, which is written for x86-64 only"
    return None


def compiler() -> str | None:
    return shutil.which("gcc") or shutil.which("cc")


def build(
    folder: Path, csrc: Path = CSRC, sound: Path | None = None, changed: Iterable[str] = ()
) -> Path:
    """The program, made in `folder`.  `sound`: a folder where it was built from sound code, of
    which only those files differ; its scheduler and scenarios are used again in any case, so that a
    fault in a header does not change what is asked."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = []
    objects = []
    flags = (*FLAGS, "-w") if sound else FLAGS  # a fault may leave a variable unused
    everything = sound is None or any(name.endswith(".h") for name in changed)
    for pattern in EXPLORED:
        for path in sorted(csrc.glob(pattern)):
            afresh = everything or str(path.relative_to(csrc)) in changed
            objects.append((folder if afresh or sound is None else sound) / f"core-{path.stem}.o")
            hooks = ["-include", str(HERE / "hooks.h"), f"-I{csrc}", f"-I{HERE}"]
            hooks += KERNEL if path.stem == "judge" else ()
            if afresh:
                jobs.append([*flags, *hooks, "-c", str(path), "-o", str(objects[-1])])
    for path in sorted(HERE.glob("*.c")):
        objects.append((sound or folder) / f"own-{path.stem}.o")
        if sound is None:
            own = [*FLAGS, *OWN_FLAGS, f"-I{csrc}", f"-I{HERE}"]
            jobs.append([*own, "-c", str(path), "-o", str(objects[-1])])
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(_compile, jobs))
    program = folder / "explore"
    # slot.c has more in it than the making of a slot; what that needs is never called.
    _compile(
        ["-no-pie", "-Wl,--unresolved-symbols=ignore-all", "-o", str(program), *map(str, objects)]
    )
    return program


def _compile(arguments: Iterable[str]) -> None:
    cc = compiler()
    assert cc is not None
    done = subprocess.run([cc, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise CompileError(done.stderr)
