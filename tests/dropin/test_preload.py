"""The library that `run` has programs loaded with: who has it, and what Python code finds."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

import altsem
import dropin_support as dropin
from altsem.dropin import children, preload

RUN = ("-m", "altsem", "run")
SHOWN = "import os; print(os.environ.get('LD_PRELOAD', ''), os.environ.get('ALTSEM_PRELOAD', ''))"
LOADED = "print(any('_preload.so' in line for line in open('/proc/self/maps')))"
ENTRY = preload.entry()


def said(*words: str, bed: str = "", env: dict[str, str] | None = None) -> str:
    done = dropin.run(sys.executable, *words, bed=bed, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_its_path_is_for_those_who_set_the_variable_themselves() -> None:
    path = altsem.preload_path()
    assert Path(path).is_file() and "$" not in path
    env = {"LD_PRELOAD": path}
    assert said("-c", LOADED, env=env) == "True"


def test_no_library_is_an_error_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(preload, "_PACKAGE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no library to be preloaded"):
        altsem.preload_path()
    assert preload.entry() == "" and preload.variables() == {}


@pytest.mark.parametrize("folder", ["a b", "a:b", "a$b"])
def test_a_path_that_the_variable_cannot_hold_is_not_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str
) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / preload.FILE).touch()
    monkeypatch.setattr(preload, "_PACKAGE", str(tmp_path / folder))
    assert preload.entry() == "" and preload.variables() == {}


def test_run_loads_it_where_something_is_replaced_and_nowhere_else() -> None:
    assert said(*RUN, "-c", LOADED, bed="gone") == "True"
    assert said(*RUN, "-c", SHOWN, bed="gone") == ENTRY
    assert said(*RUN, "--force", "-c", LOADED) == "True"


@dropin.needs_native
def test_run_changes_nothing_where_all_works() -> None:
    assert said(*RUN, "-c", LOADED) == "False"


def test_it_comes_before_what_was_to_be_loaded_already(tmp_path: Path) -> None:
    others = "/nowhere/one.so:/nowhere/two.so"
    done = dropin.run(
        sys.executable, *RUN, "--force", "-c", SHOWN, env={"LD_PRELOAD": others.replace(":", " ")}
    )
    assert done.stdout.strip() == f"{ENTRY}:{others}"
    # Within itself it is not put there twice.
    assert said(*RUN, "--force", "-m", "altsem", "run", "--force", "-c", SHOWN) == ENTRY


@pytest.mark.parametrize("how", ["option", "variable"])
def test_it_can_be_left_out(how: str) -> None:
    words = ["--no-preload"] if how == "option" else []
    env = {"ALTSEM_PRELOAD": "0"} if how == "variable" else {}
    assert said(*RUN, "--force", *words, "-c", SHOWN, env=env) == "0"
    assert said(*RUN, "--force", *words, "-c", LOADED, env=env) == "False"


def test_verbose_and_status_say_whether_it_is_in() -> None:
    done = dropin.run(sys.executable, *RUN, "--verbose", "--force", "-c", "")
    assert ", and names of C code" in done.stderr
    done = dropin.run(sys.executable, *RUN, "--verbose", "--force", "--no-preload", "-c", "")
    assert "names of C code" not in done.stderr
    status = ("-m", "altsem", "status")

    def line(*words: str, env: dict[str, str] | None = None) -> str:
        lines = dropin.run(sys.executable, *words, env=env).stdout.splitlines()
        (found,) = [line for line in lines if line.startswith("preload")]
        return found.split(None, 1)[1]

    assert line(*status).startswith("not in (")
    assert line(*RUN, "--force", *status).startswith("in: ")
    off = {"ALTSEM_PRELOAD": "0", "LD_PRELOAD": altsem.preload_path()}
    assert line(*status, env=off).startswith("in (but turned off by ALTSEM_PRELOAD=0): ")


@pytest.mark.parametrize("switch", ["ALTSEM_PRELOAD", "ALTSEM"])
def test_what_is_said_of_it_is_not_that_it_works_where_it_is_turned_off(
    monkeypatch: pytest.MonkeyPatch, switch: str
) -> None:
    for name in ("ALTSEM_PRELOAD", "ALTSEM", "LD_PRELOAD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(switch, "0")
    for loaded in (True, False):
        monkeypatch.setattr(preload, "is_loaded", lambda loaded=loaded: loaded)
        said = preload.said()
        assert f"{switch}=0" in said and said.endswith("C code finds the system's names only")
        assert said.startswith("in (" if loaded else "not in (") and "sets" not in said


def test_what_is_said_of_it_is_not_that_run_loads_it_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("ALTSEM_PRELOAD", "ALTSEM", "LD_PRELOAD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(preload, "is_loaded", lambda: False)
    assert "run` sets LD_PRELOAD" in preload.said()
    monkeypatch.setattr(preload, "_PACKAGE", str(tmp_path))
    assert preload.said().startswith("not in (there is none")


def test_status_tells_of_the_systems_own_also_with_it() -> None:
    done = dropin.run(sys.executable, *RUN, "-m", "altsem", "status", bed="gone")
    lines = dict(line.split(None, 1) for line in done.stdout.splitlines() if line[0] != " ")
    for part in ("semaphores", "memory", "arenas"):
        assert lines[part].startswith("fail: "), lines


CHILDREN = """
import json, os, subprocess, sys
shown = "import os; print(os.environ.get('LD_PRELOAD', ''))"
def child(**changes):
    env = {**os.environ, **changes}
    env = {name: value for name, value in env.items() if value is not None}
    words = [sys.executable, "-c", shown]
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    return done.stdout.strip()
answers = [child(), child(LD_PRELOAD=None), child(LD_PRELOAD="/nowhere/one.so"),
           child(LD_PRELOAD=None, ALTSEM_PRELOAD="0"), child(LD_PRELOAD=None, ALTSEM_DROPIN=None)]
