"""Primitives on their way to other processes."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import altsem
from altsem import _core
from altsem.synchronize import travel
from support import (
    GENEROUS,
    METHODS,
    descriptors,
    fork,
    get_context,
    join,
    reap,
    state,
    wait_until,
    wait_until_asleep,
)

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


class Slotted(altsem.Lock):
    __slots__ = ("__private", "first")
    second: str

    def __init__(self, first: str, second: str, private: str) -> None:
        super().__init__()
        self.first, self.second, self.__private = first, second, private

    def all(self) -> tuple[str, str, str]:
        return self.first, self.second, self.__private


class Empty(altsem.Event):
    __slots__ = ("never_set", "seen")


class Named(altsem.Condition):
    __slots__ = ("slotted",)
    name: str


class Party(altsem.Barrier):
    __slots__ = ("slotted",)
    name: str


class Own(altsem.Semaphore):
    """Says itself what is to be sent of it."""

    secret = "not sent"

    def __getstate__(self) -> Any:
        return super().__getstate__(), "said"

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state[0])
        self.word = state[1]


def what_arrived(
    slotted: Slotted, empty: Empty, own: Own, named: Named, party: Party
) -> tuple[object, ...]:
    with named:
        named.notify()
    composed = named.name, named.slotted, party.name, party.slotted, party.parties
    return slotted.all(), empty.seen, hasattr(empty, "never_set"), own.word, own.secret, *composed


@pytest.mark.parametrize("method", METHODS)
def test_attributes_in_slots_travel(method: str) -> None:
    empty, named, party = Empty(), Named(), Party(3)
    empty.seen = True
    named.name, named.slotted, party.name, party.slotted = "one", "two", "three", "four"
    sent = Slotted("first", "second", "private"), empty, Own(), named, party
    slotted, words = ("first", "second", "private"), ("one", "two", "three", "four", 3)
    arrived = slotted, True, False, "said", "not sent", *words
    with get_context(method).Pool(1) as pool:
        assert pool.apply_async(what_arrived, sent).get(GENEROUS) == arrived
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert what_arrived(*pickle.loads(pickle.dumps(sent, protocol))) == arrived
    assert what_arrived(*copy.deepcopy(sent)) == arrived
    assert what_arrived(*map(copy.copy, sent)) == arrived


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
        "lock = pickle.load(os.fdopen(r, 'rb'))\n"
        "try:\n"
        "    lock.acquire()\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    assert "which sent it, is gone" in done.stdout
    assert done.stderr == ""


# --- by which way ---------------------------------------------------------------------------------


def traces() -> tuple[object, ...]:
    """What a helper would leave: a thread, descriptors, a directory, signals that are blocked."""
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    return threading.active_count(), descriptors(), config.get("tempdir"), blocked


def test_sending_takes_no_thread_no_descriptor_and_no_directory(run_script: Script) -> None:
    done = run_script(
        "import altsem, pickle, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "import test_travel\n"
        "if __name__ == '__main__':\n"
        "    with altsem.get_context('spawn').Pool(1) as pool:\n"
        "        pool.apply(test_travel.touch_and_release, (altsem.Lock(),))\n"
        "        locks = [altsem.Lock() for _ in range(300)]\n"
        "        before = test_travel.traces()\n"
        "        for lock in locks:\n"
        "            pool.apply(test_travel.touch_and_release, (lock,))\n"
        "        assert test_travel.traces() == before\n"
        "        print(before[2])\n"
        "        pool.close()\n"
        "        pool.join()\n"
    )
    assert (done.stdout, done.stderr) == ("None\n", "")


@pytest.fixture
def by_socket(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As where there is no /proc: its sharer serves what this process sends."""
    monkeypatch.setattr(travel, "_place_of", lambda fd: None)
    yield
    door, travel._sharer._door = travel._sharer._door, None
    if door is not None:  # ends its thread
        with socket.socket(socket.AF_UNIX) as connection:
            door.is_ours = lambda: False  # type: ignore[method-assign]
            connection.connect(door.address[0])
        wait_until(lambda: "altsem-sharer" not in {t.name for t in threading.enumerate()})


