"""The doctor's tables, on machines made of files: what is recognised, named, and advised."""

from __future__ import annotations

import errno
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from altsem.doctor import checks, remedies, shm, surroundings, symptoms, trial, verdict
from altsem.doctor.machine import Machine
from altsem.doctor.mounts import Mount, mount_of
from altsem.doctor.patient import Patient
from altsem.doctor.surroundings import Confinement, Surrounding
from altsem.doctor.trial import Answer, Program, Started

TMPFS = Mount("/dev/shm", "tmpfs", ("rw",), "shm")
SOUND = shm.Shm("directory", TMPFS, 0o1777, size=1 << 26, free=1 << 20, inodes=9, free_inodes=5)
WORKS = {"value": True}
ROOTS = "27 1 254:0 / / rw - ext4 /dev/vda rw\n24 27 0:6 / /dev rw - tmpfs dev rw\n"


def machine(root: Path, files: dict[str, str] | None = None, **env: str) -> Machine:
    for name, text in {"/proc/self/mountinfo": ROOTS, **(files or {})}.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Machine(str(root), env)


def error_of(number: int) -> str:
    return f"{type(OSError(number, '')).__name__}: [Errno {number}] {os.strerror(number)}"


def failing(number: int) -> dict[str, Any]:
    return {"error": error_of(number), "errno": number}


def native(**parts: dict[str, Any]) -> Answer:
    names = ("semlock", "sem_unlink", "semaphore", "many", "synchronize", "executor", "value")
    return Answer({**dict.fromkeys((*names, "shared_memory"), WORKS), **parts})


def patient(
    where: Machine, *, number: int | None = None, state: shm.Shm = SOUND, **answers: Answer
) -> Patient:
    """Somebody whose native semaphores fail with `number`, and for whom altsem works."""
    parts = {} if number is None else {"semaphore": failing(number), "many": failing(number)}
    works = {"seconds": 0.001, "memory": "memfd"}
    given = {
        "native": native(**parts),
        "native fork": Answer(True) if number is None else Answer(None, error_of(number), number),
        "altsem fork": Answer(True),
        "backend futex": Answer(works),
        "core": Answer({"futex": 0}),
        "memfd": Answer("made"),
        "shm file": Answer(True) if number is None else Answer(None, error_of(number), number),
    }
    return Patient(
        where,
        state,
        surroundings.recognise(where),
        Confinement(False, False, False, None),
        {**given, **{name.replace("_", " "): answer for name, answer in answers.items()}},
        uid=1000,
        groups={1000},
        python=(3, 14, 0),
    )


MISSING = shm.Shm("missing")
READ_ONLY = replace(SOUND, mount=replace(TMPFS, options=("ro",)))
FULL = replace(SOUND, free=0)


@pytest.mark.parametrize(
    ("name", "files", "env"),
    [
        ("apptainer", {"/.singularity.d/actions/exec": ""}, {}),
        ("apptainer", {}, {"SINGULARITY_CONTAINER": "/x.sif"}),
        ("docker", {"/.dockerenv": ""}, {}),
        ("docker", {"/proc/self/cgroup": "12:cpu:/docker/abc\n"}, {}),
        ("podman", {"/run/.containerenv": ""}, {}),
        ("kubernetes", {}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}),
        ("kubernetes", {"/proc/self/cgroup": "0::/kubepods.slice/x\n"}, {}),
        ("lambda", {}, {"AWS_LAMBDA_FUNCTION_NAME": "f"}),
        ("lambda", {}, {"AWS_EXECUTION_ENV": "AWS_Lambda_python3.12"}),
        ("termux", {}, {"PREFIX": "/data/data/com.termux/files/usr"}),
        ("android", {"/system/build.prop": ""}, {}),
        ("snap", {}, {"SNAP_NAME": "x"}),
        ("snap", {"/proc/self/attr/current": "snap.x.y (enforce)"}, {}),
        ("flatpak", {"/.flatpak-info": ""}, {}),
        ("wsl1", {"/proc/version": "Linux version 4.4.0-19041-Microsoft"}, {}),
        ("wsl2", {"/proc/version": "Linux 5.15.1-microsoft-standard-WSL2"}, {}),
        (
            "gvisor",
            {"/proc/version": "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016"},
            {},
        ),
        ("codex", {}, {"CODEX_SANDBOX_NETWORK_DISABLED": "1"}),
        ("claude", {}, {"SANDBOX_RUNTIME": "1"}),
        ("lxc", {}, {"container": "lxc"}),
        ("bubblewrap", {"/proc/1/comm": "bwrap\n"}, {}),
        ("openvz", {"/proc/vz/x": ""}, {}),
        (
            "proot",
            {"/proc/self/status": "Name:\tx\nTracerPid:\t7\n", "/proc/7/comm": "proot\n"},
            {},
        ),
        ("chroot", {"/proc/self/mountinfo": "1 2 0:1 / /proc rw - proc proc rw\n"}, {}),
        (
            "microvm",
            {"/proc/self/mountinfo": ROOTS + "9 1 0:6 / /dev rw - devtmpfs dev rw\n"},
            {},
        ),
        (
            "apptainer-no-dev",
            {"/proc/self/mountinfo": "1 2 0:1 / / rw - overlay o rw\n"},
            {"APPTAINER_NAME": "x"},
        ),
    ],
)
def test_recognises(name: str, files: dict[str, str], env: dict[str, str], tmp_path: Path) -> None:
    found = surroundings.recognise(machine(tmp_path, files, **env))
    assert name in [one.name for one in found], found
    assert all(one.evidence for one in found)


