"""Programs in C: what they make and open by name, with the library before their libc."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import dropin_support as dropin
from altsem import _core
from preload.agents import PRELOAD, Agent, Beds

TAKEN_OVER = {"ALTSEM_DROPIN": "altsem semaphores memory arenas reserve"}
NAME = f"/altsem-tests-{os.getpid()}"
PAGE = 4096
EVERYBODY = 0o666

# Where natively both fail, and how: the first for sem_open, the second for shm_open.
BROKEN = {"gone": "ENOENT", "ro": "EROFS", "full-inode": "ENOSPC", "file": "ENOTDIR"}
# Some versions of glibc say the first of another.
ALSO = {"ENOTDIR": "ENOENT"}


@pytest.fixture(autouse=True)
def _bed() -> None:
    if dropin.bed_excuse():
        pytest.skip(dropin.bed_excuse())


@pytest.mark.parametrize("kind", BROKEN)
def test_two_programs_share_a_semaphore_where_the_system_has_none(beds: Beds, kind: str) -> None:
    native = beds(kind, preload=None)
    said = native("sem_open", NAME, "cx", EVERYBODY, 1)
    assert said in (BROKEN[kind], ALSO.get(BROKEN[kind]))
    maker, other = beds(kind), beds(kind)
    assert maker("sem_open", NAME, "cx", EVERYBODY, 0) == 0
    assert other("sem_open", NAME, "", 0, 0) == 0
    assert other("sem_wait", 0, "", 1) == "ETIMEDOUT"
    assert maker("sem_post", 0) == 0
    assert other("sem_wait", 0, "", 30000) == 0
    assert [maker("sem_value", 0), other("sem_value", 0)] == [0, 0]
    assert other("sem_unlink", NAME) == 0
    assert maker("sem_open", NAME, "", 0, 0) == "ENOENT"
    assert maker("sem_unlink", NAME) == "ENOENT"
    assert [maker("sem_close", 0), other("sem_close", 0)] == [0, 0]
    assert beds.files == []


@pytest.mark.parametrize("kind", [*BROKEN, "full-page", "crowded"])
def test_two_programs_share_memory_where_the_system_has_no_place_for_it(
    beds: Beds, kind: str
) -> None:
    if kind in BROKEN:
        assert beds(kind, preload=None)("shm_open", NAME, "wcx", EVERYBODY) == BROKEN[kind]
    maker, other = beds(kind), beds(kind)
    fd = maker("shm_open", NAME, "wcx", EVERYBODY)
    assert fd == 3, "the lowest that is free"
    assert maker("cloexec", fd) == 1
    assert maker("ftruncate", fd, "", 300 * PAGE) == 0
    assert int(maker("blocks", fd)) * 512 >= 300 * PAGE
    assert maker("touch", fd, "", 300 * PAGE, 7) == 7
    again = other("shm_open", NAME, "w", 0)
    assert again == 3
    assert (other("size", again), other("touch", again, "", PAGE, -1)) == (300 * PAGE, 7)
    assert other("shm_open", NAME, "wcx", EVERYBODY) == "EEXIST"
    assert other("shm_open", NAME, "wct", EVERYBODY) == int(again) + 1
    assert maker("size", fd) == 0
    assert other("shm_unlink", NAME) == 0
    assert maker("shm_unlink", NAME) == "ENOENT"
    assert maker("shm_open", NAME, "w", 0) == "ENOENT"
    assert beds.files == []


@pytest.fixture
def open_beds(beds: Beds) -> Iterator[Beds]:
    """The same, where everybody can reach all of it."""
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        os.chmod(folder, 0o777)
        beds.folder = Path(folder)
        beds.program = shutil.copy(beds.program, folder)
        beds.preload = shutil.copy(PRELOAD, folder)
        yield beds


def test_as_nobody_where_only_root_may_make_files(open_beds: Beds) -> None:
    beds = open_beds
    native = beds("mode755", user="nobody", preload=None)
    assert native("sem_open", NAME, "cx", EVERYBODY, 1) == "EACCES"
    maker, other = (beds("mode755", user="nobody") for _ in range(2))
    assert maker("sem_open", NAME, "cx", EVERYBODY, 1) == 0
    assert other("sem_open", NAME, "c", EVERYBODY, 5) == 0
    assert other("sem_value", 0) == 1
    assert isinstance(maker("shm_open", NAME, "wcx", EVERYBODY), int)
    assert isinstance(other("shm_open", NAME, "w", 0), int)
    assert (other("sem_unlink", NAME), maker("shm_unlink", NAME)) == (0, 0)


def test_what_works_is_the_systems_own(beds: Beds) -> None:
    plain, ours = beds(preload=None), beds()
    assert ours("sem_open", NAME, "cx", EVERYBODY, 2) == 0
    assert plain("sem_open", NAME, "", 0, 0) == 0
    assert plain("sem_post", 0) == 0
    assert ours("sem_value", 0) == 3
    fd = ours("shm_open", NAME, "wcx", EVERYBODY)
    assert isinstance(plain("shm_open", NAME, "w", 0), int)
    assert ours("ftruncate", fd, "", 64 * PAGE) == 0
    assert ours("blocks", fd) == 0, "left alone, it has no pages before they are touched"
    assert [ours("sem_unlink", NAME), ours("shm_unlink", NAME)] == [0, 0]
    assert [plain("sem_unlink", NAME), plain("shm_unlink", NAME)] == ["ENOENT", "ENOENT"]
    assert [ours("sem_close", 0), plain("sem_close", 0)] == [0, 0]
    assert beds.files == []


def test_taken_over_for_a_tree_of_processes_all_names_are_ours(beds: Beds) -> None:
    plain, ours = beds(preload=None), beds(env=TAKEN_OVER)
    always = beds(env={"ALTSEM": "always"})
    assert ours("sem_open", NAME, "cx", EVERYBODY, 2) == 0
    fd = ours("shm_open", NAME, "wcx", EVERYBODY)
    assert isinstance(fd, int)
    assert beds.files == sorted([f"pos.{NAME[1:]}", f"shm.{NAME[1:]}"])
    assert plain("sem_open", NAME, "", 0, 0) == plain("shm_open", NAME, "w", 0) == "ENOENT"
    assert always("sem_open", NAME, "", 0, 0) == 0
    assert isinstance(always("shm_open", NAME, "w", 0), int)
    assert [always("sem_unlink", NAME), always("shm_unlink", NAME)] == [0, 0]


def test_taking_over_is_decided_part_by_part_and_at_any_time(beds: Beds) -> None:
    one = beds(env={"ALTSEM_DROPIN": "memory semaphores"})  # the first word is a package
    assert one("sem_open", NAME, "cx", EVERYBODY, 2) == 0
    assert isinstance(one("shm_open", NAME, "wcx", EVERYBODY), int)
    assert one("shm_unlink", NAME) == 0
    assert beds.files == [f"pos.{NAME[1:]}"]
    assert one("setenv", "ALTSEM", "0") == 0
    assert one("sem_open", NAME, "", 0, 0) == "ENOENT"
    assert one("setenv", "ALTSEM", "") == one("sem_unlink", NAME) == 0


@pytest.mark.parametrize("off", ["ALTSEM", "ALTSEM_PRELOAD"])
def test_it_can_be_turned_off(beds: Beds, off: str) -> None:
    agent = beds("gone", env={**TAKEN_OVER, off: "0"})
    assert agent("sem_open", NAME, "cx", EVERYBODY, 2) == "ENOENT"
    assert agent("shm_open", NAME, "wcx", EVERYBODY) == "ENOENT"


def test_a_name_from_a_time_when_the_system_failed_is_found_and_not_made_twice(beds: Beds) -> None:
    """Not even in the system's place, where it could be made by now."""
    then, now, plain = beds("gone"), beds(), beds(preload=None)
    assert then("sem_open", NAME, "cx", EVERYBODY, 4) == 0
    assert isinstance(then("shm_open", NAME, "wcx", EVERYBODY), int)
    for flags in ("", "c"):
        assert now("sem_open", NAME, flags, EVERYBODY, 1) == 0
        assert now("sem_value", 0) == 4
        assert isinstance(now("shm_open", NAME, "w" + flags, EVERYBODY), int)
    assert now("sem_open", NAME, "cx", EVERYBODY, 1) == "EEXIST"
    assert now("shm_open", NAME, "wcx", EVERYBODY) == "EEXIST"
    assert plain("sem_unlink", NAME) == plain("shm_unlink", NAME) == "ENOENT"
    assert now("sem_unlink", NAME) == now("shm_unlink", NAME) == 0
    assert now("sem_unlink", NAME) == now("shm_unlink", NAME) == "ENOENT"


