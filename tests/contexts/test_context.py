"""The contexts: all that BaseContext offers, and how they are chosen and inherited."""

from __future__ import annotations

import _multiprocessing
import multiprocessing
import os
import pickle
import queue
import subprocess
from collections.abc import Callable
from multiprocessing import context as native_context
from typing import Any

import pytest

import altsem
from support import GENEROUS, METHODS, get_context, join, set_up, square, use_inherited

pytestmark = pytest.mark.limit(60)

Script = Callable[..., "subprocess.CompletedProcess[str]"]
NAMES = ("altsem", *(f"altsem-{method}" for method in METHODS))
DEFAULT = multiprocessing.get_all_start_methods()[0]


@pytest.fixture(params=METHODS)
def ctx(request: pytest.FixtureRequest) -> Any:
    return get_context(request.param)


# --- choosing one --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_registered(name: str) -> None:
    ctx = multiprocessing.get_context(name)
    assert isinstance(ctx, native_context.BaseContext)
    assert ctx is multiprocessing.get_context(name)
    method = name.partition("-")[2] or DEFAULT
    assert ctx is altsem.get_context(method)
    assert ctx.get_start_method() == method
    assert isinstance(ctx.get_start_method(), str)
    assert "fork" in ctx.get_start_method() or method == "spawn"
    assert f"{ctx.get_start_method()}" == method
    assert {method: 1}[ctx.get_start_method()] == 1


def test_altsems_default_is_the_platforms() -> None:
    platforms = altsem.get_context(DEFAULT)
    assert altsem.get_context() is multiprocessing.get_context("altsem") is platforms


@pytest.mark.parametrize("method", ["", "altsem", "frok", "FORK", 5])
def test_no_such_method(method: Any) -> None:
    known = ", ".join(multiprocessing.get_all_start_methods())
    with pytest.raises(ValueError, match=f"cannot find context for .*: .* here are {known}$"):
        altsem.get_context(method)
    with pytest.raises(ValueError, match="cannot find context"):
        multiprocessing.get_context(f"altsem-{method}")


def test_the_native_contexts_are_as_they_were() -> None:
    assert multiprocessing.get_all_start_methods() == [
        method for method in multiprocessing.get_all_start_methods() if method in METHODS
    ]
    for method in METHODS:
        ctx = multiprocessing.get_context(method)
        assert not isinstance(ctx, altsem.context.AltsemContext)
        assert ctx.get_start_method() == method
        assert type(ctx.get_start_method()) is str


def test_a_context_can_be_pickled(ctx: Any) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(ctx, protocol)) is ctx


def test_a_start_method_travels_as_plain_text(ctx: Any) -> None:
    method = pickle.loads(pickle.dumps(ctx.get_start_method()))
    assert type(method) is str
    assert method == ctx.get_start_method()


def test_get_context_of_a_context(ctx: Any) -> None:
    assert ctx.get_context() is ctx
    assert ctx.get_context("altsem-spawn") is get_context("spawn")
    with pytest.raises(ValueError, match="cannot set start method of concrete context"):
        ctx.set_start_method("spawn")
    assert ctx.get_start_method(allow_none=True) == ctx.get_start_method()


def test_it_is_found_without_importing_the_primitives(run_script: Script) -> None:
    done = run_script(
        "import sys, multiprocessing, altsem\n"
        "print('multiprocessing.synchronize' in sys.modules, 'altsem._core' in sys.modules)\n"
        "print(sorted(altsem.__all__) == sorted(n for n in dir(altsem) if n in altsem.__all__))\n"
        "print(altsem.Lock.__module__, 'multiprocessing.synchronize' in sys.modules)\n"
    )
    # Where SemLock has to be supplied, the core is needed at once.
    core = str(_multiprocessing.SemLock.__module__ != "_multiprocessing")
    assert done.stdout.splitlines() == [f"False {core}", "True", "altsem.synchronize True"]


