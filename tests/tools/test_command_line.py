"""`python -m altsem`: what all commands have in common, whatever becomes of what they say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pytest

import altsem
import dropin_support as dropin
from altsem import _owner
from altsem._text import printable
from support import read_terminal, wait_until

FULL = Path("/dev/full")
CANNOT_WRITE = 74
WRONG_USE = 64


def run(
    *words: str, out: Any = subprocess.PIPE, err: Any = subprocess.PIPE, **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "altsem", *words],
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        text=True,
        timeout=100,
        env={**os.environ, **env},
    )


def run_in_shell(words: Sequence[str], redirection: str) -> subprocess.CompletedProcess[str]:
    """With what Python cannot say: a descriptor that is closed."""
    script = f'exec "$@" {redirection}'
    command = ["sh", "-c", script, "sh", sys.executable, "-m", "altsem", *words]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100
    )


# --- the table of commands -----------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(option: str) -> None:
    done = run(option)
    assert (done.returncode, done.stdout) == (0, f"altsem {altsem.__version__}\n")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("docter", "doctor"), ("lock", "locks"), ("stat", "status"), ("benhc", "bench"), ("xyz", "")],
)
def test_a_mistyped_command_is_refused_with_the_one_that_may_be_meant(
    typed: str, meant: str
) -> None:
    done = run(typed)
    assert (done.returncode, done.stdout) == (2, "")
    first = done.stderr.splitlines()[0]
    assert first == f"no such command: {typed}" + (f"; did you mean {meant}?" if meant else "")


def test_a_command_that_is_no_word_is_not_sent_to_the_terminal_as_it_is() -> None:
    done = run("\x1b[2J\n")
    assert done.stderr.splitlines()[0] == r"no such command: \x1b[2J\n"
    assert "\x1b" not in done.stderr


def test_an_error_in_a_command_has_a_status_of_its_own() -> None:
    """1, which Python has for it, is an answer of some commands."""
    code = (
        "import sys, altsem.__main__ as m; m.COMMANDS['doctor'] = ('nothing', ''); "
        "sys.exit(m.guarded(['doctor']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 70
    assert "ModuleNotFoundError" in done.stderr


@pytest.mark.parametrize("words", [("doctor", "--nothing"), ("locks", "--nothing"), ("locks", "x")])
def test_wrong_arguments_have_a_status_that_is_no_answer(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (WRONG_USE, "")
    assert done.stderr.startswith("usage: python -m altsem ")
    assert f"{WRONG_USE} wrong arguments" in " ".join(run(words[0], "-h").stdout.split())


@pytest.mark.parametrize("command", ["doctor", "bench"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1", "0", "-0.0", "1e9", "soon", ""])
def test_a_time_limit_that_is_none_is_refused(command: str, value: str) -> None:
    done = run(command, f"--seconds={value}")
    assert (done.returncode, done.stdout) == ({"doctor": WRONG_USE, "bench": 2}[command], "")
    assert done.stderr.splitlines()[-1] == (
        f"python -m altsem {command}: error: argument --seconds: {value!r} is no number above 0, "
        "up to 3600"
    )


def test_ctrl_c_ends_the_doctor_without_a_traceback() -> None:
    command = [sys.executable, "-m", "altsem", "doctor", "--seconds", "60"]
    # As on a terminal, also where the tests run in the background of a shell.
    code = "import os, signal, sys; signal.signal(2, signal.default_int_handler); os.execv(sys.argv[1], sys.argv[1:])"  # noqa: E501
    process = subprocess.Popen(
        [sys.executable, "-c", code, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_until(lambda: process.poll() is not None or children.read_text(), "it has children")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert (process.returncode, out, err) == (130, "", "")


# --- where the output cannot be written ----------------------------------------------------------

# Commands, and the statuses that they may end with when all is well.
COMMANDS: dict[tuple[str, ...], tuple[int, ...]] = {
    ("--version",): (0,),
    ("-h",): (0,),
    ("doctor",): (0, 1, 2),
    ("doctor", "-h"): (0,),
    ("locks",): (0, 1),
    ("locks", "--json", "--all"): (0, 1),
    ("bench", "--seconds=0.1"): (0,),
    ("bench", "-h"): (0,),
    ("run", "-h"): (0,),
    ("enable", "--site={}"): (0,),
    ("status", "--site={}"): (1,),
    ("disable", "--site={}"): (0,),
    ("clean",): (0, 1),
}


@pytest.fixture(params=COMMANDS, ids=" ".join)
def command(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[list[str], tuple[int, ...]]:
    return [word.format(tmp_path) for word in request.param], COMMANDS[request.param]


Command = tuple[list[str], tuple[int, ...]]


def no_note(err: str) -> str:
    """Without what `enable` says of a directory in which altsem is not."""
    return "".join(line for line in err.splitlines(True) if not line.startswith("note: "))


def test_a_full_disk_has_a_sentence_and_a_status_of_its_own(command: Command) -> None:
    words, _ = command
    with FULL.open("w") as full:
        done = run(*words, out=full)
    assert done.returncode == CANNOT_WRITE
    assert no_note(done.stderr) == (
        f"altsem {words[0]}: the output could not be written: No space left on device\n"
    )


def test_without_an_output_a_command_does_what_it_does(command: Command) -> None:
    words, statuses = command
    done = run_in_shell(words, ">&-")
    assert done.returncode in statuses
    assert (done.stdout, no_note(done.stderr)) == ("", "")


def test_without_any_stream_a_command_does_what_it_does(command: Command) -> None:
    words, statuses = command
    done = run_in_shell(words, "<&- >&- 2>&-")
    assert done.returncode in statuses


def left_at_once() -> IO[str]:
    """A pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