def apart() -> Any:
    """A lock in a segment of its own, in which none is that another process has."""
    before = {_core.export(lock)[0].id for lock in [altsem.Lock()]}
    locks = []
    while True:
        locks.append(altsem.Lock())
        if _core.export(locks[-1])[0].id not in before:
            return locks[-1]


@pytest.mark.usefixtures("by_socket")
@pytest.mark.parametrize("method", METHODS)
def test_by_the_sharers_socket_where_there_is_no_proc(method: str) -> None:
    with get_context(method).Pool(1) as pool:
        for _ in range(3):
            lock = apart()
            assert pickle.loads(pickle.dumps(lock.__reduce_ex__(2)[1][3]))._place is None
            assert pool.apply_async(touch_one, (lock,)).get(GENEROUS) == "Lock"
            assert lock.locked()
        pool.close()
        pool.join()


@pytest.mark.usefixtures("by_socket")
def test_a_copy_starts_no_sharer() -> None:
    lock = altsem.Lock()
    before = traces()
    for copied in (copy.copy(lock), copy.deepcopy(lock), copy.deepcopy([lock, lock])[0]):
        assert copied.acquire(False)
        lock.release()
    assert traces() == before
    pickle.dumps(lock)
    assert traces() != before


@pytest.mark.usefixtures("by_socket")
def test_the_sharer_blocks_no_signal_of_its_starter_and_takes_none() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    pickle.dumps(altsem.Lock())
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    [sharer] = [t for t in threading.enumerate() if t.name == "altsem-sharer"]
    status = Path(f"/proc/self/task/{sharer.native_id}/status").read_text()
    [mask] = [line.split()[1] for line in status.splitlines() if line.startswith("SigBlk")]
    assert int(mask, 16) >> (signal.SIGINT - 1) & 1


@pytest.mark.usefixtures("by_socket")
def test_a_sharer_whose_descriptors_were_closed_is_replaced() -> None:
    """By other code, which may have reused the number for a listener of its own."""
    pickle.dumps(altsem.Lock())
    door = travel._sharer._door
    assert door is not None
    number = door._listener.fileno()
    [sharer] = [t for t in threading.enumerate() if t.name == "altsem-sharer"]
    wait_until_asleep(os.getpid(), sharer.native_id)
    with socket.socket(socket.AF_UNIX) as strangers:
        strangers.bind("\0altsem-test-" + os.urandom(8).hex())
        strangers.listen()
        os.dup2(strangers.fileno(), number)
    with socket.socket(socket.AF_UNIX) as connection:  # what waited in it ends
        connection.connect(door.address[0])
    wait_until(lambda: door._listener.fileno() == -1)
    os.fstat(number)  # it is a stranger's: not closed
    lock = apart()
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply_async(touch_one, (lock,)).get(GENEROUS) == "Lock"
        pool.close()
        pool.join()
    os.close(number)


@pytest.mark.usefixtures("by_socket")
def test_the_sharer_serves_its_user_only(monkeypatch: pytest.MonkeyPatch) -> None:
    fetch = pickle.loads(pickle.dumps(apart().__reduce_ex__(2)[1][3]))
    os.close(fetch.detach())
    monkeypatch.setattr(travel, "_is_of", lambda connection, *users: len(users) == 1)
    with pytest.raises(ProcessLookupError, match="the process that sent it is gone"):
        fetch.detach()


@pytest.mark.usefixtures("by_socket")
def test_nobody_else_is_taken_for_the_sharer() -> None:
    """The name of a socket that was closed is free for everybody."""
    fetch = pickle.loads(pickle.dumps(apart().__reduce_ex__(2)[1][3]))
    name, user = fetch._address
    fetch._address = name, user + 1
    with pytest.raises(ProcessLookupError, match="the process that sent it is gone"):
        fetch.detach()


