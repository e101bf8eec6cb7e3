"""install() and uninstall(): an exact pair, which acts only where something fails."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

import confine
import dropin_support as dropin
from conftest import Script

# Every attribute that is touched, in a program that has imported all modules concerned.
TOUCHED = textwrap.dedent(
    """
    import os, sys
    import _multiprocessing, _posixshmem, multiprocessing
    import concurrent.futures.process
    from multiprocessing import heap, resource_tracker, synchronize
    import _multiprocess, multiprocess.synchronize, multiprocess.resource_tracker, multiprocess.heap
    import joblib.externals.loky.backend.synchronize, billiard.synchronize
    import joblib.externals.loky.backend.resource_tracker
    import joblib.externals.loky.process_executor

    def touched():
        found = {}
        def note(module, *names):
            found.update({(module.__name__, name): vars(module)[name] for name in names})
        for package in (multiprocessing, multiprocess):
            note(package.synchronize, "sem_unlink", "SEM_VALUE_MAX")
            functions = package.resource_tracker._CLEANUP_FUNCS
            for kind in ("semaphore", "shared_memory"):
                found[package.__name__, kind] = functions.get(kind)
            found[package.__name__, "Arena"] = package.heap.Arena.__init__
        for module in (_multiprocessing, _multiprocess):
            note(module, "SemLock", "sem_unlink")
        note(_posixshmem, "shm_open", "shm_unlink")
        note(billiard.synchronize, "sem_unlink", "SEM_VALUE_MAX")
        loky = joblib.externals.loky
        note(loky.backend.synchronize, "_SemLock", "sem_unlink", "SEM_VALUE_MAX")
        found["loky", "semlock"] = loky.backend.resource_tracker._CLEANUP_FUNCS.get("semlock")
        for module in (concurrent.futures.process, loky.process_executor):
            note(module, "_system_limits_checked", "_system_limited")
        return found

    def same(one, other):
        return [key for key in one | other if one.get(key) is not other.get(key)]
    """
)


@dropin.needs_native
def test_where_semaphores_work_nothing_changes(run_script: Script) -> None:
    code = f"""{TOUCHED}
import altsem
before, environment = touched(), dict(os.environ)
assert altsem.install() is False
assert not same(before, touched()), same(before, touched())
assert dict(os.environ) == environment
assert "altsem._core" not in sys.modules
assert not any("altsem" in type(finder).__module__ for finder in sys.meta_path)
altsem.uninstall()
assert not same(before, touched())
"""
    done = run_script(code)
    assert (done.returncode, done.stderr) == (0, "")


QUEUES = """
import os, resource, sys
from multiprocessing import get_context

def put(queue):
    queue.put("there")

def count():
    return len(os.listdir("/proc/self/fd"))

if __name__ == "__main__":
    many, method, force = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "ours"
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, most))
    if force:
        import altsem
        assert altsem.install(force=True)
    context = get_context(method)
    first = context.Queue()  # what multiprocessing itself opens, once
    before = count()
    queues = [context.Queue() for _ in range(many)]
    used = count() - before
    child = context.Process(target=put, args=(queues[-1],))
    child.start()
    assert queues[-1].get(timeout=60) == "there"
    child.join()
    print(used)
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_four_hundred_queues_are_no_more_descriptors_than_their_pipes(
    run_script: Script, method: str
) -> None:
    """A named semaphore costs none, as natively."""
    done = run_script(QUEUES, 400, method, "ours", timeout=110)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "800\n")


@dropin.needs_native
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_hundred_queues_take_as_many_descriptors_as_natively(
    run_script: Script, method: str
) -> None:
    said = [run_script(QUEUES, 100, method, whose).stdout for whose in ("native", "ours")]
    assert said[1] == said[0] == "200\n"


