"""ALTSEM_ROBUST=1: queues and pools go on when one is killed, or say that they cannot."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Script

TESTS = Path(__file__).parents[1]

HEAD = """
import multiprocessing, os, signal, sys, threading, time, warnings
sys.path.insert(0, {tests!r})
import altsem
from support import state, wait_until, waiters

warnings.simplefilter("ignore", altsem.OwnerDiedWarning)
CTX = multiprocessing.get_context(sys.argv[1])

def get(queue, inside):
    inside.set()
    queue.get()

def put(queue, message, inside):
    queue._reader.close()
    inside.set()
    queue.put(message)
    time.sleep(60)

def tear(queue, inside):
    # Killed when it has read a part of a message.
    queue._rlock.acquire()
    inside.set()
    queue._reader.poll(None)
    queue._rlock._semlock._midway = True
    os.read(queue._reader.fileno(), 2)
    os.kill(os.getpid(), signal.SIGKILL)

def die_with(lock, midway, inside):
    lock.acquire()
    lock._semlock._midway = midway
    inside.set()
    os.kill(os.getpid(), signal.SIGKILL)

def start(work, *args):
    inside = CTX.Event()
    process = CTX.Process(target=work, args=(*args, inside))
    process.start()
    inside.wait()
    return process

def end(process, kill=True):
    if kill:
        process.kill()
    process.join()

def large(size):
    return bytes(size)

def square(number):
    return number * number

def who(_=None):
    return os.getpid()

def asleep(process):
    wait_until(lambda: all(state(process.pid) == "S" or time.sleep(0.001) for _ in range(5)))

def torn(call, *args):
    try:
        return call(*args)
    except altsem.TornMessageError:
        return "torn"

def main():
"""
TAIL = """

if __name__ == "__main__":
    main()
"""

Run = Callable[..., str]


def indent(code: str) -> str:
    return "\n".join("    " + line for line in code.strip().splitlines())


WAYS = ["altsem-fork", "drop-in spawn"]
if "ALTSEM_ROBUST_KILLS" in os.environ:  # the long run
    WAYS += ["altsem-spawn", "drop-in fork"]


@pytest.fixture(params=WAYS)
def run(request: pytest.FixtureRequest, run_script: Script) -> Run:
    """Runs the body of a main() in a program of its own; returns what it printed."""
    way, _, method = request.param.partition(" ")

    def run(code: str, timeout: float = 60) -> str:
        head = HEAD.replace("{tests!r}", repr(str(TESTS)))
        env = {"ALTSEM_ROBUST": "1"}
        if method:
            env["ALTSEM"] = "always"
            head = "import altsem; altsem.install()\n" + head
        done = run_script(head + indent(code) + TAIL, method or way, env=env, timeout=timeout)
        assert done.returncode == 0, done
        return str(done.stdout)

    return run


def test_who_is_killed_while_it_waits_for_a_message_stops_nobody(run: Run) -> None:
    code = """
for queue in (CTX.Queue(), CTX.SimpleQueue()):
    readers = [start(get, queue) for _ in range(3)]
    for reader in readers:
        asleep(reader)
    for reader in readers:
        end(reader)
    for message in ("small", "large" * 100000):
        threading.Thread(target=queue.put, args=(message,)).start()
        print(queue.get() == message)
    queue.close()
"""
    assert run(code).split() == ["True"] * 4


def test_who_is_killed_while_it_reads_a_message_is_told_to_all(run: Run) -> None:
    code = """
for queue in (CTX.Queue(), CTX.SimpleQueue()):
    reader = start(tear, queue)
    queue.put("first")
    end(reader, kill=False)
    print(torn(queue.put, "second"))
    print(torn(queue.get), torn(queue.get), queue._rlock._semlock._midway)
    queue.close()
"""
    assert run(code).split() == ["torn", "torn", "torn", "True"] * 2


def test_who_is_killed_while_it_writes_a_message_is_told_to_all(run: Run) -> None:
    """Also to who reads it, and to those who write."""
    code = """
for queue in (CTX.Queue(), CTX.SimpleQueue()):
    writer = start(put, queue, bytes(10**6))
    wait_until(lambda: queue._wlock._semlock._midway and queue._reader.poll())
    asleep(writer)
    end(writer)
    print(torn(queue.get), torn(queue.get), torn(queue.put, 1))
    queue.close()
"""
    assert run(code).split() == ["torn", "torn", "torn"] * 2


def test_a_torn_queue_is_not_taken_for_an_empty_one(run: Run) -> None:
    """Whatever is asked first: by who has a timeout, and by who writes."""
    code = """
def try_now(queue):
    return queue.get(False)
def try_for_a_while(queue):
    return queue.get(True, 0.01)
def write(queue):
    return queue.put("third")
for first in (try_now, try_for_a_while, write):
    queue = CTX.Queue()
    reader = start(tear, queue)
    queue.put("second")
    end(reader, kill=False)
    queue._reader.poll(60) and os.read(queue._reader.fileno(), 1000)
    print(*(torn(each, queue) for each in (first, try_now, try_for_a_while, write)))
    print(queue.empty())
    queue.close()
queue = CTX.SimpleQueue()
reader = start(tear, queue)
queue.put("second")
end(reader, kill=False)
print(torn(queue.put, "third"))
"""
    assert run(code).split() == [*["torn"] * 4, "True"] * 3 + ["torn"]


def test_who_waits_with_a_timeout_is_told_of_a_writer_that_was_killed(run: Run) -> None:
    """Also if it had not written anything yet."""
    code = """
queue = CTX.Queue()
end(start(die_with, queue._wlock, True), kill=False)
print(torn(queue.get, True, 30))
"""
    assert run(code).split() == ["torn"]


def test_a_reader_that_is_midway_and_lives_is_left_alone_by_who_writes(run: Run) -> None:
    code = """
