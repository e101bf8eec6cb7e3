"""What an error of the native semaphores means here.

The same number has several causes; which one it is follows from what else is known.  The first rule
that fits is taken, so the special ones come first.  Another cause is one more rule.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .patient import Patient
    from .trial import Answer


@dataclass(frozen=True)
class Cause:
    """`name` is what remedies.py goes by."""

    name: str
    text: str


@dataclass(frozen=True)
class Rule:
    """Fits if the errno is among `numbers` (none: any) and the condition holds."""

    numbers: tuple[int, ...]
    fits: Callable[[Patient], bool]
    name: str
    text: str


def _always(_: Patient) -> bool:
    return True


def _sound(patient: Patient) -> bool:
    """A file can be made in /dev/shm: it is not the directory that is in the way."""
    return patient.answer("shm file").ok


RULES: tuple[Rule, ...] = (
    Rule(
        (errno.EMFILE, errno.ENFILE),
        _always,
        "descriptors",
        "too many open files, or (musl) 256 named semaphores in one process",
    ),
    Rule(
        (errno.ENOMEM,),
        _always,
        "mappings",
        "each native semaphore is a mapping, and a process may have no more "
        "(vm.max_map_count), or no memory is left",
    ),
    Rule(
        (errno.ENOSYS,),
        lambda p: p.shm.kind == "missing",
        "missing",
        "there is no /dev/shm, for which glibc before 2.34 has this error",
    ),
    Rule((), lambda p: p.shm.kind == "missing", "missing", "there is no /dev/shm"),
    Rule(
        (),
        lambda p: p.shm.kind == "dangling link",
        "missing",
        "/dev/shm is a link that leads nowhere",
    ),
    Rule((), lambda p: p.shm.kind == "file", "missing", "/dev/shm is a file, not a directory"),
    Rule((errno.EROFS,), lambda p: p.shm.read_only, "read-only", "/dev/shm is mounted read-only"),
    Rule((errno.EROFS,), _always, "policy", "a filter makes /dev/shm look read-only"),
    Rule(
        (errno.ENOSPC,),
        lambda p: p.shm.no_inodes,
        "full",
        "/dev/shm takes no further file: all its inodes are used",
    ),
    Rule((errno.ENOSPC,), _always, "full", "/dev/shm is full"),
    # ENOENT: glibc looks for a free name first, and gets none where it may not even look.
    Rule(
        (errno.EACCES, errno.EPERM, errno.ENOENT),
        lambda p: p.shm.kind == "directory" and not p.may_write_shm(),
        "mode",
        "the mode of /dev/shm does not let this user make files in it (it should be 1777)",
    ),
    Rule(
        (errno.EACCES, errno.EPERM, errno.ENOSYS),
        _sound,
        "filtered",
        "files can be made in /dev/shm, but a system call that sem_open needs is refused: "
        "a filter (seccomp) or a security module",
    ),
    Rule(
        (errno.EACCES, errno.EPERM),
        _always,
        "policy",
        "the mode of /dev/shm would permit it, a security policy does not "
        "(Landlock, AppArmor, SELinux, a sandbox)",
    ),
    Rule(
        (errno.ENOENT,),
        lambda p: p.answer("shm file").errno in (errno.EACCES, errno.EPERM),
        "policy",
        "a security policy does not let this process look into /dev/shm",
    ),
    Rule(
        (errno.ENOSYS,),
        _always,
        "no-tmpfs",
        "this libc (glibc before 2.34) wants a tmpfs on /dev/shm, and finds none",
    ),
)


def explain(answer: Answer, patient: Patient) -> Cause | None:
    """Why the native semaphores fail; None if they do not."""
    if not patient.native("semlock").ok or not patient.native("sem_unlink").ok:
        if patient.answer("native").ok:
            return Cause("no-semlock", "this interpreter was built where sem_open did not work")
        return Cause("silent", f"they could not be tried: {patient.answer('native').error}")
    if answer.ok:
        return None
    if answer.silent:
        return Cause("silent", "a native semaphore did not answer in time")
    if answer.errno is not None:
        for rule in RULES:
            if (not rule.numbers or answer.errno in rule.numbers) and rule.fits(patient):
                return Cause(rule.name, rule.text)
    return Cause("other", "a cause that this doctor does not know")
