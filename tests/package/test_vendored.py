"""A copy of the package under another one's name works, beside the original or without it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import altsem

PROGRAM = """
import multiprocessing, sys
sys.modules["altsem"] = None  # whoever imports the original fails
import acme._vendor.altsem as altsem

def work(lock, queue):
    with lock:
        default = type(multiprocessing.Lock())
        queue.put((multiprocessing.get_start_method(), default.__module__))

if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        name = f"acme._vendor.altsem-{method}"
        ctx = multiprocessing.get_context(name)
        multiprocessing.set_start_method(name, force=True)
        queue, lock = ctx.Queue(), ctx.Lock()
        child = ctx.Process(target=work, args=(lock, queue))
        child.start()
        print(*queue.get(timeout=30), type(lock).__module__, type(lock).__mro__[1].__module__)
        child.join()
    assert "altsem" not in multiprocessing.context._concrete_contexts
"""


TWO_COPIES = """
import importlib, multiprocessing, sys
from multiprocessing import synchronize
copies = [importlib.import_module(name) for name in sys.argv[1:]]

class Mine(synchronize.Lock):
    pass

def made():
    lock, own = multiprocessing.Lock(), Mine(ctx=None)
    return [type(lock).__module__, type(own._semlock).__module__]

if __name__ == "__main__":
    for copy in copies:
        copy.get_context().Lock()
    for copy in copies:
        name = copy.__name__
        multiprocessing.set_start_method(f"{name}-fork", force=True)
        method = multiprocessing.get_start_method()
        multiprocessing.set_start_method("spawn", force=True)
        multiprocessing.set_start_method(method, force=True)
        queue = multiprocessing.SimpleQueue()
        child = multiprocessing.Process(target=lambda: queue.put(made()))
        child.start()
        ours = [f"{name}.synchronize", f"{name}.context.adopt"]
        print(made() == queue.get() == ours)
        child.join()
        if sys.version_info >= (3, 11):
            from concurrent.futures import ProcessPoolExecutor
            chosen = ProcessPoolExecutor(1, max_tasks_per_child=1)._mp_context
            print(chosen is copy.get_context("spawn"))
        else:
            print(True)
"""


def vendored(tmp_path: Path) -> str:
    """Makes a copy; returns the path on which it is found as acme._vendor.altsem."""
    vendor = tmp_path / "acme" / "_vendor"
    vendor.mkdir(parents=True)
    for folder in (vendor.parent, vendor):
        (folder / "__init__.py").touch()
    package = Path(altsem.__file__).parent
    shutil.copytree(package, vendor / "altsem", ignore=shutil.ignore_patterns("__pycache__"))
    return str(tmp_path)


@pytest.mark.parametrize("order", [1, -1])
def test_two_copies_in_one_process_each_make_what_is_asked_of_them(
    tmp_path: Path, run_script: Callable[..., CompletedProcess[str]], order: int
) -> None:
    names = ("altsem", "acme._vendor.altsem")[::order]
    result = run_script(TWO_COPIES, *names, env={"PYTHONPATH": vendored(tmp_path)})
    assert (result.stdout, result.stderr) == ("True\n" * 4, "")


def test_a_vendored_copy_has_the_library_for_c_code(
    tmp_path: Path, run_script: Callable[..., CompletedProcess[str]]
) -> None:
    code = (
        "import os, acme._vendor.altsem as altsem; from acme._vendor.altsem.dropin import preload; "
        "print(os.path.relpath(altsem.preload_path(), os.environ['PYTHONPATH'])); "
        "print(preload.entry().startswith(os.environ['PYTHONPATH']))"
    )
    result = run_script(code, env={"PYTHONPATH": vendored(tmp_path)})
    assert result.stdout.split() == ["acme/_vendor/altsem/_preload.so", "True"], result.stderr


def test_a_vendored_copy_is_whole(
    tmp_path: Path, run_script: Callable[..., CompletedProcess[str]]
) -> None:
    """Its contexts have its own name, and nothing in it imports the package by a fixed one."""
    result = run_script(PROGRAM, env={"PYTHONPATH": vendored(tmp_path)})
    ours = "acme._vendor.altsem"
    assert (result.stdout.splitlines(), result.stderr, result.returncode) == (
        [
            f"{method} {ours}.synchronize {ours}.synchronize {ours}._core"
            for method in ("fork", "spawn", "forkserver")
        ],
        "",
        0,
    )
