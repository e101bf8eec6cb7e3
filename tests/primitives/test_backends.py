"""Which backend is used, what happens where its means are denied, and what it leaves behind."""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from altsem import _core
from support import METHODS

Script = Callable[..., "subprocess.CompletedProcess[str]"]

CLONE_NEWIPC = 0x08000000
BACKENDS = ("futex", "sysv", "filelock")

# Runs as __main__ in a sandbox: denied(...) first, then whatever the test says.
HEAD = """
import ctypes, errno, os, sys, time
from pathlib import Path

def denied(*calls):
    import pyseccomp
    rules = pyseccomp.SyscallFilter(defaction=pyseccomp.ALLOW)
    for call in calls:
        # Only the two operations of the backend: libc's own carry a flag beside the number.
        for operation in (1, 9) if call == "futex" else (None,):
            only = [] if operation is None else [pyseccomp.Arg(1, pyseccomp.EQ, operation)]
            rules.add_rule(pyseccomp.ERRNO(errno.EPERM), call, *only)
    rules.load()

def no_files():
    import pyseccomp
    rules = pyseccomp.SyscallFilter(defaction=pyseccomp.ALLOW)
    for call, argument in (("open", 1), ("openat", 2)):
        for flag in (os.O_CREAT, 0o20000000):
            asked = pyseccomp.Arg(argument, pyseccomp.MASKED_EQ, flag, flag)
            rules.add_rule(pyseccomp.ERRNO(errno.EROFS), call, asked)
    rules.load()

def kernel_sem(text):
    Path("/proc/sys/kernel/sem").write_text(text)

def own_limits(text):
    if ctypes.CDLL(None).unshare(0x08000000) != 0:
        raise OSError("no IPC namespace")
    kernel_sem(text)

def everything(method):
    import multiprocessing, altsem
    ctx = multiprocessing.get_context("altsem-" + method)
    lock, cond, event = ctx.Lock(), ctx.Condition(), ctx.Event()
    barrier, queue, value = ctx.Barrier(3), ctx.Queue(), ctx.Value("i", 0)
    shared = lock, cond, event, barrier, queue, value
    processes = [ctx.Process(target=work, args=shared) for _ in range(2)]
    for process in processes:
        process.start()
    event.set()
    barrier.wait(60)
    with cond:
        assert cond.wait_for(lambda: value.value == 1000, 60), value.value
    answers = sorted(queue.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    with ctx.Pool(2) as pool:
        assert pool.map(abs, range(-5, 0)) == [5, 4, 3, 2, 1]
    return answers

def work(lock, cond, event, barrier, queue, value):
    import altsem
    assert event.wait(60)
    barrier.wait(60)
    for _ in range(500):
        with lock, value.get_lock():
            value.value += 1
    with cond:
        cond.notify_all()
    queue.put(str(altsem.backend()))
"""


def runs(work: Callable[[], None]) -> bool:
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - whatever it is, it cannot be done here
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def own_limits() -> None:
    assert ctypes.CDLL(None).unshare(CLONE_NEWIPC) == 0
    Path("/proc/sys/kernel/sem").write_text("250 32000 32 128")


needs_limits = pytest.mark.skipif(not runs(own_limits), reason="kernel.sem cannot be set here")


def load_seccomp() -> None:
    import pyseccomp

    pyseccomp.SyscallFilter(defaction=pyseccomp.ALLOW).load()


needs_seccomp = pytest.mark.skipif(
    importlib.util.find_spec("pyseccomp") is None or not runs(load_seccomp),
    reason="no pyseccomp, or no filters to be had here",
)


