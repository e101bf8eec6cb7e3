"""Which names lead to a context of ours, and which to a native one: docs/contexts.md."""

from __future__ import annotations

import copy
import json
import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.context import BaseContext
from typing import Any

import pytest

import altsem
from support import METHODS, get_context, no_native

pytestmark = pytest.mark.limit(60)

Script = Callable[..., "subprocess.CompletedProcess[str]"]
OURS = "altsem.synchronize"
NATIVE = "multiprocessing.synchronize"


@pytest.fixture(params=METHODS)
def ctx(request: pytest.FixtureRequest) -> Any:
    return get_context(request.param)


def said(run_script: Script, code: str, *words: str) -> list[str]:
    done = run_script(
        "import altsem, multiprocessing\nif __name__ == '__main__':\n" + indented(code), *words
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def indented(code: str) -> str:
    return "".join(f"    {line}\n" for line in code.splitlines())


# --- the method that a context of ours tells, given back -----------------------------------------


@pytest.mark.parametrize("name", ["altsem", *(f"altsem-{method}" for method in METHODS)])
def test_set_start_method_of_get_start_method_changes_nothing(
    run_script: Script, name: str
) -> None:
    """As a program does that sets another method for a while."""
    assert said(
        run_script,
        "import sys\n"
        "multiprocessing.set_start_method(sys.argv[1])\n"
        "before = multiprocessing.get_context()\n"
        "method = multiprocessing.get_start_method()\n"
        "multiprocessing.set_start_method('spawn', force=True)\n"
        "print(type(multiprocessing.get_context()).__module__)\n"
        "multiprocessing.set_start_method(method, force=True)\n"
        "print(multiprocessing.get_context() is before)\n"
        "print(type(multiprocessing.Lock()).__module__)\n",
        name,
    ) == ["multiprocessing.context", "True", OURS]


def test_get_context_of_what_a_context_tells_is_that_context(ctx: Any) -> None:
    method = ctx.get_start_method()
    assert multiprocessing.get_context(method) is ctx
    assert altsem.get_context(method) is ctx
    for other in METHODS:
        assert get_context(other).get_context(method) is ctx
    # The name alone is that of the native one.
    assert not isinstance(multiprocessing.get_context(str(method)), altsem.context.AltsemContext)


def test_a_copy_of_a_method_knows_its_context(ctx: Any) -> None:
    settings = {"method": ctx.get_start_method()}
    for copied in (copy.copy(settings), copy.deepcopy(settings)):
        assert multiprocessing.get_context(copied["method"]) is ctx


def test_a_method_that_became_text_names_the_native_context(ctx: Any) -> None:
    method = ctx.get_start_method()
    for text in (str(method), f"{method}", json.loads(json.dumps(method)), method + ""):
        assert type(text) is str
        assert multiprocessing.get_context(text) is multiprocessing.get_context(str(method))
        assert type(multiprocessing.get_context(text)).__module__ == "multiprocessing.context"


def test_children_too_get_our_context_of_their_own_method(run_script: Script) -> None:
    code = (
        "import altsem, multiprocessing, sys\n"
        "def child(queue):\n"
        "    ctx = multiprocessing.get_context(multiprocessing.get_start_method())\n"
        "    queue.put(type(ctx.Lock()).__module__)\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method(sys.argv[1])\n"
        "    queue = multiprocessing.SimpleQueue()\n"
        "    process = multiprocessing.Process(target=child, args=(queue,))\n"
        "    process.start()\n"
        "    print(queue.get())\n"
        "    process.join()\n"
    )
    for method in METHODS:
        done = run_script(code, f"altsem-{method}")
        assert (done.stdout, done.stderr) == (f"{OURS}\n", "")


# --- from one of ours to another -----------------------------------------------------------------


def test_get_context_of_a_context_of_ours_stays_with_us(ctx: Any) -> None:
    for method in METHODS:
        assert ctx.get_context(method) is get_context(method)
        assert ctx.get_context(f"altsem-{method}") is get_context(method)
    assert ctx.get_context() is ctx.get_context(None) is ctx
    with pytest.raises(ValueError, match="cannot find context for 'thread'"):
        ctx.get_context("thread")


def test_plain_names_lead_to_native_contexts_whatever_the_default(run_script: Script) -> None:
    assert said(
        run_script,
        "multiprocessing.set_start_method('altsem')\n"
        "for name in ('fork', 'spawn', 'forkserver'):\n"
        "    ctx = multiprocessing.get_context(name)\n"
        "    print(type(ctx).__module__, ctx.get_context('fork') is ctx.get_context('fork'))\n"
        "multiprocessing.set_start_method('spawn', force=True)\n"
        "print(type(multiprocessing.get_context()).__module__)\n",
    ) == [*["multiprocessing.context True"] * 3, "multiprocessing.context"]


# --- what the standard library chooses where nobody has ------------------------------------------

EXECUTOR = """
import altsem, multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
def default():
    return type(multiprocessing.Lock()).__module__
if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    with ProcessPoolExecutor(1, max_tasks_per_child=1) as executor:
        ctx = executor._mp_context
        print(type(ctx).__module__, ctx.get_start_method())
        print([executor.submit(default).result() for _ in range(2)])
"""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="max_tasks_per_child came with 3.11")
@pytest.mark.parametrize("name", ["altsem", "altsem-fork", "altsem-forkserver"])
def test_an_executor_that_chooses_spawn_itself_follows_the_default(
    run_script: Script, name: str
) -> None:
    done = run_script(EXECUTOR, name)
    assert done.stdout.splitlines() == ["altsem.context spawn", f"['{OURS}', '{OURS}']"]
    assert done.stderr == ""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="max_tasks_per_child came with 3.11")