def test_recognises_nothing_on_a_plain_machine(tmp_path: Path) -> None:
    files = {"/proc/version": "Linux version 6.1.0-18-amd64", "/proc/1/comm": "systemd\n"}
    assert surroundings.recognise(machine(tmp_path, files)) == []
    # And without a /proc.
    assert surroundings.recognise(Machine(str(tmp_path / "empty"), {})) == []


@pytest.mark.parametrize(
    ("name", "number", "state", "words"),
    [
        ("apptainer", errno.ENOENT, MISSING, "apptainer exec --bind /dev/shm"),
        ("apptainer-no-dev", errno.ENOENT, MISSING, "apptainer exec --scratch /dev/shm"),
        ("docker", errno.ENOENT, MISSING, "docker run --ipc="),
        ("docker", errno.ENOSPC, FULL, "docker run --shm-size="),
        ("docker", errno.EROFS, READ_ONLY, "docker run --tmpfs /dev/shm"),
        ("podman", errno.ENOENT, MISSING, "podman run --ipc="),
        ("podman", errno.ENOSPC, FULL, "podman run --shm-size="),
        ("kubernetes", errno.ENOENT, MISSING, "emptyDir: {medium: Memory"),
        ("kubernetes", errno.ENOSPC, FULL, "emptyDir: {medium: Memory"),
        ("codex", errno.EACCES, SOUND, 'writable_roots = ["/dev/shm"]'),
        ("claude", errno.EACCES, SOUND, '"allowWrite": ["/dev/shm"]'),
        ("snap", errno.EACCES, SOUND, "private: true"),
        ("flatpak", errno.ENOENT, MISSING, "--device=shm"),
        ("wsl1", errno.ENOSYS, MISSING, "wsl --set-version"),
        ("lxc", errno.ENOENT, MISSING, "lxc.mount.entry"),
        ("bubblewrap", errno.ENOENT, MISSING, "--tmpfs /dev/shm"),
        ("proot", errno.EACCES, SOUND, "proot -b"),
        ("chroot", errno.ENOENT, MISSING, "mount --bind /dev/shm"),
        ("", errno.ENOENT, MISSING, "mount -t tmpfs -o mode=1777"),
        ("", errno.ENOSYS, replace(SOUND, mount=None), "mount -t tmpfs -o mode=1777"),
        ("", errno.EROFS, READ_ONLY, "mount -o remount,rw"),
        ("", errno.ENOSPC, FULL, "mount -o remount,size="),
        ("", errno.EACCES, replace(SOUND, mode=0o755), "chmod 1777 /dev/shm"),
        ("", errno.EMFILE, SOUND, "ulimit -n"),
        ("", errno.ENOMEM, SOUND, "vm.max_map_count"),
    ],
)
def test_advises(name: str, number: int, state: shm.Shm, words: str, tmp_path: Path) -> None:
    somebody = patient(machine(tmp_path), number=number, state=state)
    somebody.surroundings = [Surrounding(name, name, ("a sign",))] if name else []
    found = verdict.decide(somebody)
    assert found.status == 1
    assert found.error == error_of(number)
    lines = [line for _, remedy in found.remedies for line in remedy.lines]
    assert any(words in line for line in lines), (found.cause, lines)