# --- all that it offers --------------------------------------------------------------------------


def test_everything_of_basecontext_is_there(ctx: Any) -> None:
    plain = multiprocessing.get_context("spawn")
    for name in dir(plain):
        assert hasattr(ctx, name), name
    for name in ("Lock", "RLock", "Semaphore", "BoundedSemaphore", "Event", "Condition"):
        assert type(getattr(ctx, name)()) is getattr(altsem, name)
    assert type(ctx.Barrier(1)) is altsem.Barrier
    assert ctx.cpu_count() == os.cpu_count()
    assert ctx.current_process() is multiprocessing.current_process()
    assert ctx.parent_process() is None
    assert ctx.active_children() == []
    assert ctx.get_logger() is multiprocessing.get_logger()
    assert ctx.ProcessError is multiprocessing.ProcessError
    assert ctx.TimeoutError is multiprocessing.TimeoutError


def answer(reader: Any, writer: Any) -> None:
    for item in iter(reader.get, None):
        writer.put(item * 2)


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue", "JoinableQueue"])
def test_queues(ctx: Any, kind: str) -> None:
    there, back = getattr(ctx, kind)(), getattr(ctx, kind)()
    assert there.empty()
    process = ctx.Process(target=answer, args=(there, back))
    process.start()
    for number in range(50):
        there.put(number)
    assert [back.get() for _ in range(50)] == [2 * number for number in range(50)]
    there.put(None)
    assert join(process) == [0]
    there.close()
    back.close()


def test_a_bounded_queue(ctx: Any) -> None:
    bounded = ctx.Queue(2)
    bounded.put(1)
    bounded.put(2)
    assert bounded.full()
    with pytest.raises(queue.Full):
        bounded.put(3, timeout=0.01)
    with pytest.raises(queue.Full):
        bounded.put_nowait(3)
    assert bounded.qsize() == 2
    assert [bounded.get(timeout=GENEROUS), bounded.get(timeout=GENEROUS)] == [1, 2]
    with pytest.raises(queue.Empty):
        bounded.get(timeout=0.01)
    bounded.close()
    bounded.join_thread()


def work_off(tasks: Any) -> None:
    for _ in range(10):
        tasks.get()
        tasks.task_done()


def test_joining_a_queue(ctx: Any) -> None:
    tasks = ctx.JoinableQueue()
    for number in range(20):
        tasks.put(number)
    processes = [ctx.Process(target=work_off, args=(tasks,)) for _ in range(2)]
    for process in processes:
        process.start()
    tasks.join()
    assert join(*processes) == [0, 0]
    with pytest.raises(ValueError, match="task_done"):
        tasks.task_done()
    tasks.close()


def test_pool(ctx: Any) -> None:
    with ctx.Pool(2, initializer=set_up, initargs=(ctx.Lock(),)) as pool:
        assert pool.map(square, range(10)) == [x * x for x in range(10)]
        assert pool.map(use_inherited, range(4)) == [1, 2, 3, 4]
        assert sorted(pool.imap_unordered(square, range(5), chunksize=2)) == [0, 1, 4, 9, 16]
        assert pool.apply(square, (7,)) == 49
        assert pool.starmap(pow, [(2, 3), (3, 2)]) == [8, 9]
        with pytest.raises(ZeroDivisionError):
            pool.apply(divmod, (1, 0))
        pool.close()
        pool.join()


def test_a_pool_that_replaces_its_workers(ctx: Any) -> None:
    with ctx.Pool(1, maxtasksperchild=1) as pool:
        pids = {pool.apply(os.getpid) for _ in range(3)}
        assert len(pids) == 3
        pool.close()
        pool.join()


def fill(shared_list: Any, shared_dict: Any, lock: Any) -> None:
    for number in range(5):
        with lock:
            shared_list.append(number)
            shared_dict["n"] = shared_dict.get("n", 0) + 1


