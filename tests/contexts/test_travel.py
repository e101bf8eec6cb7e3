"""Primitives on their way to other processes."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import pickle
import subprocess
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

import altsem
from altsem import _core
from support import GENEROUS, METHODS, descriptors, get_context, join

pytestmark = pytest.mark.limit(60)

Script = Callable[..., "subprocess.CompletedProcess[str]"]


def one_of_each(ctx: Any) -> dict[str, Any]:
    return {
        "Lock": ctx.Lock(),
        "RLock": ctx.RLock(),
        "Semaphore": ctx.Semaphore(3),
        "BoundedSemaphore": ctx.BoundedSemaphore(3),
        "BoundedSemaphore(1)": ctx.BoundedSemaphore(1),
        "Event": ctx.Event(),
        "Condition": ctx.Condition(),
        "Condition(Lock)": ctx.Condition(ctx.Lock()),
        "Barrier": ctx.Barrier(2),
    }


def touch(primitive: Any) -> str:
    """Changes it in a way that the others see; says what arrived."""
    arrived = type(primitive).__name__
    if arrived == "Event":
        primitive.set()
    elif arrived == "Barrier":
        primitive.abort()
    elif arrived == "Condition":
        primitive.acquire()
    else:
        assert primitive.acquire(timeout=GENEROUS)
    return arrived


def was_touched(primitive: Any) -> bool:
    if isinstance(primitive, altsem.Event):
        return primitive.is_set()
    if isinstance(primitive, altsem.Barrier):
        return primitive.broken
    if isinstance(primitive, altsem.Condition):
        return bool(primitive._lock.locked())
    if hasattr(primitive, "get_value"):
        return bool(primitive.get_value() == primitive.maxvalue - 1 or primitive.get_value() == 2)
    return bool(primitive.locked())


def touch_all(primitives: dict[str, Any], answer: Any) -> None:
    answer.send({name: touch(primitive) for name, primitive in primitives.items()})


def touch_one(primitive: Any) -> str:
    return touch(primitive)


def touch_from(queue: Any, answer: Any) -> None:
    answer.send({name: touch(primitive) for name, primitive in iter(queue.get, None)})


def check(primitives: dict[str, Any], arrived: dict[str, str]) -> None:
    assert arrived == {name: name.partition("(")[0] for name in primitives}
    assert [name for name, primitive in primitives.items() if not was_touched(primitive)] == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("made_by", METHODS)
def test_as_arguments_of_a_process(made_by: str, method: str) -> None:
    """Also where another context made them, which natively is an error or a corruption."""
    primitives = one_of_each(get_context(made_by))
    ctx = get_context(method)
    reader, writer = ctx.Pipe(duplex=False)
    process = ctx.Process(target=touch_all, args=(primitives, writer))
    process.start()
    check(primitives, reader.recv())
    assert join(process) == [0]
    reader.close()
    writer.close()


@pytest.mark.parametrize("method", METHODS)
def test_through_a_pool(method: str) -> None:
    ctx = get_context(method)
    with ctx.Pool(2) as pool:
        # Made after the pool: not even with fork does a worker have them.
        primitives = one_of_each(ctx)
        arrived = pool.map(touch_one, primitives.values(), chunksize=2)
        check(primitives, dict(zip(primitives, arrived, strict=True)))
        primitives = one_of_each(ctx)
        results = {name: pool.apply_async(touch_one, (p,)) for name, p in primitives.items()}
        check(primitives, {name: result.get(GENEROUS) for name, result in results.items()})
        pool.close()
        pool.join()


@pytest.mark.parametrize("method", METHODS)
def test_through_an_executor(method: str) -> None:
    ctx = get_context(method)
    with ProcessPoolExecutor(2, mp_context=ctx) as executor:
        executor.submit(os.getpid).result(GENEROUS)
        primitives = one_of_each(ctx)
        futures = {name: executor.submit(touch_one, p) for name, p in primitives.items()}
        check(primitives, {name: future.result(GENEROUS) for name, future in futures.items()})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue"])
def test_through_a_queue(method: str, kind: str) -> None:
    ctx = get_context(method)
    queue = getattr(ctx, kind)()
    reader, writer = ctx.Pipe(duplex=False)
    process = ctx.Process(target=touch_from, args=(queue, writer))
    process.start()
    primitives = one_of_each(ctx)
    for item in primitives.items():
        queue.put(item)
    queue.put(None)
    check(primitives, reader.recv())
    assert join(process) == [0]
    for end in (reader, writer, queue):
        end.close()


def send_back(queue: Any, done: Any) -> None:
    """Makes a lock, holds it, sends it, and waits until the receiver has looked."""
    lock = altsem.Lock()
    lock.acquire()
    queue.put(lock)
    assert done.acquire(timeout=GENEROUS)
    lock.release()
    done.release()


@pytest.mark.parametrize("method", METHODS)
def test_from_a_child_to_its_parent(method: str) -> None:
    ctx = get_context(method)
    queue, done = ctx.SimpleQueue(), ctx.Semaphore(0)
    process = ctx.Process(target=send_back, args=(queue, done))
    process.start()
    lock = queue.get()
    assert lock.locked()
    assert not lock._is_mine()
    done.release()
    assert join(process) == [0]
    assert not lock.locked()
    queue.close()


def test_a_copy_in_the_same_process_is_the_same_lock() -> None:
    for copied in (
        lambda lock: pickle.loads(pickle.dumps(lock)),
        lambda lock: pickle.loads(pickle.dumps(lock, 2)),
        copy.copy,
        copy.deepcopy,
    ):
        lock = altsem.Lock()
        other = copied(lock)
        assert other is not lock
        assert type(other) is altsem.Lock
        other.acquire()
        assert lock.locked()
        del lock
        gc.collect()
        assert other.locked()
        other.release()


class Note(altsem.Lock):
    def __init__(self, note: str) -> None:
        super().__init__()
        self.note = note


def tell(lock: Note, answer: Any) -> None:
    with lock:
        answer.send((type(lock).__name__, lock.note, lock.locked()))


@pytest.mark.parametrize("method", METHODS)
def test_a_subclass_travels_with_what_it_has(method: str) -> None:
    ctx = get_context(method)
    reader, writer = ctx.Pipe(duplex=False)
    process = ctx.Process(target=tell, args=(Note("kept"), writer))
    process.start()
    assert reader.recv() == ("Note", "kept", True)
    assert join(process) == [0]
    reader.close()
    writer.close()


def hold_while(first: Any, rest: list[Any], go_on: Any) -> None:
    assert go_on.wait(GENEROUS)
    with first:
        for lock in rest:
            assert lock.acquire(False)
            lock.release()


@pytest.mark.parametrize("method", METHODS)
def test_the_parent_drops_its_last_reference_right_after_start(method: str) -> None:
    ctx = get_context(method)
    go_on = ctx.Event()
    locks = [ctx.Lock() for _ in range(3)]
    process = ctx.Process(target=hold_while, args=(locks[0], locks[1:], go_on))
    process.start()
    process._args = ()
    del locks
    gc.collect()
    # Whatever could be made in their place.
    others = [ctx.Lock() for _ in range(200)]
    for lock in others:
        lock.acquire()
    go_on.set()
    assert join(process) == [0]


def acquire_each(locks: list[Any]) -> None:
    assert _core.segments() < 20
    for lock in locks:
        assert lock.acquire(False)


@pytest.mark.parametrize("method", METHODS)
def test_hundreds_of_locks_to_one_child(method: str) -> None:
    ctx = get_context(method)
    locks = [ctx.Lock() for _ in range(300)]
    process = ctx.Process(target=acquire_each, args=(locks,))
    process.start()
    assert join(process) == [0]
    assert all(lock.locked() for lock in locks)


def test_sending_the_same_lock_again_and_again_costs_nothing() -> None:
    ctx = get_context("fork")
    lock = ctx.Lock()
    pickle.dumps(lock)
    with ctx.Pool(1) as pool:
        pool.apply(touch_and_release, (lock,))
        before = descriptors(), _core.segments()
        pool.map(touch_and_release, [lock] * 1000, chunksize=20)
        for _ in range(1000):
            pickle.loads(pickle.dumps(lock))
        assert (descriptors(), _core.segments()) == before
        # Nor the receiver.
        assert len(set(pool.map(touch_and_count, [lock] * 100, chunksize=1))) == 1
        pool.close()
        pool.join()


def test_thousands_of_locks_that_are_sent_and_dropped() -> None:
    """Nobody can know whether a receiver is still to come, so their memory stays; but it is bytes,
    not descriptors."""
    ctx = get_context("fork")
    with ctx.Pool(1) as pool:
        before = descriptors(), _core.segments()
        for _ in range(1500):
            pool.apply(touch_and_release, (ctx.Lock(),))
        assert descriptors() < before[0] + 15
        assert _core.segments() < before[1] + 10
        assert pool.apply(touch_and_count, (ctx.Lock(),))[1] < 10
        pool.close()
        pool.join()


def touch_and_release(lock: Any) -> None:
    with lock:
        pass


def touch_and_count(lock: Any) -> tuple[int, int]:
    with lock:
        return descriptors(), _core.segments()


def test_starting_processes_costs_no_descriptors() -> None:
    ctx = get_context("spawn")
    lock = ctx.Lock()
    for number in range(4):
        process = ctx.Process(target=touch_and_release, args=(lock,))
        process.start()
        assert join(process) == [0]
        del process
        gc.collect()
        if number == 0:
            before = descriptors()
    assert descriptors() == before


PASS_ON = """
import altsem, multiprocessing, sys

