"""Children that are started in their own way: with a PYTHONPATH of their own, or with -E or -S."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import dropin_support as dropin
from altsem.dropin import VARIABLE, children
from conftest import Script

RUN = ("-m", "altsem", "run", "--force")
SAY = "import _multiprocessing as m; print(m.SemLock.__module__)"


@pytest.fixture
def python(tmp_path: Path) -> str:
    return dropin.make_python(tmp_path / "venv")


def outcome(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr


# --- a PYTHONPATH of their own --------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        "subprocess.run(command, env=env)",
        "subprocess.run(command, env=env, close_fds=False)",
        "subprocess.Popen(command, env=env).wait()",
        "import asyncio; asyncio.run(go())",
    ],
    ids=["run", "posix_spawn", "Popen", "asyncio"],
)
@pytest.mark.parametrize("path", ["/nowhere", "", None], ids=str)
def test_a_child_with_its_own_pythonpath_has_altsem_under_run_and_so_has_its_child(
    path: str | None, how: str, python: str, tmp_path: Path
) -> None:
    own = {} if path is None else {"PYTHONPATH": path}
    level = tmp_path / "level.py"
    level.write_text(
        textwrap.dedent(
            f"""
            import os, subprocess, sys
            async def go():
                import asyncio
                child = await asyncio.create_subprocess_exec(*command, env=env)
                await child.wait()
            env = {{**os.environ}}
            env.pop("PYTHONPATH", None)
            env.update({own})
            left = int(sys.argv[1])
            command = [sys.executable, __file__, str(left - 1)]
            if left == 0:
                command = [sys.executable, "-c", {SAY!r}]
            if left >= 0:
                {how}
            """
        )
    )
    assert outcome(dropin.run(python, *RUN, level, "1")) == (0, "altsem._core\n", "")


def test_the_childs_own_entries_come_in_their_order_and_are_found(
    python: str, tmp_path: Path
) -> None:
    (tmp_path / "theirs.py").write_text("print('theirs')")
    code = f"import theirs; {SAY}; import sys; print([p for p in sys.path if 'bootstrap' in p])"
    program = (
        "import os, subprocess, sys\n"
        f"env = {{**os.environ, 'PYTHONPATH': '/nowhere' + os.pathsep + {str(tmp_path)!r}}}\n"
        "before = dict(env)\n"
        f"subprocess.run([sys.executable, '-c', {code!r}], env=env, check=True)\n"
        "assert env == before\n"
    )
    assert outcome(dropin.run(python, *RUN, "-c", program)) == (0, "theirs\naltsem._core\n[]\n", "")


def test_a_child_whose_environment_says_nothing_of_altsem_has_none(python: str) -> None:
    program = (
        "import os, subprocess, sys\n"
        f"env = {{k: v for k, v in os.environ.items() if k != {VARIABLE!r}}}\n"
        "env['PYTHONPATH'] = '/nowhere'\n"
        'code = \'import os, sys; print(os.environ["PYTHONPATH"], "altsem" in sys.modules)\'\n'
        "subprocess.run([sys.executable, '-c', code], env=env)\n"
    )
    assert outcome(dropin.run(python, *RUN, "-c", program)) == (0, "/nowhere False\n", "")


def test_enable_reaches_a_child_with_any_environment_and_status_says_so(python: str) -> None:
    site = dropin.site_of(Path(python).parents[1])
    code = "import multiprocessing as m; m.get_context('spawn').Lock().acquire(); print('good')"
    program = (
        "import subprocess, sys, multiprocessing\n"
        f"subprocess.run([sys.executable, '-c', {code!r}], env={{'PYTHONPATH': '/nowhere'}})\n"
    )
    hint = "unless `python -m altsem enable`"
    under_run = ("-m", "altsem", "run")
    status = ("-m", "altsem", "status", "--site", site)
    assert hint in dropin.run(python, *under_run, *status, bed="gone").stdout
    lost = dropin.run(python, *under_run, "-c", program, bed="gone")
    assert "good" not in lost.stdout and "FileNotFoundError" in lost.stderr
    assert dropin.run(python, "-m", "altsem", "enable", "--site", site).returncode == 0
    assert hint not in dropin.run(python, *under_run, *status, bed="gone").stdout
    found = dropin.run(python, *under_run, "-c", program, bed="gone")
    assert outcome(found) == (0, "good\n", "")


@dropin.needs_native
def test_popen_is_as_it_was_after_uninstall(run_script: Script) -> None:
    code = textwrap.dedent(
        f"""
        import altsem, os, subprocess, sys
        before = vars(subprocess.Popen)["_execute_child"]
        altsem.install(force=True)
        assert vars(subprocess.Popen)["_execute_child"] is not before
        env = {{**os.environ, "PYTHONPATH": "/nowhere"}}
        def ask():
            command = [sys.executable, "-c", {SAY!r}]
            return subprocess.run(command, env=env, stdout=-1, text=True).stdout
        assert ask() == "altsem._core\\n"
        altsem.uninstall()
        assert vars(subprocess.Popen)["_execute_child"] is before
        assert ask() == "_multiprocessing\\n"
        """
    )
    done = run_script(code)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "environment",
    [{}, {"PYTHONPATH": "x"}, {VARIABLE: ""}, {VARIABLE: "other semaphores"}, {b"A": b"b"}, 3, []],
)
def test_an_environment_that_is_no_descendants_is_left_alone(environment: object) -> None:
    assert children.restored(environment) is environment


# --- a PYTHONPATH that is written in other ways ---------------------------------------------------


@pytest.mark.parametrize(
    "env",
    [
        "{**os.environ, 'PYTHONPATH': pathlib.Path('/nowhere')}",
        "{**os.environ, 'PYTHONPATH': b'/nowhere'}",
        "{**os.environb, b'PYTHONPATH': b'/nowhere'}",
        "type('', (), {'items': {**os.environ, 'PYTHONPATH': '/nowhere'}.items})()",
        "{**os.environ, 'PYTHONPATH': other + os.pathsep + os.environ['PYTHONPATH']}",
    ],
    ids=["path", "bytes", "all bytes", "items", "ours is second"],
)
def test_whatever_popen_takes_for_an_environment_has_altsem(
    env: str, python: str, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('theirs')")  # it would hide ours
    program = (
        f"import os, pathlib, subprocess, sys\nother = {str(tmp_path)!r}\n"
        f"subprocess.run([sys.executable, '-c', {SAY!r}], env={env}, check=True)\n"
    )
    said = "theirs\naltsem._core\n" if "other" in env else "altsem._core\n"
    assert outcome(dropin.run(python, *RUN, "-c", program)) == (0, said, "")


CHANGED = """
import importlib, os, subprocess, sys

