"""What /proc says is read with care: files of the test's own stand for those of the kernel."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.kit import Kit

# The fields from the third on; the 20th is the number of threads, the 22nd the start.
FIELDS = ["S", *map(str, range(4, 20)), "7", "21", "4711", "23"]
ROOM = 63  # the longest path that is asked for


@pytest.fixture
def place() -> Iterator[Path]:
    """Its name is short: pytest's own are too long to be asked for."""
    folder = Path(tempfile.mkdtemp(prefix="alt", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def look(kit: Kit, name: str) -> tuple[int, tuple[bytes, int, int]]:
    seen = kit.out("altsem_seen")
    said = kit.lib.altsem_proc_look(name.encode(), seen)
    return said, (seen.state, seen.threads, seen.start)


def line(*fields: str) -> str:
    return f"4 (a) b) {' '.join(fields)}\n"


def written(kit: Kit, place: Path, text: str) -> tuple[int, tuple[bytes, int, int]]:
    (place / "stat").write_text(text)
    return look(kit, f"..{place}")


def test_a_line_of_the_kernel_is_read(kit: Kit, place: Path) -> None:
    assert written(kit, place, line(*FIELDS)) == (0, (b"S", 7, 4711))


def test_a_start_is_never_0(kit: Kit, place: Path) -> None:
    """Those that were there from the beginning: 0 stands for a start that is not known."""
    fields = [*FIELDS[:19], "0", "23"]
    assert written(kit, place, line(*fields)) == (0, (b"S", 7, 1))


@pytest.mark.parametrize(
    "text",
    ["", "4", "4 (a", "4 (a)", "4 (a) ", "4 (a)S 4 5", "4 (a)\n", line(*FIELDS[:10]), line("S")],
)
def test_what_is_no_such_line_tells_nothing(kit: Kit, place: Path, text: str) -> None:
    assert written(kit, place, text)[0] == -1


def test_a_name_that_is_too_long_is_not_cut_short(kit: Kit, place: Path) -> None:
    """What is left of the path would name another file."""
    name = f"..{place}".ljust(ROOM - len("/proc//stat"), "/")
    (place / "stat").write_text(line(*FIELDS))
    assert look(kit, name)[0] == 0
    for rest in ("sta", "st", "s"):
        (place / rest).write_text(line(*FIELDS))
        name += "/"
        assert look(kit, name)[0] == -1
    assert look(kit, f"{os.getpid()}")[0] == 0
