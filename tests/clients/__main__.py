"""Unmodified programs where /dev/shm is gone: natively, under `run`, after `enable`.

    make clients                                        all, and docs/clients.md anew
    make clients ARGS="--only torch --only SharedArray"  those rows, and no page
    make clients ARGS=--quick                            in short, for CI: those of QUICK

Each program is short and uses its package for what goes to other processes.  The packages are
installed into a virtual environment of this run's own.  Exit status 1 if a program does not work
under `run`, or after `enable` where that is expected.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BED = ROOT / "tests" / "beds" / "shm"
PAGE = ROOT / "docs" / "clients.md"
LIMIT = 90.0  # seconds for a program, after which it counts as hanging
INSTALL = 300.0

TORCH = ("torch==2.13.0+cpu", "numpy")


@dataclass(frozen=True)
class Client:
    """`words`: a program of programs/ and its arguments.  `enabled`: what is expected after
    `enable`, if that is not that it works; `bed`: where it is tried."""

    name: str
    what: str
    packages: tuple[str, ...]
    words: tuple[str, ...]
    bed: str = "gone"
    enabled: str = ""


def command(*words: str) -> tuple[str, ...]:
    return ("command.py", *words)


NEEDS_NAMES = "names of C code need `run`"

SHARED_ARRAY = Client(
    "SharedArray",
    "create, attach, delete",
    ("SharedArray",),
    ("sharedarray.py",),
    enabled=NEEDS_NAMES,
)
CLIENTS = (
    Client("multiprocessing", "Pool", (), ("pool_only.py",)),
    Client("torch", "DataLoader, 2 workers, fork and spawn", TORCH, ("torch_loader.py",)),
    Client(
        "torch",
        "Queue, share_memory_, mp.spawn; file_descriptor, fork and spawn",
        TORCH,
        ("torch_tensors.py", "file_descriptor"),
    ),
    Client(
        "torch",
        "the same; file_system",
        TORCH,
        ("torch_tensors.py", "file_system"),
        enabled=NEEDS_NAMES,
    ),
    Client(
        "torch",
        "DataLoader, 200 MB in flight, /dev/shm of 64 MB",
        TORCH,
        ("torch_large.py",),
        bed="small",
    ),
    Client(
        "posix_ipc",
        "Semaphore, SharedMemory in two processes",
        ("posix_ipc",),
        ("ipc.py",),
        enabled=NEEDS_NAMES,
    ),
    SHARED_ARRAY,
    Client("scikit-learn", "GridSearchCV, n_jobs=2", ("scikit-learn",), ("sklearn_grid.py",)),
    Client("dask", "scheduler of processes", ("dask[bag]",), ("dask_processes.py",)),
    Client("celery", "worker, prefork", ("celery",), ("celery_prefork.py",)),
    Client("django", "test --parallel 2", ("django", "tblib"), ("django_parallel.py",)),
    Client("pylint", "-j 2", ("pylint",), command("pylint", "-j", "2", "--disable=R", "FILES")),
    Client(
        "sphinx",
        "-j 2",
        ("sphinx",),
        command("sphinx", "-q", "-j", "2", "-b", "html", "FOLDER", "FOLDER/out"),
    ),
    Client("pytest-xdist", "-n 2", ("pytest-xdist",), command("pytest", "-q", "-n", "2", "FILES")),
    Client("nbconvert", "in a Pool", ("nbconvert",), ("nbconvert_pool.py",)),
    Client("spaCy", "pipe(n_process=2)", ("spacy",), ("spacy_pipe.py",)),
    Client("gymnasium", "AsyncVectorEnv", ("gymnasium",), ("gymnasium_vector.py",)),
    Client("dramatiq", "two worker processes", ("dramatiq",), ("dramatiq_workers.py",)),
    Client("mpire", "WorkerPool", ("mpire",), ("mpire_pool.py",)),
    Client("black", "several files, a process pool", ("black",), command("black", "-q", "FILES")),
    Client("flake8", "-j 2", ("flake8",), command("flake8", "-j", "2", "FILES")),
    Client("numba", "prange in a Pool", ("numba",), ("numba_pool.py",)),
    Client(
        "coverage",
        "run, concurrency = multiprocessing",
        ("coverage",),
        command("coverage", "run", str(HERE / "programs" / "pool_only.py")),
    ),
)

# The large and the slow, which a change could break: in a minute.
QUICK = (
    Client(
        "torch",
        "in short",
        TORCH,
        ("torch_quick.py", "file_descriptor", "file_system"),
        enabled=NEEDS_NAMES,
    ),
    Client("torch", "in short", TORCH, ("torch_quick.py", "file_descriptor")),
    Client("torch", "200 MB in flight, /dev/shm of 64 MB", TORCH, ("torch_large.py",), bed="small"),
    SHARED_ARRAY,
)


class Place:
    """The virtual environment that all are installed into."""

    def __init__(self, folder: Path) -> None:
        self.python = str(folder / "bin" / "python")
        if not os.path.exists(self.python):
            venv.EnvBuilder(symlinks=True, with_pip=True).create(folder)
        # What is tested is what is installed where this is run from.
        (site,) = (folder / "lib").glob("python*/site-packages")
        shutil.rmtree(site / "altsem", ignore_errors=True)
        shutil.copytree(Path(sysconfig.get_path("purelib"), "altsem"), site / "altsem")

    def install(self, packages: tuple[str, ...]) -> str:
        """What pip says last if it cannot, "" if it can."""
        if not packages:
            return ""
        words = [self.python, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
        try:
            done = subprocess.run(
                [*words, *packages], capture_output=True, text=True, timeout=INSTALL
            )
        except subprocess.TimeoutExpired:
            return "takes too long"
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        return (errors or ["pip fails"])[-1] if done.returncode else ""

    def altsem(self, *words: str) -> None:
        subprocess.run([self.python, "-m", "altsem", *words], check=True, capture_output=True)

    def outcome(self, client: Client, *before: str) -> str:
        """ "works", or the last line that it says."""
        program = str(HERE / "programs" / client.words[0])
        words = [str(BED), client.bed, self.python, *before, program, *client.words[1:]]
        with tempfile.TemporaryDirectory(prefix="client-") as folder:
            env = {**os.environ, "TMPDIR": folder, "PYTHONDONTWRITEBYTECODE": "1"}
            process = subprocess.Popen(
                words,
                env=env,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            try:
                out, errors = process.communicate(timeout=LIMIT)
            except subprocess.TimeoutExpired:
                out, errors = "", "hangs"
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # also what it has left
                process.wait()
        if process.returncode == 0 and out.endswith("ok\n"):
            return "works"
        lines = [line.strip() for line in errors.splitlines() if "Error" in line or "hangs" in line]
        last = (lines or errors.strip().splitlines() or [f"status {process.returncode}"])[-1]
        return f"fails: {last[:120]}"


def main() -> int:
    """Tries those that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m clients")
    parser.add_argument("--only", action="append", metavar="NAME", help="this package only")
    parser.add_argument("--quick", action="store_true", help="those of QUICK, and no page")
    arguments = parser.parse_args()
    only, quick = arguments.only, arguments.quick
    rows, bad = [], 0
    place = Place(Path(sys.prefix + "-clients"))
    for client in QUICK if quick else CLIENTS:
        if only and client.name not in only:
            continue
        missing = place.install(client.packages)
        if missing:
            row = [missing[:120], "not tried", "not tried"]
        else:
            row = ["not tried" if quick else place.outcome(client)]
            row += [place.outcome(client, "-m", "altsem", "run")]
            place.altsem("enable")
            try:
                tried = not (quick and client.enabled)
                row.append(place.outcome(client) if tried else "not tried")
            finally:
                place.altsem("disable")
        good = row[1] == "works" and (row[2] == "works" or client.enabled)
        bad += not good
        rows.append((client, row))
        print(f"{client.name}: {client.what}: {' | '.join(row)}", flush=True)
    if not only and not quick:
        PAGE.write_text(page(rows))
        print(f"wrote {PAGE}")
    print(f"{len(rows) - bad} passed, {bad} failed")
    return 1 if bad else 0


def page(rows: list[tuple[Client, list[str]]]) -> str:
    """The document."""
    version = ".".join(map(str, sys.version_info[:3]))
    lines = [
        "# Programs that were tried",
        "",
        f"Made by `make clients`, with CPython {version} and the newest versions of the packages.",
        "The packages are unmodified; each is used, by a short program of",
        "[tests/clients/programs](../tests/clients/programs), for what goes to other processes.",
        "`/dev/shm` is gone, unless the row says otherwise.",
        "",
        "| program | what it does | natively | under `run` | after `enable` |",
        "|---|---|---|---|---|",
    ]
    for client, row in rows:
        said = [cell.replace("|", "\\|") for cell in row]
        if client.enabled and row[2] != "works":
            said[2] = f"fails: {client.enabled}"
        lines.append(f"| {client.name} | {client.what} | {' | '.join(said)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
