"""What pyproject.toml cannot say: the extension, and which ABI it is built for."""

import os
import platform
import sys
import sysconfig
from glob import glob

from setuptools import Extension, setup

# The configuration variable may be missing, None, 0, or (when overridden) the string "0".
FREE_THREADED = str(sysconfig.get_config_var("Py_GIL_DISABLED") or "0") != "0"
# Free-threaded interpreters have no limited API before 3.15: they get a wheel of their own.
LIMITED = not FREE_THREADED


def core_extension() -> Extension:
    flags = ["-std=c11", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra"]
    if os.environ.get("ALTSEM_WERROR") == "1":
        flags.append("-Werror")
    if os.environ.get("ALTSEM_TEST_BUILD") == "1":  # for the tests only: csrc/wait/testing.h
        flags.append("-DALTSEM_TEST_BUILD")
    return Extension(
        "altsem._core",
        sources=sorted(glob("csrc/*/*.c")),
        depends=[*sorted(glob("csrc/**/*.h", recursive=True)), "setup.py"],
        include_dirs=["csrc"],
        define_macros=[("Py_LIMITED_API", "0x030a0000")] if LIMITED else [],
        py_limited_api=LIMITED,
        extra_compile_args=flags,
        # The linker needs it where libc keeps threads in a library of their own.
        extra_link_args=["-pthread"],
    )


extensions = []
if platform.python_implementation() == "CPython":
    extensions.append(core_extension())
else:
    print(
        f"altsem: no binding for {platform.python_implementation()} yet, only for CPython; "
        "installing without altsem._core, `import altsem` will fail",
        file=sys.stderr,
    )

setup(
    ext_modules=extensions,
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if LIMITED and extensions else {},
)
