"""A copy of the package under another one's name works, beside the original or without it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

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


def test_a_vendored_copy_is_whole(
    tmp_path: Path, run_script: Callable[..., CompletedProcess[str]]
) -> None:
    """Its contexts have its own name, and nothing in it imports the package by a fixed one."""
    vendor = tmp_path / "acme" / "_vendor"
    vendor.mkdir(parents=True)
    for folder in (vendor.parent, vendor):
        (folder / "__init__.py").touch()
    package = Path(altsem.__file__).parent
    shutil.copytree(package, vendor / "altsem", ignore=shutil.ignore_patterns("__pycache__"))
    result = run_script(PROGRAM, env={"PYTHONPATH": str(tmp_path)})
    ours = "acme._vendor.altsem"
    assert (result.stdout.splitlines(), result.stderr, result.returncode) == (
        [
            f"{method} {ours}.synchronize {ours}.synchronize {ours}._core"
            for method in ("fork", "spawn", "forkserver")
        ],
        "",
        0,
    )