def last(lock, event):
    with lock:
        event.set()

def middle(names, lock, event):
    if names:
        ctx = multiprocessing.get_context(names[0])
        process = ctx.Process(target=middle, args=(names[1:], lock, event))
    else:
        ctx = multiprocessing.get_context()
        process = ctx.Process(target=last, args=(lock, event))
    process.start()
    process.join()
    sys.exit(process.exitcode)

if __name__ == "__main__":
    names = sys.argv[1:]
    ctx = multiprocessing.get_context(names[0])
    lock, event = ctx.Lock(), ctx.Event()
    process = ctx.Process(target=middle, args=(names[1:], lock, event))
    process.start()
    process.join()
    print(process.exitcode, event.is_set(), lock.locked())
"""


@pytest.mark.parametrize(
    "methods",
    ["fork spawn forkserver", "forkserver fork spawn", "spawn forkserver fork", "spawn spawn"],
)
def test_from_child_to_grandchild_of_every_method(run_script: Script, methods: str) -> None:
    """And not a word from the resource tracker, here as everywhere."""
    done = run_script(PASS_ON, *(f"altsem-{method}" for method in methods.split()))
    assert (done.stdout, done.stderr, done.returncode) == ("0 True False\n", "", 0)


QUIET = """
import altsem, multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor

