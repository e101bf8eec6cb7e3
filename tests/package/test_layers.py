"""The check of the layers finds what it is for: each fault is planted in a copy of the tree."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import layers
import pytest

ROOT = Path(layers.__file__).resolve().parents[2]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "csrc", tmp_path / "csrc")
    shutil.copytree(ROOT / "src" / "altsem", tmp_path / "src" / "altsem")
    return tmp_path


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_the_tree_as_it_is() -> None:
    command = [sys.executable, layers.__file__]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_fault_is_an_exit_status(tree: Path) -> None:
    append(tree / "csrc/memory/known.c", '#include "wait/wait.h"\n')
    command = [sys.executable, layers.__file__, str(tree)]
    done = subprocess.run(command, capture_output=True, text=True)
    said = "memory/known.c uses wait/wait.h, which lies in a layer above\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, said, "")


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (
            "csrc/process/owner.c",
            "unsigned altsem_cpus(void);\nunsigned planted(void) { return altsem_cpus(); }\n",
            "process/owner.c uses wait/cpus.c, which lies in a layer above",
        ),
        (
            "csrc/wait/sysv_set.c",
            "extern const char altsem_sysv_ops;\nconst void *planted = &altsem_sysv_ops;\n",
            "circle: wait/sysv",
        ),
        (
            "csrc/wait/spin.h",
            '#include "wait/cpus.h"\n',
            "",  # legal: a room may use itself
        ),
        (
            "csrc/wait/futex.c",
            '#include "memory/inside.h"\n',
            "wait/futex.c includes memory/inside.h, which is for its own room only",
        ),
        (
            "csrc/names/shm.c",
            '#include "private.h"\n',
            'names/shm.c includes "private.h", which is no file below csrc/',
        ),
        (
            "src/altsem/synchronize/travel.py",
            "def planted():\n    from ..context import adopt\n",
            "synchronize.travel uses context.adopt, which lies in a layer above",
        ),
        (
            "src/altsem/dropin/hooks.py",
            "def planted():\n    from . import install\n",
            "circle: dropin.",
        ),
        (
            "src/altsem/newcomer.py",
            "",
            "newcomer is in no layer: PYTHON_LAYERS has to name it",
        ),
    ],
)
def test_a_planted_fault(tree: Path, file: str, text: str, said: str) -> None:
    append(tree / file, text)
    if file.startswith("csrc"):
        found = list(layers.check_c(tree / "csrc"))
    else:
        found = list(layers.check_python(tree / "src" / "altsem"))
    assert bool(found) is bool(said)
    assert said in "\n".join(found)


def test_a_circle_of_headers(tree: Path) -> None:
    append(tree / "csrc/wait/cpus.h", '#include "wait/spin.h"\n')
    append(tree / "csrc/wait/spin.h", '#include "wait/cpus.h"\n')
    (found,) = layers.check_c(tree / "csrc")
    assert found.startswith("circle: wait/")