def test_manager(ctx: Any) -> None:
    with ctx.Manager() as manager:
        lock, shared_list, shared_dict = manager.Lock(), manager.list(), manager.dict()
        arguments = (shared_list, shared_dict, lock)
        processes = [ctx.Process(target=fill, args=arguments) for _ in range(2)]
        for process in processes:
            process.start()
        assert join(*processes) == [0, 0]
        assert sorted(shared_list) == sorted([*range(5), *range(5)])
        assert shared_dict["n"] == 10
        # Ours, through a proxy of a manager: another process stores and hands it out.
        own = ctx.Lock()
        shared_dict["lock"] = own
        with shared_dict["lock"]:
            assert own.locked()


def test_pipe(ctx: Any) -> None:
    one, other = ctx.Pipe()
    process = ctx.Process(target=echo, args=(other,))
    process.start()
    one.send("hello")
    assert one.recv() == "hello"
    assert join(process) == [0]
    one.close()
    other.close()


def echo(connection: Any) -> None:
    connection.send(connection.recv())


def report_default(answer: Any) -> None:
    default = multiprocessing.get_context()
    answer.put(
        (
            type(multiprocessing.Lock()).__module__,
            type(multiprocessing.Barrier(2)).__module__,
            multiprocessing.get_start_method(),
            type(default).__name__,
        )
    )


def test_the_default_of_its_children_is_the_context(ctx: Any) -> None:
    answer = ctx.SimpleQueue()
    process = ctx.Process(target=report_default, args=(answer,))
    process.start()
    lock, barrier, method, context = answer.get()
    assert join(process) == [0]
    assert lock == barrier == "altsem.synchronize"
    assert method == ctx.get_start_method()
    assert context == type(ctx).__name__
    answer.close()


# --- set_start_method ----------------------------------------------------------------------------

INHERIT = """
import altsem, multiprocessing, sys

def describe():
    return (
        type(multiprocessing.Lock()).__module__,
        type(multiprocessing.Queue()._rlock).__module__,
        multiprocessing.get_start_method(),
        multiprocessing.Value("i", 5).value,
    )

def child(generations, queue):
    queue.put(describe())
    if generations:
        process = multiprocessing.Process(target=child, args=(generations - 1, queue))
        process.start()
        process.join()
        assert process.exitcode == 0

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    queue = multiprocessing.SimpleQueue()
    queue.put(describe())
    child(2, queue)
    print({queue.get() for _ in range(4)})
"""


@pytest.mark.parametrize("name", NAMES)
def test_set_start_method_is_inherited(run_script: Script, name: str) -> None:
    done = run_script(INHERIT, name)
    method = name.partition("-")[2] or DEFAULT
    ours = "altsem.synchronize"
    assert (done.stdout, done.stderr) == (f"{ {(ours, ours, method, 5)} }\n", "")


MIXED = """
import altsem, multiprocessing, sys

def child(names, queue):
    queue.put((multiprocessing.get_start_method(), type(multiprocessing.Lock()).__module__))
    if names:
        ctx = multiprocessing.get_context(names[0])
        process = ctx.Process(target=child, args=(names[1:], queue))
        process.start()
        process.join()
        assert process.exitcode == 0

if __name__ == "__main__":
    multiprocessing.set_start_method("altsem-" + sys.argv[1])
    queue = multiprocessing.SimpleQueue()
    names = ["altsem-" + name for name in sys.argv[2:]]
    child(names, queue)
    print(*(queue.get()[1] for _ in range(len(names) + 1)))
"""


@pytest.mark.parametrize("methods", ["spawn fork forkserver spawn", "fork forkserver spawn fork"])
def test_a_tree_of_all_methods(run_script: Script, methods: str) -> None:
    done = run_script(MIXED, *methods.split())
    assert (done.stdout.split(), done.stderr) == (["altsem.synchronize"] * 4, "")


