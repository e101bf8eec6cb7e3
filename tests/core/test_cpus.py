"""How many CPUs may be used, by affinity and by control groups: made-up ones of both versions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.kit import Kit


class Groups:
    """A hierarchy of control groups, and the file that says where a process is in it."""

    def __init__(self, kit: Kit, folder: Path) -> None:
        self.kit, self.mount, self.membership = kit, folder / "cgroup", folder / "self"
        self.mount.mkdir()

    def v2(self, group: str, text: str) -> None:
        self._write(self.mount / group, "cpu.max", text)

    def v1(self, group: str, quota: object, period: object = 100_000) -> None:
        self._write(self.mount / "cpu" / group, "cpu.cfs_quota_us", f"{quota}\n")
        self._write(self.mount / "cpu" / group, "cpu.cfs_period_us", f"{period}\n")

    def quota(self, membership: str | None = None) -> float:
        if membership is not None:
            self.membership.write_text(membership)
        call = self.kit.lib.altsem_cpu_quota
        return float(call(str(self.mount).encode(), str(self.membership).encode()))

    @staticmethod
    def _write(folder: Path, name: str, text: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def groups(kit: Kit, tmp_path: Path) -> Groups:
    return Groups(kit, tmp_path)


def test_no_control_groups_set_no_limit(groups: Groups) -> None:
    assert groups.quota() == 0
    assert groups.quota("0::/nowhere\n") == 0


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("max 100000\n", 0),
        ("150000 100000\n", 1.5),
        ("50000 100000", 0.5),
        ("400000 100000\n", 4),
        ("100000\n", 0),
        ("100000 0\n", 0),
        ("", 0),
        ("nonsense\n", 0),
    ],
)
def test_a_container_sees_its_group_at_the_root(groups: Groups, text: str, quota: float) -> None:
    groups.v2("", text)
    assert groups.quota("0::/\n") == quota
    assert groups.quota("0::/as/seen/from/outside\n") == quota
    groups.membership.unlink()
    assert groups.quota() == quota


def test_the_smallest_of_all_above_counts(groups: Groups) -> None:
    groups.v2("a.slice", "200000 100000\n")
    groups.v2("a.slice/b.scope", "max 100000\n")
    groups.v2("a.slice/b.scope/c", "300000 100000\n")
    groups.v2("a.slice/other", "100000 100000\n")
    assert groups.quota("0::/a.slice/b.scope/c\n") == 2
    assert groups.quota("0::/a.slice/other\n") == 1
    assert groups.quota("0::/\n") == 0


@pytest.mark.parametrize(
    ("line", "quota"),
    [
        ("4:cpu,cpuacct:/job\n", 1.5),
        ("4:cpu:/job\n", 1.5),
        ("5:cpuset:/job\n", 0),
        ("5:cpuacct:/job\n", 0),
        ("5:memory:/job\n4:cpu,cpuacct:/job\n0::/job", 1.5),
        ("4:cpu,cpuacct:/job/step\n", 0.5),
        ("4:cpu:/../job\n", 0),
        ("nonsense\n", 0),
        ("4:cpu\n", 0),
    ],
)
def test_the_first_version(groups: Groups, line: str, quota: float) -> None:
    groups.v1("", -1)
    groups.v1("job", 150_000)
    groups.v1("job/step", 50_000)
    assert groups.quota(line) == quota


def test_a_quota_without_a_period_is_none(groups: Groups) -> None:
    groups.v1("", 150_000, 0)
    assert groups.quota("4:cpu:/\n") == 0
    (groups.mount / "cpu" / "cpu.cfs_period_us").unlink()
    assert groups.quota() == 0


def test_paths_that_are_too_long_set_no_limit(groups: Groups) -> None:
    groups.v2("", "150000 100000\n")
    assert groups.quota(f"0::/{'x' * 4000}/{'y' * 80}\n") == 1.5
    long = str(groups.mount) + "/." * 3000
    assert groups.kit.lib.altsem_cpu_quota(long.encode(), b"/proc/self/cgroup") == 0


def test_the_affinity_counts(kit: Kit) -> None:
    usable = os.sched_getaffinity(0)
    try:
        kit.lib.altsem_cpus_forget()
        assert 1 <= kit.lib.altsem_cpus() <= len(usable)
        os.sched_setaffinity(0, {min(usable)})
        assert kit.lib.altsem_cpus() <= len(usable)  # as it was
        kit.lib.altsem_cpus_forget()
        assert kit.lib.altsem_cpus() == 1
    finally:
        os.sched_setaffinity(0, usable)
        kit.lib.altsem_cpus_forget()