def test_a_reader_that_leaves_changes_nothing(command: Command) -> None:
    words, statuses = command
    with left_at_once() as pipe:
        done = run(*words, out=pipe)
    assert done.returncode in statuses
    assert no_note(done.stderr) == ""


def test_where_errors_cannot_be_written_the_status_tells(tmp_path: Path) -> None:
    for redirection in ("2>&-", "2>/dev/full", "2>&- >&-", "2>/dev/full >/dev/full"):
        for words, status in (
            (["docter"], 2),
            (["doctor", "--seconds=0"], WRONG_USE),
            (["run"], 2),
            (["enable", f"--site={tmp_path}/missing"], 1),
        ):
            done = run_in_shell(words, redirection)
            # Nor does what is for stderr come out at stdout.
            assert (done.returncode, done.stdout, done.stderr) == (status, "", ""), redirection


def test_enable_is_complete_also_if_it_cannot_say_so(tmp_path: Path) -> None:
    with FULL.open("w") as full:
        done = run("enable", f"--site={tmp_path}", out=full, PYTHONUNBUFFERED="1")
    assert done.returncode == CANNOT_WRITE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["altsem.pth", "altsem.start"]
    with left_at_once() as pipe:
        done = run("disable", f"--site={tmp_path}", out=pipe, PYTHONUNBUFFERED="1")
    assert (done.returncode, list(tmp_path.iterdir())) == (0, [])


def test_a_program_that_is_run_gets_the_streams_as_they_are() -> None:
    code = (
        "import os, sys\n"
        "def is_open(fd):\n"
        "    try:\n"
        "        os.fstat(fd)\n"
        "    except OSError:\n"
        "        return False\n"
        "    return True\n"
        "os.write(2, f'{[is_open(fd) for fd in range(3)]} {sys.stdout}'.encode())\n"
    )
    done = run_in_shell(["run", "-c", code], "<&- >&-")
    assert (done.returncode, done.stderr) == (0, "[False, False, True] None")


def test_output_may_be_a_pipe_that_does_not_wait() -> None:
    """As node.js and others make them."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    process = subprocess.Popen(
        [sys.executable, "-c", PRINTS_MUCH], stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert said == "x" * 1_000_000 + "\n"


PRINTS_MUCH = """
import sys, altsem.__main__ as m, altsem._clean as clean
clean.main = lambda argv: print("x" * 1_000_000) or 0
sys.exit(m.guarded(["clean"]))
"""


# --- what strangers have written -----------------------------------------------------------------

EVIL = (
    b"\x1b[2J\x1b]0;pwned\x07 line1\nline2\r\x9b31m "
    b"\xe2\x80\xae\xe2\x81\xa6 \xff\xed\xa0\x80 \xc3\xa4"
)
STRANGER = """
import mmap, os, sys, altsem
from altsem import _core
lock = altsem.Lock()
lock.acquire()
segment = _core.export(lock)[0]
# A segment whose name says something to the terminal.
fd = os.memfd_create("altsem\\x1b[31m\\u202e")
os.write(fd, os.pread(segment.fileno(), segment.size, 0))
mapped = mmap.mmap(fd, segment.size)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", STRANGER, EVIL], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    yield process
    process.stdin.close()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "utf-8:surrogateescape"])