def test_lambda_has_no_remedy_but_altsem(tmp_path: Path) -> None:
    where = machine(tmp_path, AWS_LAMBDA_FUNCTION_NAME="f")
    found = verdict.decide(patient(where, number=errno.ENOSYS, state=MISSING))
    ((title, remedy),) = found.remedies
    assert title == "AWS Lambda" and "use altsem" in remedy.text
    assert found.altsem and "memfd" in found.altsem_will()


def test_every_cause_has_a_remedy_on_a_plain_machine(tmp_path: Path) -> None:
    from altsem.doctor.causes import RULES

    somebody = patient(machine(tmp_path), number=errno.ENOENT)
    for cause in {rule.name for rule in RULES} | {"no-semlock"}:
        assert remedies.remedies(cause, somebody), cause


def test_remedies_are_for_surroundings_and_causes_that_exist() -> None:
    from altsem.doctor.causes import RULES

    known = {kind.name for kind in surroundings.KINDS} | {""}
    causes = {rule.name for rule in RULES} | {"no-semlock", "other", "silent"}
    for remedy in remedies.REMEDIES:
        assert remedy.surrounding in known
        assert set(remedy.causes) <= causes


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSYS, "OSError: [Errno 38] Function not implemented"),
        (errno.ENOENT, "FileNotFoundError: [Errno 2] No such file or directory"),
        (errno.EACCES, "PermissionError: [Errno 13] Permission denied"),
        (errno.EPERM, "PermissionError: [Errno 1] Operation not permitted"),
        (errno.EROFS, "OSError: [Errno 30] Read-only file system"),
        (errno.ENOSPC, "OSError: [Errno 28] No space left on device"),
        (errno.EMFILE, "OSError: [Errno 24] Too many open files"),
    ],
)
def test_names_what_people_search_for(number: int, text: str, tmp_path: Path) -> None:
    somebody = patient(machine(tmp_path), number=number)
    happening = [s.text for s in symptoms.recognise(somebody) if s.state == symptoms.HAPPENS]
    assert text in happening
    assert "ThreadPool and multiprocessing.dummy fail" in happening


def test_names_what_an_interpreter_without_semlock_says(tmp_path: Path) -> None:
    gone = {"error": "ImportError: cannot import name 'SemLock'", "errno": None}
    refused = {"error": "NotImplementedError: This Python build lacks ...", "errno": None}
    somebody = patient(machine(tmp_path))
    somebody.answers["native"] = native(semlock=gone, synchronize=gone, executor=refused)
    happening = [s.text for s in symptoms.recognise(somebody) if s.state == symptoms.HAPPENS]
    assert [text.split()[0] for text in happening[:3]] == [
        "ImportError:",
        "ImportError:",
        "NotImplementedError:",
    ]
    found = verdict.decide(somebody)
    assert found.status == 1 and found.cause is not None and found.cause.name == "no-semlock"


def test_names_what_may_happen_where_native_semaphores_work(tmp_path: Path) -> None:
    told = {s.text: s.state for s in symptoms.recognise(patient(machine(tmp_path)))}
    possible = " ".join(text for text, state in told.items() if state == symptoms.POSSIBLE)
    for words in (
        "[Errno 28]",
        "[Errno 12]",
        "SemLock._rebuild",
        "A SemLock created in a fork context",
        "leaked semaphore objects",
        "hangs after a worker was killed",
        "notify_all",
        "signal handler deadlocks",
        "clock is set",
    ):
        assert words in possible
    assert symptoms.HAPPENS not in told.values()
    old = patient(machine(tmp_path))
    old.python = (3, 11, 4)
    assert not any(
        "fork context" in s.text and s.state != symptoms.NO for s in symptoms.recognise(old)
    )


def c_names(**errors: int) -> Answer:
    names = dict.fromkeys(("sem_open", "shm_open"), WORKS)
    return Answer({**names, **{name: failing(number) for name, number in errors.items()}})


def c_row(where: Patient) -> checks.Row:
    (found,) = (row for row in checks.examine(where) if row.name == "names of C code")
    return found


