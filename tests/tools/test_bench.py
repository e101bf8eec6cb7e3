"""`python -m altsem bench`: complete, honest about what is broken, and gone when it ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import altsem
from altsem.bench import alone, facts, progress, report, rounds, rows, start_methods
from altsem.bench.alone import THREADING, Job
from altsem.bench.contenders import Repeated
from altsem.bench.interrupt import Interrupt
from altsem.bench.rows import Row
from altsem.context import AltsemContext
from support import METHODS, no_native, read_terminal, wait_until

pytestmark = pytest.mark.limit(60)

BED = Path(__file__).parents[1] / "beds" / "shm"
NO_NAMESPACE = 125
SECONDS = "0.3"
KEYS = [
    "acquire-lock",
    "acquire-rlock",
    "acquire-semaphore",
    "with-lock",
    "with-rlock",
    "with-semaphore",
    "with-threading",
    "create-drop",
    "try-held",
    "event-is-set",
    "ping-pong",
    "event-trip",
    "contended-2",
]  # those that every machine has


def command(*arguments: str, seconds: str = SECONDS) -> list[str]:
    return [sys.executable, "-m", "altsem", "bench", "--seconds", seconds, *arguments]


def bench(
    *arguments: str, bed: tuple[str, ...] = (), env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*bed, *command(*arguments)],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=50,
    )
    if bed and done.returncode == NO_NAMESPACE:
        pytest.skip(f"the bed cannot be made here: {done.stderr}")
    return done


def default_sigint() -> None:
    """As on a terminal, also where the tests run in the background of a shell."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A run that takes long, in a session of its own; killed at the end, if it still is there."""
    process = subprocess.Popen(
        command(*arguments, seconds="60"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=default_sigint,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def children(pid: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == pid and fields[0] not in "ZX":
                    found.append(int(name))
    return found


def session(leader: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader and fields[0] not in "ZX":
                    found.append(int(name))
    return found


def check_complete(told: dict[str, Any], native: str | None) -> None:
    assert told["schema"] == report.SCHEMA
    found = {row["key"]: row for row in told["rows"]}
    assert len(found) == len(told["rows"])
    assert set(KEYS) <= set(found)
    for key, row in found.items():
        assert row["ours"] > 0 and row["rounds"] >= rounds.FEWEST, row
        if native is not None and row["peer"] == "native":
            assert row["theirs"] is None and row["ratio"] is None
            assert re.search(native, row["error"])
        else:
            assert row["error"] is None
            assert row["theirs"] > 0
            assert 0 < row["low"] <= row["ratio"] <= row["high"]
        if key.startswith("contended"):
            assert 0 < row["share"] <= 1
            assert ("peer_share" in row) is (row["theirs"] is not None)


@pytest.mark.parametrize("method", start_methods())
def test_everything_is_measured(method: str) -> None:
    done = bench("--json", "--method", method)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    check_complete(told, "." if no_native() else None)
    machine = told["machine"]
    assert machine["backend"] == altsem.backend()
    assert machine["reason"] and machine["memory"] and machine["processor"]
    assert machine["start method"] == method
    assert 1 <= machine["usable CPUs"] <= machine["CPUs by affinity"]


def test_the_table() -> None:
    done = bench()
    # No bar, no colours: it is no terminal.
    assert (done.returncode, done.stderr) == (0, "")
    assert not re.search(r"[^\n -~µ]", done.stdout)
    lines = done.stdout.splitlines()
    for line in lines[5:]:
        if not line.startswith("("):
            assert len(line) <= report.WIDTH, line
    for text in ("acquire(); release(), Lock ", "ping-pong", "smallest/largest share", "/s"):
        assert text in done.stdout
    assert ("does not work here" in done.stdout) is bool(no_native())


def test_without_dev_shm() -> None:
    where = (str(BED), "gone")
    done = bench("--json", bed=where)
    assert (done.returncode, done.stderr) == (0, "")
    check_complete(json.loads(done.stdout), r"Errno|without semaphores")
    shown = bench(bed=where).stdout
    assert re.search(r"^\(1\) native does not work here: \S", shown, flags=re.MULTILINE)


def test_without_semlock(
    run_script: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    code = """
import _multiprocessing, runpy, sys
for name in ("SemLock", "sem_unlink"):
    if hasattr(_multiprocessing, name):
        delattr(_multiprocessing, name)
sys.argv = ["altsem", "bench", "--json", "--seconds", "0.3"]
runpy.run_module("altsem", run_name="__main__", alter_sys=True)
"""
    done = run_script(code)
    assert (done.returncode, done.stderr) == (0, "")
    check_complete(json.loads(done.stdout), "^this interpreter was built without semaphores")


def test_where_altsem_does_not_work() -> None:
    done = bench(env={"ALTSEM_BACKEND": "none-such"})
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"altsem bench: altsem does not work here: .*none-such.*\n", done.stderr)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--seconds", "0"], "'0' is no number above 0"),
        (["--seconds", "nan"], "'nan' is no number"),
        (["--seconds", "soon"], "'soon' is no number"),
        (["--seconds=1e9"], "up to 3600"),
        (["--method", "telepathy"], "telepathy"),
        (["everything"], "everything"),
        (["--fast"], "--fast"),
    ],
    ids=" ".join,
)
def test_wrong_arguments(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from altsem.bench import main

    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    said = capsys.readouterr()
    assert complaint in said.err and said.out == ""


def test_is_among_the_commands() -> None:
    said = subprocess.check_output([sys.executable, "-m", "altsem", "-h"], text=True)
    assert re.search(r"^  bench ", said, flags=re.MULTILINE)
    done = bench("-h")
    assert done.returncode == 0 and "--seconds" in done.stdout


# --- ends ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", start_methods())
@pytest.mark.parametrize("after", [0.0, 0.3])
def test_ctrl_c(method: str, after: float) -> None:
    with running("--method", method) as process:
        wait_until(lambda: children(process.pid))
        time.sleep(after)
        pressed = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert time.monotonic() - pressed < 10
        assert (process.returncode, out, err) == (130, "", "altsem bench: interrupted\n")
        assert session(process.pid) == []


def test_a_child_that_is_killed() -> None:
    with running("--method", "fork") as process:
        (victim,) = wait_until(lambda: children(process.pid))
        os.kill(victim, signal.SIGKILL)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out) == (1, "")
        assert err == (
            f"altsem bench: process {victim}, which was being measured, was killed by SIGKILL\n"
        )
        assert session(process.pid) == []


def test_children_do_not_outlive_a_killed_parent() -> None:
    with running() as process:
        wait_until(lambda: children(process.pid))
        process.kill()
        process.wait()
        wait_until(lambda: session(process.pid) == [])


# --- on a terminal ------------------------------------------------------------------------------


def on_terminal(columns: int, **env: str) -> tuple[int, str]:
    """Exit status, and what was written to a terminal of that width as stderr."""
    parent, child = os.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        command(seconds="0.6"),
        stdout=subprocess.DEVNULL,
        stderr=child,
        env={**os.environ, "TERM": "xterm", **env},
    )
    os.close(child)
    said = read_terminal(parent)
    return process.wait(), said


@pytest.mark.parametrize("columns", [80, 40, 12])
def test_a_bar_that_fits_and_goes(columns: int) -> None:
    status, said = on_terminal(columns)
    assert status == 0
    assert "\n" not in said and "\x1b" not in said
    shown = said.split("\r")
    assert any("%" in one for one in shown)
    assert all(len(one) < columns for one in shown)
    assert ("[" in said) is (columns == 80)
    # What the terminal shows in the end.
    line = ""
    for one in shown:
        line = one + line[len(one) :]
    assert line.strip() == "" and said.endswith("\r")


def test_no_bar_on_a_dumb_terminal() -> None:
    assert on_terminal(80, TERM="dumb") == (0, "")


def test_the_line_fits_every_width() -> None:
    for columns in range(1, 120):
        for fraction in (0.0, 0.5, 1.0, 7.0):
            assert len(progress.line("acquire(); release()", fraction, 3599.0, columns)) <= columns
    assert progress.line("a row", 0.5, 2.5, 50).endswith("50%   3 s left  a row")


# --- parts --------------------------------------------------------------------------------------


def test_a_vendored_copy(tmp_path: Path) -> None:
    vendor = tmp_path / "acme" / "_vendor"
    vendor.mkdir(parents=True)
    for folder in (vendor.parent, vendor):
        (folder / "__init__.py").touch()
    package = Path(altsem.__file__).parent
    shutil.copytree(package, vendor / "altsem", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import sys; sys.modules['altsem'] = None\n"
        "from acme._vendor.altsem.__main__ import main\n"
        "if __name__ == '__main__':\n"
        "    sys.exit(main(sys.argv[1:]))\n"
    )
    program = tmp_path / "program.py"
    program.write_text(code)
    done = subprocess.run(
        [sys.executable, str(program), *command("--json", "--method", start_methods()[-1])[3:]],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stderr) == (0, "")
    check_complete(json.loads(done.stdout), "." if no_native() else None)


def test_start_methods_are_real() -> None:
    assert set(start_methods()) <= set(METHODS) and start_methods()


def test_rounds_are_paired() -> None:
    calls: list[str] = []

    def side(name: str, took: float) -> Callable[[float], float]:
        def go(_: float) -> float:
            calls.append(name)
            return took

        return go

    figures = rounds.compare(side("a", 1.0), side("b", 4.0), 0.0, 0.0)
    assert calls == ["a", "b", "a", "b", "b", "a", "a", "b"]
    assert (figures.ours, figures.theirs, figures.ratio) == (1.0, 4.0, 0.25)
    assert (figures.low, figures.high, figures.rounds) == (0.25, 0.25, 3)


@pytest.mark.parametrize("each", [1e-8, 1e-4, 10.0])
def test_a_round_takes_about_as_long_as_it_should(each: float) -> None:
    asked: list[int] = []

    def run(n: int) -> float:
        asked.append(n)
        return n * each

    assert Repeated(run)(0.005) == pytest.approx(each)
    assert asked[-1] == max(1, round(0.005 / each)) and len(asked) < 9


def test_quota(tmp_path: Path) -> None:
    assert facts._core.cpu_quota(str(tmp_path), str(tmp_path / "self")) == 0
    (tmp_path / "cpu.max").write_text("150000 100000")
    assert facts._core.cpu_quota(str(tmp_path), str(tmp_path / "self")) == 1.5
    assert [facts.usable(4, limit) for limit in (None, 0.5, 1.5, 9.0)] == [4, 1, 2, 4]


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_a_side_that_fails_on_the_way(monkeypatch: pytest.MonkeyPatch, side: str) -> None:
    def make(ctx: Any) -> Callable[[int], float]:
        if isinstance(ctx, AltsemContext) is (side == "ours"):
            raise OSError(errno.EMFILE, "Too many open files")
        return lambda n: n * 1e-6

    # A child that is forked has it, too.
    jobs = {"bad": Job("bad", make, THREADING), "good": Job("good", lambda _: lambda n: n * 1e-6)}
    for module in (alone, rows):
        monkeypatch.setattr(module, "JOBS", jobs)
    found = {row.key: row for row in rows.measure("fork", 1, 0.1, Interrupt(), progress.Bar(0.1))}
    assert found["bad"].error == "[Errno 24] Too many open files"
    assert (found["bad"].figures is None) is (side == "ours")
    figures = found["good"].figures
    assert figures is not None and figures.ours == pytest.approx(1e-6)


def test_a_hint_where_others_are_busy() -> None:
    assert facts.busy({"load average": 2.0, "usable CPUs": 2}) is None
    assert facts.busy({"load average": None, "usable CPUs": 2}) is None
    assert "2.5" in (facts.busy({"load average": 2.5, "usable CPUs": 2}) or "")


def test_what_fails_is_told_once() -> None:
    figures = rounds.Figures(1e-6, None, None, None, None, 3)
    machine = facts.machine("fork")
    table = [
        Row("a", "one", "native", figures, "no luck"),
        Row("b", "two", "native", None, "no memory"),
        Row("c", "three", "native", figures, "no luck"),
    ]
    said = report.text(machine, table, "a hint", 1.0)
    assert said.count("no luck") == 1
    assert "(2) altsem does not work here: no memory" in said
    assert re.search(r"^three +1 µs +does not work here \(1\)$", said, flags=re.MULTILINE)
    assert said.endswith("a hint")
    assert " 1 us " in report.printable(said, "ascii")