def work(lock, value):
    with lock:
        value.value += 1

def square(x):
    return x * x

def use(lock):
    with lock:
        return 1

if __name__ == "__main__":
    ctx = multiprocessing.get_context(sys.argv[1])
    lock, value = ctx.Lock(), ctx.Value("i", 0)
    processes = [ctx.Process(target=work, args=(lock, value)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    with ctx.Pool(2) as pool:
        squares = pool.map(square, [1, 2, 3])
        used = sum(pool.map(use, [lock] * 4))
    queue = ctx.Queue()
    queue.put(lock)
    same = queue.get()
    with ProcessPoolExecutor(1, mp_context=ctx) as executor:
        used += executor.submit(use, same).result()
    print(value.value, squares, used)
"""


@pytest.mark.parametrize("name", ["altsem", *(f"altsem-{method}" for method in METHODS)])
def test_a_program_that_uses_everything_says_nothing(run_script: Script, name: str) -> None:
    done = run_script(QUIET, name)
    assert (done.stdout, done.stderr, done.returncode) == ("2 [1, 4, 9] 5\n", "", 0)


def test_natively_started_processes_take_our_locks_too() -> None:
    lock = altsem.Lock()
    for method in METHODS:
        process = multiprocessing.get_context(method).Process(
            target=touch_and_release, args=(lock,)
        )
        process.start()
        assert join(process) == [0]


def test_from_the_child_of_a_bare_fork(run_script: Script) -> None:
    """What serves the descriptors is a thread of the parent, which the child does not have."""
    done = run_script(
        "import altsem, multiprocessing, os, pickle, warnings\n"
        "warnings.simplefilter('ignore')  # of forks in a process with threads\n"
        "served = altsem.Lock()\n"
        "pickle.dumps(served)\n"
        "ours, theirs = multiprocessing.Pipe()\n"
        "if os.fork() == 0:\n"
        "    lock = altsem.Lock()\n"
        "    lock.acquire()\n"
        "    theirs.send(lock)\n"
        "    theirs.recv()\n"
        "    print('child', lock.locked(), flush=True)\n"
        "    raise SystemExit\n"
        "lock = ours.recv()\n"
        "print('parent', lock.locked(), lock._is_mine(), flush=True)\n"
        "lock.release()\n"
        "ours.send(None)\n"
        "os.wait()\n"
    )
    assert (done.stdout, done.stderr) == ("parent True False\nchild False\n", "")


def test_the_sender_is_gone(run_script: Script) -> None:
    """A clear error, at the receiver, that does not end in a hang."""
    done = run_script(
        "import altsem, os, pickle\n"
        "r, w = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.close(r)\n"
        "    lock = altsem.Lock()\n"
        "    os.write(w, pickle.dumps(lock))\n"
        "    raise SystemExit\n"
        "os.close(w)\n"
        "os.wait()\n"
        "try:\n"
        "    pickle.load(os.fdopen(r, 'rb'))\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    assert "the process that sent this primitive is gone" in done.stdout
    assert done.stderr == ""
