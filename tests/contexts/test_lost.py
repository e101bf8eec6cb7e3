"""Primitives that arrive, but whose memory cannot be had: objects that say so when they are used.

Pools and queues take an exception while they unpickle for the end of the other side: a pool's
result thread leaves without a word and map() waits for ever, an executor calls itself broken, a
queue's item is gone.
"""

from __future__ import annotations

import copy
import errno
import gc
import os
import pickle
import subprocess
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import synchronize as native
from typing import Any

import pytest

import altsem
from altsem import _core
from altsem.synchronize import travel
from support import GENEROUS, METHODS, fork, get_context, join, reap, state

pytestmark = pytest.mark.limit(60)

Script = Callable[..., "subprocess.CompletedProcess[str]"]
GONE = r"cannot be used here, its memory was not to be had: process [0-9]+, which sent it, is gone"


class Note(altsem.Lock):
    __slots__ = ("slotted",)
    note = "none"


def one_of_each() -> dict[str, Any]:
    note = Note()
    note.note, note.slotted = "kept", "too"
    return {
        "Lock": altsem.Lock(),
        "RLock": altsem.RLock(),
        "Semaphore": altsem.Semaphore(3),
        "BoundedSemaphore": altsem.BoundedSemaphore(3),
        "Event": altsem.Event(),
        "Condition": altsem.Condition(),
        "Barrier": altsem.Barrier(2),
        "Note": note,
    }


def from_the_dead(make: Callable[[], Any]) -> Any:
    """What `make` returns in a process that has ended before it arrives here."""
    reader, writer = os.pipe()

    def send() -> None:
        with open(writer, "wb", closefd=False) as file:
            pickle.dump(make(), file)

    child = fork(send)
    os.close(writer)
    with open(reader, "rb") as file:
        sent = file.read()
    assert reap(child) == 0
    return pickle.loads(sent)


@pytest.fixture
def lost() -> dict[str, Any]:
    primitives: dict[str, Any] = from_the_dead(one_of_each)
    return primitives


# --- the object -----------------------------------------------------------------------------------

USES: dict[str, list[Callable[[Any], object]]] = {
    "Lock": [lambda lock: lock.owner, lambda lock: lock.locked()],
    "RLock": [lambda lock: lock.owner, lambda lock: lock.locked()],
    "Semaphore": [lambda semaphore: semaphore.get_value()],
    "BoundedSemaphore": [lambda semaphore: semaphore.get_value()],
    "Event": [
        lambda event: event.is_set(),
        lambda event: event.set(),
        lambda event: event.clear(),
        lambda event: event.wait(0),
        lambda event: event.waiters,
    ],
    "Condition": [
        lambda condition: condition.wait(0),
        lambda condition: condition.wait_for(lambda: False),
        lambda condition: condition.notify(),
        lambda condition: condition.notify_all(),
        lambda condition: condition.waiters,
        lambda condition: condition.acquire(),
        lambda condition: condition.release(),
        lambda condition: condition.__enter__(),
    ],
    "Barrier": [
        lambda barrier: barrier.wait(0),
        lambda barrier: barrier.abort(),
        lambda barrier: barrier.reset(),
        lambda barrier: barrier.broken,
        lambda barrier: barrier.parties,
        lambda barrier: barrier.n_waiting,
    ],
}
OF_SEMLOCKS: list[Callable[[Any], object]] = [
    lambda lock: lock.acquire(),
    lambda lock: lock.acquire(False),
    lambda lock: lock.acquire(timeout=0),
    lambda lock: lock.release(),
    lambda lock: lock.__enter__(),
    lambda lock: lock.__exit__(None, None, None),
    lambda lock: lock.waiters,
    lambda lock: lock._semlock._is_mine(),
    lambda lock: lock._semlock._count(),
    lambda lock: lock._semlock._get_value(),
]


def test_every_use_of_a_lost_primitive_says_why(lost: dict[str, Any]) -> None:
    for name, primitive in lost.items():
        uses = USES.get(name, [])
        if isinstance(primitive, _core.SemLock):
            uses = uses + OF_SEMLOCKS
        assert uses
        part = f"({name}|RLock)" if name == "Condition" else name
        for use in uses:
            with pytest.raises(ProcessLookupError, match=f"^.Errno 3. this {part} {GONE}"):
                use(primitive)


def test_a_lost_primitive_is_one_of_its_class(lost: dict[str, Any]) -> None:
    for name, primitive in lost.items():
        assert type(primitive) is (Note if name == "Note" else getattr(altsem, name))
        assert isinstance(primitive, getattr(native, "Lock" if name == "Note" else name))
    assert (lost["Note"].note, lost["Note"].slotted) == ("kept", "too")


