"""The checks: what was tried, what came back, what it means.

A check is an entry: its name, what was tried in words, and a function that looks at the patient and
says what came back and what that means.  The trials themselves were made before (trials.py), so a
check never hangs; one that raises becomes a row that says so.  Another check is one more entry.
"""

from __future__ import annotations

import errno
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ..dropin import VARIABLE, enable, native
from .causes import explain
from .mounts import mount_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .patient import Patient
    from .trial import Answer

# ok: as it should be.  bad: something that fails.  note: neither.  unknown: it could not be told.
OK, BAD, NOTE, UNKNOWN = "ok", "bad", "note", "unknown"


@dataclass(frozen=True)
class Finding:
    """What came back, what it means (empty if that is plain), and the numbers for programs."""

    status: str
    answer: str
    meaning: str = ""
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    name: str
    tried: str
    find: Callable[[Patient], Finding]


@dataclass(frozen=True)
class Row:
    """A check that was made."""

    name: str
    status: str
    tried: str
    answer: str
    meaning: str
    data: dict[str, Any]

    def json(self) -> dict[str, Any]:
        return asdict(self)


def examine(patient: Patient) -> list[Row]:
    """All checks.  Never raises."""
    rows = []
    for check in checks(patient):
        try:
            found = check.find(patient)
        except Exception as error:  # noqa: BLE001 - a row, not a crash
            found = Finding(
                UNKNOWN,
                f"{type(error).__name__}: {error}",
                "the check itself failed: a bug of ours",
            )
        rows.append(
            Row(check.name, found.status, check.tried, found.answer, found.meaning, found.data)
        )
    return rows


def checks(patient: Patient) -> list[Check]:
    """The entries; some are made for each directory, backend and start method."""
    return [
        *FIRST,
        *(
            Check(
                f"start method {method}",
                "natively: a process, a Lock that it waits for, a Value and a SimpleQueue",
                _start_method("native", method),
            )
            for method in patient.methods()
        ),
        *MEMORY,
        *(
            Check(
                f"directory {path}",
                "a file without a name (O_TMPFILE), one that is unlinked, both mapped",
                _directory(path),
            )
            for path in patient.directories()
        ),
        *LIMITS,
        *(
            Check(
                f"backend {name}",
                "a process sleeps on a lock of altsem, the release by another one wakes it",
                _backend(name),
            )
            for name in patient.backends()
        ),
        *(
            Check(
                f"altsem start method {method}",
                "with altsem: a process, a Lock that it waits for, a Value and a SimpleQueue",
                _start_method("altsem", method),
            )
            for method in patient.methods()
        ),
    ]


def _of(answer: Answer, good: str = "works", meaning: str = "") -> Finding:
    """The plain case: it worked, or this is the error."""
    data = {"errno": answer.errno} if answer.errno else {}
    if answer.ok:
        return Finding(OK, good)
    if answer.silent:
        return Finding(UNKNOWN, answer.error or "")
    return Finding(BAD, answer.error or "", meaning, data)


# --- the native side ------------------------------------------------------------------------------


def _built(patient: Patient) -> Finding:
    if not patient.answer("native").ok:
        return _of(patient.answer("native"))
    missing = [name for name in ("SemLock", "sem_unlink") if not patient.native(name.lower()).ok]
    if not missing:
        return Finding(OK, "yes")
    said = patient.native("synchronize")
    return Finding(
        BAD,
        f"{' and '.join(missing)} missing in _multiprocessing; {said.error or 'no error'}",
        "this interpreter was built where sem_open did not work; "
        "every use of multiprocessing's locks, queues and pools fails",
        {"missing": missing},
    )


def _sem_open(patient: Patient) -> Finding:
    answer = patient.native("semaphore")
    if answer.ok:
        return Finding(OK, "works")
    cause = explain(answer, patient)
    found = _of(answer, meaning=cause.text if cause else "")
    if answer.errno is not None:
        found.data["name"] = errno.errorcode.get(answer.errno, "")
    return found


def _dev_shm(patient: Patient) -> Finding:
    shm = patient.shm
    data = asdict(shm)
    data["semaphores"] = len(shm.semaphores)
    answer = shm.describe()
    if shm.kind != "directory":
        meaning = "libc keeps its semaphores there: without it there are none"
        return Finding(BAD, answer, meaning, data)
    troubles = [
        "it is read-only" if shm.read_only else "",
        "it is full" if shm.no_space else "",
        "no inode is free" if shm.no_inodes else "",
        "" if patient.may_write_shm() else "its mode does not let this user write",
        "" if shm.is_tmpfs else "it is no tmpfs: glibc before 2.34 refuses it",
    ]
    if shm.semaphores:
        answer += f", {len(shm.semaphores)} sem.* in it"
    harmless = not any(troubles[:4])
    return Finding(
        NOTE if harmless and any(troubles) else OK if harmless else BAD,
        answer,
        "; ".join(filter(None, troubles)),
        data,
    )


