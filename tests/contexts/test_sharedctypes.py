"""Value, Array and their like: their memory needs no /dev/shm either."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from multiprocessing import heap, sharedctypes
from pathlib import Path
from typing import Any

import pytest

import altsem
from support import METHODS, get_context, join

pytestmark = pytest.mark.limit(60)

Script = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(params=METHODS)
def ctx(request: pytest.FixtureRequest) -> Any:
    return get_context(request.param)


class Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_double), ("y", ctypes.c_double))


def change(value: Any, array: Any, text: Any, raw: Any, raw_array: Any, point: Any) -> None:
    for _ in range(100):
        with value.get_lock():
            value.value += 1
    for index in range(len(array)):
        array[index] = -array[index]
    text.value = b"from the child"
    raw.value = 2.5
    raw_array[1] = 7
    point.x, point.y = point.y, point.x


def test_all_kinds(ctx: Any) -> None:
    value, array = ctx.Value("i", 5), ctx.Array("l", [1, 2, 3])
    text = ctx.Array("c", 20)
    raw, raw_array = ctx.RawValue("d", 0.5), ctx.RawArray("i", 3)
    point = ctx.Value(Point, 1.0, 2.0, lock=ctx.Lock())
    arguments = (value, array, text, raw, raw_array, point)
    process = ctx.Process(target=change, args=arguments)
    process.start()
    assert join(process) == [0]
    assert value.value == 105
    assert list(array) == [-1, -2, -3]
    assert text.value == b"from the child"
    assert raw.value == 2.5
    assert list(raw_array) == [0, 7, 0]
    assert (point.x, point.y) == (2.0, 1.0)


def test_their_locks_are_ours(ctx: Any) -> None:
    value = ctx.Value("i", 0)
    assert type(value.get_lock()) is altsem.RLock
    assert isinstance(value, sharedctypes.Synchronized)
    lock = ctx.Lock()
    assert ctx.Array("i", 2, lock=lock).get_lock() is lock
    assert not hasattr(ctx.Value("i", 0, lock=False), "get_lock")
    with pytest.raises(AttributeError, match="has no method 'acquire'"):
        ctx.Value("i", 0, lock=5)


def add(value: Any, times: int) -> None:
    for _ in range(times):
        with value.get_lock():
            value.value += 1


def test_a_shared_counter(ctx: Any) -> None:
    value = ctx.Value("l", 0)
    processes = [ctx.Process(target=add, args=(value, 2000)) for _ in range(3)]
    for process in processes:
        process.start()
    assert join(*processes) == [0] * 3
    assert value.value == 6000


def test_a_copy() -> None:
    ctx = get_context("fork")
    value = ctx.Value("i", 3)
    copied = sharedctypes.copy(value.get_obj())
    copied.value = 4
    assert value.value == 3


def test_a_large_array(ctx: Any) -> None:
    array = ctx.RawArray("b", 1 << 22)
    process = ctx.Process(target=mark_ends, args=(array,))
    process.start()
    assert join(process) == [0]
    assert (array[0], array[-1]) == (1, 2)


def mark_ends(array: Any) -> None:
    array[0], array[-1] = 1, 2


def test_an_arena_is_nameless() -> None:
    get_context("fork")  # from now on
    arena = heap.Arena(1 << 16)
    link = Path(f"/proc/self/fd/{arena.fd}").readlink()
    assert str(link).endswith("(deleted)")
    assert "/dev/shm" not in str(link)
    assert len(arena.buffer) == arena.size == 1 << 16
    arena.buffer[-1] = 1


def test_an_arena_from_a_descriptor_shares_its_memory() -> None:
    import os

    get_context("fork")
    arena = heap.Arena(1 << 16)
    other = heap.Arena(arena.size, os.dup(arena.fd))
    other.buffer[5] = 77
    assert arena.buffer[5] == 77


def test_dev_shm_is_not_even_looked_at(run_script: Script) -> None:
    done = run_script(
        "import sys\n"
        "seen = []\n"
        "sys.addaudithook(lambda name, args: seen.append((name, args))\n"
        "                 if args and str(args[0]).startswith('/dev/shm') else None)\n"
        "import os, altsem, multiprocessing\n"
        "statvfs = os.statvfs\n"
        "os.statvfs = lambda path: (seen.append(path), statvfs(path))[1]\n"
        "def child(*shared):\n"
        "    for each in shared[:2]: each.value += 1\n"
        "if __name__ == '__main__':\n"
        "    ctx = multiprocessing.get_context('altsem')\n"
        "    shared = (ctx.Value('i', 0), ctx.RawValue('i', 0), ctx.Array('i', 5),\n"
        "              ctx.RawArray('i', 5), ctx.Barrier(2), ctx.Queue())\n"
        "    process = ctx.Process(target=child, args=shared)\n"
        "    process.start()\n"
        "    process.join()\n"
        "    print(shared[0].value, shared[1].value, seen)\n"
    )
    assert (done.stdout, done.stderr) == ("1 1 []\n", "")


def test_a_program_that_never_asks_for_a_context_finds_nothing_changed(run_script: Script) -> None:
    done = run_script(
        "import multiprocessing.heap as heap\n"
        "before = heap.Arena.__init__\n"
        "import altsem, multiprocessing\n"
        "multiprocessing.get_context('spawn')\n"
        "print(heap.Arena.__init__ is before)\n"
        "altsem.Lock()\n"
        "print(heap.Arena.__init__ is before)\n"
        "multiprocessing.get_context('altsem')\n"
        "print(heap.Arena.__init__ is before)\n"
    )
    assert (done.stdout.split(), done.stderr) == (["True", "True", "False"], "")


def test_no_memory_to_be_had(run_script: Script) -> None:
    done = run_script(
        "import altsem, multiprocessing, resource\n"
        "ctx = multiprocessing.get_context('altsem')\n"
        "ctx.Lock()\n"
        "import multiprocessing.sharedctypes\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "try:\n"
        "    ctx.RawValue('i')\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    assert "no file descriptor is free for the shared memory of a shared array" in done.stdout
    assert done.stderr == ""