def child(queue):
    import _multiprocessing, multiprocessing
    multiprocessing.Lock().acquire()
    if isinstance(queue, str):
        print(_multiprocessing.SemLock.__module__)
    else:
        queue.put(_multiprocessing.SemLock.__module__)

def program(package, method):
    context = package.get_context(method)
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    print(queue.get(timeout=10))
    process.join()

if __name__ == "__main__":
    if sys.argv[3] == "install":
        import altsem
        altsem.install()
    package = importlib.import_module(sys.argv[1])
    CHANGE
    if sys.argv[2] == "subprocess":
        code = "import program; program.child('')"
        sys.exit(subprocess.run([sys.executable, "-c", code], cwd=sys.path[0]).returncode)
    program(package, sys.argv[2])
"""


@pytest.mark.parametrize("change", ["pop", "set"])
@pytest.mark.parametrize("way", ["run", "install"])
@pytest.mark.parametrize(
    ("package", "method"),
    [
        ("multiprocessing", "subprocess"),
        ("multiprocessing", "spawn"),
        ("multiprocessing", "forkserver"),
        ("multiprocess", "spawn"),
        ("joblib.externals.loky.backend", "loky"),
    ],
)
def test_children_of_a_program_that_has_changed_its_own_pythonpath_have_altsem(
    package: str, method: str, way: str, change: str, python: str, tmp_path: Path
) -> None:
    pytest.importorskip(package.partition(".")[0])
    changes = {"pop": "os.environ.pop('PYTHONPATH', 0)", "set": "os.environ['PYTHONPATH'] = '/x'"}
    file = tmp_path / "program.py"
    file.write_text(CHANGED.replace("CHANGE", changes[change]))
    words = ("-m", "altsem", "run") if way == "run" else ()
    found = dropin.run(python, *words, file, package, method, way, gone=True)
    assert outcome(found) == (0, "altsem._core\n", "")


# --- empty entries --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "a", "a::b", ":a", "a:", ":", "::"])
def test_empty_entries_of_pythonpath_keep_meaning_the_current_directory(path: str) -> None:
    ours = children.with_bootstrap(path)
    assert ours.split(":") == [children.BOOTSTRAP, *(path.split(":") if path else [])]
    assert children.with_bootstrap(ours) == ours
    back = children.without_bootstrap(ours)
    if path:  # ":" and "::" have one entry too many or too few, and mean the same
        assert set(back.split(":")) == set(path.split(":"))
    else:
        assert back == ""


@pytest.mark.parametrize("path", ["{}:", ":{}", "{}::{}"])
def test_an_empty_entry_lets_the_program_find_what_lies_where_it_is_started(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    (tmp_path / "scripts").mkdir()
    other.mkdir()
    (tmp_path / "here.py").write_text("print('found')")
    script = tmp_path / "scripts" / "script.py"
    script.write_text("import here, sys; print([p for p in sys.path if 'pytest' in p][1:])")
    monkeypatch.chdir(tmp_path)
    env = {"PYTHONPATH": path.format(other, other)}
    direct = dropin.run(sys.executable, script, env=env)
    run = dropin.run(sys.executable, *RUN, script, env=env)
    assert direct.stdout.startswith("found\n") and outcome(run) == outcome(direct)


def test_uninstall_gives_back_a_path_with_an_empty_entry_that_was_changed_meanwhile(
    run_script: Script,
) -> None:
    code = textwrap.dedent(
        """
        import altsem, os
        altsem.install(force=True)
        os.environ["PYTHONPATH"] += ":more"
        altsem.uninstall()
        print(os.environ["PYTHONPATH"])
        """
    )
    done = run_script(code, env={"PYTHONPATH": "a::b"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "a::b:more\n", "")


# --- interpreters that read nothing ---------------------------------------------------------------

REACHED = """
import sys