def test_a_name_that_the_system_has_is_opened_there(beds: Beds) -> None:
    plain, ours = beds(preload=None), beds()
    assert plain("sem_open", NAME, "cx", EVERYBODY, 3) == 0
    for flags in ("", "c"):
        assert ours("sem_open", NAME, flags, EVERYBODY, 1) == 0
    assert ours("sem_value", 0) == 3
    assert ours("sem_open", NAME, "cx", EVERYBODY, 1) == "EEXIST"
    assert isinstance(plain("shm_open", NAME, "wcx", EVERYBODY), int)
    assert isinstance(ours("shm_open", NAME, "wc", EVERYBODY), int)
    assert ours("shm_open", NAME, "wcx", EVERYBODY) == "EEXIST"
    assert ours("sem_unlink", NAME) == ours("shm_unlink", NAME) == 0
    assert plain("sem_unlink", NAME) == plain("shm_unlink", NAME) == "ENOENT"


def test_what_is_wrong_with_a_name_stays_wrong_as_the_system_says_it(beds: Beds) -> None:
    long = "/" + "x" * 300
    agents = [beds(preload=None), beds(), beds("gone"), beds(env=TAKEN_OVER)]
    for words in (
        ("sem_open", "/a/b", "cx", EVERYBODY, 1),
        ("sem_open", long, "cx", EVERYBODY, 1),
        ("sem_open", NAME, "cx", EVERYBODY, 2**31),
        ("sem_open", NAME, "", 0, 0),
        ("sem_unlink", NAME),
        ("sem_unlink", long),
        ("shm_open", "/a/b", "wcx", EVERYBODY),
        ("shm_open", NAME, "w", 0),
        ("shm_unlink", NAME),
        ("sem_open", "/", "c", EVERYBODY, 1),
    ):
        native, *others = [agent(*words) for agent in agents]
        assert isinstance(native, str)
        assert others == [native] * 3, words
    assert beds.files == []


