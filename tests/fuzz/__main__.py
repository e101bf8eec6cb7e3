"""Feeds the core what strangers could: headers of segments, slots, names, files with names.

Each target is run on its corpus (tests/fuzz/corpus), then on what is derived from that, with
AddressSanitizer and UndefinedBehaviorSanitizer.  By libFuzzer where clang has it, which looks for
inputs that reach new code; else by a small driver that mutates blindly.  With --planted it runs on
copies of the C with a fault in each, which has to be found.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fuzz.faults import FAULTS

HERE = Path(__file__).resolve().parent
CSRC = HERE.parents[1] / "csrc"
APART = ("binding", "preload")  # no part of the core
TARGETS = ("segment", "slot", "name", "file")
FLAGS = ("-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-DALTSEM_TEST_BUILD")
SANITIZE = "address,undefined"
FATAL = ("-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer")
# A target asks for little memory: to be made to ask for more is a fault.
LIMITS = ("-timeout=10", "-rss_limit_mb=2048", "-malloc_limit_mb=64", "-print_final_stats=0")


class Fuzzer:
    def __init__(self, work: Path, blind: bool) -> None:
        self.work = work
        self.clang = None if blind else self._clang()

    def _clang(self) -> str | None:
        """If it has libFuzzer, which Debian ships apart."""
        clang = shutil.which("clang")
        if clang is None:
            return None
        source = self.work / "try.c"
        source.write_text(
            "int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n);\n"
            "int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n)\n"
            "{ return (void)d, (void)n, 0; }\n"
        )
        command = [
            clang,
            f"-fsanitize=fuzzer,{SANITIZE}",
            str(source),
            "-o",
            str(self.work / "try"),
        ]
        return clang if subprocess.run(command, capture_output=True).returncode == 0 else None

    @property
    def name(self) -> str:
        return "libFuzzer" if self.clang else "the blind driver"

    def build(self, target: str, csrc: Path) -> Path:
        """The core is compiled once."""
        place = self.work / f"objects-{csrc.parent.name}"
        program = place / target
        if program.exists():
            return program
        own, everywhere = [str(HERE / f"{target}.c")], [f"-fsanitize={SANITIZE}", *FATAL, *FLAGS]
        link, compiler = [], self.clang or "gcc"
        if self.clang:
            everywhere[0] = f"-fsanitize=fuzzer-no-link,{SANITIZE}"
            link = ["-fsanitize=fuzzer"]
        else:
            own.append(str(HERE / "driver.c"))
        if not place.exists():
            place.mkdir()
            sources = [str(p) for p in sorted(csrc.glob("*/*.c")) if p.parent.name not in APART]
            command = [compiler, *everywhere, f"-I{csrc}", "-c", *sources]
            subprocess.run(command, check=True, cwd=place)
        objects = [str(p) for p in sorted(place.glob("*.o"))]
        includes = [f"-I{csrc}", f"-I{HERE}"]
        command = [compiler, *everywhere, *link, *includes, "-o", str(program), *own, *objects]
        subprocess.run(command, check=True)
        return program

    def run(self, target: str, seconds: float, csrc: Path, backend: str) -> tuple[bool, str]:
        """Whether nothing was found, and what was said."""
        program = self.build(target, csrc)
        corpus = HERE / "corpus" / target
        place = self._place(target, csrc, backend)
        found = place / "found"
        found.mkdir(parents=True)
        if self.clang:
            limits = [*LIMITS, f"-max_total_time={max(1, round(seconds))}"]
            command = [str(program), *limits, str(found), str(corpus)]
        else:
            command = [str(program), str(seconds), *map(str, sorted(corpus.iterdir()))]
        done = subprocess.run(
            command,
            cwd=place,
            env={
                **os.environ,
                "ALTSEM_BACKEND": backend,
                "ASAN_OPTIONS": "detect_leaks=0:max_allocation_size_mb=64",
                "UBSAN_OPTIONS": "print_stacktrace=1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        return done.returncode == 0, done.stdout

    def _place(self, target: str, csrc: Path, backend: str) -> Path:
        return self.work / f"{target}-{csrc.parent.name}-{backend}"

    def keep(self, target: str) -> None:
        """Takes into the corpus what reaches code that the corpus does not reach yet."""
        program = self.build(target, CSRC)
        found = [str(path / "found") for path in self.work.glob(f"{target}-*")]
        corpus = HERE / "corpus" / target
        subprocess.run([str(program), "-merge=1", str(corpus), *found], check=True)


def sound(fuzzer: Fuzzer, targets: list[str], seconds: float, keep: bool) -> bool:
    good = True
    for target in targets:
        for backend in ("futex", "filelock"):
            begun = time.monotonic()
            well, said = fuzzer.run(target, seconds / len(targets) / 2, CSRC, backend)
            good &= well
            lines = said.strip().splitlines()
            print("\n".join(lines[-1:] if well else lines[-60:]))
            if not well:
                print(crash(fuzzer._place(target, CSRC, backend)))
            took = time.monotonic() - begun
            verdict = "nothing found" if well else "FOUND SOMETHING"
            print(f"{target}, {backend}: {verdict}, {took:.0f} s", flush=True)
        if keep and good:
            fuzzer.keep(target)
    return good


def crash(place: Path) -> str:
    inputs = [p for p in place.iterdir() if p.name.startswith(("crash-", "timeout-", "oom-"))]
    return "\n".join(f"the input, in hex: {path.read_bytes().hex()}" for path in inputs)


def planted(fuzzer: Fuzzer, targets: list[str], seconds: float) -> bool:
    good = True
    for number, fault in enumerate(fault for fault in FAULTS if fault.step in targets):
        begun = time.monotonic()
        root = fuzzer.work / f"planted{number}"
        shutil.copytree(CSRC, root / "csrc")
        fault.plant(root)
        well, said = fuzzer.run(fault.step, seconds, root / "csrc", fault.only or "futex")
        noticed = not well and fault.said in said
        good &= noticed
        if not noticed:
            print(said[-3000:])
        took = time.monotonic() - begun
        verdict = "found" if noticed else "NOT FOUND"
        print(f"{fault.step}: {fault.what}: {verdict}, {took:.0f} s", flush=True)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz ARGS=...", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; all if none is named")
    parser.add_argument("--seconds", type=float, default=600, help="for all of them (600)")
    parser.add_argument(
        "--blind", action="store_true", help="not by libFuzzer, even if it is there"
    )
    parser.add_argument("--keep", action="store_true", help="take new inputs into the corpus")
    parser.add_argument("--planted", action="store_true", help="on C with faults in it")
    options = parser.parse_args()
    targets = options.targets or list(TARGETS)
    if not set(targets) <= set(TARGETS):
        parser.error(f"targets are {', '.join(TARGETS)}")
    with tempfile.TemporaryDirectory() as work:
        fuzzer = Fuzzer(Path(work), options.blind)
        print(f"by {fuzzer.name}", flush=True)
        if options.planted:
            return not planted(fuzzer, targets, min(options.seconds, 20))
        return not sound(fuzzer, targets, options.seconds, options.keep)


sys.exit(main())