@dropin.needs_native
def test_uninstall_restores_what_install_replaced_to_the_identity(run_script: Script) -> None:
    code = f"""{TOUCHED}
import altsem
before, environment = touched(), dict(os.environ)
for _ in range(2):
    assert altsem.install(force=True) is True
    during = touched()
    kept = {{key for key in before if before[key] is during[key]}}
    # Numbers that are equal on both sides, and verdicts that nobody has reached.
    assert {{name for _, name in kept}} <= {{
        "SEM_VALUE_MAX", "_system_limits_checked", "_system_limited"}}, kept
    assert altsem.install(force=True) is True and altsem.install() is True
    assert not same(during, touched()), "a second call has changed something"
    assert os.environ["PYTHONPATH"].split(os.pathsep)[0].endswith("bootstrap")
    for _ in range(2):
        altsem.uninstall()
        assert not same(before, touched()), same(before, touched())
        assert dict(os.environ) == environment
        assert not any("altsem" in type(finder).__module__ for finder in sys.meta_path)
"""
    done = run_script(code, env={"PYTHONPATH": "/nowhere"})
    assert (done.returncode, done.stderr) == (0, "")


@dropin.needs_native
def test_modules_imported_later_are_covered_and_restored(run_script: Script) -> None:
    code = """
import _multiprocessing, _posixshmem
native = _multiprocessing.SemLock, _multiprocessing.sem_unlink, _posixshmem.shm_unlink
import altsem
altsem.install(force=True)
import multiprocessing
from multiprocessing import heap, resource_tracker, synchronize
import multiprocess.synchronize, multiprocess.heap, billiard.synchronize
import joblib.externals.loky.backend.synchronize as loky
from altsem import _arena, _core
ours = _core.SemLock, _core.sem_unlink
def state():
    functions = resource_tracker._CLEANUP_FUNCS
    return [(_multiprocessing.SemLock, _multiprocessing.sem_unlink, functions["shared_memory"]),
        synchronize.sem_unlink, functions["semaphore"], multiprocess.synchronize.sem_unlink,
        loky._SemLock, loky.sem_unlink]
assert state() == [(*ours, _core.shm_unlink), ours[1], ours[1], ours[1], *ours], state()
assert heap.Arena.__init__ is multiprocess.heap.Arena.__init__ is _arena.arena_init
assert billiard.synchronize.sem_unlink is _core.SemLock.sem_unlink
altsem.uninstall()
assert state() == [native, native[1], native[1], native[1], *native[:2]], state()
assert heap.Arena.__init__ is not _arena.arena_init
assert multiprocess.heap.Arena.__init__ is not _arena.arena_init
assert billiard.synchronize.sem_unlink is native[1]
"""
    done = run_script(code)
    assert (done.returncode, done.stderr) == (0, "")


@dropin.needs_native
def test_semaphores_made_before_and_meanwhile_are_removed_by_who_made_them(
    run_script: Script,
) -> None:
    code = """
import multiprocessing, os, altsem
spawn = multiprocessing.get_context("spawn")
early = spawn.Lock()
altsem.install(force=True)
mine = spawn.Lock()
assert type(early._semlock) is not type(mine._semlock)
altsem.uninstall()
late = spawn.Lock()
for lock in (early, mine, late):
    with lock: pass
del early, mine, late, lock
"""
    done = run_script(code)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("first", ["install", "context"])
def test_the_contexts_work_beside_it_and_keep_their_arenas(first: str, run_script: Script) -> None:
    code = f"""
import altsem, multiprocessing, os
if {first == "install"}:
    altsem.install(force=True)
context = multiprocessing.get_context("altsem")
altsem.install(force=True)
assert context.Value("i", 3).value == 3
altsem.uninstall()
from multiprocessing import heap
arena = heap.Arena(4096)
assert os.readlink(f"/proc/self/fd/{{arena.fd}}").startswith("/memfd:altsem")
assert context.Value("i", 3).value == 3
"""
    done = run_script(code)
    assert (done.returncode, done.stderr) == (0, "")


HELPERS = """
import multiprocessing, _multiprocessing, sys, altsem

def ask(method):
    context = multiprocessing.get_context(method)
    receive, send = context.Pipe(False)
    child = context.Process(target=tell, args=(send,))
    child.start()
    answer = receive.recv()
    child.join()
    return answer

def tell(send):
    import _multiprocessing
    send.send(_multiprocessing.SemLock.__module__)

if __name__ == "__main__":
    methods = multiprocessing.get_all_start_methods()
    before = {method: ask(method) for method in methods}
    altsem.install(force=True)
    during = {method: ask(method) for method in methods}
    altsem.uninstall()
    after = {method: ask(method) for method in methods}
    assert set(during.values()) == {"altsem._core"}, during
    assert before == after and "altsem._core" not in before.values(), (before, after)
"""


