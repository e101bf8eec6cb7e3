"""What pyproject.toml cannot say: the extension, which ABI it is built for, and the library that
other programs are started with."""

import os
import platform
import shutil
import struct
import sys
import sysconfig
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# The configuration variable may be missing, None, 0, or (when overridden) the string "0".
FREE_THREADED = str(sysconfig.get_config_var("Py_GIL_DISABLED") or "0") != "0"
# Free-threaded interpreters have no limited API before 3.15: they get a wheel of their own.
LIMITED = not FREE_THREADED


PRELOAD = "altsem._preload"
# What it takes of the core; the rest is csrc/preload/.
PRELOADED = (
    "csrc/names/private.c",
    "csrc/names/shm.c",
    "csrc/memory/directory.c",
    "csrc/process/clock.c",
    "csrc/process/owner.c",
    "csrc/process/proc.c",
)


def flags_of_all() -> list[str]:
    flags = ["-std=c11", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra"]
    if os.environ.get("ALTSEM_WERROR") == "1":
        flags.append("-Werror")
    return flags


def core_extension() -> Extension:
    flags = flags_of_all()
    if os.environ.get("ALTSEM_TEST_BUILD") == "1":  # for the tests only: csrc/wait/testing.h
        flags.append("-DALTSEM_TEST_BUILD")
    return Extension(
        "altsem._core",
        sources=sorted({*glob("csrc/*/*.c")} - {*glob("csrc/preload/*.c")}),
        depends=[*sorted(glob("csrc/**/*.h", recursive=True)), "setup.py"],
        include_dirs=["csrc"],
        define_macros=[("Py_LIMITED_API", "0x030a0000")] if LIMITED else [],
        py_limited_api=LIMITED,
        extra_compile_args=flags,
        # The linker needs it where libc keeps threads in a library of their own.
        extra_link_args=["-pthread"],
    )


def preload_library() -> Extension:
    return Extension(
        PRELOAD,
        sources=[*sorted(glob("csrc/preload/*.c")), *PRELOADED],
        depends=[*sorted(glob("csrc/**/*.h", recursive=True)), "setup.py"],
        include_dirs=["csrc"],
        define_macros=[("ALTSEM_PRELOAD_LIBRARY", "1")],
        py_limited_api=LIMITED,
        # It goes into programs of any libc, and one has functions for this that others lack.
        extra_compile_args=[*flags_of_all(), "-U_FORTIFY_SOURCE"],
        # dlsym was in a library of its own before glibc 2.34.
        extra_link_args=["-Wl,-z,defs", "-Wl,--as-needed", "-Wl,-s", "-ldl"],
    )


# Machines whose programs may be started by one of ours: the number in ELF files, whether they have
# 64 bits, the directories that the dynamic linker writes for $LIB on Debian, and where a second
# libc lies beside that of the machine.
MACHINES = {
    "x86_64": (62, True, ("lib/x86_64-linux-gnu",)),
    "aarch64": (183, True, ("lib/aarch64-linux-gnu",)),
    "i386": (3, False, ("lib/i386-linux-gnu", "lib32")),
    "x32": (62, False, ("lib/x86_64-linux-gnux32", "libx32")),
    "arm": (40, False, ("lib/arm-linux-gnueabihf", "lib/arm-linux-gnueabi")),
}
# And those where other systems have the libraries of 64 bits, and of 32.
WIDE, NARROW = "lib64", "lib"
PARTNERS = {"x86_64": "i386", "aarch64": "arm"}


def empty_library(machine: int, wide: bool) -> bytes:
    """A shared library in which there is nothing: what a program of another machine loads, instead
    of complaining about one that is not for it."""
    address, size = ("Q", 64) if wide else ("I", 52)
    header = 56 if wide else 32
    at = size + 3 * header  # the dynamic section, and behind it what it speaks of
    entry = struct.calcsize(f"<2{address}")
    symbol = 24 if wide else 16
    strings = at + 6 * entry
    symbols = strings + 8
    table = symbols + symbol
    end = table + 16
    dynamic = struct.pack(
        f"<12{address}",
        *(5, strings),  # DT_STRTAB
        *(10, 1),  # DT_STRSZ
        *(6, symbols),  # DT_SYMTAB
        *(11, symbol),  # DT_SYMENT
        *(4, table),  # DT_HASH
        *(0, 0),
    )
    contents = dynamic + bytes(8 + symbol) + struct.pack("<4I", 1, 1, 0, 0)

    def segment(kind: int, access: int, offset: int, length: int, align: int) -> bytes:
        if wide:
            return struct.pack("<2I6Q", kind, access, offset, offset, offset, length, length, align)
        return struct.pack("<8I", kind, offset, offset, offset, length, length, access, align)

    # PT_LOAD, PT_DYNAMIC, PT_GNU_STACK: without the last, stacks would be made executable.
    segments = (
        segment(1, 6, 0, end, 0x10000)
        + segment(2, 6, at, len(dynamic), 8)
        + segment(0x6474E551, 6, 0, 0, 16)
    )
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    return (
        ident
        + struct.pack(f"<HHI3{address}I6H", 3, machine, 1, 0, size, 0,
                      0x5000400 if machine == 40 else 0, size, header, 3, 0, 0, 0)
        + segments
        + contents
    )  # fmt: skip


class Build(build_ext):
    """The library is no module: its name says nothing of an interpreter, nor has it an entry for
    one."""

    def get_ext_filename(self, fullname: str) -> str:
        if fullname.rpartition(".")[2] == "_preload":
            return os.path.join(*fullname.split(".")) + ".so"
        return super().get_ext_filename(fullname)

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return [] if ext.name == PRELOAD else super().get_export_symbols(ext)

    def run(self) -> None:
        super().run()
        if any(ext.name == PRELOAD for ext in self.extensions) and not self.inplace:
            self._lay_out()

    def _lay_out(self) -> None:
        """Two trees in which the dynamic linker of each machine finds what it can load, by $LIB:
        dropin/preload.py chooses one."""
        own = platform.machine()
        if own not in PARTNERS:
            return
        placed = {
            place: machine for machine, (_, _, places) in MACHINES.items() for place in places
        }
        # A program may bring a libc along that has been built for other directories.
        # The dynamic linker of musl writes nothing for $LIB, and says nothing if it cannot load it.
        placed["$LIB"] = own
        self._lay("triplets", {**placed, WIDE: own, NARROW: own})
        self._lay("lib64", {**placed, WIDE: own, NARROW: PARTNERS[own]})

    def _lay(self, tree: str, placed: dict[str, str]) -> None:
        made = self.get_ext_fullpath(PRELOAD)
        for place, machine in placed.items():
            folder = os.path.join(os.path.dirname(made), "preload", tree, place)
            os.makedirs(folder, exist_ok=True)
            path = os.path.join(folder, os.path.basename(made))
            if machine == platform.machine():
                shutil.copyfile(made, path)
                continue
            with open(path, "wb") as file:
                file.write(empty_library(*MACHINES[machine][:2]))


extensions = []
if platform.python_implementation() == "CPython":
    extensions.append(core_extension())
    if sys.platform == "linux":
        extensions.append(preload_library())
else:
    print(
        f"altsem: no binding for {platform.python_implementation()} yet, only for CPython; "
        "installing without altsem._core, `import altsem` will fail",
        file=sys.stderr,
    )

setup(
    ext_modules=extensions,
    cmdclass={"build_ext": Build},
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if LIMITED and extensions else {},
)
