"""`python -m altsem run`: as if python had been called directly."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import dropin_support as dropin
from altsem import _core, backend
from altsem.dropin import run as dropin_run

FORCED = ["-m", "altsem", "run", "--force"]

SHOW = """\
import __main__, json, os, sys
print(json.dumps({
    "argv": sys.argv, "orig": sys.orig_argv[1:], "path": sys.path, "flags": str(sys.flags),
    "main": sorted(set(vars(__main__)) - {"__cached__"}), "file": vars(__main__).get("__file__"),
    "package": __package__, "spec": __spec__ and __spec__.name, "xoptions": sys._xoptions,
    "cwd": os.getcwd(),
    "warnings": sys.warnoptions, "stdin": sys.stdin.read(), "executable": sys.executable}))
"""


def both(
    *words: str | Path,
    flags: tuple[str, ...] = (),
    stdin: str = "",
    env: dict[str, str] | None = None,
) -> tuple[subprocess.CompletedProcess[str], subprocess.CompletedProcess[str]]:
    """What a program does, and what it does under `run`."""
    return (
        dropin.run(sys.executable, *flags, *words, stdin=stdin, env=env),
        dropin.run(sys.executable, *flags, *FORCED, *words, stdin=stdin, env=env),
    )


def outcome(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "shown.py"
    path.write_text(SHOW)
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__main__.py").write_text(SHOW)
    (tmp_path / "pack" / "sub.py").write_text(SHOW)
    monkeypatch.chdir(tmp_path)
    return path


@pytest.mark.parametrize("name", ["python3", sys.executable])
def test_an_interpreter_in_place_of_the_program_is_told_to_be_left_out(
    name: str, program: Path
) -> None:
    done = dropin.run(sys.executable, *FORCED, name, "shown.py")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"altsem run: leave out {name}: "), done.stderr


def test_a_command_of_the_shell_is_told_to_be_no_program(program: Path) -> None:
    done = dropin.run(sys.executable, *FORCED, "env", "shown.py")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("altsem run: there is no file env here (`-m env`"), done.stderr


def test_a_backend_that_there_is_not_is_an_error_also_where_nothing_is_replaced(
    program: Path,
) -> None:
    done = dropin.run(sys.executable, "-m", "altsem", "run", "--backend=futx", "shown.py")
    assert done.returncode == 2 and done.stdout == ""
    there_are = ", ".join(_core.backends())
    assert done.stderr == f"altsem run: no such backend: futx (there are: {there_are})\n"


def test_a_program_that_is_called_like_a_command_runs(program: Path) -> None:
    for name in ("env", "python3"):
        program.rename(name)
        program = Path(name)
        assert dropin.run(sys.executable, *FORCED, name).returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        ["shown.py", "-x", "--force", "a b"],
        ["./shown.py"],
        ["-m", "shown", "run", "-h"],
        ["-m", "pack.sub"],
        ["-m", "pack", "--backend", "x"],
        ["pack", "1"],
        ["-c", SHOW, "-c", "x"],
        ["-", "x"],
        ["-X", "importtime=0", "shown.py"] if sys.version_info >= (3, 14) else ["-B", "shown.py"],
    ],
    ids=lambda words: " ".join(words)[:20],
)
def test_the_program_sees_what_it_would_see(words: list[str], program: Path) -> None:
    direct, run = both(*words, stdin=SHOW if words[0] == "-" else "some input\n")
    assert direct.returncode == 0 and outcome(run) == outcome(direct)


@pytest.mark.parametrize(
    "flags", [("-X", "dev"), ("-uBW", "ignore"), ("-P",), ("-OO", "-s")], ids=str
)
def test_the_interpreter_keeps_the_options_it_was_called_with(
    flags: tuple[str, ...], program: Path
) -> None:
    if "-P" in flags and sys.version_info < (3, 11):
        pytest.skip("-P came with 3.11")
    direct, run = both("-m", "pack.sub", "x", flags=flags)
    # -P: the module is not found, by either.
    assert direct.returncode == int("-P" in flags) and outcome(run) == outcome(direct)


@pytest.mark.parametrize(
    "code",
    [
        "raise SystemExit(3)",
        "raise SystemExit('a word')",
        "import os; os._exit(9)",
        "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
        "import os; os.abort()",
        "def f():\n    1 / 0\nf()",
        "raise KeyboardInterrupt",
        "syntax error",
        "import sys; sys.excepthook = lambda *e: print('mine', e[0]); 1 / 0",
    ],
)
def test_it_ends_as_the_program_ends(code: str, program: Path) -> None:
    program.write_text(code)
    direct, run = both("shown.py")
    assert direct.returncode != 0 and outcome(run) == outcome(direct)


def test_a_signal_reaches_the_program_itself(program: Path) -> None:
    program.write_text(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *a: sys.exit(5))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, *FORCED, "shown.py"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 5


def test_sys_modules_of_the_program_are_not_full_of_ours(program: Path) -> None:
    program.write_text(
        "import sys\n"
        "assert 'multiprocessing' not in sys.modules\n"
        "print(sorted(name for name in sys.modules if name.startswith('altsem')))\n"
    )
    _, run = both("shown.py")
    assert run.returncode == 0, run.stderr
    ours = ["altsem", "altsem._version"]
    ours += [f"altsem.dropin{name}" for name in ("", ".hooks", ".startup")]
    assert run.stdout == f"{ours}\n"


@pytest.mark.parametrize(
    "text",
    ["print('theirs', __name__, __file__)", "1 / 0", "import no_such_thing", None],
    ids=["good", "error", "import error", "none"],
)
def test_the_users_sitecustomize_runs_as_it_would(text: str | None, program: Path) -> None:
    if text is not None:
        (program.parent / "sitecustomize.py").write_text(text)
    direct, run = both("shown.py", env={"PYTHONPATH": str(program.parent)})
    # It runs for `python -m altsem` as well, as for every interpreter.
    once = dropin.run(sys.executable, "-c", "", env={"PYTHONPATH": str(program.parent)})
    assert (run.returncode, direct.returncode) == (0, 0)
    assert run.stdout == once.stdout + direct.stdout
    assert run.stderr == once.stderr + direct.stderr
    assert ("theirs" in direct.stdout) == (text is not None and "theirs" in text)


def test_the_program_has_altsem_and_so_have_its_descendants(program: Path) -> None:
    code = "import _multiprocessing as m; print(m.SemLock.__module__)"
    program.write_text(
        f"{code}\nimport os, subprocess, sys\nsys.stdout.flush()\n"
        f"subprocess.run([sys.executable, '-c', {code!r}], cwd='/', check=True)\n"
    )
    _, run = both("shown.py")
    assert outcome(run) == (0, "altsem._core\n" * 2, "")


@dropin.needs_native
def test_where_semaphores_work_nothing_is_replaced(program: Path) -> None:
    code = "import os, sys; print(os.environ.get('PYTHONPATH'), 'altsem' in sys.modules)"
    done = dropin.run(sys.executable, "-m", "altsem", "run", "--verbose", "-c", code)
    assert outcome(done) == (
        0,
        "None False\n",
        "altsem: semaphores work here: nothing is replaced\n",
    )


def test_verbose_is_one_line_that_says_what_fails_and_what_is_used(program: Path) -> None:
    done = dropin.run(
        sys.executable, "-m", "altsem", "run", "--verbose", "-c", "print('out')", gone=True
    )
    assert (done.returncode, done.stdout) == (0, "out\n")
    (line,) = done.stderr.splitlines()
    assert "arenas, reserve fail: [Errno 2]" in line
    assert "altsem: semaphores, memory" in line or "without semaphores" in line
    assert f"backend {backend()}" in line and "arenas, memory, reserve, semaphores" in line


def test_backend_is_handed_to_the_program_and_an_unusable_one_is_refused(program: Path) -> None:
    code = "import altsem; print(altsem.backend())"
    words = ["-m", "altsem", "run", "--force"]
    done = dropin.run(sys.executable, *words, "--backend=futex", "-c", code)
    assert outcome(done) == (0, "futex\n", "")
    done = dropin.run(sys.executable, *words, "--backend", "nonsense", "-c", code)
    assert (done.returncode, done.stdout) == (2, "")
    assert "nonsense" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [[], ["--nonsense", "x.py"], ["--backend"]])
def test_wrong_arguments_are_a_usage_error(words: list[str]) -> None:
    done = dropin.run(sys.executable, "-m", "altsem", "run", *words)
    assert (done.returncode == 2 and "usage:" in done.stderr) or "needs a name" in done.stderr


@pytest.mark.parametrize("before", [True, False])
def test_an_isolated_interpreter_is_refused_and_told_what_helps(
    before: bool, program: Path
) -> None:
    words = ["-I", *FORCED] if before else [*FORCED, "-I"]
    done = dropin.run(sys.executable, *words, str(program))
    assert done.returncode == 2 and "altsem enable" in done.stderr


def test_altsem_0_turns_it_off(program: Path) -> None:
    code = "import sys; print('altsem' in sys.modules)"
    done = dropin.run(sys.executable, *FORCED, "-c", code, env={"ALTSEM": "0"})
    assert outcome(done) == (0, "False\n", "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-I", "x.py"], True),
        (["-BE", "x.py"], True),
        (["-W", "-I", "x.py"], False),
        (["-c", "code", "-I"], False),
        (["-mE"], False),
        (["-uc", "-I"], False),
        (["x.py", "-I"], False),
        (["-", "-I"], False),
        (["-X", "dev", "-sE", "x"], True),
        (["--check-hash-based-pycs", "-I", "x.py"], False),
    ],
)
def test_isolation_is_found_among_the_options_only(words: list[str], expected: bool) -> None:
    assert dropin_run.isolated(words) is expected


def test_the_start_methods_that_a_program_finds_are_the_usual_ones() -> None:
    direct, run = both("-c", "import multiprocessing as m; print(m.get_all_start_methods())")
    assert direct.returncode == 0 and outcome(run) == outcome(direct)


def test_run_costs_one_more_start_of_the_interpreter_and_no_process(program: Path) -> None:
    program.write_text("import os; print(os.getpid())")
    process = subprocess.Popen(
        [sys.executable, *FORCED, "shown.py"], stdout=subprocess.PIPE, text=True
    )
    out, _ = process.communicate(timeout=60)
    assert out == f"{process.pid}\n"