@pytest.fixture
def sandbox(run_script: Script) -> Callable[..., str]:
    """Runs `code` below HEAD; returns what it printed."""

    def run(code: str, backend: str = "", **env: str) -> str:
        done = run_script(
            f"{HEAD}\nif __name__ == '__main__':\n    " + code.strip().replace("\n", "\n    "),
            env={"ALTSEM_BACKEND": backend, **env},
            timeout=90,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        return done.stdout.strip()

    return run


FAILURE = """
import altsem
try:
    altsem.Lock()
except OSError as error:
    print(error.errno, error.strerror)
"""


# --- the choice -----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_one_that_is_named_is_used(sandbox: Callable[..., str], backend: str) -> None:
    said = sandbox("import altsem; print(altsem.backend(), '|', altsem.backend().reason)", backend)
    assert said == f"{backend} | ALTSEM_BACKEND names it"


def test_futex_is_preferred(sandbox: Callable[..., str]) -> None:
    said = sandbox("import altsem; print(altsem.backend(), '|', altsem.backend().reason)")
    assert said == "futex | it is the first whose probe answers"


def test_order_of_preference() -> None:
    assert tuple(_core.backends()) == BACKENDS


@needs_seccomp
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("calls", "backend"),
    [
        (["futex"], "sysv"),
        (["futex", "semget"], "filelock"),
        (["futex", "semtimedop", "semop"], "filelock"),
        (["memfd_create"], "futex"),
        (["futex", "memfd_create"], "sysv"),
        (["futex", "semget", "memfd_create"], "filelock"),
    ],
)
def test_the_next_is_taken_where_one_is_refused(
    sandbox: Callable[..., str], calls: list[str], backend: str, method: str
) -> None:
    said = sandbox(f"denied(*{calls}); print(everything({method!r}))")
    assert said == str([backend, backend])


@needs_seccomp
def test_another_source_of_memory_is_taken(sandbox: Callable[..., str]) -> None:
    code = "from altsem import _core; fd, source = _core.memory(4096); print(source)"
    assert sandbox(code) == "memfd"
    assert sandbox("denied('memfd_create');" + code) in ("O_TMPFILE", "unlinked file")


@needs_seccomp
def test_sysv_that_is_refused_is_not_offered(sandbox: Callable[..., str]) -> None:
    code = "denied('semget'); from altsem import _core; print(_core.backends())"
    assert sandbox(code) == str({"futex": 0, "sysv": errno.EPERM, "filelock": 0})


@needs_seccomp
@pytest.mark.parametrize("calls", [["semget"], ["semget", "memfd_create"]])
def test_sysv_that_is_refused_and_named_is_a_clear_error(
    sandbox: Callable[..., str], calls: list[str]
) -> None:
    said = sandbox(f"denied(*{calls})\n{FAILURE.strip()}", "sysv")
    assert said == (
        f"{errno.ENOSYS} ALTSEM_BACKEND=sysv cannot be used here: Operation not permitted "
        "(usable here: futex, filelock)"
    )


@needs_seccomp
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_memory_at_all_is_a_clear_error(
    sandbox: Callable[..., str], backend: str, tmp_path: Path
) -> None:
    said = sandbox(f"denied('memfd_create')\nno_files()\n{FAILURE.strip()}", backend)
    assert said.startswith(f"{errno.EROFS} no shared memory for a Lock: memfd_create is refused")
    assert "ALTSEM_DIR" in said and os.strerror(errno.EROFS) in said


@needs_limits
def test_limits_of_zero_mean_that_sysv_is_not_offered(sandbox: Callable[..., str]) -> None:
    code = "own_limits('0 0 0 0'); from altsem import _core; print(_core.backends()['sysv'] != 0)"
    assert sandbox(code) == "True"
    said = sandbox("own_limits('0 0 0 0')\n" + FAILURE.strip(), "sysv")
    assert said == (
        f"{errno.ENOSYS} ALTSEM_BACKEND=sysv cannot be used here: the limits in kernel.sem leave "
        "no room for a SysV semaphore set (usable here: futex, filelock)"
    )