def test_names_of_c_code_with_and_without_the_library(tmp_path: Path) -> None:
    where = machine(tmp_path)
    broken = c_names(sem_open=errno.ENOENT, shm_open=errno.ENOENT)
    found = c_row(patient(where, names_of_C=c_names()))
    assert (found.status, found.answer, found.meaning) == ("ok", "work", "")
    found = c_row(patient(where, names_of_C=broken, preloaded=c_names()))
    assert found.status == "bad" and "with the library of `run` they work" in found.meaning
    assert "sem_open: FileNotFoundError: [Errno 2]" in found.answer
    found = c_row(patient(where, names_of_C=broken, preloaded=broken))
    assert found.status == "bad" and found.meaning == "with the library of `run` too"
    found = c_row(patient(where, names_of_C=broken))
    assert "could not be tried" in found.meaning
    found = c_row(patient(where, names_of_C=Answer(error="ImportError: no ctypes")))
    assert found.status == "unknown"


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (None, "note", "not installed"),
        (Answer(""), "ok", "memory without a name"),
        (Answer("it has no x"), "note", "not as expected: it has no x"),
        (Answer(error="ImportError: broken"), "unknown", "ImportError: broken"),
    ],
)
def test_pytorch_that_is_not_as_expected_is_told(
    tmp_path: Path, answer: Answer | None, status: str, words: str
) -> None:
    where = patient(machine(tmp_path), **({"PyTorch": answer} if answer else {}))
    (found,) = (row for row in checks.examine(where) if row.name == "PyTorch")
    assert found.status == status and words in found.answer


def test_what_pytorch_says_is_named_where_it_can_happen(tmp_path: Path) -> None:
    where = machine(tmp_path)
    messages = ("DataLoader worker is killed", "unable to allocate", "unable to open shared")

    def states(one: Patient) -> list[str]:
        found = symptoms.recognise(one)
        return [s.state for text in messages for s in found if text in s.text]

    ample = replace(SOUND, size=1 << 31, free=1 << 31)
    works, broken = c_names(), c_names(shm_open=errno.ENOENT)
    assert states(patient(where, state=ample, names_of_C=works)) == ["no"] * 3
    assert states(patient(where, names_of_C=works)) == ["possible", "possible", "no"]
    gone = patient(where, number=errno.ENOENT, state=MISSING, names_of_C=broken)
    assert states(gone) == ["no", "no", "happens"]
    full = patient(where, number=errno.ENOSPC, state=FULL, names_of_C=works)
    assert states(full) == ["happens", "happens", "no"]


def test_verdicts(tmp_path: Path) -> None:
    where = machine(tmp_path)
    bad, silent = Answer(error="X"), trial.no_answer(1)
    broken = {"number": errno.ENOENT, "state": MISSING}
    for expected, somebody in (
        (0, patient(where)),
        (1, patient(where, **broken)),  # type: ignore[arg-type]
        (2, patient(where, **broken, backend_futex=bad)),  # type: ignore[arg-type]
        (2, patient(where, **broken, altsem_fork=bad)),  # type: ignore[arg-type]
        # A semaphore can be made, but is of no use.
        (1, patient(where, native_fork=bad)),
        # What fails either way has another trouble.
        (0, patient(where, native_fork=bad, altsem_fork=bad, native_spawn=Answer(True),
                    altsem_spawn=Answer(True))),
        (2, patient(where, native_fork=bad, altsem_fork=bad)),
        # Silence proves nothing.
        (0, patient(where, native_fork=silent)),
        (1, patient(where, **broken, altsem_fork=silent)),  # type: ignore[arg-type]
    ):  # fmt: skip
        assert verdict.decide(somebody).status == expected, somebody.answers


def test_silence_is_not_called_broken(tmp_path: Path) -> None:
    somebody = patient(machine(tmp_path))
    silent = trial.no_answer(4)
    somebody.answers = dict.fromkeys(somebody.answers, silent)
    found = verdict.decide(somebody)
    assert found.status == 2
    assert "broken" not in found.summary() and "raise" not in found.altsem_will()
    rows = {row.name: row for row in checks.examine(somebody)}
    assert rows["sem_open"].status == rows["backend futex"].status == checks.UNKNOWN


