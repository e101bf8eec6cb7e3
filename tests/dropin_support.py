"""Interpreters in which multiprocessing fails, to try the drop-in on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from functools import cache
from pathlib import Path

import pytest

import altsem
from altsem.dropin import decision

HERE = Path(__file__).parent
_PATH = os.environ.get("PYTHONPATH", "")
BED = str(HERE / "beds" / "shm")

needs_native = pytest.mark.skipif(
    bool(decision.failing()), reason="the semaphores of this machine do not work, or have no room"
)

# An interpreter without SemLock, as far as its programs can tell.  In a virtual environment these
# lines are executed twice, and the second time must not take away what has been supplied.
_WITHOUT = (
    "import sys, _multiprocessing as m; hasattr(sys, '_semless') or (delattr(m, 'SemLock'), "
    "delattr(m, 'sem_unlink'), setattr(sys, '_semless', 1))\n"
)


@cache
def bed_excuse() -> str:
    """Why there is no place without /dev/shm to be had here; empty if there is."""
    tried = subprocess.run([BED, "gone", "true"], capture_output=True, text=True, timeout=30)
    return tried.stderr.strip() if tried.returncode == 125 else ""


def make_python(folder: Path, *, semless: bool = False) -> str:
    """A virtual environment that sees the packages of this one, and whose site-packages a test may
    write into; the path of its interpreter.  `semless`: one without SemLock."""
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    site = site_of(folder)
    (site / "a-others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    if semless and not is_semless():
        (site / "a-semless.pth").write_text(_WITHOUT)
    return str(folder / "bin" / "python")


@cache
def tool(name: str) -> str | None:
    """The path of a program, if it is here."""
    return shutil.which(name)


@cache
def is_semless() -> bool:
    """Whether this very interpreter was built without SemLock."""
    code = "import _multiprocessing as m; print(hasattr(m, 'SemLock'))"
    run = subprocess.run([sys.executable, "-Ic", code], capture_output=True, text=True, timeout=30)
    return run.stdout.strip() == "False"


def site_of(folder: Path) -> Path:
    """The site-packages of a virtual environment."""
    (site,) = (folder / "lib").glob("python*/site-packages")
    return site


def vendor(folder: Path, *names: str) -> dict[str, str]:
    """Copies of the package as acme.NAME.altsem; the variables by which programs find them."""
    for name in names:
        target = folder / "acme" / name
        target.mkdir(parents=True)
        for package in (target.parent, target):
            (package / "__init__.py").touch()
        shutil.copytree(
            Path(altsem.__file__).parent,
            target / "altsem",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    return {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [_PATH])])}


def run(
    *command: str | Path,
    gone: bool = False,
    bed: str = "",
    env: dict[str, str] | None = None,
    stdin: str = "",
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Runs a command, in a bed if one is named (`gone`: where /dev/shm is missing); `env` is added
    to the environment."""
    bed = "gone" if gone else bed
    if bed and bed_excuse():
        pytest.skip(bed_excuse())
    words = [BED, bed, *command] if bed else command
    return subprocess.run(
        [str(word) for word in words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **(env or {})},
    )