@needs_limits
def test_no_room_when_somebody_first_sleeps(sandbox: Callable[..., str]) -> None:
    said = sandbox(
        """
import altsem, threading
own_limits('250 32000 32 128')
lock, event, barrier, sem = altsem.Lock(), altsem.Event(), altsem.Barrier(2), altsem.Semaphore(0)
cond = altsem.Condition()
lock.acquire(); cond.acquire()
kernel_sem('250 32000 32 0')
said = set()
for call in 2 * (lock.acquire, event.wait, barrier.wait, sem.acquire, cond.wait):
    try:
        call()
    except OSError as error:
        said.add((error.errno, error.strerror))
    else:
        print(call)
assert cond._lock._semlock._is_mine()
left = [lock.waiters, sem.waiters, barrier.n_waiting, cond._room.waiters()]
assert not any(left), left
kernel_sem('250 32000 32 128')
assert not lock.acquire(timeout=0.01) and not cond.wait(0.01) and not event.wait(0.01)
threading.Timer(0.1, lock.release).start()
assert lock.acquire()
(one,) = said
print(*one)
""",
        "sysv",
    )
    assert said.startswith(f"{errno.ENOSPC} the limits of SysV semaphores (kernel.sem = 250 32000 ")
    for word in ("32 0: SEMMSL", "SEMMNI", "altsem clean", "ipcs -s", "sysctl -w", "filelock"):
        assert word in said


@needs_limits
def test_condition_comes_back_with_its_lock_though_others_hold_it(
    sandbox: Callable[..., str],
) -> None:
    said = sandbox(
        """
import altsem, threading
own_limits('250 32000 32 128')
cond, stop = altsem.Condition(altsem.Lock()), threading.Event()
def disturb():
    while not stop.is_set():
        if cond._lock.acquire(False):
            time.sleep(0.002)
            cond._lock.release()
        time.sleep(0.0005)
kernel_sem('250 32000 32 0')
thread = threading.Thread(target=disturb)
thread.start()
for _ in range(50):
    while not cond._lock.acquire(False):
        time.sleep(0.0003)
    try:
        cond.wait()
    except OSError as error:
        assert error.errno == errno.ENOSPC
        assert cond._lock._semlock._is_mine() and cond._room.waiters() == 0
    cond._lock.release()
    time.sleep(0.001)
stop.set()
thread.join()
print("good")
""",
        "sysv",
    )
    assert said == "good"


# --- children -------------------------------------------------------------------------------------

FOLLOW = """
import multiprocessing, sys

def tell(lock, queue):
    import altsem
    lock.acquire()
    queue.put((str(altsem.backend()), altsem.backend().reason))

def quarrel(connection):
    import altsem
    altsem.Lock()
    try:
        connection.recv().acquire()
    except OSError as error:
        print(error)

if __name__ == "__main__":
    import os
    import altsem
    ctx = multiprocessing.get_context("altsem-" + sys.argv[1])
    lock, queue = ctx.Lock(), ctx.SimpleQueue()
    os.environ["ALTSEM_BACKEND"] = sys.argv[2]
    if len(sys.argv) == 3:
        child = ctx.Process(target=tell, args=(lock, queue))
        child.start()
        print(*queue.get(), sep=" | ")
    else:
        here, there = multiprocessing.Pipe()
        child = multiprocessing.get_context("spawn").Process(target=quarrel, args=(there,))
        child.start()
        here.send(lock)
    child.join()
"""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("backend", ["sysv", "filelock"])
def test_children_follow_the_segment(run_script: Script, method: str, backend: str) -> None:
    done = run_script(FOLLOW, method, "futex", env={"ALTSEM_BACKEND": backend})
    assert done.stderr == ""
    name, reason = done.stdout.strip().split(" | ")
    assert name == backend
    assert method == "fork" or reason == "a segment that came from another process uses it"


def test_a_segment_of_another_backend_is_refused(run_script: Script) -> None:
    done = run_script(FOLLOW, "spawn", "futex", "quarrel", env={"ALTSEM_BACKEND": "sysv"})
    assert done.stdout.strip().endswith(
        "a shared segment of another backend than this process uses (futex)"
    ), done


# --- what is left ---------------------------------------------------------------------------------

TREE = """
import multiprocessing, os, signal, sys, time
import altsem

def wait(lock):
    lock.acquire()

if __name__ == "__main__":
    ctx = multiprocessing.get_context("altsem-" + sys.argv[1])
    lock = ctx.Lock()
    lock.acquire()
    for _ in range(2):
        ctx.Process(target=wait, args=(lock,)).start()
    while lock.waiters < 2:
        time.sleep(0.001)
    time.sleep(0.005)
    os.killpg(0, signal.SIGKILL)
"""


