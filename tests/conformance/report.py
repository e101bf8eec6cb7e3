"""CPython's own test-suite of multiprocessing over altsem, and docs/conformance.md from it.

report.py [--jobs N] [--out FILE] [PYTHON...]

Each PYTHON is a command, which may have words before the interpreter ("chroot DIR python3.14"),
and must have the `test` package.  Default: the one that runs this.  The binary of altsem is the one
built for this interpreter; it serves every CPython from 3.10 on that has a GIL.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import altsem

HERE = Path(__file__).resolve().parent
BED = HERE.parent / "beds" / "shm"
LIMIT = 1500.0

METHODS = ["fork", "spawn", "forkserver"]
FUTURES = "test.test_concurrent_futures"
RUN = ["-m", "altsem", "run"]
GONE = [str(BED), "gone"]
# What is compared: (title, words before the interpreter, words after it, ALTSEM, what is run).
CONFIGURATIONS = {
    "unmodified": ([], [], "0", [*METHODS, FUTURES]),
    "run --force": ([], [*RUN, "--force"], "", [*METHODS, FUTURES]),
    "run --force, no /dev/shm": (GONE, [*RUN, "--force"], "", [*METHODS, FUTURES]),
    "run": ([], RUN, "", [*METHODS, FUTURES]),
    "run, no /dev/shm": (GONE, RUN, "", [*METHODS, FUTURES]),
    "enabled, no /dev/shm": (GONE, [], "", [*METHODS, FUTURES]),
    "contexts": ([], [], "0", [f"altsem-{method}" for method in METHODS]),
}

# Failures that have an explanation; whatever is not here is a defect.
EXPLAINED = {
    "TestFlags.test_flags": (
        "it starts `python -E -S`, an interpreter that reads neither the environment nor "
        "site-packages: nothing can reach it. With `/dev/shm` present it passes."
    ),
    "ForkInThreads.test_forkpty": (
        "the place without `/dev/shm` has no pseudo-terminals: `os.forkpty()` fails there in any "
        "program, altsem or not."
    ),
}


@dataclass
class Outcome:
    python: str
    configuration: str
    what: str
    status: str  # "" if it ran to its end
    seconds: float
    tests: list[tuple[str, str, str, float]]

    def count(self, outcome: str) -> int:
        return len({name for name, found, _, _ in self.tests if found == outcome})

    @property
    def run(self) -> int:
        return len({name for name, _, _, _ in self.tests})


class Python:
    """An interpreter with altsem in a virtual environment of its own, enabled there."""

    def __init__(self, command: str, folder: Path) -> None:
        *self.before, executable = shlex.split(command)
        code = "import platform; print(platform.python_implementation(), platform.python_version())"
        self.name = self._output(executable, "-c", code).strip()
        self._output(executable, "-m", "venv", "--without-pip", str(folder))
        self.executable = str(folder / "bin" / "python")
        (site,) = (folder / "lib").glob("python*/site-packages")
        shutil.copytree(Path(altsem.__file__).parent, site / "altsem")
        # For the interpreters that the suite starts with -E or -I.
        self._output(self.executable, "-m", "altsem", "enable", "--site", str(site))

    def _output(self, *words: str) -> str:
        return subprocess.run(
            [*self.before, *words], check=True, stdout=subprocess.PIPE, text=True, timeout=120
        ).stdout

    def run(self, configuration: str, what: str, folder: Path) -> Outcome:
        before, after, mode, _ = CONFIGURATIONS[configuration]
        folder.mkdir(parents=True)
        # Short: it is in the paths of sockets.
        temporary = Path(tempfile.mkdtemp(prefix="c"))
        environment = {**os.environ, "TMPDIR": str(temporary)}
        environment.pop("ALTSEM", None)
        if mode:
            environment["ALTSEM"] = mode
        result = folder / "result.json"
        words = [*before, *self.before, self.executable, *after, str(HERE / "run_module.py")]
        status = ""
        with open(folder / "log", "w") as log:
            try:
                done = subprocess.run(
                    ["timeout", "--kill-after=10", str(LIMIT), *words, str(result), what],
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        if done.returncode:
            status = f"ended with status {done.returncode}"
        data = json.loads(result.read_text()) if result.exists() else {"seconds": 0, "outcomes": []}
        if not data["outcomes"]:
            status = status or "ran no test"
        return Outcome(self.name, configuration, what, status, data["seconds"], data["outcomes"])


def short(name: str) -> str:
    return ".".join(name.split(".")[-2:])


def explained(name: str) -> str:
    return next((text for key, text in EXPLAINED.items() if name.endswith(key)), "")


def unexplained(outcomes: list[Outcome]) -> list[str]:
    """Failures that the unmodified interpreter does not have, and runs that did not end."""
    native = {
        (o.python, short(name))
        for o in outcomes
        if o.configuration == "unmodified"
        for name, outcome, _, _ in o.tests
        if outcome == "failed"
    }
    found = [f"{o.python}, {o.configuration}, {o.what}: {o.status}" for o in outcomes if o.status]
    for o in outcomes:
        for name, outcome, _, _ in o.tests:
            new = outcome == "failed" and o.configuration != "unmodified"
            if new and (o.python, short(name)) not in native and not explained(name):
                found.append(f"{o.python}, {o.configuration}, {o.what}: {name}")
    return found


def report(outcomes: list[Outcome]) -> str:
    lines = [
        "# Conformance: CPython's own test-suite over altsem",
        "",
        "Made by `make conformance`, which takes a while. What runs is",
        "`test._test_multiprocessing` for each start method and `test.test_concurrent_futures`:",
        "",
        "- *unmodified*: the interpreter as it is, on a healthy machine, for comparison;",
        "- *run --force*: under `python -m altsem run --force`;",
        "- *run*: the same without `--force`, so that what works here is left in place;",
        "- *enabled*: as it is, after `python -m altsem enable`;",
        "- *no /dev/shm*: each of them where there is none (`tests/beds/shm gone`);",
        '- *contexts*: no drop-in, but `multiprocessing.set_start_method("altsem-…")`.',
        "",
        "altsem is enabled in the virtual environment of all of them but the first and the last,",
        "because the suite starts interpreters with `-E` and `-I`, which ignore the environment.",
        "Several runs share the machine, so the seconds are no benchmark.",
    ]
    for python in dict.fromkeys(o.python for o in outcomes):
        lines += [
            "",
            f"## {python}",
            "",
            "| configuration | tests | run | failed | skipped | seconds |",
            "|---|---|---:|---:|---:|---:|",
        ]
        for o in outcomes:
            if o.python == python:
                seconds = o.status or f"{o.seconds:.0f}"
                lines.append(
                    f"| {o.configuration} | {o.what} | {o.run} | {o.count('failed')} | "
                    f"{o.count('skipped')} | {seconds} |"
                )
    lines += ["", "## Failures", ""]
    failures: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for o in outcomes:
        for name, outcome, _, _ in o.tests:
            if outcome == "failed":
                failures[o.python, o.configuration, short(name)].append(o.what)
    for (python, configuration, name), whats in failures.items():
        why = explained(name) or "**not explained**"
        lines.append(f"- {python}, {configuration}, {', '.join(whats)}: `{name}`: {why}")
    if not failures:
        lines.append("None.")
    lines += ["", "## Skipped tests, by reason", ""]
    lines.append("Each is skipped by the suite itself. In brackets: in how many of the runs above.")
    reasons: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for o in outcomes:
        for name, outcome, reason, _ in o.tests:
            if outcome == "skipped":
                reasons[" ".join(reason.split())][short(name)] += 1
    for reason, tests in sorted(reasons.items()):
        lines += ["", f"**{reason}**", ""]
        lines += [f"- `{name}` ({count})" for name, count in sorted(tests.items())]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="CPython's own suite over altsem")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=HERE.parent.parent / "docs" / "conformance.md")
    parser.add_argument("--logs", type=Path, help="keep the logs in this new directory")
    parser.add_argument("pythons", nargs="*", default=[sys.executable])
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="conformance"))
    outcomes: list[Outcome] = []
    try:
        logs = arguments.logs or folder / "logs"
        pythons = [Python(p, folder / f"p{i}") for i, p in enumerate(arguments.pythons)]
        tasks = [
            (python, configuration, what)
            for python in pythons
            for configuration, (_, _, _, whats) in CONFIGURATIONS.items()
            for what in whats
        ]

        def one(number: int) -> Outcome:
            python, configuration, what = tasks[number]
            outcome = python.run(configuration, what, logs / str(number))
            print(
                f"{time.strftime('%H:%M:%S')} {python.name}, {configuration}, {what}: "
                f"{outcome.run} run, {outcome.count('failed')} failed {outcome.status}",
                flush=True,
            )
            return outcome

        with ThreadPoolExecutor(arguments.jobs) as executor:
            outcomes = list(executor.map(one, range(len(tasks))))
        arguments.out.write_text(report(outcomes))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    new = unexplained(outcomes)
    print("\n".join(["not explained:", *new] if new else ["every failure is explained"]))
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