def test_the_words_of_other_processes_neither_steer_the_terminal_nor_tear_the_table(
    stranger: subprocess.Popen[bytes], encoding: str
) -> None:
    done = run("locks", str(stranger.pid), PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split("\n")
    assert lines.pop() == ""
    assert all(line.isprintable() for line in lines)
    kinds = ("segment ", "  used by pid ", "  Lock at ")
    assert [kind for line in lines for kind in kinds if line.startswith(kind)] == [*kinds] * 2
    assert len(lines) == 6
    umlaut = r"\xe4" if encoding == "ascii" else "ä"
    said = r"\x1b[2J\x1b]0;pwned\x07 line1\nline2\r\x9b31m \u202e\u2066 \xff\xed\xa0\x80 " + umlaut
    for line in lines:
        if "/memfd:" in line:
            assert "/memfd:altsem" in line
        else:
            assert line.endswith(said)
    assert r"/memfd:altsem\x1b[31m\u202e" in done.stdout


def test_the_json_has_the_words_of_other_processes_as_they_are(
    stranger: subprocess.Popen[bytes],
) -> None:
    done = run("locks", "--json", str(stranger.pid))
    assert done.stdout.isascii()
    told = json.loads(done.stdout)
    (process,) = told["segments"][0]["processes"]
    assert "\x1b[2J" in process["command"] and "line1\nline2" in process["command"]


def test_a_terminal_is_not_steered_by_the_words_of_other_processes(
    stranger: subprocess.Popen[bytes],
) -> None:
    parent, child = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "altsem", "locks", str(stranger.pid)], stdout=child, stderr=child
    )
    os.close(child)
    said = read_terminal(parent)
    assert process.wait() == 0
    assert "used by pid" in said and "\x1b" not in said


def test_the_doctor_writes_paths_so_that_they_do_not_steer_the_terminal(tmp_path: Path) -> None:
    evil = tmp_path / "\x1b[2Jone\ntwo\u202e"
    evil.mkdir()
    done = run("doctor", TMPDIR=str(evil), ALTSEM_DIR=str(evil))
    assert done.stderr == "" and r"\x1b[2Jone\ntwo\u202e" in done.stdout
    assert all(line.isprintable() for line in done.stdout.split("\n"))


def test_an_owner_as_text_is_one_line() -> None:
    owner = _owner.Owner(1, 1, True, True, "python -c import x\n\x1b[2J")
    assert str(owner) == r"pid 1, thread 1: alive, python -c import x\n\x1b[2J"
    assert owner.command == "python -c import x\n\x1b[2J"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plain ä 漢 🙂", "plain ä 漢 🙂"),
        ("\t\v\f\x00\x7f\x85", r"\t\x0b\x0c\x00\x7f\x85"),
        ("\u2028\u2029\u00a0", r"\u2028\u2029\xa0"),
        ("\u200b\u200e\u200f\u061c\u202a\u2069\ufeff", None),
        ("\udcff\ud800", r"\udcff\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("", ""),
    ],
)
def test_printable(text: str, said: str | None) -> None:
    assert printable(text).isprintable()
    assert printable(text) == (said if said is not None else ascii(text)[1:-1])


# --- enable --------------------------------------------------------------------------------------


def test_enable_names_the_directory_that_is_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    done = run("enable", f"--site={missing}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"altsem enable: [Errno 2] No such file or directory: '{missing}'\n"
    there = tmp_path / "file"
    there.touch()
    done = run("enable", f"--site={there}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"altsem enable: [Errno 20] Not a directory: '{there}'\n"


@pytest.mark.parametrize("command", ["enable", "disable", "status"])
def test_an_empty_name_is_not_taken_for_the_default_directory(command: str, tmp_path: Path) -> None:
    python = dropin.make_python(tmp_path / "venv")
    done = dropin.run(python, "-m", "altsem", command, "--site=")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("argument --site: a directory's name is not empty\n")
    assert [*dropin.site_of(tmp_path / "venv").glob("altsem*")] == []


def test_enable_names_the_file_that_it_could_not_write() -> None:
    """Not the one that it is written to first."""
    done = run("enable", "--site=/proc/self")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(": '/proc/self/altsem.pth'\n")
