"""The verdict: what works, why not, what helps, what altsem will do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .causes import Cause, explain
from .remedies import Remedy, remedies

if TYPE_CHECKING:
    from .patient import Patient
    from .trial import Answer


@dataclass(frozen=True)
class Verdict:
    """`native`, `altsem`: whether multiprocessing works without and with altsem.  `error` is what
    the user sees natively, `cause` why."""

    native: bool
    altsem: bool
    error: str | None
    cause: Cause | None
    remedies: list[tuple[str, Remedy]]
    backend: str | None  # that altsem will take
    memory: str | None  # where it keeps its locks
    trouble: str | None  # what is in altsem's way
    silent: bool  # it is no more than that altsem did not answer in time
    package: str

    @property
    def status(self) -> int:
        """The exit status: 0 native works, 1 altsem does, 2 neither."""
        return 0 if self.native else 1 if self.altsem else 2

    def summary(self) -> str:
        if self.native:
            return "native multiprocessing works"
        unheard = self.cause is not None and self.cause.name == "silent"
        native = "did not answer in time" if unheard else "is broken"
        altsem = (
            "altsem works"
            if self.altsem
            else "altsem did not answer in time"
            if self.silent
            else "and altsem does not work either"
        )
        return f"native multiprocessing {native}, {altsem}"

    def altsem_will(self) -> str:
        """What altsem does here, in a sentence."""
        if self.altsem:
            return (
                f"sleep in {self.backend} and keep its locks in memory from {self.memory}; "
                "it needs nothing in /dev/shm"
            )
        if self.silent:
            return f"do what could not be found out in this time (see --seconds): {self.trouble}"
        return f"raise OSError at the first lock: {self.trouble}"

    def how(self) -> list[str]:
        """What the user types for altsem."""
        if not self.altsem:
            return []
        return [
            f"python -m {self.package} run PROGRAM.py    # an unchanged program",
            f"python -m {self.package} enable            # all programs, in the build of an image",
            f'import {self.package}; multiprocessing.get_context("{self.package}")    # in code',
        ]

    def json(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "summary": self.summary(),
            "native": self.native,
            "error": self.error,
            "cause": self.cause.name if self.cause else None,
            "meaning": self.cause.text if self.cause else None,
            "remedies": [
                {"where": where, "text": remedy.text, "lines": list(remedy.lines)}
                for where, remedy in self.remedies
            ],
            "altsem": self.altsem,
            "altsem_will": self.altsem_will(),
            "backend": self.backend,
            "memory": self.memory,
            "how": self.how(),
        }


def failed(answer: Answer) -> bool:
    """It certainly does not work; silence is no answer."""
    return not answer.ok and not answer.silent


def decide(patient: Patient) -> Verdict:
    """Never raises."""
    methods = patient.methods()
    native = {method: patient.answer(f"native {method}") for method in methods}
    ours = {method: patient.answer(f"altsem {method}") for method in methods}
    semaphore = patient.native("semaphore")
    cause = explain(semaphore, patient)
    # A start method that fails either way has another trouble than semaphores.
    broken = next((m for m in methods if failed(native[m]) and ours[m].ok), None)
    useless = bool(methods) and all(map(failed, native.values()))
    native_works = cause is None and broken is None and not useless
    error = _native_error(patient, native[broken] if broken else None)
    if cause is None and broken is not None:
        cause = Cause("other", f"a semaphore can be made, but the start method {broken} fails")
    elif cause is None and useless:
        cause = Cause("other", "no start method works, with or without altsem")
    backend, memory = _choice(patient)
    altsem_works = backend is not None and any(not failed(a) for a in ours.values())
    return Verdict(
        native_works,
        altsem_works,
        None if native_works else error,
        None if native_works else cause,
        [] if native_works or cause is None else remedies(cause.name, patient),
        backend,
        memory,
        None if altsem_works else _trouble(patient, ours),
        not altsem_works and not _certain(patient, ours),
        __package__.rpartition(".")[0],
    )


def _native_error(patient: Patient, method: Answer | None) -> str | None:
    for thing in ("synchronize", "semaphore"):
        answer = patient.native(thing)
        if not answer.ok:
            return answer.error
    if method is not None:
        return method.error
    errors = (patient.answer(f"native {method}").error for method in patient.methods())
    return next(filter(None, errors), None)


def _choice(patient: Patient) -> tuple[str | None, str | None]:
    """The backend that altsem will take, and the source of its memory."""
    wanted = patient.machine.env.get("ALTSEM_BACKEND")
    for name in patient.backends():
        answer = patient.answer(f"backend {name}")
        if answer.ok and wanted in (None, "", name):
            return name, str(answer.value["memory"])
    return None, None


def _certain(patient: Patient, ours: dict[str, Answer]) -> bool:
    """Whether something of altsem's has really failed."""
    backends = [patient.answer(f"backend {name}") for name in patient.backends()]
    if failed(patient.answer("core")):
        return True
    # A backend that is refused matters only if no other one may yet answer.
    return any(map(failed, ours.values())) or (bool(backends) and all(map(failed, backends)))


def _trouble(patient: Patient, ours: dict[str, Answer]) -> str:
    core = patient.answer("core")
    if not core.ok:
        return f"its compiled core cannot be used: {core.error}"
    wanted = patient.machine.env.get("ALTSEM_BACKEND")
    if wanted and wanted not in patient.backends():
        return f"ALTSEM_BACKEND={wanted} names no backend"
    for name in patient.backends():
        answer = patient.answer(f"backend {name}")
        if not answer.ok and wanted in (None, "", name):
            return f"backend {name}: {answer.error}"
    return next((a.error for a in ours.values() if a.error), None) or "no reason was found"
