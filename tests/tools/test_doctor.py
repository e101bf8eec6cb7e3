"""The doctor where things are really broken: verdict, exit status, remedy, and nothing left."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import confine
from altsem.doctor import report
from support import read_terminal

BED = Path(__file__).parents[1] / "beds" / "shm"
NO_NAMESPACE = 125
# Generous: the machine that runs the tests may be busy, and silence is no finding.
SECONDS = 40


def run(
    *arguments: str,
    bed: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
    before: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "altsem", "doctor", "--seconds", str(SECONDS), *arguments]
    if bed:
        command = [str(BED), *bed, *command]
    return subprocess.run(
        command,
        env={**os.environ, **(env or {})},
        preexec_fn=before,
        capture_output=True,
        text=True,
        timeout=100,
    )


def examine(**where: Any) -> tuple[int, dict[str, Any]]:
    done = run("--json", **where)
    if where.get("bed") and done.returncode == NO_NAMESPACE:
        pytest.skip(f"the bed cannot be made here: {done.stderr}")
    assert done.stdout, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == told["verdict"]["status"]
    assert done.stderr == ""
    return done.returncode, told


def row(told: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (one for one in told["checks"] if one["name"] == name)
    return dict(found)


def lines(told: dict[str, Any]) -> str:
    return "\n".join(line for one in told["verdict"]["remedies"] for line in one["lines"])


@cache
def has_semlock() -> bool:
    """Whether the interpreter was built with it; `import altsem` supplies it where not."""
    code = "import _multiprocessing as m; print(hasattr(m, 'SemLock'))"
    return subprocess.check_output([sys.executable, "-c", code], text=True) == "True\n"


def works_natively() -> bool:
    code = "import _multiprocessing as m; m.SemLock(1, 1, 1, '/altsem-test', True)"
    return subprocess.call([sys.executable, "-c", code], stderr=subprocess.DEVNULL) == 0


needs_semlock = pytest.mark.skipif(not has_semlock(), reason="built without SemLock")
needs_native = pytest.mark.skipif(not works_natively(), reason="no semaphores here to take away")
needs_seccomp = pytest.mark.skipif(not confine.can_refuse(), reason="numbers of calls not known")


def test_says_what_is_true_of_this_machine() -> None:
    begun = time.monotonic()
    status, told = examine()
    assert time.monotonic() - begun < SECONDS
    assert status == (0 if works_natively() else 1)
    assert told["schema"] == report.SCHEMA
    assert told["verdict"]["altsem"] is True
    assert told["verdict"]["native"] is (status == 0)
    assert row(told, "SemLock")["status"] == ("ok" if has_semlock() else "bad")
    for name in ("altsem start method fork", "altsem start method spawn", "file locks"):
        assert row(told, name)["status"] == "ok"
    assert all(one["status"] in ("ok", "bad", "note", "unknown") for one in told["checks"])


def test_names_of_c_code_fail_without_dev_shm_and_work_with_the_library() -> None:
    _, told = examine(bed=("gone",))
    found = row(told, "names of C code")
    assert found["status"] == "bad" and "[Errno 2]" in found["answer"]
    assert found["data"]["preloaded"] == {"sem_open": {"value": True}, "shm_open": {"value": True}}
    # What the library does is asked, also where it is turned off.
    _, told = examine(bed=("gone",), env={"ALTSEM_PRELOAD": "0"})
    assert row(told, "names of C code")["data"]["preloaded"] == found["data"]["preloaded"]


@pytest.mark.parametrize(
    ("kind", "number", "cause"),
    [
        (("gone",), errno.ENOENT, "missing"),
        (("file",), errno.ENOENT, "missing"),
        (("symlink",), errno.ENOENT, "missing"),
        (("ro",), errno.EROFS, "read-only"),
        (("full-inode",), errno.ENOSPC, "full"),
        (("full-page",), errno.ENOSPC, "full"),
        # EACCES as well: libcs differ in what they try first.
        (("mode000", "--bare"), errno.EACCES, "mode"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_damaged_dev_shm(kind: tuple[str, ...], number: int, cause: str) -> None:
    status, told = examine(bed=kind)
    verdict = told["verdict"]
    assert status == 1
    assert verdict["altsem"] is True and verdict["native"] is False
    shm = row(told, "/dev/shm")
    assert shm["status"] == "bad", shm
    if not has_semlock():
        assert verdict["cause"] == "no-semlock"
        return
    assert verdict["cause"] == cause
    # glibc before 2.34 has its own error for what it does not like.
    assert row(told, "sem_open")["data"]["errno"] in (number, errno.ENOENT, errno.ENOSYS)
    assert verdict["error"].startswith(("OSError", "FileNotFoundError", "PermissionError"))
    assert next(one["text"] for one in told["symptoms"] if one["state"] == "happens") in (
        "OSError: [Errno 38] Function not implemented",
        "FileNotFoundError: [Errno 2] No such file or directory",
        "PermissionError: [Errno 13] Permission denied",
        "OSError: [Errno 30] Read-only file system",
        "OSError: [Errno 28] No space left on device",
    )
    assert verdict["remedies"]
    # In whatever container this runs, one of these is what it takes.
    words = {"missing": "shm", "read-only": "rw|shm", "full": "size|shm", "mode": "1777|shm"}
    assert re.search(words[cause], lines(told)), told["verdict"]


def test_in_the_words_of_the_container() -> None:
    for name, word in (
        ("APPTAINER_CONTAINER", "--bind /dev/shm"),
        ("KUBERNETES_SERVICE_HOST", "emptyDir: {medium: Memory"),
    ):
        _, told = examine(bed=("gone",), env={name: "/image.sif"})
        if has_semlock():
            assert word in lines(told)


@needs_native
@needs_seccomp
def test_a_refused_system_call_is_told_from_a_broken_directory() -> None:
    status, told = examine(before=lambda: confine.refuse(errno.EPERM, "link", "linkat"))
    assert status == 1
    assert told["verdict"]["cause"] == "filtered"
    assert told["verdict"]["error"] == "PermissionError: [Errno 1] Operation not permitted"
    assert row(told, "confinement")["data"]["seccomp"] is True


@needs_seccomp
def test_without_memfd_altsem_takes_a_file() -> None:
    _, told = examine(before=lambda: confine.refuse(errno.EPERM, "memfd_create"))
    assert row(told, "memfd")["status"] == "bad"
    assert told["verdict"]["altsem"] is True
    assert told["verdict"]["memory"] in ("O_TMPFILE", "unlinked file")


@needs_seccomp
def test_without_semget_sysv_is_not_offered() -> None:
    _, told = examine(
        before=lambda: confine.refuse(errno.ENOSYS, "semget"), env={"ALTSEM_BACKEND": ""}
    )
    assert row(told, "backend sysv")["status"] == "bad"
    assert told["verdict"]["altsem"] is True and told["verdict"]["backend"] == "futex"
    status, told = examine(
        before=lambda: confine.refuse(errno.ENOSYS, "semget"), env={"ALTSEM_BACKEND": "sysv"}
    )
    assert told["verdict"]["altsem"] is False
    assert "backend sysv" in told["verdict"]["altsem_will"]
    assert status == (0 if works_natively() else 2)


@needs_seccomp
@pytest.mark.parametrize("bed", [(), ("gone",)], ids=["with /dev/shm", "without"])
def test_nothing_works(bed: tuple[str, ...]) -> None:
    # The bed needs to write before it is forbidden to.
    prefix = [str(BED), *bed] if bed else []
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import confine, os;"
        "confine.nothing_writable(); os.execv(sys.argv[2], sys.argv[2:])"
    )
    here = str(Path(__file__).parents[1])
    command = [*prefix, sys.executable, "-c", code, here, sys.executable]
    done = subprocess.run(
        [*command, "-m", "altsem", "doctor", "--json", "--seconds", str(SECONDS)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    if bed and done.returncode == NO_NAMESPACE:
        pytest.skip("the bed cannot be made here")
    assert done.returncode == 2, done.stderr
    told = json.loads(done.stdout)
    assert told["verdict"]["summary"] == (
        "native multiprocessing is broken, and altsem does not work either"
    )
    assert told["verdict"]["altsem_will"].startswith("raise OSError")
    assert not any(one["status"] == "ok" for one in told["checks"] if "directory" in one["name"])


@needs_native
def test_a_landlock_sandbox() -> None:
    if not confine.has_landlock():
        pytest.skip("this kernel has no Landlock")
    writable = os.environ["TMPDIR"]
    status, told = examine(before=lambda: confine.landlock(writable))
    assert status == 1
    assert told["verdict"]["cause"] == "policy"
    assert told["verdict"]["error"] == "PermissionError: [Errno 13] Permission denied"
    assert row(told, f"directory {writable}")["status"] == "ok"
    assert row(told, "directory /var/tmp")["status"] == "bad"


def test_directories_that_are_missing_or_read_only(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    _, told = examine(env={"ALTSEM_DIR": missing, "XDG_RUNTIME_DIR": "/proc"})
    assert "Errno 2" in row(told, f"directory {missing}")["answer"]
    assert row(told, "directory /proc")["status"] == "bad"
    assert told["verdict"]["altsem"] is True


def test_leaves_no_directory_entry_behind(tmp_path: Path) -> None:
    examine(env={"ALTSEM_DIR": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


def test_colours_only_on_a_terminal() -> None:
    plain = run()
    assert "\x1b" not in plain.stdout
    assert "Verdict: " in plain.stdout

    def on_terminal(**env: str) -> str:
        parent, child = os.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "altsem", "doctor", "--seconds", str(SECONDS)],
            stdout=child,
            env={**os.environ, "TERM": "xterm", **env},
        )
        os.close(child)
        said = read_terminal(parent)
        process.wait()
        return said

    assert "\x1b[" in on_terminal()
    assert "\x1b" not in on_terminal(NO_COLOR="1")


def test_output_that_cannot_be_encoded(tmp_path: Path) -> None:
    folder = tmp_path / "bücher"
    folder.mkdir()
    done = run(env={"ALTSEM_DIR": str(folder), "PYTHONIOENCODING": "ascii"})
    assert "b\\xfccher" in done.stdout, done.stderr


def test_under_the_drop_in_the_native_side_is_still_the_native_one() -> None:
    command = [sys.executable, "-m", "altsem", "run", "-m", "altsem", "doctor", "--json"]
    done = subprocess.run(
        [str(BED), "gone", *command, "--seconds", str(SECONDS)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    if done.returncode == NO_NAMESPACE:
        pytest.skip("the bed cannot be made here")
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["verdict"]["native"] is False
