"""Runs the C with the compiler's sanitizers in it: each report is an error.

The core under AddressSanitizer and UndefinedBehaviorSanitizer, by the tests of tests/core; threads
of one process under ThreadSanitizer (threads.c); the extension under AddressSanitizer and
UndefinedBehaviorSanitizer, by tests of the primitives.  With --planted the same on copies of the
sources with one fault in each, which has to be reported: it shows that the sanitizers are awake.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sanitize.faults import FAULTS, Fault

ROOT = Path(__file__).resolve().parents[2]
COPIED = (
    "csrc",
    "src",
    "tests",
    "setup.py",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "MANIFEST.in",
)
BACKENDS = ("futex", "sysv", "filelock")
LIMIT = 600.0  # s, for a step: far beyond what it takes, only to turn a hang into a failure

APART = ("binding", "preload")  # no part of the core
WARNINGS = ("-Wall", "-Wextra", "-Werror")
# A report ends the process; what is found in a child is found in its file all the same.
ADDRESS = (
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=undefined",
    "-fno-omit-frame-pointer",
)
# Fences are not understood: those of wait/sysv.c order nothing but atomics.
THREAD = ("-fsanitize=thread", "-Wno-tsan")

CORE_TESTS = (
    "test_barrier", "test_cond", "test_event", "test_lock", "test_name", "test_segment",
    "test_sem", "test_slot",
)  # fmt: skip
# With --all.  Not those that have the core compiled anew without sanitizers, that go through it by
# single instructions, or that search models of it.
MORE_TESTS = (
    "test_fair", "test_fork", "test_fork_kinds", "test_header", "test_hostile", "test_judge",
    "test_owner", "test_robust", "test_stress", "test_wait", "test_wait_filelock", "test_wait_sysv",
)  # fmt: skip
EXTENSION_TESTS = (
    "primitives/test_errors.py", "primitives/test_init_again.py", "primitives/test_interpreters.py",
    "primitives/test_semlock.py", "primitives/test_synchronize.py", "primitives/test_threads.py",
    "primitives/test_with.py", "contexts/test_lost.py",
)  # fmt: skip
# They limit the memory of a process, of which a sanitizer takes terabytes; look at all mappings;
# have a library of their own stand in front of the libc.
NOT_HERE = """half_way or hundred_thousand or no_memory or few_mappings or address_ranges or
another_thread_takes or handler_may_fork or returns_from_such or cannot_be_noticed or
forked_at_the_end""".replace("\n", " ")


# Long, and for what they find not alone: with --all only.
LONG = "every_short_sequence or thousand_names or who_would_create or has_a_bound or last_one_is"


class Step:
    """The sources below `root`, built and run in `work`; returns whether nothing was reported."""

    def __init__(self, root: Path, work: Path, only: str = "", more: bool = False) -> None:
        self.root, self.work, self.only, self.more = root, work, only, more
        self.output = ""

    def run(self, command: list[str], env: dict[str, str] | None = None) -> bool:
        done = subprocess.run(
            command,
            cwd=self.root,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=LIMIT,
        )
        self.output += done.stdout
        return done.returncode == 0

    def reports(self) -> list[Path]:
        return sorted(self.work.glob("report*"))

    def good(self, well: bool) -> bool:
        for report in self.reports():
            self.output += report.read_text(errors="replace")
        return well and not self.reports()

    def pytest(self, tests: list[str], env: dict[str, str]) -> bool:
        """With the sanitizer's library in front of an interpreter that was built without it."""
        # UndefinedBehaviorSanitizer writes to the standard error all the same: not captured.
        log = f"log_path={self.work}/report"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-s",
            "--durations=15",
            *tests,
        ]
        left_out = NOT_HERE if self.more else f"{NOT_HERE} or {LONG} or spawn or forkserver"
        command += ["-k", self.only or f"not ({left_out})"]
        return self.run(
            command,
            {
                # So that what an object of Python's holds is memory by itself.
                "PYTHONMALLOC": "malloc",
                "LD_PRELOAD": library("libasan.so"),
                # Python leaves much to the end of the process.
                "ASAN_OPTIONS": f"detect_leaks=0:allocator_may_return_null=1:{log}",
                "UBSAN_OPTIONS": f"print_stacktrace=1:{log}",
                **env,
            },
        )

    def core(self) -> bool:
        build = (
            "from pathlib import Path; from core.conftest import build;"
            f"print(build(Path({str(self.work)!r})))"
        )
        flags = {"CFLAGS": " ".join(("-g", *ADDRESS)), "LDFLAGS": ADDRESS[0]}
        if not self.run([sys.executable, "-c", build], {**flags, "PYTHONPATH": "tests"}):
            return False
        built = self.output.split()[-1]
        names = (*CORE_TESTS, *(MORE_TESTS if self.more else ()))
        tests = [f"tests/core/{name}.py" for name in names]
        tests = [path for path in tests if (self.root / path).exists()]
        return self.good(self.pytest(tests, {"ALTSEM_TEST_CORE": built}))

    def threads(self) -> bool:
        program = self.work / "threads"
        sources = [
            str(p) for p in sorted(self.root.glob("csrc/*/*.c")) if p.parent.name not in APART
        ]
        command = [compiler(), "-std=c11", "-O1", "-g", *WARNINGS, *THREAD, "-pthread"]
        command += ["-DALTSEM_TEST_BUILD", "-Icsrc", "-o", str(program)]
        if not self.run([*command, "tests/sanitize/threads.c", *sources]):
            return False
        for backend in [self.only] if self.only in BACKENDS else BACKENDS:
            env = {
                "ALTSEM_BACKEND": backend,
                "ALTSEM_DIR": str(self.work),
                "TSAN_OPTIONS": "halt_on_error=1",
            }
            if not self.run([str(program), "6"], env):
                return False
        return True

    def extension(self) -> bool:
        place, build = self.work / "place", self.work / "build"
        build.mkdir()
        config = self.work / "config"
        config.write_text(f"[build]\nbuild_base = {build}\n[egg_info]\negg_base = {build}\n")
        flags = {"CFLAGS": " ".join(("-g", *ADDRESS)), "LDFLAGS": ADDRESS[0]}
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        pip += ["--no-build-isolation", "--no-deps", "--target", str(place), "."]
        if not self.run(pip, {**flags, "DIST_EXTRA_CONFIG": str(config)}):
            return False
        tests = [f"tests/{path}" for path in EXTENSION_TESTS]
        tests = [path for path in tests if (self.root / path).exists()]
        return self.good(self.pytest(tests, {"PYTHONPATH": str(place)}))


