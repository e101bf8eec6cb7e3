"""The failures that people search for, by their text, and whether they can happen here.

Another known failure is one more entry.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..dropin import native

if TYPE_CHECKING:
    from collections.abc import Callable

    from .patient import Patient

HAPPENS, POSSIBLE, NO = "happens", "possible", "no"


@dataclass(frozen=True)
class Symptom:
    """`text`: what the user sees.  `why`: what is behind it, and what altsem does about it."""

    text: str
    why: str
    state: Callable[[Patient], str]


def _seen(number: int, *things: str) -> Callable[[Patient], str]:
    """It happens if a native trial ended with this errno."""

    def state(patient: Patient) -> str:
        seen = [patient.native(thing).errno for thing in (things or ("semaphore",))]
        return HAPPENS if number in seen else NO

    return state


def _lacks(*names: str) -> Callable[[Patient], str]:
    def state(patient: Patient) -> str:
        told = patient.answer("native").ok
        return HAPPENS if told and not all(patient.native(name).ok for name in names) else NO

    return state


def _wherever_native_works(patient: Patient) -> str:
    return POSSIBLE if patient.native("semaphore").ok else NO


def _since(*version: int) -> Callable[[Patient], str]:
    def state(patient: Patient) -> str:
        return _wherever_native_works(patient) if patient.python >= version else NO

    return state


def _full(patient: Patient) -> str:
    if patient.native("semaphore").errno == errno.ENOSPC:
        return HAPPENS
    # Without a limit it fills the memory instead.
    return _wherever_native_works(patient) if patient.shm.size or patient.shm.inodes else NO


def _killed(patient: Patient) -> str:
    things = ("semaphore", "value", "shared_memory")
    if any("SIGBUS" in (patient.native(thing).error or "") for thing in things):
        return HAPPENS
    return _full(patient)


def _small(patient: Patient) -> str:
    """Of tensors: how large they get is for the program to say."""
    if patient.shm.kind != "directory" or not patient.shm.size:
        return NO
    if _killed(patient) == HAPPENS:
        return HAPPENS
    return POSSIBLE if patient.shm.size < native.AMPLE else NO


def _from_c(patient: Patient) -> str:
    answer = patient.answer("names of C")
    return HAPPENS if answer.ok and answer.value["shm_open"].get("error") else NO


def _descriptors(patient: Patient) -> str:
    if patient.native("many").errno in (errno.EMFILE, errno.ENFILE):
        return HAPPENS
    return NO


SYMPTOMS: tuple[Symptom, ...] = (
    Symptom(
        "ImportError: cannot import name 'SemLock' from '_multiprocessing'",
        "the interpreter was built where sem_open did not work; `import altsem` supplies it",
        _lacks("semlock"),
    ),
    Symptom(
        "ImportError: This platform lacks a functioning sem_open implementation",
        "the interpreter was built where sem_open did not work; `import altsem` supplies it",
        _lacks("synchronize"),
    ),
    Symptom(
        "NotImplementedError: This Python build lacks multiprocessing.synchronize",
        "ProcessPoolExecutor found no SemLock, and remembers it; altsem withdraws the refusal",
        _lacks("executor"),
    ),
    Symptom(
        "OSError: [Errno 38] Function not implemented",
        "glibc before 2.34 found no tmpfs on /dev/shm (AWS Lambda, OpenVZ, WSL 1), or a system "
        "call is filtered",
        _seen(errno.ENOSYS),
    ),
    Symptom(
        "FileNotFoundError: [Errno 2] No such file or directory",
        "there is no /dev/shm (AWS Lambda, Apptainer/Singularity, a bare devtmpfs on /dev)",
        _seen(errno.ENOENT),
    ),
    Symptom(
        "PermissionError: [Errno 13] Permission denied",
        "/dev/shm is not of mode 1777, or a sandbox forbids it (Landlock, AppArmor, snap, PRoot)",
        _seen(errno.EACCES),
    ),
    Symptom(
        "PermissionError: [Errno 1] Operation not permitted",
        "a filter refuses a system call that sem_open needs",
        _seen(errno.EPERM),
    ),
    Symptom(
        "OSError: [Errno 30] Read-only file system",
        "/dev/shm is mounted read-only",
        _seen(errno.EROFS),
    ),
    Symptom(
        "OSError: [Errno 28] No space left on device",
        "/dev/shm is full, often of sem.mp-* that killed programs left; altsem leaves nothing",
        _full,
    ),
    Symptom(
        "OSError: [Errno 24] Too many open files",
        "musl permits 256 named semaphores per process; altsem has no such limit",
        _descriptors,
    ),
    Symptom(
        "OSError: [Errno 12] Cannot allocate memory",
        "each native semaphore is a mapping, and about 65,000 are permitted; altsem puts "
        "thousands into one",
        _wherever_native_works,
    ),
    Symptom(
        "FileNotFoundError: [Errno 2] No such file or directory (last call: SemLock._rebuild)",
        "a spawned child opens a semaphore by name after the parent has dropped it; altsem's have "
        "no names",
        _wherever_native_works,
    ),
    Symptom(
        "RuntimeError: A SemLock created in a fork context is being shared with a process in a "
        "spawn context",
        "native locks are bound to a start method; altsem's go anywhere",
        _since(3, 11, 5),
    ),
    Symptom(
        "resource_tracker: There appear to be N leaked semaphore objects to clean up at shutdown",
        "named semaphores outlive a killed program; altsem's have no names",
        _wherever_native_works,
    ),
    Symptom(
        "everything hangs after a worker was killed (OOM, SIGKILL) while it held a lock",
        "nothing notices; `python -m altsem locks` says who held it",
        _wherever_native_works,
    ),
    Symptom(
        "Condition.notify_all() or Barrier.wait() never returns after a waiter died",
        "natively a handshake with the dead; altsem waits for nobody",
        _wherever_native_works,
    ),
    Symptom(
        "Event.set() in a signal handler deadlocks",
        "natively an Event is five semaphores; altsem's is one word",
        _wherever_native_works,
    ),
    Symptom(
        "timeouts jump when the clock is set",
        "sem_timedwait follows the wall clock; altsem follows the monotonic one",
        _wherever_native_works,
    ),
    Symptom(
        "Value, Array or RawValue fail, even with lock=False",
        "multiprocessing.heap calls os.statvfs('/dev/shm'); altsem gives it nameless memory",
        _lacks("value"),
    ),
    Symptom(
        "SharedMemory(create=True) fails",
        "shm_open needs /dev/shm",
        _lacks("shared_memory"),
    ),
    Symptom(
        "Bus error (core dumped); Unexpected bus error encountered in worker",
        "/dev/shm is full: shared memory in it can be made, and kills whoever touches it",
        _killed,
    ),
    Symptom(
        "RuntimeError: DataLoader worker is killed by signal: Bus error. It is possible that "
        "dataloader's workers are out of shared memory",
        "/dev/shm is smaller than the batches under way: docker run --shm-size=1g or --ipc=host, "
        "in Kubernetes an emptyDir of medium Memory on /dev/shm; or altsem (run, enable, "
        "install), with which tensors lie in memory that has no such limit",
        _small,
    ),
    Symptom(
        "RuntimeError: unable to allocate shared memory(shm) for file </torch_...>: No space left "
        "on device (28)",
        "the same, in newer versions of PyTorch, which reserve what they share",
        _small,
    ),
    Symptom(
        "RuntimeError: unable to open shared memory object </torch_...> in read-write mode",
        "PyTorch calls shm_open from C++, which needs /dev/shm; altsem gives it other memory (run, "
        "enable, install; for the strategy file_system: run)",
        _from_c,
    ),
    Symptom(
        "ThreadPool and multiprocessing.dummy fail",
        "their SimpleQueue takes a SemLock, although they start no process",
        _lacks("semaphore"),
    ),
)


@dataclass(frozen=True)
class Recognised:
    text: str
    state: str
    why: str


def recognise(patient: Patient) -> list[Recognised]:
    """All of them, with their state here.  Never raises."""
    found = []
    for symptom in SYMPTOMS:
        try:
            state = symptom.state(patient)
        except Exception:  # noqa: BLE001 - one that cannot be judged is not claimed
            state = NO
        found.append(Recognised(symptom.text, state, symptom.why))
    return found
