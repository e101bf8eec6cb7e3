"""Takes abilities away from the calling process, for good: use it in a child only."""

from __future__ import annotations

import ctypes
import os
import platform
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = [ctypes.c_int] + 4 * [ctypes.c_ulong]
_libc.mount.argtypes = 3 * [ctypes.c_char_p] + [ctypes.c_ulong, ctypes.c_char_p]

_X86 = {"memfd_create": 319, "openat": 257, "open": 2, "futex": 202, "semget": 64, "renameat2": 316,
        "linkat": 265, "getrandom": 318, "madvise": 28, "fallocate": 285, "mmap": 9}  # fmt: skip
_ARM = {"memfd_create": 279, "openat": 56, "open": None, "futex": 98, "semget": 190,
        "renameat2": 276, "linkat": 37, "getrandom": 278, "madvise": 233,
        "fallocate": 47, "mmap": 222}  # fmt: skip
CALLS = {"x86_64": _X86, "aarch64": _ARM}.get(platform.machine(), {})
O_TMPFILE_BIT = 0o20000000

_LOAD, _EQUAL, _ANY_OF, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


def can_refuse() -> bool:
    return bool(CALLS)


def _install(*instructions: tuple[int, int, int, int]) -> None:
    code = b"".join(struct.pack("=HBBI", *each) for each in instructions)
    memory = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(
        struct.pack("@HP", len(instructions), ctypes.addressof(memory))
    )
    pr_set_no_new_privs, pr_set_seccomp, filter_mode = 38, 22, 2
    _call("prctl", pr_set_no_new_privs, 1, 0, 0, 0)
    _call("prctl", pr_set_seccomp, filter_mode, ctypes.addressof(program), 0, 0)


def refuse(name: str, error: int, argument: int | None = None, bits: int = 0, is_: int = 0) -> None:
    """The system call `name` fails with `error` from now on.

    With `argument` only where that argument has any of `bits`, or is exactly `is_`.
    """
    number = CALLS[name]
    if number is None:
        return
    answer = (_RETURN, 0, 0, _ERRNO | error)
    allow = (_RETURN, 0, 0, _ALLOW)
    if argument is None:
        _install((_LOAD, 0, 0, 0), (_EQUAL, 0, 1, number), answer, allow)
        return
    test = (_ANY_OF, 0, 1, bits) if bits else (_EQUAL, 0, 1, is_)
    low = 16 + 8 * argument
    _install((_LOAD, 0, 0, 0), (_EQUAL, 0, 3, number), (_LOAD, 0, 0, low), test, answer, allow)


def refuse_tmpfile(error: int) -> None:
    refuse("openat", error, 2, bits=O_TMPFILE_BIT)
    refuse("open", error, 1, bits=O_TMPFILE_BIT)


def refuse_futex(error: int) -> None:
    """Only what the backend calls: the shared ones.  Libc's own carry a flag beside the number."""
    for operation in (1, 9):
        refuse("futex", error, 1, is_=operation)


def refuse_wiping(error: int) -> None:
    """Pages that a child finds empty, as before Linux 4.14."""
    wipe_on_fork = 18
    refuse("madvise", error, 2, is_=wipe_on_fork)


def _call(name: str, *args: object) -> None:
    if getattr(_libc, name)(*args) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


def own_mounts() -> None:
    """Mounts made from now on are seen by nobody else.  OSError where that is not permitted."""
    new_namespace, new_user, recursive, private = 0x20000, 0x10000000, 0x4000, 1 << 18
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", new_namespace | (new_user if uid else 0))
    if uid:
        for path, text in (
            ("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1"),
        ):  # fmt: skip
            with open(f"/proc/self/{path}", "w") as file:
                file.write(text)
    _call("mount", b"none", b"/", None, recursive | private, None)


NEW_PID, NEW_TIME = 0x20000000, 0x80


def unshare(kind: int) -> None:
    """Children get a namespace of their own.  OSError where that is not permitted."""
    _call("unshare", kind)


def mount_proc(options: str) -> None:
    """A /proc of the PID namespace that this process lives in; to be called after own_mounts."""
    _call("mount", b"proc", b"/proc", b"proc", 0, options.encode())


def mount_tmpfs(place: str, options: str) -> None:
    read_only = 1
    flags = read_only if options.startswith("ro") else 0
    options = options.removeprefix("ro").lstrip(",")
    _call("mount", b"tmpfs", os.fsencode(place), b"tmpfs", flags, options.encode())