def test_names_with_and_without_a_slash_are_the_same(beds: Beds) -> None:
    agent = beds("gone")
    assert agent("sem_open", NAME, "cx", EVERYBODY, 3) == 0
    assert agent("sem_open", NAME[1:], "", 0, 0) == 0
    assert isinstance(agent("shm_open", NAME[1:], "wcx", EVERYBODY), int)
    assert isinstance(agent("shm_open", NAME, "w", EVERYBODY), int)
    assert agent("sem_unlink", NAME[1:]) == agent("shm_unlink", NAME) == 0


def test_another_users_thing_is_neither_opened_nor_covered(open_beds: Beds) -> None:
    beds = open_beds
    root, nobody = beds(preload=None), beds("none", user="nobody")
    assert root("sem_open", NAME, "cx", 0o600, 3) == 0
    assert isinstance(root("shm_open", NAME, "wcx", 0o600), int)
    try:
        for flags in ("", "c"):
            assert nobody("sem_open", NAME, flags, EVERYBODY, 1) == "EACCES"
            assert nobody("shm_open", NAME, "w" + flags, EVERYBODY) == "EACCES"
        assert nobody("sem_open", NAME, "cx", EVERYBODY, 1) == "EEXIST"
    finally:
        assert root("sem_unlink", NAME) == root("shm_unlink", NAME) == 0


