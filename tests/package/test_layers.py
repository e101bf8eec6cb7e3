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
            "csrc/memory/known.c",
            "#include <wait/wait.h>\n",
            "memory/known.c uses wait/wait.h, which lies in a layer above",
        ),
        (
            "csrc/memory/known.c",
            '  #\tinclude /* why */ "wait/wait.h" // so\n',
            "memory/known.c uses wait/wait.h, which lies in a layer above",
        ),
        (
            "csrc/memory/known.c",
            '#include \\\n"wait/wait.h"\n',
            "memory/known.c uses wait/wait.h, which lies in a layer above",
        ),
        (
            "csrc/memory/known.c",
            '/*\n#include "wait/wait.h"\n*/\n',
            "",  # legal: a comment
        ),
        (
            "csrc/memory/known.c",
            '#define PLANTED "wait/wait.h"\n#include PLANTED\n',
            "memory/known.c includes PLANTED: a macro hides which file that is",
        ),
        (
            "csrc/wait/futex.c",
            "#include <memory/inside.h>\n",
            "wait/futex.c includes memory/inside.h, which is for its own room only",
        ),
        (
            "csrc/wait/spin.c",
            "#include <Python.h>\n",
            "wait/spin.c includes <Python.h>, which only binding/ may",
        ),
        (
            "csrc/extra/planted.c",
            "",
            "extra/planted.c is in no layer: C_ROOMS has to name it",
        ),
        (
            "csrc/process/clock.c",
            "no C\n",
            "this fails: ",
        ),
        (  # Needed if it is there.
            "csrc/process/owner.c",
            (
                "__attribute__((weak)) unsigned altsem_cpus(void);\n"
                "unsigned planted(void) { return altsem_cpus ? altsem_cpus() : 0; }\n"
            ),
            "process/owner.c uses wait/cpus.c, which lies in a layer above",
        ),
        (  # Called by nobody yet.
            "csrc/process/proc.h",
            (
                "const char *altsem_backend_reason(void);\n"
                "static inline const char *planted(void) { return altsem_backend_reason(); }\n"
            ),
            "process/proc.c uses wait/wait.c, which lies in a layer above",
        ),
        (
            "csrc/process/owner.c",
            (
                "#ifdef ALTSEM_TEST_BUILD\nunsigned altsem_cpus(void);\n"
                "unsigned planted(void) { return altsem_cpus(); }\n#endif\n"
            ),
            "process/owner.c uses wait/cpus.c, which lies in a layer above",
        ),
        (
            "src/altsem/synchronize/travel.py",
            "def planted():\n    import altsem.context.adopt\n",
            "synchronize.travel imports altsem.context.adopt, which is no module of the package",
        ),
        (
            "src/altsem/synchronize/travel.py",
            "from altsem import context\n",
            "synchronize.travel imports altsem, which is no module of the package",
        ),
        (
            "src/altsem/synchronize/travel.py",
            'planted = Later(f"{ROOT}.context")\n',
            "synchronize.travel uses context, which lies in a layer above",
        ),
        (
            "src/altsem/synchronize/travel.py",
            'importlib.import_module("..context.adopt", __package__)\n',
            "synchronize.travel uses context.adopt, which lies in a layer above",
        ),
        (
            "src/altsem/dropin/hooks.py",
            'importlib.import_module(".install", __package__)\n',
            "circle: dropin.",
        ),
        (
            "src/altsem/synchronize/travel.py",
            '__import__(__package__ + ".nothing")\n',
            "synchronize.travel imports nothing, which is no module of the package",
        ),
        (
            "src/altsem/synchronize/travel.py",
            "if typing.TYPE_CHECKING:\n    from ..context import adopt\n",
            "",  # legal: for type checkers only
        ),
        (
            "src/altsem/newcomer.py",
            "",
            "newcomer is in no layer: PYTHON_LAYERS has to name it",
        ),
    ],
)
def test_a_planted_fault(tree: Path, file: str, text: str, said: str) -> None:
    (tree / file).parent.mkdir(exist_ok=True)
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


def test_a_circle_of_rooms_in_one_layer(tree: Path) -> None:
    append(tree / "src/altsem/doctor/mounts.py", "from ..locks import sleepers\n")
    append(tree / "src/altsem/locks/view.py", "from ..doctor import machine\n")
    (found,) = layers.check_python(tree / "src" / "altsem")
    assert found in ("circle: doctor -> locks -> doctor", "circle: locks -> doctor -> locks")
