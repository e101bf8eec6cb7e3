"""A copy of the tree in which faults are planted and tests run, apart from other programs."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mutants import order
from mutants.library import CompileError, Library
from mutants.operators import Mutant

COPIED = ("csrc", "src", "tests", "pyproject.toml", "setup.py", "Makefile", "README.md")
# How long a test waits for what must happen, and a run for all of its tests: what hangs is killed.
PATIENCE = 6.0
MEMORY = 8 << 30

KILLED, TIMED_OUT, SURVIVED = "killed", "killed (time is up)", "survived"
SAME, REFUSED = "the same code", "does not compile"
NOTICED = (KILLED, TIMED_OUT)
# What pytest ends with when it was called wrongly, or found no tests: nothing was noticed then.
NOTHING_RUN = (4, 5)


class NotSoundError(Exception):
    """Without a fault the tests fail: nothing can be said of those with one."""


class Bed:
    def __init__(self, root: Path, grace: float) -> None:
        self._grace = grace
        self.folder = Path(tempfile.mkdtemp(prefix="mutants-"))
        self.tree = self.folder / "tree"
        self.tree.mkdir()
        ignore = shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info", "build")
        for name in COPIED:
            if (root / name).is_dir():
                shutil.copytree(root / name, self.tree / name, ignore=ignore)
            elif (root / name).exists():
                shutil.copy(root / name, self.tree / name)
        (self.tree / "plugins").mkdir()
        shutil.copy(order.__file__, self.tree / "plugins")
        self._apart = _namespaces(self.tree)
        self._library: Library | None = None
        self._package: Path | None = None
        self._sound: list[Path] = []
        self._environment: dict[str, str] = {}
        self._path: list[str] = []
        self._times = self.tree / "times.json"
        self._text = ""

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def is_apart(self) -> bool:
        return bool(self._apart)

    # --- planting -------------------------------------------------------------------------------

    def prepare(self, python: bool) -> None:
        """Builds it as it is, and has the tests use that."""
        if python:
            # The installed package, for its extension; the sources from the copy of the tree.
            import altsem

            self._package = self.tree / "site" / "altsem"
            shutil.copytree(Path(altsem.__file__).parent, self._package)
            shutil.copytree(self.tree / "src" / "altsem", self._package, dirs_exist_ok=True)
            self._path = [str(self._package.parent)]
            return
        self._library = Library(self.tree, self.tree / "objects")
        self._sound = self._library.objects()
        self._environment = {"ALTSEM_TEST_CORE": str(self._library.link(self._sound))}

    def plant(self, mutant: Mutant) -> str | None:
        """None, or why there is nothing to be run."""
        path = self.tree / mutant.path
        self._text = path.read_text()
        path.write_text(mutant.apply(self._text))
        if self._package is not None:
            shutil.copy(path, self._package / path.relative_to(self.tree / "src" / "altsem"))
            try:
                compile(path.read_text(), mutant.path, "exec")
            except SyntaxError:
                return REFUSED
            return None
        assert self._library is not None
        try:
            objects = self._library.objects()
            if [p.read_bytes() for p in objects] == [p.read_bytes() for p in self._sound]:
                return SAME
            self._library.link(objects)
        except CompileError:
            return REFUSED
        return None

    def restore(self, mutant: Mutant) -> None:
        path = self.tree / mutant.path
        path.write_text(self._text)
        if self._package is not None:
            shutil.copy(path, self._package / path.relative_to(self.tree / "src" / "altsem"))
        for made in (self.tree / "objects").glob("*.o"):
            if made not in self._sound:
                made.unlink()

    # --- running --------------------------------------------------------------------------------

    def run(self, tests: list[str], limit: float, *options: str) -> tuple[str, str]:
        """What became of it, and what was said."""
        private = self.folder / "private"
        private.mkdir(mode=0o755)
        said = self.folder / "said"
        command = [
            *(word.format(private=private) for word in self._apart),
            sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
            "-p", "order", "--tb=short", *options, *tests,
        ]  # fmt: skip
        environment = {
            **os.environ,
            "ALTSEM_TEST_PATIENCE": str(PATIENCE),
            "ALTSEM_TESTS_ALONE": "yes" if self._apart else "no",
            "PYTHON": sys.executable,
            "PYTHONDONTWRITEBYTECODE": "1",
            order.VARIABLE: str(self._times),
            "ALTSEM_MUTANTS_GRACE": str(self._grace),
            **self._environment,
            "PYTHONPATH": os.pathsep.join([str(self.tree / "plugins"), *self._path]),
        }
        with said.open("w", encoding="utf-8") as out:
            process = subprocess.Popen(
                command,
                cwd=self.tree,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_modestly,
            )
            try:
                code: int | None = process.wait(limit)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                _end(process)
        shutil.rmtree(private, ignore_errors=True)
        text = said.read_text(errors="replace")
        if code in NOTHING_RUN:
            raise NotSoundError(f"{text}\nNo test was run.")
        if code is None or code == order.HANGS:
            return TIMED_OUT, text
        return (SURVIVED if code == 0 else KILLED), text

    def time(self, tests: list[str], limit: float) -> dict[str, float]:
        """How long each file of tests takes on sound code, where it must not fail; "": pytest."""
        start = time.monotonic()
        outcome, said = self.run(tests, limit)
        if outcome != SURVIVED:
            raise NotSoundError(f"{said}\nThe tests do not pass on sound code: {outcome}.")
        took = dict.fromkeys(tests, 0.0)
        for name, phases in json.loads(self._times.read_text()).items():
            took[name.partition("::")[0]] += sum(phases.values())
        return {**took, "": time.monotonic() - start - sum(took.values())}

    def know(self, other: Bed) -> None:
        """What another has found out by time()."""
        shutil.copy(other._times, self._times)


def _modestly() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup's would hide one that a fault sends
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _end(process: subprocess.Popen[bytes]) -> None:
    """With all that it has started: in a PID namespace they end with its first process."""
    for _ in range(50):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            break
        if process.poll() is not None:
            break
        time.sleep(0.02)
    process.wait()


def _namespaces(tree: Path) -> list[str]:
    """What a command is put behind so that a fault can harm nothing but its own run; [] where
    namespaces are not permitted."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    unshare = [
        "unshare", *user, "--mount", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc",
        "--propagation", "private",
    ]  # fmt: skip
    try:
        done = subprocess.run([*unshare, "true"], capture_output=True)
    except OSError:
        return []
    if done.returncode != 0:
        return []
    inside = str(tree / "tests" / "beds" / "alone")
    return [*unshare, inside, "--inside", "{private}", str(os.getuid()), str(os.getgid())]