def test_opened_twice_a_semaphore_has_one_address_and_closes_are_counted(beds: Beds) -> None:
    agent = beds("gone")
    assert agent("sem_open", NAME, "cx", EVERYBODY, 1) == 0
    assert agent("sem_open", NAME, "", 0, 0) == 0, "the same address"
    assert agent("sem_close", 0) == 0
    assert agent("sem_value", 0) == 1
    # Removed and made again, it is another one, beside the first.
    assert agent("sem_unlink", NAME) == 0
    assert agent("sem_open", NAME, "cx", EVERYBODY, 5) == 1
    assert [agent("sem_value", 0), agent("sem_value", 1)] == [1, 5]
    assert [agent("sem_close", 0), agent("sem_close", 1)] == [0, 0]
    assert agent("sem_close", 0) == "EINVAL"
    assert agent("sem_unlink", NAME) == 0


def test_the_child_of_a_fork_has_what_its_parent_had_open(beds: Beds) -> None:
    agent = beds("gone")
    assert agent("sem_open", NAME, "cx", EVERYBODY, 1) == 0
    assert agent("in_child", NAME, "", 0) == 0
    assert agent("sem_value", 0) == 2
    assert agent("sem_close", 0) == agent("sem_unlink", NAME) == 0


def test_threads_open_and_close_while_others_fork(beds: Beds) -> None:
    agent = beds("gone")
    assert agent("sem_open", NAME, "cx", EVERYBODY, 1) == 0
    assert agent("crowd", NAME) == 0
    assert agent("sem_value", 0) == 1
    assert agent("sem_close", 0) == agent("sem_unlink", NAME) == 0


def test_a_file_that_is_no_semaphore_is_refused(beds: Beds) -> None:
    agent = beds("gone")
    assert agent("sem_open", NAME, "cx", EVERYBODY, 1) == 0
    path = beds.folder / f"altsem-{os.geteuid()}" / f"pos.{NAME[1:]}"
    path.write_bytes(path.read_bytes()[:16])
    assert beds("gone")("sem_open", NAME, "", 0, 0) == "EINVAL"
    path.unlink()
    path.symlink_to("elsewhere")
    assert agent("sem_open", NAME, "", 0, 0) == "EACCES"
    path.unlink()
    path.parent.rmdir()


def test_a_directory_that_others_can_write_to_is_refused(beds: Beds) -> None:
    path = beds.folder / f"altsem-{os.geteuid()}"
    path.mkdir(mode=0o777)
    path.chmod(0o777)
    agent = beds("gone")
    assert agent("sem_open", NAME, "cx", EVERYBODY, 1) == "EACCES"
    assert agent("shm_open", NAME, "wcx", EVERYBODY) == "EACCES"


def test_where_the_system_works_a_strange_directory_changes_no_error(beds: Beds) -> None:
    path = beds.folder / f"altsem-{os.geteuid()}"
    path.mkdir()
    path.chmod(0o777)
    agent = beds()
    assert agent("sem_open", NAME, "", 0, 0) == agent("shm_open", NAME, "w", 0) == "ENOENT"
    assert agent("sem_unlink", NAME) == agent("shm_unlink", NAME) == "ENOENT"
    assert agent("sem_open", NAME, "cx", EVERYBODY, 1) == 0
    assert isinstance(agent("shm_open", NAME, "wcx", EVERYBODY), int)
    assert agent("sem_unlink", NAME) == agent("shm_unlink", NAME) == 0