@pytest.mark.skipif(no_native() is not None, reason=str(no_native()))
def test_an_executor_that_chooses_spawn_itself_is_native_with_a_native_default(
    run_script: Script,
) -> None:
    assert (
        said(
            run_script,
            "from concurrent.futures import ProcessPoolExecutor\n"
            "altsem.get_context()\n"
            "print(type(ProcessPoolExecutor(1, max_tasks_per_child=1)._mp_context).__module__)\n"
            "multiprocessing.set_start_method('altsem-spawn')\n"
            "native = multiprocessing.get_context('spawn')\n"
            "executor = ProcessPoolExecutor(1, max_tasks_per_child=1, mp_context=native)\n"
            "print(type(executor._mp_context).__module__)\n",
        )
        == ["multiprocessing.context"] * 2
    )


@pytest.mark.skipif(sys.version_info < (3, 12), reason="compileall names no method before 3.12")
def test_compileall_that_chooses_forkserver_itself_follows_the_default(
    run_script: Script, tmp_path: Any
) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "one.py").write_text("x = 1\n")
    assert said(
        run_script,
        "import sys, compileall, concurrent.futures\n"
        "class Seen(concurrent.futures.ProcessPoolExecutor):\n"
        "    def __init__(self, *args, mp_context=None, **kwargs):\n"
        "        print(type(mp_context).__module__, mp_context.get_start_method())\n"
        "        super().__init__(*args, mp_context=mp_context, **kwargs)\n"
        "concurrent.futures.ProcessPoolExecutor = Seen\n"
        "multiprocessing.set_start_method('altsem-fork')\n"
        "print(compileall.compile_dir(sys.argv[1], quiet=1, workers=2, force=True))\n",
        str(tmp_path / "some"),
    ) == ["altsem.context forkserver", "True"]


# --- libraries that look into the list -----------------------------------------------------------


def loader(method_or_context: Any) -> Any:
    """What PyTorch's DataLoader does with its argument `multiprocessing_context`."""
    if isinstance(method_or_context, str):
        if method_or_context not in multiprocessing.get_all_start_methods():
            raise ValueError(f"{method_or_context!r} is no valid start method")
        method_or_context = multiprocessing.get_context(method_or_context)
    if not isinstance(method_or_context, BaseContext):
        raise TypeError("neither a start method nor a context")
    return method_or_context


def test_a_library_that_checks_the_list_of_methods_takes_the_context_itself(ctx: Any) -> None:
    """And what the context tells; the names alone are not in the list, so that a program which
    tries all that are does not try each twice."""
    assert loader(ctx) is ctx
    assert loader(ctx.get_start_method()) is ctx
    assert multiprocessing.get_all_start_methods() == [
        method for method in multiprocessing.get_all_start_methods() if method in METHODS
    ]
    for name in ("altsem", f"altsem-{ctx.get_start_method()}"):
        with pytest.raises(ValueError, match="no valid start method"):
            loader(name)
