"""Uses all primitives in many processes that are killed, stopped and terminated, beside others that
run out of descriptors, memory and directories, are denied system calls, fork from threads, call
exec, or remove SysV sets: with each backend.  Nothing may be lost, stuck or left.

What a killed worker held: robust locks are inherited, and whoever inherits mends; a lock that is
not robust, and tokens, are given back by hand.  What each does is written down in plain memory, and
at each look everything is added up again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from stress.faults import FAULTS
from stress.supervisor import KINDS, Round

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
BACKENDS = ("futex", "sysv", "filelock")
COUNTED = ("operations", "killed", "stopped", "terminated", "troubles", "inherited",
           "released by hand", "audits", *KINDS)  # fmt: skip


def build(root: Path, work: Path) -> Path:
    """The extension of other sources; returns where it is to be imported from."""
    (work / "build").mkdir()
    (work / "config").write_text(
        f"[build]\nbuild_base = {work}/build\n[egg_info]\negg_base = {work}/build\n"
    )
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    pip += ["--no-build-isolation", "--no-deps", "--target", str(work / "place"), "."]
    env = {**os.environ, "DIST_EXTRA_CONFIG": str(work / "config")}
    subprocess.run(pip, cwd=root, env=env, check=True)
    return work / "place"


def planted(seconds: float) -> bool:
    good = True
    for fault in FAULTS:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as name:
            work, root = Path(name), Path(name) / "root"
            root.mkdir()
            for part in ("csrc", "src", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
                copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
                copy(ROOT / part, root / part)
            fault.plant(root)
            place = build(root, work)
            count, said = one(fault.only, seconds, 10**12, place)
        noticed = any(count[kind] for kind in KINDS)
        good &= noticed
        verdict = f"noticed ({said[0]})" if noticed else "NOT NOTICED"
        print(f"{fault.what}: {verdict}, {time.monotonic() - begun:.0f} s", flush=True)
    return good


def inside(backend: str, seconds: float, operations: int) -> int:
    work = Round(backend)
    work.run(seconds, operations)
    print(json.dumps(work.report()))
    return 0


def one(
    backend: str, seconds: float, operations: int, place: Path | None = None
) -> tuple[Counter[str], list[str]]:
    path = os.pathsep.join([*([str(place)] if place else []), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-m", "stress", "--inside", backend, f"--seconds={seconds}",
         f"--operations={operations}"],
        env={
            **os.environ,
            "ALTSEM_BACKEND": backend,
            "PYTHONPATH": path,
            "ALTSEM_TEST_PATIENCE": "10" if place else "60",
        },
        stderr=subprocess.DEVNULL if place else None,
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        report = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return Counter(lost=1), [f"the round ended with status {done.returncode}: {done.stdout}"]
    return Counter(report["count"]), report["said"]


def page(rows: dict[str, Counter[str]], seconds: float) -> str:
    text = PAGE.read_text()
    mark = "<!-- table: python -m stress --page -->\n"
    head, _, rest = text.partition(mark)
    _, _, rest = rest.partition("\n\n")
    total: Counter[str] = sum(rows.values(), Counter())
    names = [*rows, "all"]
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    for what in COUNTED:
        cells = [f"{count[what]:,}" for count in (*rows.values(), total)]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    when = time.strftime("%Y-%m-%d")
    lines.append(
        f"\n{when}: {seconds:.0f} s, {os.cpu_count()} CPUs, "
        f"Linux {platform.release().split('-')[0]}, CPython {platform.python_version()}."
    )
    return f"{head}{mark}{chr(10).join(lines)}\n\n{rest.lstrip()}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make stress ARGS=...", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="for all backends (300)")
    parser.add_argument("--operations", type=int, default=10**12, help="end after so many")
    parser.add_argument("--backend", choices=BACKENDS, help="only this one")
    parser.add_argument(
        "--page", action="store_true", help="write the table of docs/reliability.md"
    )
    parser.add_argument("--planted", action="store_true", help="with faults in the C")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        return inside(options.inside, options.seconds, options.operations)
    if options.planted:
        return not planted(min(options.seconds, 8))
    backends = [options.backend] if options.backend else list(BACKENDS)
    rows: dict[str, Counter[str]] = {}
    begun = time.monotonic()
    for backend in backends:
        share = len(backends)
        rows[backend], said = one(backend, options.seconds / share, options.operations // share)
        counted = ", ".join(f"{what} {rows[backend][what]:,}" for what in COUNTED)
        print(f"{backend}: {counted}", flush=True)
        print("".join(f"  {line}\n" for line in said), end="", flush=True)
    good = not any(count[fault] for count in rows.values() for fault in KINDS)
    if options.page and good:
        PAGE.write_text(page(rows, time.monotonic() - begun))
    print(
        f"{'nothing lost, stuck or left' if good else 'FAILED'}, {time.monotonic() - begun:.0f} s"
    )
    return not good


sys.exit(main())