def test_set_start_method_twice_and_forced(run_script: Script) -> None:
    done = run_script(
        "import altsem, multiprocessing as m\n"
        "m.set_start_method('altsem-spawn')\n"
        "try:\n"
        "    m.set_start_method('altsem-fork')\n"
        "except RuntimeError as error:\n"
        "    print(error)\n"
        "m.set_start_method('altsem-fork', force=True)\n"
        "print(m.get_start_method(), type(m.Lock()).__module__)\n"
        "m.set_start_method(None, force=True)\n"
        "m.set_start_method('spawn')\n"
        "print(m.get_start_method())\n"
    )
    assert done.stdout.splitlines() == [
        "context has already been set",
        "fork altsem.synchronize",
        "spawn",
    ]
    assert done.stderr == ""


def test_the_programs_own_module_wins_in_a_spawned_child(run_script: Script, tmp_path: Any) -> None:
    """The child has to import altsem before it has the parent's sys.path; afterwards it has it."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "helper_of_mine.py").write_text("ANSWER = 42\n")
    done = run_script(
        "import sys\n"
        "sys.path.insert(0, sys.argv[1]) if len(sys.argv) > 1 else None\n"
        "import altsem, multiprocessing, helper_of_mine\n"
        "def child(queue):\n"
        "    queue.put((helper_of_mine.ANSWER, sys.argv[1:]))\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method('altsem-spawn')\n"
        "    queue = multiprocessing.Queue()\n"
        "    process = multiprocessing.Process(target=child, args=(queue,))\n"
        "    process.start()\n"
        "    print(queue.get())\n"
        "    process.join()\n",
        tmp_path / "elsewhere",
    )
    assert (done.stdout, done.stderr) == (f"(42, ['{tmp_path}/elsewhere'])\n", "")


def test_interpreter_flags_and_names_survive(run_script: Script) -> None:
    done = run_script(
        "import altsem, multiprocessing\n"
        "def child(queue):\n"
        "    p = multiprocessing.current_process()\n"
        "    queue.put((p.name, p.daemon, multiprocessing.parent_process().name))\n"
        "if __name__ == '__main__':\n"
        "    for method in ('fork', 'spawn', 'forkserver'):\n"
        "        ctx = multiprocessing.get_context('altsem-' + method)\n"
        "        queue = ctx.SimpleQueue()\n"
        "        process = ctx.Process(target=child, args=(queue,), name='N', daemon=True)\n"
        "        process.start()\n"
        "        print(*queue.get())\n"
        "        process.join()\n"
    )
    assert (done.stdout, done.stderr) == ("N True MainProcess\n" * 3, "")


def test_a_subclass_of_process(ctx: Any) -> None:
    event = ctx.Event()
    process = SETTERS[ctx.get_start_method()](event)
    process.start()
    assert event.wait(GENEROUS)
    assert join(process) == [0]


class _Setter:
    def __init__(self, event: Any) -> None:
        super().__init__()
        self.event = event

    def run(self) -> None:
        self.event.set()


class ForkSetter(_Setter, get_context("fork").Process):  # type: ignore[misc]
    pass


class SpawnSetter(_Setter, get_context("spawn").Process):  # type: ignore[misc]
    pass


class ForkServerSetter(_Setter, get_context("forkserver").Process):  # type: ignore[misc]
    pass


SETTERS: dict[str, Any] = {"fork": ForkSetter, "spawn": SpawnSetter, "forkserver": ForkServerSetter}


def test_an_application_subclasses_a_queue() -> None:
    """As ansible does."""
    from multiprocessing.queues import SimpleQueue

    class Mine(SimpleQueue):  # type: ignore[type-arg]
        def __init__(self) -> None:
            super().__init__(ctx=get_context("fork"))

    mine = Mine()
    mine.put("item")
    assert mine.get() == "item"
    assert type(mine._rlock) is altsem.Lock
    mine.close()