del os.environ["LD_PRELOAD"]
answers.append(subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True).stdout)
print(json.dumps(answers))
"""


def test_children_with_another_environment_are_loaded_with_it_all_the_same() -> None:
    answers = json.loads(said(*RUN, "--force", "-c", CHILDREN))
    assert answers[:3] == [ENTRY, ENTRY, f"{ENTRY}:/nowhere/one.so"]
    assert answers[3:5] == ["", ""], "who leaves it out means it"
    assert answers[5].strip() == ENTRY


def test_a_program_that_was_not_loaded_with_it_gives_it_to_no_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preload, "started_with", "")
    env = {"ALTSEM_DROPIN": "altsem memory", "PYTHONPATH": children.BOOTSTRAP}
    assert children.restored(env) is env


IPC = """
import os, posix_ipc
name = f"/altsem-tests-{os.getpid()}"
semaphore = posix_ipc.Semaphore(name, posix_ipc.O_CREX, initial_value=0)
memory = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, size=4096)
pid = os.fork()
if pid == 0:
    os.pwrite(posix_ipc.SharedMemory(name).fd, b"x", 0)
    posix_ipc.Semaphore(name).release()
    os._exit(0)
semaphore.acquire(30)
os.waitpid(pid, 0)
print(os.pread(memory.fd, 1, 0) == b"x")
posix_ipc.unlink_semaphore(name)
posix_ipc.unlink_shared_memory(name)
"""


def test_a_package_in_c_works_where_there_is_no_dev_shm() -> None:
    pytest.importorskip("posix_ipc")
    done = dropin.run(sys.executable, "-c", IPC, bed="gone")
    assert "ExistentialError" in done.stderr, "natively it does not"
    for bed in ("gone", "ro", "full-inode"):
        assert said(*RUN, "-c", IPC, bed=bed) == "True"


BOTH = """
import os, posix_ipc
from multiprocessing.shared_memory import SharedMemory
memory = SharedMemory(create=True, size=4096)
memory.buf[0] = 42
there = posix_ipc.SharedMemory("/" + memory.name.lstrip("/"))
print(os.pread(there.fd, 1, 0)[0])
there.unlink()
print(os.path.exists("/dev/shm"))
from multiprocessing import resource_tracker
resource_tracker.unregister(memory._name, "shared_memory")
"""


def test_python_and_c_in_one_program_agree_on_where_a_name_is() -> None:
    pytest.importorskip("posix_ipc")
    assert said(*RUN, "-c", BOTH, bed="gone").split() == ["42", "False"]
    assert said(*RUN, "--force", "-c", BOTH).split()[0] == "42"


def test_every_program_below_it_is_reached_python_or_not() -> None:
    code = "import subprocess; subprocess.run(['sh', '-c', 'grep -c _preload.so /proc/self/maps'])"
    assert int(said(*RUN, "--force", "-c", code)) > 0


# In a PID namespace of its own: nobody else there has altsem.
LEFT = """
{python} -m altsem run --force -c "{code}"
ls {private}
LD_PRELOAD={library} sleep 60 &
until grep -q _preload.so /proc/$!/maps; do :; done
{python} -m altsem clean
ls {private}
kill $!
wait
{python} -m altsem clean
ls {private}
"""


def test_what_killed_programs_leave_is_removed_once_nobody_could_open_it(tmp_path: Path) -> None:
    """Of C code too: a semaphore's file has a prefix of its own."""
    pytest.importorskip("posix_ipc")
    private = tmp_path / f"altsem-{os.geteuid()}"
    text = LEFT.format(
        python=sys.executable,
        code="import posix_ipc; posix_ipc.Semaphore('/altsem-left', posix_ipc.O_CREX)",
        private=private,
        library=altsem.preload_path(),
    )
    (tmp_path / "both.sh").write_text(text)
    words = ["unshare", "-pf", "--mount-proc", "sh", str(tmp_path / "both.sh")]
    done = dropin.run(*words, env={"ALTSEM_DIR": str(tmp_path)})
    if "unshare failed" in done.stderr or "cannot open" in done.stderr:
        pytest.skip("no PID namespace to be had")
    lines = [line for line in done.stdout.splitlines() if "SysV" not in line]
    removed = "removed 1 file of named semaphores and shared memory"
    assert lines == ["pos.altsem-left", "pos.altsem-left", removed], done
    assert not private.exists()