def child(lock, values):
    import _multiprocessing, sys
    with lock:
        values.put(f"{_multiprocessing.SemLock.__module__} {sys.flags.no_site}")

if __name__ == "__main__":
    sys.path.append(sys.argv[1])
    import altsem
    altsem.install(force=True)
    import multiprocessing
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        lock, values = context.Lock(), context.SimpleQueue()
        process = context.Process(target=child, args=(lock, values))
        process.start()
        process.join()
        assert process.exitcode == 0
        print(values.get())
"""


@pytest.mark.parametrize("flags", [("-S",), ("-E",), ("-I",), ("-ES",)], ids=str)
def test_install_in_an_interpreter_that_reads_nothing_reaches_the_children_of_multiprocessing(
    flags: tuple[str, ...], python: str, tmp_path: Path
) -> None:
    purelib = (dropin.site_of(tmp_path / "venv") / "a-others.pth").read_text().strip()
    program = tmp_path / "program.py"
    program.write_text(REACHED)
    done = dropin.run(python, *flags, program, purelib)
    expected = f"altsem._core {int('S' in flags[0])}\n" * 3
    assert outcome(done) == (0, expected, "")


@pytest.mark.parametrize("words", [("-S",), ("-sS",), ("-S", "-X", "dev")], ids=str)
@pytest.mark.parametrize("before", [True, False])
def test_run_with_dash_capital_s_is_refused_and_says_what_helps(
    before: bool, words: tuple[str, ...], tmp_path: Path
) -> None:
    env = {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [*words, *RUN] if before else [*RUN, *words]
    done = dropin.run(sys.executable, *command, "-c", "print(1)", env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert "-S" in done.stderr and "altsem.install()" in done.stderr
