"""The beds for the tests: also one in another, as the suite is run in a damaged place."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SHM = Path(__file__).parents[1] / "beds" / "shm"


@pytest.mark.parametrize("outer", ["gone", "file"])
@pytest.mark.parametrize(
    ("kind", "said"),
    [("none", "other"), ("gone", "other"), ("file", "file"), ("tiny", "4096"), ("ro", "read-only")],
)
def test_a_bed_in_a_bed_is_what_it_is_called(outer: str, kind: str, said: str) -> None:
    tell = """
    if [ -f /dev/shm ]; then echo file
    elif [ ! -d /dev/shm ]; then echo other
    elif ! touch /dev/shm/x 2> /dev/null; then echo read-only
    else df --output=size -B1 /dev/shm | tail -1; fi
    """
    command = [SHM, outer, SHM, kind, "sh", "-c", tell]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 125:
        pytest.skip(done.stderr)
    if outer == "file" and kind == "none":
        said = "file"
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, said, "")