def test_a_lost_primitive_can_be_shown(lost: dict[str, Any]) -> None:
    for name, primitive in lost.items():
        assert name in repr(primitive)
        assert "unknown" in repr(primitive)


def test_a_lost_primitive_can_be_forgotten(lost: dict[str, Any]) -> None:
    references = [weakref.ref(primitive) for primitive in lost.values()]
    lost.clear()
    gc.collect()
    assert [reference() for reference in references] == [None] * len(references)


def test_a_lost_primitive_can_be_copied_and_pickled(lost: dict[str, Any]) -> None:
    for name, primitive in lost.items():
        for copied in (
            copy.copy(primitive),
            copy.deepcopy(primitive),
            *(pickle.loads(pickle.dumps(primitive, p)) for p in range(2, 6)),
        ):
            assert type(copied) is type(primitive)
            use = USES.get(name, OF_SEMLOCKS)[0]
            with pytest.raises(ProcessLookupError, match=GONE):
                use(copied)
    assert pickle.loads(pickle.dumps(lost["Note"])).slotted == "too"


def test_a_lost_lock_that_is_initialised_again_is_whole(lost: dict[str, Any]) -> None:
    lock = lost["Lock"]
    lock.__init__()
    assert lock.acquire(False)
    assert pickle.loads(pickle.dumps(lock)).locked()


def test_whoever_has_the_memory_makes_a_lost_primitive_whole() -> None:
    """It is passed on with the way by which it came."""
    here = altsem.Lock()
    identity, offset, way = here.__reduce_ex__(2)[1][1:]
    fetch = pickle.loads(pickle.dumps(way))
    lost = _core.lose(altsem.Lock, errno.EMFILE, "no descriptor", (identity, offset, fetch))
    with pytest.raises(OSError, match="no descriptor"):
        lost.acquire()
    again = pickle.loads(pickle.dumps(lost))
    assert again.acquire(False)
    assert here.locked()


def test_what_a_new_process_is_given_and_cannot_have_stops_it_at_once(tmp_path: Any) -> None:
    """There nobody takes the exception for something else: it is shown, and the process fails."""

    class Broken:
        def detach(self) -> int:
            raise OSError(errno.EMFILE, "no descriptor")

    with pytest.raises(OSError, match="no descriptor"):
        travel.rebuild(altsem.Lock, bytes(16), 128, Broken())


@pytest.mark.parametrize("cls", [int, object, altsem.Condition, "Lock", None])
def test_only_a_primitive_can_be_lost(cls: Any) -> None:
    with pytest.raises(TypeError, match=r"lose\(class, errno, sentence, sent\) takes a primitive"):
        _core.lose(cls, 1, "why", ())
    with pytest.raises(TypeError):
        _core.lost(cls)
    assert _core.lost(altsem.Lock()) is None


# --- on its way back ------------------------------------------------------------------------------


class AfterTheEnd:
    """Holds up whoever unpickles it until a process has ended."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def __reduce__(self) -> tuple[Any, ...]:
        return wait_for_the_end, (self.pid,)


def wait_for_the_end(pid: int) -> int:
    deadline = time.monotonic() + GENEROUS
    while state(pid) not in ("", "Z", "X"):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return pid


def make_one(_: int) -> tuple[AfterTheEnd, altsem.Lock]:
    return AfterTheEnd(os.getpid()), altsem.Lock()


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_whose_workers_return_a_lock_and_exit(method: str) -> None:
    with get_context(method).Pool(1, maxtasksperchild=1) as pool:
        returned = pool.map_async(make_one, range(3), chunksize=1).get(GENEROUS)
        assert len({pid for pid, _ in returned}) == 3
        for _, lock in returned:
            with pytest.raises(ProcessLookupError, match=GONE), lock:
                pass
        pool.close()
        pool.join()


# The limit is one for the numbers of descriptors; the next to be opened gets the first free one.
FULL = """
import altsem, os, resource, sys
from concurrent.futures import ProcessPoolExecutor

def fill():
    next_free = os.dup(0)
    os.close(next_free)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_free, hard))

def empty():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

def use(lock):
    try:
        with lock:
            return "used"
    except OSError as error:
        return f"{error.errno}: {error.strerror}"

def apart():
    # In a segment in which no lock is that somebody may have.
    return [altsem.Lock() for _ in range(200)][-1]

def give(_):
    return altsem.Lock()

def put(queue, connection, done):
    queue.put(altsem.Lock())
    connection.send(altsem.Lock())
    done.acquire()