@dropin.needs_native
def test_children_of_every_method_have_what_the_parent_has_even_with_helpers_running(
    run_script: Script,
) -> None:
    done = run_script(HELPERS)
    assert (done.returncode, done.stderr) == (0, "")


def test_install_acts_where_semaphores_fail() -> None:
    code = (
        "import altsem, multiprocessing as m; "
        "assert altsem.install() and altsem.install(); "
        "l = m.get_context('spawn').RLock(); l.acquire(); l.release(); "
        "b = m.Barrier(1); b.wait(); v = m.RawValue('i', 3); assert v.value == 3"
    )
    done = dropin.run(sys.executable, "-c", code, gone=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_refusal_that_an_executor_remembers_is_withdrawn() -> None:
    code = textwrap.dedent(
        """
        import altsem
        import concurrent.futures.process as process
        process._system_limits_checked, process._system_limited = True, "no semaphores"
        altsem.install(force=True)
        process.ProcessPoolExecutor(1).shutdown()
        altsem.uninstall()
        assert (process._system_limits_checked, process._system_limited) == (True, "no semaphores")
        """
    )
    done = dropin.run(sys.executable, "-c", code)
    assert (done.returncode, done.stderr) == (0, "")


def test_altsem_0_forbids_it() -> None:
    code = (
        "import altsem, _multiprocessing as m; a = vars(m).get('SemLock'); "
        "assert not altsem.install(force=True) and vars(m).get('SemLock') is a"
    )
    done = dropin.run(sys.executable, "-c", code, env={"ALTSEM": "0"})
    assert (done.returncode, done.stderr) == (0, "")


def test_where_altsem_cannot_work_install_says_so_and_changes_nothing() -> None:
    code = textwrap.dedent(
        """
        import altsem, os
        before = dict(os.environ)
        try:
            altsem.install(force=True)
        except OSError as error:
            assert "nonsense" in str(error)
        else:
            raise SystemExit("no error")
        assert dict(os.environ) == before
        """
    )
    done = dropin.run(sys.executable, "-c", code, env={"ALTSEM_BACKEND": "nonsense"})
    assert (done.returncode, done.stderr) == (0, "")


def test_a_killed_program_leaves_no_named_semaphore(run_script: Script) -> None:
    """The tracker removes it, by our sem_unlink: it says that it did, and nothing of an error."""
    where = Path(tempfile.mkdtemp(prefix="k"))
    code = f"""
import altsem, multiprocessing, os, signal
altsem.install(force=True)
lock = multiprocessing.get_context("spawn").Lock()
assert os.listdir({str(where)!r}) == [f"altsem-{{os.getuid()}}"]
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = run_script(code, env={"ALTSEM_DIR": str(where)})
    assert done.returncode == -signal.SIGKILL
    assert "leaked semaphore" in done.stderr and "Error" not in done.stderr, done.stderr
    deadline = time.monotonic() + 20
    while os.listdir(where) and time.monotonic() < deadline:
        time.sleep(0.02)
    where.rmdir()


@dropin.needs_native
def test_queues_whose_semaphores_have_names_cost_no_more_descriptors_than_natively() -> None:
    code = textwrap.dedent(
        """
        import multiprocessing, os
        def descriptors():
            return len(os.listdir("/dev/fd"))
        context = multiprocessing.get_context("spawn")
        context.Queue()  # what is there once: a resource tracker
        queues = [context.Queue() for _ in range(20)]
        print(descriptors())
        """
    )
    natively = dropin.run(sys.executable, "-c", code)
    ours = dropin.run(sys.executable, "-c", f"import altsem; altsem.install(force=True)\n{code}")
    assert (ours.returncode, ours.stderr) == (0, "")
    assert ours.stdout == natively.stdout


# --- where altsem cannot work ---------------------------------------------------------------------

REFUSED = """
import altsem, os, sys
import _multiprocessing, _posixshmem
def state():
    found = [vars(_multiprocessing).get("SemLock"), vars(_posixshmem).get("shm_open")]
    return [*map(id, found), dict(os.environ), list(sys.meta_path)]
before = state()
for force in (True, False):
    try:
        answer = altsem.install(force=force)
    except OSError as error:
        print(f"refused: {error.errno}")
    else:
        print(answer)
    assert state() == before
"""


def without_memory() -> None:
    confine.nothing_writable()
    confine.refuse(errno.EPERM, "semget", "memfd_create")


@pytest.mark.skipif(not confine.can_refuse(), reason="numbers of system calls not known")
def test_where_there_is_neither_memory_nor_a_directory_install_raises_and_changes_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", REFUSED],
        preexec_fn=without_memory,
        # A backend that is asked for, and refused as well, is another error.
        env={name: value for name, value in os.environ.items() if name != "ALTSEM_BACKEND"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"refused: {errno.EROFS}\n" * 2


@pytest.mark.skipif(not confine.can_refuse(), reason="numbers of system calls not known")
def test_run_says_so_there_and_does_not_run_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "altsem", "run", "--force", "-c", "print(1)"],
        preexec_fn=without_memory,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "") and "Traceback" not in done.stderr


def test_a_thread_that_uninstalls_while_another_is_installing_leaves_the_environment_as_it_was(
    run_script: Script,
) -> None:
    code = textwrap.dedent(
        """
        import os, threading, altsem
        from altsem.dropin import hooks
        before, real = dict(os.environ), hooks.when_imported
        within, removed = threading.Event(), threading.Event()
        def when_imported(*arguments):
            # In the midst of it.  The other one is through by then, or has to wait for us.
            if not within.is_set():
                within.set()
                removed.wait(1)
            return real(*arguments)
        def other():
            assert within.wait(30)
            altsem.uninstall()
            removed.set()
        altsem.uninstall()
        thread = threading.Thread(target=other)
        thread.start()
        hooks.when_imported = when_imported
        altsem.install(force=True)
        thread.join()
        altsem.uninstall()
        changed = {name for name in before.keys() | os.environ.keys()
            if before.get(name) != os.environ.get(name)}
        assert not changed, changed
        """
    )
    done = run_script(code)
    assert (done.returncode, done.stderr) == (0, "")


def test_threads_that_install_and_uninstall_at_once_leave_everything_as_it_was(
    run_script: Script,
) -> None:
    code = textwrap.dedent(
        """
        import _multiprocessing, _posixshmem, multiprocessing.synchronize as s, os, subprocess, sys
        import threading, altsem
        def state():
            return [vars(_multiprocessing).get("SemLock"), _posixshmem.shm_open, s.sem_unlink,
                dict(os.environ), vars(subprocess.Popen)["_execute_child"], list(sys.meta_path)]
        before = state()
        sys.setswitchinterval(1e-6)
        start, errors = threading.Barrier(4), []
        def work(number):
            try:
                start.wait()
                for _ in range(30):
                    (altsem.uninstall if number % 2 else lambda: altsem.install(force=True))()
            except BaseException as error:
                errors.append(error)
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert not errors, errors
        altsem.uninstall()
        assert state() == before, [(a, b) for a, b in zip(state(), before) if a != b]
        """
    )
    done = run_script(code, env={"PYTHONPATH": "/nowhere"})
    assert (done.returncode, done.stderr) == (0, "")


WHILE_IMPORTING = """
import importlib, importlib.machinery, sys, threading, time
name, when, what = sys.argv[1:]

class Loader:
    def __init__(self, loader):
        self.loader = loader
    def create_module(self, spec):
        return self.loader.create_module(spec)
    def exec_module(self, module):
        for place in ("before", "after"):
            if place == "after":
                self.loader.exec_module(module)
            if place == when:
                begun.set()
                time.sleep(0.5)

class Finder:
    @staticmethod
    def find_spec(wanted, path=None, target=None):
        if wanted == name:
            spec = importlib.machinery.PathFinder.find_spec(wanted, path, target)
            spec.loader = Loader(spec.loader)
            return spec

import altsem
altsem.install  # what it needs itself is imported
sys.modules.pop(name, None)
begun = threading.Event()
sys.meta_path.insert(0, Finder)
thread = threading.Thread(target=importlib.import_module, args=(name,))
thread.start()
begun.wait()
altsem.install(force=True)
thread.join()
thing = sys.modules[name]
for key in what.split("."):
    thing = vars(thing)[key]
print(thing.__globals__["__name__"])
"""


@dropin.needs_native
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("name", "what", "home"),
    [
        ("multiprocessing.heap", "Arena.__init__", "altsem._arena"),
        ("multiprocessing.shared_memory", "SharedMemory.__init__", "altsem.dropin.reserve"),
        ("concurrent.futures.process", "_check_system_limits", "altsem.dropin.install"),
        ("subprocess", "Popen._execute_child", "altsem.dropin.children"),
    ],
)
def test_what_another_thread_is_importing_is_replaced_when_install_returns(
    name: str, what: str, home: str, when: str, run_script: Script
) -> None:
    done = run_script(WHILE_IMPORTING, name, when, what)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{home}\n", "")


@dropin.needs_native
def test_a_child_forked_while_another_thread_imports_can_install(run_script: Script) -> None:
    # 3.12 and later warn of a fork where there are threads.
    forks = "import os, warnings\nwarnings.simplefilter('ignore')\n"
    forks += "pid = os.fork()\naltsem.install(force=True)\n"
    end = "pid or os._exit(0)\nprint(os.waitpid(pid, 0)[1])\n"
    install = "altsem.install(force=True)\n"
    code = WHILE_IMPORTING.replace(install, f"{forks}{end}", 1)
    done = run_script(code, "multiprocessing.heap", "before", "Arena.__init__", timeout=10)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\naltsem._arena\n", "")


def test_a_child_forked_while_another_thread_installs_can_install(run_script: Script) -> None:
    code = textwrap.dedent(
        """
        import os, threading, warnings, altsem
        from altsem.dropin import install
        warnings.simplefilter("ignore")
        with install._lock:
            def go():
                pid = os.fork()
                if pid == 0:
                    os._exit(0 if altsem.install(force=True) else 1)
                codes.append(os.waitpid(pid, 0)[1])
            codes = []
            thread = threading.Thread(target=go)
            thread.start()
            thread.join()
        assert codes == [0]
        """
    )
    done = run_script(code)
    assert (done.returncode, done.stderr) == (0, "")


# --- the limits that executors ask for ------------------------------------------------------------

LIMITS = """
import os, sys, warnings
warnings.filterwarnings("ignore", ".*serial mode")  # joblib's, imported before, without /dev/shm
real = os.sysconf
def sysconf(name):
    if name == "SC_SEM_NSEMS_MAX":
        raise PermissionError(1, "Operation not permitted")  # as in the sandbox of macOS
    return real(name)
os.sysconf = sysconf
import altsem
early = sys.argv[1] == "early"
modules = ["concurrent.futures.process", "joblib.externals.loky.process_executor"]
if early:
    for name in modules: __import__(name)
assert altsem.install() is True
for name in modules: __import__(name)
def square(x):
    return x * x
if __name__ == "__main__":
    from concurrent.futures import ProcessPoolExecutor
    from joblib.externals.loky import ProcessPoolExecutor as Loky
    for kind in (ProcessPoolExecutor, Loky):
        with kind(1) as executor:
            print(executor.submit(square, 3).result())
    checks = [vars(sys.modules[name])["_check_system_limits"] for name in modules]
    altsem.uninstall()
    for name, check in zip(modules, checks):
        after = vars(sys.modules[name])["_check_system_limits"]
        # One that came late is as it was made, too.
        assert after is not check and after.__module__ == name, name
"""


@pytest.mark.parametrize("when", ["early", "late"])
def test_executors_do_not_ask_a_system_that_refuses_to_say_how_many_semaphores_it_has(
    when: str, run_script: Script
) -> None:
    done = run_script(LIMITS, when)
    assert (done.returncode, done.stdout, done.stderr) == (0, "9\n9\n", "")
