"""Runs tests/core/kills.c over all instructions, for the table."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from . import build, run

SOURCE = build.HERE.parent / "core" / "kills.c"
Row = tuple[str, int, int, int]  # call, instructions, kills, milliseconds


def program(folder: Path) -> Path:
    made = folder / "kills"
    sources = [str(p) for p in build.CSRC.glob("*/*.c") if p.parent.name != "binding"]
    flags = ["-std=c11", "-O2", "-pthread", "-Wl,-z,now", f"-I{build.CSRC}"]
    compiler = build.compiler() or "cc"
    subprocess.run([compiler, *flags, "-o", str(made), str(SOURCE), *sources], check=True)
    return made


def all_of_them(folder: Path) -> list[Row]:
    made = program(folder)
    listed = subprocess.run([made], capture_output=True, text=True, check=True).stdout.split()

    def kill(name: str) -> Row:
        stride = 3 if name.endswith("-waits") else 1  # what waits is watched closely, and slowly
        done = subprocess.run(
            [made, name, str(stride), "0"],
            env={**os.environ, "ALTSEM_KILLS_SECONDS": "900"},
            capture_output=True,
            text=True,
        )
        found = re.search(r"(\d+) instructions, (\d+) kills, (\d+) ms", done.stdout)
        assert done.returncode == 0 and found is not None, f"{name}: {done}"
        print(name, done.stdout.strip(), flush=True)
        return (name, *(int(number) for number in found.groups()))  # type: ignore[return-value]

    return run.at_once(kill, listed)
