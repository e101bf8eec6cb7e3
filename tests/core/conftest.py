"""The core without Python around it: the same C files, called through cffi, which drops the GIL."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import cffi
import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"


def declarations(header: str) -> str:
    """What cffi has to know, taken from the header itself so that the two cannot drift apart."""
    text = re.sub(r"/\*.*?\*/", " ", header, flags=re.DOTALL)
    text = re.sub(r"#ifdef __cplusplus.*?#endif", "", text, flags=re.DOTALL)
    constants = []
    for name, value in re.findall(r"^#define (\w+)[ \t]+(\S.*?)[ \t]*$", text, flags=re.MULTILINE):
        # cffi reads plain numbers, which array bounds need, and asks the compiler about the rest.
        constants.append(f"#define {name} {value if value.isdigit() else '...'}")
    return "\n".join([*constants, re.sub(r"^#.*$", "", text, flags=re.MULTILINE)])


def build(folder: Path) -> Path:
    ffi = cffi.FFI()
    ffi.cdef(declarations((CSRC / "altsem.h").read_text()))
    ffi.set_source(
        "_altsem_core",
        # The last line is for the code that cffi writes; ours is compiled without it.
        '#include "altsem.h"\n'
        '#pragma GCC diagnostic ignored "-Wunused-parameter"\n'
        '#pragma GCC diagnostic ignored "-Wmissing-field-initializers"\n',
        sources=sorted(map(str, CSRC.glob("*.c"))),
        include_dirs=[str(CSRC)],
        extra_compile_args=[
            "-std=c11", "-O2", "-g", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"
        ],
        extra_link_args=["-pthread"],
    )  # fmt: skip
    return Path(ffi.compile(tmpdir=str(folder)))


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The core: `core.lib.altsem_sem_try(slot)`, `core.ffi.new("altsem_slot **")`."""
    path = build(tmp_path_factory.mktemp("core"))
    spec = importlib.util.spec_from_file_location("_altsem_core", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
