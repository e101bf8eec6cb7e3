"""`python -m altsem enable`, `disable`, `status`: for every program of an interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import dropin_support as dropin

NAMES = ["altsem.pth", "altsem.start"]


class Interpreter:
    def __init__(self, folder: Path) -> None:
        self.python = dropin.make_python(folder)
        self.site = dropin.site_of(folder)

    def __call__(
        self, *words: str, gone: bool = False, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return dropin.run(self.python, *words, gone=gone, env=env)

    def altsem(self, command: str, *words: str) -> subprocess.CompletedProcess[str]:
        return self("-m", "altsem", command, "--site", str(self.site), *words)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.site.iterdir() if "altsem" in path.name)


@pytest.fixture
def interpreter(tmp_path: Path) -> Interpreter:
    return Interpreter(tmp_path / "venv")


@pytest.fixture
def enabled(interpreter: Interpreter) -> Interpreter:
    done = interpreter.altsem("enable")
    assert done.returncode == 0, done.stderr
    return interpreter


def test_enable_and_disable_write_and_remove_both_files_and_nothing_else(
    interpreter: Interpreter,
) -> None:
    before = sorted(interpreter.site.iterdir())
    for _ in range(2):  # each may be said twice
        assert interpreter.altsem("enable").returncode == 0
        assert interpreter.files() == NAMES
    status = interpreter.altsem("status")
    assert status.returncode == 0 and str(interpreter.site / "altsem.pth") in status.stdout
    for _ in range(2):
        assert interpreter.altsem("disable").returncode == 0
        assert sorted(interpreter.site.iterdir()) == before
    assert interpreter.altsem("status").returncode == 1


def test_somebody_elses_file_is_neither_overwritten_nor_removed(interpreter: Interpreter) -> None:
    theirs = interpreter.site / "altsem.pth"
    theirs.write_text("# theirs\n")
    done = interpreter.altsem("enable")
    assert done.returncode == 1 and "not of altsem's making" in done.stderr
    assert interpreter.altsem("disable").returncode == 0
    assert theirs.read_text() == "# theirs\n" and interpreter.files() == ["altsem.pth"]


def test_a_missing_or_read_only_directory_is_a_clear_error(
    interpreter: Interpreter, tmp_path: Path
) -> None:
    done = interpreter("-m", "altsem", "enable", "--site", str(tmp_path / "missing"))
    assert done.returncode == 1 and "No such file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("flags", [[], ["-I"], ["-E"], ["-s"]], ids=str)
def test_afterwards_the_contexts_are_there_without_an_import(
    flags: list[str], enabled: Interpreter
) -> None:
    code = (
        "import multiprocessing as m; l = m.get_context('altsem').Lock(); "
        "l.acquire(); print(type(l).__module__)"
    )
    for gone in (False, True):
        done = enabled(*flags, "-c", code, gone=gone)
        assert (done.returncode, done.stdout, done.stderr) == (0, "altsem.synchronize\n", "")


def test_afterwards_a_start_imports_nothing_heavy(enabled: Interpreter, tmp_path: Path) -> None:
    plain = Interpreter(tmp_path / "plain")
    code = "import sys; print('\\n'.join(sys.modules))"
    more = set(enabled("-c", code).stdout.split()) - set(plain("-c", code).stdout.split())
    if sys.version_info >= (3, 15):  # site itself imports what it reads an altsem.start with
        assert more.isdisjoint({"typing", "multiprocessing", "altsem._core"})
        more = {name for name in more if name.startswith("altsem")}
    assert more == {
        "altsem",
        "altsem._version",
        "altsem.dropin",
        "altsem.dropin.hooks",
        "altsem.dropin.startup",
    }


@dropin.needs_native
def test_afterwards_semaphores_that_work_are_left_alone(enabled: Interpreter) -> None:
    code = (
        "import multiprocessing, multiprocessing.synchronize, _multiprocessing as m, os, sys; "
        "print(m.SemLock.__module__, 'altsem._core' in sys.modules, os.environ.get('PYTHONPATH'), "
        "[f for f in sys.meta_path if 'altsem' in type(f).__module__])"
    )
    done = enabled("-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "_multiprocessing False None []\n",
        "",
    )


def test_afterwards_failing_ones_are_replaced_also_in_isolated_descendants(
    enabled: Interpreter,
) -> None:
    code = (
        "import multiprocessing as m; l = m.get_context('spawn').Lock(); l.acquire(); l.release()"
    )
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-I', '-c', {code!r}])"
    done = enabled("-I", "-c", f"{code}; {program}", gone=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_altsem_0_turns_it_off(enabled: Interpreter) -> None:
    code = "import multiprocessing as m; m.Lock()"
    done = enabled("-c", code, gone=True, env={"ALTSEM": "0"})
    assert done.returncode == 1
    code = "import sys; print([m for m in sys.modules if 'altsem' in m], len(sys.meta_path)); "
    code += "import altsem, multiprocessing as m; m.get_context('altsem').Lock().acquire()"
    done = enabled("-c", code, env={"ALTSEM": "0"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "[] 3\n", "")


@pytest.mark.parametrize(
    "damage",
    ["raise RuntimeError('broken')", "syntax error", "import no_such_module", "raise SystemExit"],
)
def test_whatever_is_wrong_with_altsem_the_interpreter_starts(
    damage: str, enabled: Interpreter, tmp_path: Path
) -> None:
    broken = enabled.site / "altsem"
    broken.mkdir()
    (broken / "__init__.py").write_text("")
    (broken / "dropin").mkdir()
    (broken / "dropin" / "__init__.py").write_text("")
    (broken / "dropin" / "startup.py").write_text(damage)
    # Found before the sound one.
    others = enabled.site / "a-others.pth"
    others.rename(enabled.site / "z-others.pth")
    done = enabled("-c", "print('started')")
    if sys.version_info >= (3, 15):  # site itself imports it, and tells of it; but not what exits
        assert done.stdout == "started\n" or "SystemExit" in damage
        return
    assert (done.returncode, done.stdout) == (0, "started\n")
    assert "broken" not in done.stderr


def test_after_altsem_has_been_removed_the_interpreter_starts(enabled: Interpreter) -> None:
    (enabled.site / "a-others.pth").unlink()
    done = enabled("-c", "print('started')")
    assert (done.returncode, done.stdout) == (0, "started\n")
