"""concurrent.futures.ProcessPoolExecutor over the contexts, also where it has refused before."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest

from support import GENEROUS, METHODS, get_context, set_up, square, use_inherited

pytestmark = pytest.mark.limit(60)

Script = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(params=METHODS)
def ctx(request: pytest.FixtureRequest) -> Any:
    return get_context(request.param)


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_map_and_submit(ctx: Any) -> None:
    with ProcessPoolExecutor(
        2, mp_context=ctx, initializer=set_up, initargs=(ctx.Lock(),)
    ) as executor:
        assert list(executor.map(square, range(20), chunksize=3)) == [x * x for x in range(20)]
        assert list(executor.map(use_inherited, range(4))) == [1, 2, 3, 4]
        futures = [executor.submit(pow, 2, n) for n in range(5)]
        assert sorted(f.result() for f in as_completed(futures, GENEROUS)) == [1, 2, 4, 8, 16]
        with pytest.raises(ZeroDivisionError):
            executor.submit(divmod, 1, 0).result(GENEROUS)


def test_a_worker_that_is_killed_breaks_it_and_hangs_nobody(ctx: Any) -> None:
    with ProcessPoolExecutor(2, mp_context=ctx) as executor:
        assert executor.submit(square, 3).result(GENEROUS) == 9
        future = executor.submit(kill_myself)
        with pytest.raises(BrokenProcessPool):
            future.result(GENEROUS)


def test_the_default_context(run_script: Script) -> None:
    for name in ("altsem-fork", "altsem-spawn"):
        done = run_script(
            "import altsem, multiprocessing, sys\n"
            "from concurrent.futures import ProcessPoolExecutor\n"
            "def square(x):\n"
            "    return x * x\n"
            "if __name__ == '__main__':\n"
            "    multiprocessing.set_start_method(sys.argv[1])\n"
            "    with ProcessPoolExecutor(2) as executor:\n"
            "        print(list(executor.map(square, range(4))))\n",
            name,
        )
        assert (done.stdout, done.stderr) == ("[0, 1, 4, 9]\n", "")


@pytest.mark.parametrize("missing", [("SemLock",), ("sem_unlink",), ("SemLock", "sem_unlink"), ()])
@pytest.mark.parametrize("refused_before", [False, True])
def test_an_interpreter_without_semlock(
    run_script: Script, missing: tuple[str, ...], refused_before: bool
) -> None:
    """What is missing is supplied, and only that; a verdict from before is withdrawn."""
    done = run_script(
        "import sys, _multiprocessing\n"
        "missing = sys.argv[2:]\n"
        "had = {}\n"
        "for name in ('SemLock', 'sem_unlink'):\n"
        "    if name in missing and hasattr(_multiprocessing, name):\n"
        "        delattr(_multiprocessing, name)\n"
        "    had[name] = getattr(_multiprocessing, name, None)\n"
        "def square(x):\n"
        "    return x * x\n"
        "if __name__ == '__main__':\n"
        "    if sys.argv[1] == 'True':\n"
        "        from concurrent.futures.process import ProcessPoolExecutor\n"
        "        try:\n"
        "            ProcessPoolExecutor(1).shutdown()\n"
        "        except (ImportError, NotImplementedError, OSError):\n"
        "            pass\n"
        "    import altsem, multiprocessing\n"
        "    from concurrent.futures import ProcessPoolExecutor\n"
        "    for name, before in had.items():\n"
        "        now = getattr(_multiprocessing, name)\n"
        "        assert now is before if before else now is getattr(altsem._core, name), name\n"
        "    ctx = multiprocessing.get_context('altsem')\n"
        "    with ProcessPoolExecutor(1, mp_context=ctx) as executor:\n"
        "        print(executor.submit(square, 6).result(), isinstance(\n"
        "            altsem.Lock(), multiprocessing.synchronize.Lock))\n",
        refused_before,
        *missing,
    )
    assert (done.stdout, done.stderr) == ("36 True\n", "")


def test_workers_have_what_their_parent_has(ctx: Any) -> None:
    """Where SemLock had to be supplied, it is supplied there too, before anything else runs."""
    with ProcessPoolExecutor(1, mp_context=ctx) as executor:
        assert executor.submit(semlock_module).result(GENEROUS) == semlock_module()


def semlock_module() -> str:
    import _multiprocessing

    return _multiprocessing.SemLock.__module__