REPLACED = "threads are replaced here, as gevent does, by what is none"


@pytest.mark.usefixtures("by_socket")
def test_where_threads_are_replaced_none_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sent all the same: the receiver may need no way."""
    lock = altsem.Lock()
    before = traces()
    monkeypatch.setattr(travel._thread, "start_new_thread", lambda *_: pytest.fail("started"))
    way = pickle.loads(pickle.dumps(lock.__reduce_ex__(2)[1][3]))
    assert way._note == f"the sender cannot serve it ({REPLACED})"
    assert pickle.loads(pickle.dumps(lock)).acquire(False)
    assert traces() == before


DUMPABLE = """
import altsem, ctypes, pickle, sys
from altsem.synchronize import travel

def way():
    return pickle.loads(pickle.dumps(altsem.Lock().__reduce_ex__(2)[1][3]))

print(way()._address)
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
fetch = way()
print(fetch._address is not None)
travel.Fetch(fetch._identity, None, fetch._address).detach()
"""


def test_who_lets_nobody_look_into_its_process_serves_at_a_socket(run_script: Script) -> None:
    done = run_script(DUMPABLE)
    assert (done.stdout, done.stderr) == ("None\nTrue\n", "")


def test_a_receiver_that_has_the_segment_needs_no_way(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = altsem.Lock()
    identity, offset, _ = lock.__reduce_ex__(2)[1][1:]
    assert travel.rebuild(altsem.Lock, identity, offset, travel.Fetch(identity)).acquire(False)
    assert lock.locked()


def test_what_is_opened_is_what_was_sent() -> None:
    """A process number comes again, and then its descriptors are a stranger's."""
    lock = apart()
    fetch = pickle.loads(pickle.dumps(lock.__reduce_ex__(2)[1][3]))
    os.close(fetch.detach())
    pid, fd, device, inode = fetch._place
    fetch._place = pid, fd, device, inode + 1
    with pytest.raises(ProcessLookupError, match="which sent it, is gone"):
        fetch.detach()
    reader, writer = os.pipe()
    fetch._place = pid, reader, device, inode
    with pytest.raises(ProcessLookupError, match="which sent it, is gone"):
        fetch.detach()
    os.close(reader)
    os.close(writer)
    fetch._place = 2**22 + 1, fd, device, inode  # above the highest number there can be
    with pytest.raises(ProcessLookupError, match="which sent it, is gone"):
        fetch.detach()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_receiver_that_may_not_look_into_its_sender_says_so() -> None:
    ctx = get_context("fork")
    with ctx.Pool(1, initializer=os.setuid, initargs=(65534,)) as pool:
        said = pool.apply_async(complain, (apart(),)).get(GENEROUS)
        assert "this process may not look into process" in said
        assert "what is handed over when a process is started needs no permission" in said
        # The other way round, root may look, or is served.
        assert pool.apply_async(altsem.Lock).get(GENEROUS).acquire(False)
        pool.close()
        pool.join()


def test_an_ordinary_user_is_told_that_the_sender_has_ended() -> None:
    """The descriptors of a zombie belong to root, so the system says "permission denied"."""

    def look() -> None:
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        zombie = os.fork()
        if zombie == 0:
            os._exit(0)
        wait_until(lambda: state(zombie) == "Z", "it ends")
        with pytest.raises(PermissionError):
            os.stat(f"/proc/{zombie}/fd/0")
        with pytest.raises(ProcessLookupError, match="which sent it, is gone"):
            travel._open_in_proc(zombie, 0, 1, 1)
        os.waitpid(zombie, 0)

    assert reap(fork(look)) == 0


def complain(lock: Any) -> str:
    with pytest.raises(PermissionError) as caught:
        lock.acquire()
    return str(caught.value)


# --- forks and threads ----------------------------------------------------------------------------

