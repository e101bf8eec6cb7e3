"""What runs as a descendant interpreter starts: it may do anything but keep it from starting."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import altsem
import dropin_support as dropin
from altsem.dropin import children

BOOTSTRAP = Path(children.BOOTSTRAP)


def start(code: str, **env: str) -> str:
    done = dropin.run(sys.executable, "-c", code, env={"PYTHONPATH": str(BOOTSTRAP), **env})
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_descendant_replaces_what_its_ancestor_replaced_without_a_look_of_its_own() -> None:
    code = (
        "import _multiprocessing as m, _posixshmem as p; "
        "print(m.SemLock.__module__, p.shm_open.__module__)"
    )
    parts = f"{altsem.__name__} semaphores memory"
    assert start(code, ALTSEM_DROPIN=parts) == "altsem._core altsem._core\n"
    native = start("import _posixshmem as p; print(p.shm_open.__module__)")
    parts = f"{altsem.__name__} semaphores"
    assert start(code, ALTSEM_DROPIN=parts) == f"altsem._core {native}"


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "nonsense",
        "no.such.package semaphores",
        "os semaphores",
        "altsem",
        "altsem x y",
        "..",
    ],
)
def test_a_variable_full_of_nonsense_is_ignored(value: str) -> None:
    assert start("import multiprocessing; print(1)", ALTSEM_DROPIN=value) == "1\n"


def test_the_bootstrap_directory_does_not_stay_on_the_path() -> None:
    code = "import sys; print([p for p in sys.path if 'bootstrap' in p])"
    assert start(code, ALTSEM_DROPIN="altsem semaphores") == "[]\n"


def test_a_backend_that_does_not_work_is_said_once_and_kills_nothing() -> None:
    done = dropin.run(
        sys.executable,
        "-c",
        "import multiprocessing, _multiprocessing; print(1)",
        env={
            "PYTHONPATH": str(BOOTSTRAP),
            "ALTSEM_DROPIN": "altsem semaphores",
            "ALTSEM_BACKEND": "nonsense",
        },
    )
    assert (done.returncode, done.stdout) == (0, "1\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith("altsem: not installed: OSError") and "nonsense" in line


def test_any_python_can_run_the_bootstrap() -> None:
    # Descendants include interpreters that are much older than what altsem supports.
    tree = ast.parse((BOOTSTRAP / "sitecustomize.py").read_text(), feature_version=(3, 4))
    modern = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.AsyncFunctionDef, ast.ImportFrom)
    assert not [node for node in ast.walk(tree) if isinstance(node, modern)]
