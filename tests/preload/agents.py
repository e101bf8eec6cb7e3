"""Programs in C that know nothing of altsem, started with the library before their libc."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import altsem

HERE = Path(__file__).parent
BED = str(HERE.parent / "beds" / "shm")
PRELOAD = altsem.preload_path()


def compiled(source: Path, target: Path, *flags: str) -> str:
    """The program of that source; CalledProcessError if it cannot be compiled here."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    words = [*compiler, *flags, "-O1", "-pthread", "-o", str(target), str(source)]
    subprocess.run([*words, "-lrt"], check=True, capture_output=True)
    return str(target)


class Agent:
    """One of them, that does what it is told."""

    def __init__(
        self,
        program: str,
        folder: Path,
        *,
        env: dict[str, str] | None = None,
        before: Sequence[str] = (),
        preload: str | None = PRELOAD,
        direct: bool = False,
    ) -> None:
        """`direct`: `before` is what runs the program, and gives it its environment."""
        where = {"PATH": os.defpath, "ALTSEM_DIR": str(folder), **(env or {})}
        if preload:
            where["LD_PRELOAD"] = preload
        # The bed's own programs are not what is looked at.
        given = ["env", *(f"{name}={value}" for name, value in where.items())]
        words = [*before, *([] if direct else given), program]
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, what: str, *words: Any) -> int | str:
        """What came of it: a number, or the name of the error."""
        assert self.process.stdin and self.process.stdout
        line = " ".join([what, *(str(word) or "-" for word in words)])
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline().split()
        assert said, (what, words, self.process.wait(), self.process.stderr.read())  # type: ignore[union-attr]
        return errno.errorcode[int(said[1])] if said[0] == "errno" else int(said[0])

    def end(self) -> str:
        """What it has printed beside."""
        said, errors = self.process.communicate(timeout=30)
        assert (self.process.returncode, said) == (0, "")
        return errors


class Beds:
    """Starts agents in one place after the other."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program, self.folder, self.preload = program, folder, PRELOAD
        self.agents: list[Agent] = []

    def __call__(self, kind: str = "none", *, user: str = "", **how: Any) -> Agent:
        before = [] if kind == "none" and not user else [BED, kind]
        if user:
            before += ["--as", user]
        how.setdefault("preload", self.preload)
        agent = Agent(self.program, self.folder, before=before, **how)
        self.agents.append(agent)
        return agent

    @contextlib.contextmanager
    def ended(self) -> Iterator[None]:
        try:
            yield
            for agent in self.agents:
                assert agent.end() == ""
        finally:
            for agent in self.agents:
                agent.process.kill()
                agent.process.communicate()

    @property
    def files(self) -> list[str]:
        """What is in our private directory."""
        path = self.folder / f"altsem-{os.geteuid()}"
        return sorted(os.listdir(path)) if path.is_dir() else []