LIMIT = 20
"""
REFUSED = (
    f"{errno.EMFILE}: this Lock cannot be used here, its memory was not to be had: "
    "no file descriptor was free in this process when it arrived"
)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["pool", "executor"])
def test_a_task_for_a_worker_at_its_descriptor_limit(
    run_script: Script, method: str, kind: str
) -> None:
    run = {
        "pool": "    with ctx.Pool(1) as pool:\n"
        "        pool.apply_async(fill).get(LIMIT)\n"
        "        print(pool.apply_async(use, (apart(),)).get(LIMIT))\n"
        "        pool.apply_async(empty).get(LIMIT)\n"
        "        print(pool.apply_async(use, (apart(),)).get(LIMIT))\n",
        "executor": "    with ProcessPoolExecutor(1, mp_context=ctx) as executor:\n"
        "        executor.submit(fill).result(LIMIT)\n"
        "        print(executor.submit(use, apart()).result(LIMIT))\n"
        "        executor.submit(empty).result(LIMIT)\n"
        "        print(executor.submit(use, apart()).result(LIMIT))\n",
    }[kind]
    done = run_script(
        f"{FULL}if __name__ == '__main__':\n    ctx = altsem.get_context({method!r})\n{run}"
    )
    assert (done.stdout.splitlines(), done.stderr) == ([REFUSED, "used"], "")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["pool", "executor", "Queue", "SimpleQueue"])
def test_results_for_a_parent_at_its_descriptor_limit(
    run_script: Script, method: str, kind: str
) -> None:
    run = {
        "pool": "    with ctx.Pool(1) as pool:\n"
        "        pool.apply_async(os.getpid).get(LIMIT)\n"
        "        fill()\n"
        "        print(use(pool.apply_async(give, (0,)).get(LIMIT)))\n"
        "        empty()\n"
        "        print(use(pool.apply_async(give, (0,)).get(LIMIT)))\n",
        "executor": "    with ProcessPoolExecutor(1, mp_context=ctx) as executor:\n"
        "        executor.submit(os.getpid).result(LIMIT)\n"
        "        fill()\n"
        "        print(use(executor.submit(give, 0).result(LIMIT)))\n"
        "        empty()\n"
        "        print(use(executor.submit(give, 0).result(LIMIT)))\n",
    }.get(
        kind,
        f"    queue, done = ctx.{kind}(), ctx.Semaphore(0)\n"
        "    reader, writer = ctx.Pipe()\n"
        "    process = ctx.Process(target=put, args=(queue, writer, done), daemon=True)\n"
        "    process.start()\n"
        "    fill()\n"
        "    print(use(queue.get()))\n"
        "    empty()\n"
        "    print(use(reader.recv()))\n"
        "    done.release()\n"
        "    process.join()\n",
    )
    done = run_script(
        f"{FULL}if __name__ == '__main__':\n    ctx = altsem.get_context({method!r})\n{run}"
    )
    assert (done.stdout.splitlines(), done.stderr) == ([REFUSED, "used"], "")


def test_through_a_connection_at_the_descriptor_limit(run_script: Script) -> None:
    done = run_script(
        f"{FULL}\n"
        "if __name__ == '__main__':\n"
        "    ctx = altsem.get_context('spawn')\n"
        "    queue, done = ctx.SimpleQueue(), ctx.Semaphore(0)\n"
        "    reader, writer = ctx.Pipe()\n"
        "    process = ctx.Process(target=put, args=(queue, writer, done), daemon=True)\n"
        "    process.start()\n"
        "    fill()\n"
        "    print(use(reader.recv()))\n"
        "    empty()\n"
        "    print(use(queue.get()))\n"
        "    done.release()\n"
        "    process.join()\n"
    )
    assert (done.stdout.splitlines(), done.stderr) == ([REFUSED, "used"], "")


def put_and_exit(queue: Any) -> None:
    queue.put(make_one(0))


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue", "JoinableQueue"])
def test_a_queue_into_which_a_process_puts_a_lock_and_exits(kind: str) -> None:
    ctx = get_context("fork")
    queue = getattr(ctx, kind)()
    process = ctx.Process(target=put_and_exit, args=(queue,))
    process.start()
    assert join(process) == [0]
    _, lock = queue.get()
    with pytest.raises(ProcessLookupError, match=GONE):
        lock.acquire()
    queue.close()


def test_an_executor_whose_workers_return_a_lock_and_exit() -> None:
    try:
        executor = ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1)
    except TypeError:
        pytest.skip("executors of this Python keep their workers")
    with executor:
        for _ in range(2):
            _, lock = executor.submit(make_one, 0).result(GENEROUS)
            with pytest.raises(ProcessLookupError, match=GONE):
                lock.acquire()