STEPS: dict[str, Callable[[Step], bool]] = {
    "core": Step.core,
    "threads": Step.threads,
    "extension": Step.extension,
}


def compiler() -> str:
    return os.environ.get("CC") or shutil.which("gcc") or "cc"


def library(name: str) -> str:
    command = [compiler(), f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def sound(names: list[str], more: bool, say: bool) -> bool:
    good = True
    for name in names:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as work:
            step = Step(ROOT, Path(work), more=more)
            well = STEPS[name](step)
        good &= well
        lines = step.output.strip().splitlines()
        print("\n".join(lines if say or not well else lines[-3:]))
        print(f"{name}: {'nothing reported' if well else 'FAILED'}, {since(begun)}", flush=True)
    return good


def planted(faults: list[Fault], say: bool) -> bool:
    good = True
    for fault in faults:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as work:
            root = Path(work) / "root"
            root.mkdir()
            for name in COPIED:
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                copy(ROOT / name, root / name)
            fault.plant(root)
            step = Step(root, Path(work), fault.only, more=True)
            well = STEPS[fault.step](step)
        noticed = not well and fault.said in step.output
        good &= noticed
        if say or not noticed:
            print(step.output)
        verdict = "reported" if noticed else "NOT REPORTED"
        print(f"{fault.step}: {fault.what}: {verdict}, {since(begun)}", flush=True)
    return good


def since(begun: float) -> str:
    return f"{time.monotonic() - begun:.0f} s"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make sanitize ARGS=...", description=__doc__)
    parser.add_argument("steps", nargs="*", help=f"of {', '.join(STEPS)}; all if none is named")
    parser.add_argument("--planted", action="store_true", help="on sources with faults in them")
    parser.add_argument("--all", action="store_true", help="more of the tests of the core")
    parser.add_argument("--say", action="store_true", help="print what the tests print")
    options = parser.parse_args()
    names = options.steps or list(STEPS)
    if not set(names) <= set(STEPS):
        parser.error(f"steps are {', '.join(STEPS)}")
    if options.planted:
        return not planted([fault for fault in FAULTS if fault.step in names], options.say)
    return not sound(names, options.all, options.say)


sys.exit(main())