queue = CTX.Queue()
queue._rlock.acquire()
queue._rlock._semlock._midway = True
queue.put("message")
queue._rlock._semlock._midway = False
queue._rlock.release()
print(queue.get(True, 30))
"""
    assert run(code).split() == ["message"]


def test_a_warning_that_is_an_error_is_only_shown_by_queues_and_pools(run: Run) -> None:
    """Nobody could ever say there that it knows of the death."""
    code = """
def died(lock):
    end(start(die_with, lock, False), kill=False)

warnings.simplefilter("error")
shown = []
warnings.showwarning = lambda message, *where: shown.append(str(message)[:12])
queue = CTX.Queue()
died(queue._wlock)
queue.put("message")
died(queue._rlock)
print(queue.get(True, 30))
simple = CTX.SimpleQueue()
died(simple._rlock), died(simple._wlock)
simple.put("message")
print(simple.get())
print(len(shown), *set(shown))
with CTX.Pool(1) as pool:
    asleep(pool._pool[0])
    os.kill(altsem._owner.owner_of(pool._inqueue._rlock._semlock).pid, signal.SIGKILL)
    print(pool.map(square, range(2)))
try:
    lock = CTX.Lock()
    died(lock)
    lock.acquire()
except altsem.OwnerDiedWarning:
    print("error")
"""
    done = run("import altsem._owner\n" + code).splitlines()
    assert done == ["message", "message", "4 the owner of", "[0, 1]", "error"]


def test_a_small_message_is_whole_or_not_there(run: Run) -> None:
    """Its writer is not midway: the kernel writes it in one piece."""
    code = """
queue = CTX.SimpleQueue()
queue._wlock.acquire()
queue._wlock.release()
seen = []
send = queue._writer.send_bytes
queue._writer.send_bytes = lambda m: (seen.append(queue._wlock._semlock._midway), send(m))
queue.put(b"x" * 1000)
threading.Thread(target=lambda: (queue.get(), queue.get())).start()
queue.put(b"x" * 10**5)
print(*seen)
"""
    assert run(code).split() == ["False", "True"]


@pytest.mark.limit(900)
def test_a_pool_goes_on_when_workers_are_killed_while_they_wait(run: Run) -> None:
    """ALTSEM_ROBUST_KILLS says how often."""
    code = """
with CTX.Pool(3) as pool:
    good = 0
    for number in range(KILLS):
        pool.map(who, range(6))
        # The pool has noticed the one that was killed before, and all wait.
        wait_until(
            lambda: len(pool._pool) == 3
            and all(state(worker.pid) == "S" for worker in list(pool._pool))
            and altsem._owner.owner_of(pool._inqueue._rlock._semlock)
        )
        holder = altsem._owner.owner_of(pool._inqueue._rlock._semlock)
        assert holder.alive
        os.kill(holder.pid, signal.SIGKILL)
        good += pool.map(square, range(30)) == [n * n for n in range(30)]
    print(good)
    pool.close()
    pool.join()
"""
    kills = int(os.environ.get("ALTSEM_ROBUST_KILLS", "3"))
    head = f"import altsem._owner\nKILLS = {kills}\n"
    assert run(head + code, timeout=60 + 4 * kills).split() == [str(kills)]


def test_a_pool_whose_tasks_are_torn_says_so(run: Run) -> None:
    code = """
pool = CTX.Pool(2)
inside = CTX.Event()
reader = CTX.Process(target=tear, args=(pool._inqueue, inside))
reader.start()
late = []
while not inside.wait(0.01):
    late.append(pool.apply_async(who))
several = pool.map_async(square, range(10), 2), pool.imap(square, range(10))
end(reader, kill=False)
print(torn(several[0].get), torn(next, several[1]), torn(list, several[1]))
for each in late:
    torn(each.get)
print(torn(pool.map, square, range(3)), torn(pool.apply, who))
pool.terminate()
pool.join()
"""
    assert run(code).split() == ["torn", "torn", "[]", "torn", "torn"]


def test_a_pool_whose_results_are_torn_says_so_and_can_be_ended(run: Run) -> None:
    """However soon its other threads see that it has failed."""
    code = """
pool = CTX.Pool(2)
pool.map(square, range(3))
notify = pool._change_notifier.put
pool._change_notifier.put = lambda item: (notify(item), pool._task_handler.join(10))
result = pool.apply_async(large, (10**8,))
wait_until(lambda: pool._outqueue._wlock._semlock._midway)
for worker in list(pool._pool):
    worker.kill()
print(torn(result.get), torn(pool.map, square, range(3)))
pool.terminate()
pool.join()
print("ended")
"""
    assert run(code).split() == ["torn", "torn", "ended"]


@pytest.mark.parametrize("method", ["altsem-spawn", "altsem-forkserver"])
def test_a_child_that_does_not_see_the_variable_knows_of_robust_locks(
    run_script: Script, method: str
) -> None:
    """Its parent has removed it, or its fork server was started before it was set."""
    code = """
import multiprocessing, os, sys, altsem
def child(queue):
    print("ALTSEM_ROBUST" in os.environ, queue._rlock.robust)
    queue._rlock._semlock._midway = True
    try:
        queue.get(timeout=0.01)
    except altsem.TornMessageError:
        print("torn")
def main():
    ctx = multiprocessing.get_context(sys.argv[1])
    queue = ctx.Queue()
    del os.environ["ALTSEM_ROBUST"]
    process = ctx.Process(target=child, args=(queue,))
    process.start()
    process.join()
if __name__ == "__main__":
    main()
"""
    done = run_script(code, method, env={"ALTSEM_ROBUST": "1"})
    assert done.stdout.split() == ["False", "True", "torn"], done
