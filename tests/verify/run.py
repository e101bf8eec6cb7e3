"""Runs scenarios of a built explorer."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Scenario:
    name: str
    primitive: str
    threads: int
    late: bool  # only in the longer run
    what: str


@dataclass(frozen=True)
class Outcome:
    scenario: Scenario
    status: int
    said: str

    @property
    def sound(self) -> bool:
        return self.status == 0

    def number(self, name: str) -> float:
        found = re.search(rf"\b{name} ([\d.]+)", self.said)
        assert found is not None, self.said
        return float(found.group(1))

    @property
    def violation(self) -> str:
        """What is wrong, in words."""
        found = re.search(r"VIOLATION (.*) \(after (\d+) steps", self.said)
        return found.group(1) if found else f"ended with {self.status}: {self.said}"

    @property
    def length(self) -> int:
        found = re.search(r"\(after (\d+) steps", self.said)
        return int(found.group(1)) if found else 0


def scenarios(program: Path) -> list[Scenario]:
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    lines = (line.split("\t") for line in done.stdout.splitlines())
    return [Scenario(n, p, int(threads), late == "1", what) for n, p, threads, late, what in lines]


def explore(program: Path, scenario: Scenario, *options: str, limit: float = 900) -> Outcome:
    command = [str(program), scenario.name, *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return Outcome(scenario, -1, f"did not end within {limit} s")
    return Outcome(scenario, done.returncode, done.stdout + done.stderr)


def at_once(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """As many as there are CPUs."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(work, items))
