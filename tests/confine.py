"""Sandboxes for a child of a test: call one between fork and exec (`preexec_fn`)."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_NO_NEW_PRIVS, _SECCOMP, _FILTER_MODE = 38, 22, 2

# The numbers of system calls; where there is none, another call does the work.
_NUMBERS = {
    "x86_64": {"open": 2, "semget": 64, "mkdir": 83, "link": 86, "openat": 257, "mkdirat": 258,
               "linkat": 265, "memfd_create": 319},
    "aarch64": {"mkdirat": 34, "linkat": 37, "openat": 56, "semget": 190, "memfd_create": 279},
}.get(platform.machine(), {})  # fmt: skip
# Bits of the flags of open, its second argument, and of openat, its third.
_CREATING = os.O_CREAT | 0o20000000  # the latter: the bit of O_TMPFILE that is O_TMPFILE alone
_LOAD, _EQUAL, _ANY_OF, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000


def can_refuse() -> bool:
    return bool(_NUMBERS)


def refuse(error: int, *names: str) -> None:
    """These system calls fail with `error` from now on."""
    for name in names:
        if name in _NUMBERS:
            _install(
                (_LOAD, 0, 0, 0),
                (_EQUAL, 0, 1, _NUMBERS[name]),
                (_RETURN, 0, 0, _REFUSE | error),
            )


def nothing_writable() -> None:
    """No file can be made anywhere, and no nameless memory."""
    refuse(errno.ENOSYS, "memfd_create")
    no_files()


def no_files() -> None:
    """No file can be made anywhere, as in a read-only container."""
    refuse(errno.EROFS, "mkdir", "mkdirat")
    for name, argument in (("open", 1), ("openat", 2)):
        if name in _NUMBERS:
            _install(
                (_LOAD, 0, 0, 0),
                (_EQUAL, 0, 3, _NUMBERS[name]),
                (_LOAD, 0, 0, 16 + 8 * argument),
                (_ANY_OF, 0, 1, _CREATING),
                (_RETURN, 0, 0, _REFUSE | errno.EROFS),
            )


def _install(*instructions: tuple[int, int, int, int]) -> None:
    """A filter of system calls that permits whatever falls through these instructions."""
    steps = [*instructions, (_RETURN, 0, 0, _ALLOW)]
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    memory = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(steps), ctypes.addressof(memory))
    assert _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert _libc.prctl(_SECCOMP, _FILTER_MODE, program, 0, 0) == 0


# include/uapi/linux/landlock.h; the numbers are those of all architectures.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_WRITE_FILE, _REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK = (
    1 << bit for bit in (1, 4, 5, 7, 8, 9)
)
_ALL = _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SOCK


def has_landlock() -> bool:
    version_only = 1
    return _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), version_only) > 0


def landlock(*writable: str) -> None:
    """Files can be made and written below `writable` only."""
    attributes = struct.pack("=Q", _ALL)
    ruleset = _libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    for path in writable:
        fd = os.open(path, os.O_PATH)
        rule = struct.pack("=Qi", _ALL, fd)
        path_beneath = 1
        assert _libc.syscall(_ADD_RULE, ruleset, path_beneath, rule, 0) == 0
        os.close(fd)
    assert _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert _libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