# Each round in a process of its own, in which nothing was sent so far: two threads, one of which
# sends for the first time, while the other one forks.
FORKS = """
import altsem, os, pickle, sys, threading, time, warnings
warnings.simplefilter("ignore")  # of forks in a process with threads
from altsem.synchronize import travel

def end_of(pid, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        time.sleep(0.005)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return "hangs"

def send(_=None):
    pickle.dumps(altsem.Lock())

def round(way):
    if way == "socket":
        travel._place_of = lambda fd: None
    ctx = altsem.get_context("fork")
    altsem.Lock()
    thread = threading.Thread(target=send)
    thread.start()
    children, processes = [], []
    for number in range(8):
        children.append(os.fork())
        if children[-1] == 0:
            send()
            os._exit(0)
        processes.append(ctx.Process(target=send, daemon=True))
        processes[-1].start()
    thread.join()
    for process in processes:
        process.join(10)
    return any([end_of(child, 10) for child in children] + [p.exitcode != 0 for p in processes])

if __name__ == "__main__":
    said = []
    for _ in range(10):
        pid = os.fork()
        if pid == 0:
            os._exit(round(sys.argv[1]))
        said.append(end_of(pid, 200))
        if said[-1]:
            break
    print(said)
"""


@pytest.mark.parametrize("way", ["proc", "socket"])
def test_a_fork_while_another_thread_sends_for_the_first_time(run_script: Script, way: str) -> None:
    done = run_script(FORKS, way, timeout=50)
    assert (done.stdout, done.stderr) == (f"{[0] * 10}\n", "")


def test_a_forked_child_does_not_keep_its_parents_socket_open(run_script: Script) -> None:
    """Or whoever asks there when the parent has ended would wait for ever."""
    done = run_script(
        "import altsem, os, pickle, sys\n"
        "from altsem.synchronize import travel\n"
        "travel._place_of = lambda fd: None\n"
        "r, w = os.pipe()\n"
        "living, dying = os.pipe()\n"
        "middle = os.fork()\n"
        "if middle == 0:\n"
        "    way = altsem.Lock().__reduce_ex__(2)[1][3]\n"
        "    sent = pickle.dumps(way)\n"
        "    if os.fork() == 0:\n"
        "        os.close(dying)\n"
        "        os.read(living, 1)\n"  # until its grandparent ends
        "        os._exit(0)\n"
        "    os.write(w, sent)\n"
        "    os._exit(0)\n"
        "os.waitpid(middle, 0)\n"
        "fetch = pickle.loads(os.read(r, 4096))\n"
        "try:\n"
        "    fetch.detach()\n"
        "except ProcessLookupError as error:\n"
        "    print(error)\n"
    )
    assert "the process that sent it is gone" in done.stdout


GREENLETS = """
try:
    from gevent import monkey
except ImportError:
    print("no gevent")
    raise SystemExit
monkey.patch_all()
import altsem, pickle, signal, sys
from altsem.synchronize import travel
import gevent

def blocked():
    return len(signal.pthread_sigmask(signal.SIG_BLOCK, []))

lock = altsem.Lock()
print(blocked(), pickle.loads(pickle.dumps(lock)).acquire(False), lock.locked())
gevent.sleep(0.01)  # other greenlets run
print(blocked())
# Where it would take a thread, it is sent all the same, and says what the matter is.
travel._place_of = lambda fd: None
way = pickle.loads(pickle.dumps(lock.__reduce_ex__(2)[1][3]))
gevent.sleep(0.01)
print(blocked(), way._note)
"""


def test_where_threads_are_greenlets_no_signal_is_blocked(run_script: Script) -> None:
    done = run_script(GREENLETS)
    if done.stdout == "no gevent\n":
        pytest.skip("gevent is not installed")
    assert done.stdout.splitlines() == [
        "0 True True",
        "0",
        f"0 the sender cannot serve it ({REPLACED})",
    ]
