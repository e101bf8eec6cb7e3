"""What is known of the patient: the facts, and what the trials answered.

A test makes one by hand: another machine, canned answers.
"""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .shm import Shm, look
from .surroundings import Confinement, Surrounding, confinement, recognise
from .trial import Answer, of

if TYPE_CHECKING:
    from .machine import Machine


@dataclass
class Patient:
    """`answers`: by the name of the trial, see trials.py."""

    machine: Machine
    shm: Shm
    surroundings: list[Surrounding]
    confinement: Confinement
    answers: dict[str, Answer] = field(default_factory=dict)
    uid: int = field(default_factory=os.geteuid)
    groups: set[int] = field(default_factory=lambda: {os.getegid(), *os.getgroups()})
    libc: str = field(default_factory=lambda: " ".join(platform.libc_ver()).strip())
    python: tuple[int, ...] = sys.version_info[:3]

    def answer(self, trial: str) -> Answer:
        """What a trial answered; an answer that says so if it was not made."""
        return self.answers.get(trial) or Answer(error="not tried")

    def native(self, thing: str) -> Answer:
        """What programs/native.py said of a thing."""
        whole = self.answer("native")
        if not whole.ok:
            return whole
        parts: dict[str, Any] = whole.value
        return of(parts.get(thing, {"error": "not told"}))

    def backends(self) -> list[str]:
        """The names of altsem's backends, in its order."""
        return names_of("backend", self.answers)

    def methods(self) -> list[str]:
        """The start methods that were tried."""
        return names_of("altsem", self.answers)

    def directories(self) -> list[str]:
        return names_of("directory", self.answers)

    def may_write_shm(self) -> bool:
        """Whether the mode of /dev/shm lets this user make files in it."""
        return self.confinement.above_modes or self.shm.lets(self.uid, self.groups)

    def within(self, *names: str) -> bool:
        """Whether one of these surroundings was recognised."""
        return any(one.name in names for one in self.surroundings)


def names_of(kind: str, answers: dict[str, Answer]) -> list[str]:
    """Of the trials called `kind NAME`, the names."""
    return [name.partition(" ")[2] for name in answers if name.startswith(f"{kind} ")]


def examine(machine: Machine) -> Patient:
    """The facts, without any answers yet."""
    return Patient(machine, look(machine), recognise(machine), confinement(machine))
