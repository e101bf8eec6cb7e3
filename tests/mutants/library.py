"""The core as a library, compiled again only where a fault was planted."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path


class CompileError(Exception):
    """The compiler refuses it."""


class Library:
    """Of one copy of the tree.  Objects are known by what they were made from."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root, self._folder = root, folder
        folder.mkdir()
        self._cc = shlex.split(sysconfig.get_config_var("CC") or "cc")
        self._includes = [f"-I{root / 'csrc'}", f"-I{sysconfig.get_path('include')}"]
        self._glue = folder / "_altsem_core.c"
        self._link = [*self._cc, "-shared", "-pthread"]
        code = (
            "import sys; sys.path.insert(0, 'tests'); from core import conftest as c\n"
            f"c.interface().emit_c_code({str(self._glue)!r}); print(*c.FLAGS)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
        )
        # Without -g: objects are compared, and lines move.
        flags = [flag for flag in done.stdout.splitlines()[-1].split() if flag != "-g"]
        self._flags = [*flags, "-fPIC", "-w", *self._includes]
        self._used: dict[Path, list[Path]] = {}

    def sources(self) -> list[Path]:
        csrc = (self._root / "csrc").glob("*/*.c")
        return sorted(p for p in csrc if p.parent.name not in ("binding", "preload"))

    def objects(self) -> list[Path]:
        """One per source, compiled if need be."""
        return [self._object(source) for source in [*self.sources(), self._glue]]

    def link(self, objects: list[Path]) -> Path:
        library = self._folder / (
            "_altsem_core" + (sysconfig.get_config_var("EXT_SUFFIX") or ".so")
        )
        self._run([*self._link, "-o", str(library), *map(str, objects)])
        return library

    def _object(self, source: Path) -> Path:
        # What it includes changes only together with it, or with one of these.
        used = self._used.get(source) or self._headers(source)
        self._used[source] = used
        content = hashlib.sha256(b"\0".join(p.read_bytes() for p in [source, *used])).hexdigest()
        made = self._folder / f"{source.parent.name}-{source.stem}-{content[:20]}.o"
        if not made.exists():
            self._run([*self._cc, *self._flags, "-c", str(source), "-o", str(made)])
        return made

    def _headers(self, source: Path) -> list[Path]:
        text = self._run([*self._cc, *self._flags, "-MM", str(source)])
        names = text.replace("\\\n", " ").partition(":")[2].split()[1:]
        return [Path(name) for name in names]

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise CompileError(done.stderr.strip().splitlines()[0] if done.stderr else "?")
        return done.stdout