def test_nothing_answered_at_all(tmp_path: Path) -> None:
    somebody = replace(patient(machine(tmp_path)), answers={})
    assert verdict.decide(somebody).status == 2
    rows = checks.examine(somebody)
    assert {row.status for row in rows} <= {"bad", "note", "ok", "unknown"}
    assert symptoms.recognise(somebody)


def test_a_check_that_raises_becomes_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(_: Patient) -> checks.Finding:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(checks, "FIRST", (checks.Check("a", "b", find), *checks.FIRST))
    first = checks.examine(patient(machine(tmp_path)))[0]
    assert (first.name, first.tried, first.status) == ("a", "b", checks.UNKNOWN)
    assert first.answer == "ZeroDivisionError: oh"


def test_looks_at_dev_shm(tmp_path: Path) -> None:
    where = machine(tmp_path)
    path = tmp_path / "dev" / "shm"
    assert shm.look(where).kind == "missing"
    path.parent.mkdir()
    path.symlink_to("nowhere")
    assert shm.look(where).kind == "dangling link"
    path.unlink()
    path.write_text("x")
    assert shm.look(where).kind == "file"
    path.unlink()
    path.mkdir(mode=0o750)
    (path / "sem.mp-x").write_text("")
    seen = shm.look(where)
    assert (seen.kind, seen.mode, seen.semaphores) == ("directory", 0o750, ["sem.mp-x"])
    assert seen.mount is not None and seen.mount.point == "/dev" and not seen.own_mount


def test_the_mount_of_a_path(tmp_path: Path) -> None:
    where = machine(
        tmp_path,
        {
            "/proc/self/mountinfo": ROOTS
            + "30 24 0:7 / /dev/shm rw,nosuid shared:3 master:1 - tmpfs none rw,size=4k\n"
            + "31 27 0:8 / /a\\040b ro - ext4 x rw\n"
        },
    )
    found = mount_of(where, "/dev/shm")
    assert found is not None and found.options == ("rw", "nosuid", "size=4k")
    assert found == mount_of(where, "/dev/shm/x")
    spaced = mount_of(where, "/a b/c")
    assert spaced is not None and spaced.read_only
    other = mount_of(where, "/devil")
    assert other is not None and other.point == "/"


# --- trials ---------------------------------------------------------------------------------------


def test_forked_tells_values_and_errors() -> None:
    assert trial.forked(lambda: [1, "x"], limit=30).value == [1, "x"]

    def fail() -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    failed = trial.forked(fail, limit=30)
    assert failed.error == "OSError: [Errno 38] Function not implemented"
    assert failed.errno == errno.ENOSYS and not failed.ok and not failed.silent


def test_forked_survives_being_killed_by_a_filter() -> None:
    killed = trial.forked(lambda: os.kill(os.getpid(), signal.SIGSYS), limit=30)
    assert killed.error is not None and killed.error.startswith("killed by SIGSYS (a filter")


def test_forked_ends_what_hangs_with_all_its_children() -> None:
    def hang() -> None:
        os.fork()
        signal.pause()

    begun = time.monotonic()
    assert trial.forked(hang, limit=0.2).silent
    assert time.monotonic() - begun < 20
    # That no process is left, every test is checked for.


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def start(code: str) -> Started:
        (tmp_path / "it.py").write_text(code)
        monkeypatch.setattr(trial, "PROGRAMS", str(tmp_path))
        return Started(Program("it.py"), dict(os.environ), "altsem")

    return start


def test_a_program_that_answers(program: Any) -> None:
    answer = program("print('noise'); print('{\"value\": 3}')").answer(time.monotonic() + 30)
    assert answer.value == 3 and answer.ok


def test_a_program_that_dies_or_raises(program: Any) -> None:
    dead = program("import os; os.abort()").answer(time.monotonic() + 30)
    assert dead.error == "killed by SIGABRT"
    raised = program("raise KeyError('x')").answer(time.monotonic() + 30)
    assert raised.error == "KeyError: 'x'"


def test_a_program_that_hangs_with_a_child(program: Any) -> None:
    started = program("import os, time\nos.fork()\ntime.sleep(600)")
    begun = time.monotonic()
    assert started.answer(begun + 0.5).silent
    assert time.monotonic() - begun < 20


def test_an_interpreter_that_is_not_there(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for executable in ("", "/does/not/exist"):
        monkeypatch.setattr("sys.executable", executable)
        assert not program("").answer(time.monotonic() + 30).ok