def test_memory_that_does_not_fit_is_an_error_when_it_is_sized(beds: Beds) -> None:
    """Ours lies in the bed's own small place here, so that it is full of its own."""
    folder = "/dev/shm"
    agent = beds("small", env={"ALTSEM": "always", "ALTSEM_DIR": folder})
    fd = agent("shm_open", NAME, "wcx", EVERYBODY)
    assert agent("ftruncate", fd, "", 16 << 20) == 0
    assert agent("ftruncate", fd, "", 100 << 20) == "ENOSPC"
    assert agent("size", fd) == 16 << 20
    # A file of the program's own is sized as ever, wherever it lies.
    own = agent("open", f"{folder}/shm.own", "wcx", 0o600)
    assert agent("ftruncate", own, "", 100 << 20) == agent("blocks", own) == 0
    assert agent("shm_unlink", NAME) == 0


def test_without_a_room_to_be_had_the_system_has_the_last_word(beds: Beds) -> None:
    agent = beds("gone", env={"ALTSEM_DIR": "/proc/nowhere", "XDG_RUNTIME_DIR": "/proc"})
    # With the directories that are always tried: those are writable here.
    assert isinstance(agent("shm_open", NAME, "wcx", EVERYBODY), int)
    assert agent("shm_unlink", NAME) == 0


def test_python_and_c_find_the_same_shared_memory(
    beds: Beds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALTSEM_DIR", str(beds.folder))
    agent = beds("gone")
    fd = agent("shm_open", NAME, "wcx", EVERYBODY)
    assert agent("ftruncate", fd, "", PAGE) == 0
    mine = _core.shm_open(NAME, os.O_RDWR)
    os.pwrite(mine, b"\x2a", 0)
    os.close(mine)
    assert agent("touch", fd, "", PAGE, -1) == 42
    _core.shm_unlink(NAME)
    os.close(_core.shm_open(NAME, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    assert isinstance(agent("shm_open", NAME, "w", 0), int)
    assert agent("shm_unlink", NAME) == 0


def test_a_probe_of_the_system_is_not_taken_over(beds: Beds) -> None:
    assert beds("gone", env=TAKEN_OVER)("sem_open", "/altsem-try-1", "cx", 0o600, 1) == "ENOENT"


@pytest.mark.skipif(not dropin.tool("strace"), reason="no strace")
def test_where_all_works_the_systems_calls_come_first_and_succeed(
    beds: Beds, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    agent = Agent(
        beds.program,
        beds.folder,
        before=["strace", "-f", "-o", str(trace), "-e", "trace=open,openat,unlink,link,linkat"],
    )
    beds.agents.append(agent)
    assert agent("shm_open", NAME, "wcx", EVERYBODY) == 3
    assert agent("shm_open", NAME, "w", EVERYBODY) == 4
    assert agent("shm_unlink", NAME) == 0
    assert agent("sem_open", NAME, "cx", EVERYBODY, 1) == 0
    assert agent("sem_unlink", NAME) == 0
    assert agent.end() == ""
    beds.agents.remove(agent)
    lines = [line.split(None, 1)[1] for line in trace.read_text().splitlines()]
    named = [line for line in lines if NAME in line or "/dev/shm" in line or "altsem-" in line]
    named = [line for line in named if "_preload.so" not in line and "execve" not in line]
    assert f'"/dev/shm{NAME}"' in named[0] and " = 3" in named[0]
    failed = [line for line in named if " = -1" in line and "/dev/shm" in line]
    assert failed == []


def test_it_exports_what_it_replaces_and_needs_the_libc_alone() -> None:
    listing = subprocess.run(
        ["nm", "-D", "--defined-only", PRELOAD], capture_output=True, text=True, check=True
    ).stdout
    names = {line.split()[-1] for line in listing.splitlines()}
    five = {"sem_open", "sem_close", "sem_unlink", "shm_open", "shm_unlink"}
    assert five <= names <= {*five, "ftruncate", "ftruncate64"}
    dynamic = subprocess.run(
        ["objdump", "-p", PRELOAD], capture_output=True, text=True, check=True
    ).stdout
    needed = {line.split()[1] for line in dynamic.splitlines() if "NEEDED" in line}
    assert all(name.startswith(("libc.", "libdl.")) for name in needed), needed