def _room(patient: Patient) -> Finding:
    shm = patient.shm
    if shm.kind != "directory":
        return Finding(NOTE, "there is no directory to have any")
    needed = native.room_needed()
    free = native.size(shm.free) if shm.size else "no limit"
    data = {"needed": needed, "free": shm.free, "size": shm.size}
    if shm.size and shm.free < needed:
        meaning = (
            f"some programs will not find what they need: less than {native.size(needed)} "
            f"({native.ROOM}) is why the drop-in takes over, semaphores and all"
        )
        return Finding(BAD, f"{free} free", meaning, data)
    if needed and shm.inodes and shm.free_inodes < native.SEMAPHORES_NEEDED:
        meaning = f"programs need {native.SEMAPHORES_NEEDED} semaphores: the drop-in takes over"
        return Finding(BAD, f"{shm.free_inodes} inodes free", meaning, data)
    if needed and shm.size and shm.size < native.AMPLE:
        meaning = (
            "natively whoever touches memory that does not fit is killed (SIGBUS), as workers of "
            "PyTorch's DataLoader are, whose batches take hundreds of MB; with the drop-in arrays "
            "and tensors lie elsewhere, and SharedMemory says that there is no room"
        )
        return Finding(NOTE, f"{free} of {native.size(shm.size)} free", meaning, data)
    return Finding(OK, f"{free} free" if shm.size else free, "", data)


def _dropin(patient: Patient) -> Finding:
    files = enable.enabled()
    mode = patient.machine.env.get("ALTSEM", "")
    parts = patient.machine.env.get(VARIABLE, "").split()[1:]
    data = {"enabled": files, "inherited": parts, "ALTSEM": mode}
    said = f"enabled by {', '.join(files)}" if files else "not enabled"
    if parts:
        said += f"; replaced: {', '.join(parts)}"
    meaning = {
        "0": "ALTSEM=0 turns it off",
        "always": "ALTSEM=always: it takes over, whether anything fails or not",
    }.get(mode, "the native side is tried without it" if files or parts else "")
    return Finding(NOTE, said, meaning, data)


def _shm_file(patient: Patient) -> Finding:
    answer = patient.answer("shm file")
    meaning = ""
    if answer.errno in (errno.EACCES, errno.EPERM) and patient.may_write_shm():
        meaning = (
            "its mode would permit it: a security policy does not (Landlock, AppArmor, a sandbox)"
        )
    return _of(answer, meaning=meaning)


def _surroundings(patient: Patient) -> Finding:
    found = patient.surroundings
    if not found:
        return Finding(NOTE, "no container or sandbox recognised")
    said = "; ".join(f"{one.title} ({', '.join(one.evidence)})" for one in found)
    return Finding(NOTE, said, "", {"surroundings": [one.name for one in found]})


def _confinement(patient: Patient) -> Finding:
    limits = patient.confinement
    return Finding(NOTE, limits.describe(), "", asdict(limits))


def _thing(name: str, meaning: str) -> Callable[[Patient], Finding]:
    return lambda patient: _of(patient.native(name), meaning=meaning)


def _many(patient: Patient) -> Finding:
    answer = patient.native("many")
    meaning = ""
    if answer.errno in (errno.EMFILE, errno.ENFILE):
        meaning = "musl permits 256 named semaphores per process; others are limited by open files"
    limit = patient.machine.text("/proc/sys/vm/max_map_count")
    most = f"; at most about {limit.strip()} (vm.max_map_count)" if limit else ""
    return _of(answer, f"{answer.value} at once{most}", meaning)


def _c_names(patient: Patient) -> Finding:
    whole = patient.answer("names of C")
    if not whole.ok:
        return Finding(UNKNOWN, whole.error or "", "ctypes is what would call them")
    native, data = _told(whole), dict(whole.value)
    meaning = ""
    if native != "work":
        library = patient.answer("preloaded")
        helped = library.ok and _told(library) == "work"
        data["preloaded"] = library.value if library.ok else library.error
        meaning = (
            "PyTorch, posix_ipc and their like call them; with the library of `run` they work"
            if helped
            else "with the library of `run` too"
            if library.ok
            else f"the library of `run` could not be tried: {library.error}"
        )
    return Finding(OK if native == "work" else BAD, native, meaning, data)


def _told(answer: Answer) -> str:
    errors = [
        f"{name}: {said['error']}" for name, said in answer.value.items() if said.get("error")
    ]
    return "; ".join(errors) or "work"


def _pytorch(patient: Patient) -> Finding:
    if "PyTorch" not in patient.answers:
        return Finding(NOTE, "not installed")
    answer = patient.answer("PyTorch")
    if not answer.ok:
        return Finding(UNKNOWN, answer.error or "")
    if answer.value:
        meaning = "after `enable` and install() it is left as it is: use `run`"
        return Finding(NOTE, f"not as expected: {answer.value}", meaning)
    return Finding(OK, "its tensors can lie in memory without a name")