def sets() -> set[str]:
    rows = Path("/proc/sysvipc/sem").read_text().splitlines()[1:]
    return {row.split()[1] for row in rows if int(row.split()[0]) >> 16 == 0x616C}


def clean() -> str:
    # Not in the directories that every user has: what lies there is not of these tests.
    code = "from altsem import _clean, _directories as d; d.FIXED = (); exit(_clean.main([]))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def kill_trees(number: int, method: str, backend: str, folder: Path) -> None:
    program = folder / "tree.py"
    program.write_text(TREE)
    env = {**os.environ, "ALTSEM_BACKEND": backend}
    if method == "forkserver":  # what multiprocessing itself leaves then is not ours to count
        theirs = folder / "tmp"
        theirs.mkdir()
        env["TMPDIR"] = str(theirs)
    command = [sys.executable, str(program), method]
    for _ in range(number):
        tree = subprocess.Popen(command, env=env, start_new_session=True)
        assert tree.wait(60) == -signal.SIGKILL


@pytest.mark.limit(400)
@pytest.mark.parametrize("backend", ["sysv", "filelock"])
def test_a_hundred_trees_killed_while_they_wait(backend: str, tmp_path: Path) -> None:
    clean()
    before = sets(), sorted(os.listdir(os.environ["TMPDIR"]))
    kill_trees(100, "fork", backend, tmp_path)
    # Each that needs a set sweeps those of its predecessors.
    assert len(sets() - before[0]) < 20
    clean()
    assert sets() <= before[0]
    assert sorted(os.listdir(os.environ["TMPDIR"])) == before[1]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_trees_of_other_start_methods(method: str, tmp_path: Path) -> None:
    clean()
    before = sets()
    kill_trees(5, method, "sysv", tmp_path)
    clean()
    assert sets() <= before


def test_clean_says_what_it_did(tmp_path: Path) -> None:
    clean()
    kill_trees(1, "fork", "sysv", tmp_path)
    assert clean() in ("removed 1 SysV semaphore set", "removed 0 SysV semaphore sets")
    command = [sys.executable, "-m", "altsem", "clean"]
    assert subprocess.run([*command, "--help"], capture_output=True).returncode == 0
    assert subprocess.run([*command, "x"], capture_output=True).returncode == 2


@needs_seccomp
def test_clean_where_nothing_can_be_seen(sandbox: Callable[..., str]) -> None:
    said = sandbox("denied('semctl'); from altsem import _clean; print(_clean.main([]))")
    assert said.splitlines() == [
        f"SysV semaphore sets cannot be listed here: {os.strerror(errno.EPERM)}",
        "1",
    ]


@needs_limits
@pytest.mark.parametrize("kind", ["altsem.Lock", "Own"])
def test_a_notification_that_comes_with_an_error_is_not_swallowed(
    sandbox: Callable[..., str], kind: str
) -> None:
    """The waiter finds no means to sleep, and waits for its lock.  A notification given then is
    acted on by it, or was given to nobody."""
    said = sandbox(
        f"""
import altsem, threading
own_limits('250 32000 32 128')
class Own(altsem.Lock):
    def acquire(self, *args):
        while not super().acquire(False):
            time.sleep(0.0005)
        return True
cond = altsem.Condition({kind}())
kernel_sem('250 32000 32 0')
given = []
def notify():
    while not cond._lock.acquire(False):
        time.sleep(0.0002)
    time.sleep(0.005)
    given.append(cond._room.notify(1))
    cond._lock.release()
swallowed = 0
for _ in range(20):
    while not cond._lock.acquire(False):
        time.sleep(0.0003)
    thread = threading.Thread(target=notify)
    thread.start()
    acted = 0
    try:
        acted = int(cond.wait())
    except OSError as error:
        assert error.errno == errno.ENOSPC
    cond._lock.release()
    thread.join()
    swallowed += given.pop() - acted
print(swallowed)
""",
        "sysv",
    )
    assert said == "0"
