"""The C files compile without a warning also beside headers newer than those of this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from core.conftest import CSRC

FILES = sorted(p for p in CSRC.glob("*/*.c") if p.parent.name != "binding")
# The system's constants that a file supplies because the libc may be too old to have them.
SUPPLIED = re.compile(r"^#define ((?:F|MADV|MAP|MFD|O|SYS)_\w+) (\S+)", re.MULTILINE)


def test_constants_that_newer_headers_have_are_not_defined_again(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    found = {name: value for path in FILES for name, value in SUPPLIED.findall(path.read_text())}
    assert "MFD_NOEXEC_SEAL" in found
    newer = tmp_path / "newer.h"
    # The same values, written otherwise, as in headers that nobody here has seen.
    newer.write_text(
        "#define _GNU_SOURCE\n#include <fcntl.h>\n#include <sys/mman.h>\n"
        + "".join(f"#ifndef {n}\n#define {n} ({value} + 0)\n#endif\n" for n, value in found.items())
    )
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{CSRC}"]
    for path in FILES:
        command = [compiler, *flags, "-include", str(newer), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), path