def _start_method(who: str, method: str) -> Callable[[Patient], Finding]:
    def find(patient: Patient) -> Finding:
        answer = patient.answer(f"{who} {method}")
        other = patient.answer(f"{'altsem' if who == 'native' else 'native'} {method}")
        meaning = ""
        if not answer.ok and not answer.silent and not other.ok and not other.silent:
            meaning = "it fails with and without altsem"
            if "temporary directory" in (answer.error or ""):
                meaning += ": it needs a directory to write to"
        return _of(answer, meaning=meaning)

    return find


FIRST = (
    Check("SemLock", "from _multiprocessing import SemLock, sem_unlink", _built),
    Check("sem_open", "a native semaphore: make, take, give back, remove", _sem_open),
    Check("/dev/shm", "a look: mount, options, mode, room", _dev_shm),
    Check("room in /dev/shm", "a look: for 256 semaphores, and ALTSEM_ROOM", _room),
    Check("file in /dev/shm", "make and remove one", _shm_file),
    Check("drop-in", "the files of `enable`, ALTSEM, ALTSEM_DROPIN", _dropin),
    Check("container or sandbox", "known signs in files and variables", _surroundings),
    Check("confinement", "/proc/self/status and attr/current", _confinement),
    Check("many semaphores", "300 native ones at once", _many),
    Check(
        "Value, Array, Barrier",
        "multiprocessing.RawValue('i')",
        _thing("value", "multiprocessing.heap wants /dev/shm, even with lock=False"),
    ),
    Check(
        "shared_memory",
        "SharedMemory(create=True, size=16)",
        _thing("shared_memory", "shm_open wants /dev/shm as well"),
    ),
    Check("names of C code", "sem_open and shm_open, called from C", _c_names),
    Check("PyTorch", "memory by its descriptor, by PyTorch's private functions", _pytorch),
    Check(
        "ProcessPoolExecutor",
        "concurrent.futures.process._check_system_limits()",
        _thing("executor", "it refuses for ever once it has seen that SemLock is missing"),
    ),
)

# --- memory and directories -----------------------------------------------------------------------


def _memfd(patient: Patient) -> Finding:
    answer = patient.answer("memfd")
    meaning = "a filter of system calls, or an old kernel: altsem takes a file instead"
    return _of(answer, str(answer.value), meaning)


def _directory(path: str) -> Callable[[Patient], Finding]:
    def find(patient: Patient) -> Finding:
        answer = patient.answer(f"directory {path}")
        mount = mount_of(patient.machine, os.path.realpath(path))
        where = f"{mount.type}" if mount else "unknown filesystem"
        if not answer.ok:
            return _of(answer, meaning=f"altsem passes it over ({where})")
        how = answer.value["O_TMPFILE"]
        said = f"usable ({where})"
        if how is not True:
            said += f"; no O_TMPFILE: {how}"
        return Finding(OK, said, "", answer.value)

    return find


MEMORY = (Check("memfd", "memfd_create, mapped shared and written", _memfd),)

# --- SysV, file locks -----------------------------------------------------------------------------


def _sysv(patient: Patient) -> Finding:
    words = patient.machine.words("/proc/sys/kernel/sem")
    if len(words) < 4:
        return Finding(UNKNOWN, "/proc/sys/kernel/sem cannot be read")
    names = ("SEMMSL", "SEMMNS", "SEMOPM", "SEMMNI")
    limits = dict(zip(names, map(int, words), strict=False))
    rows = (patient.machine.text("/proc/sysvipc/sem") or "\n").splitlines()[1:]
    said = ", ".join(f"{name} {value}" for name, value in limits.items())
    data = {**limits, "sets": len(rows)}
    if not all(limits.values()):
        return Finding(NOTE, said, "SysV semaphores are switched off (sysctl kernel.sem)", data)
    if len(rows) >= limits["SEMMNI"]:
        return Finding(NOTE, said, "all SysV sets are used (ipcs -s; sysctl kernel.sem)", data)
    return Finding(OK, f"{said}; {len(rows)} sets in use", "", data)


def _file_locks(patient: Patient) -> Finding:
    if "file locks" not in patient.answers:
        return Finding(NOTE, "no directory to try them in")
    answer = patient.answer("file locks")
    return _of(answer, "record locks and flock hold", "altsem's last resort does not work")


LIMITS = (
    Check("SysV limits", "/proc/sys/kernel/sem, /proc/sysvipc/sem", _sysv),
    Check("file locks", "two processes, one file, both kinds of lock", _file_locks),
)

# --- altsem ---------------------------------------------------------------------------------------


def _backend(name: str) -> Callable[[Patient], Finding]:
    def find(patient: Patient) -> Finding:
        answer = patient.answer(f"backend {name}")
        if answer.ok:
            said = f"woken after {answer.value['seconds'] * 1e3:.2f} ms, memory: "
            return Finding(OK, said + str(answer.value["memory"]), "", answer.value)
        found = _of(answer)
        core = patient.answer("core")
        probe = core.value.get(name) if core.ok else None
        meaning = f"its probe says: {os.strerror(probe)}" if probe else ""
        return Finding(found.status, found.answer, meaning, {**found.data, "probe": probe})

    return find
