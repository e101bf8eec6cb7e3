"""What the tests of the library share."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from preload.agents import HERE, Beds, compiled


@pytest.fixture(scope="session")
def agent(tmp_path_factory: pytest.TempPathFactory) -> str:
    try:
        return compiled(HERE / "agent.c", tmp_path_factory.mktemp("agent") / "agent")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no C compiler: {error}")


@pytest.fixture
def beds(agent: str, tmp_path: Path) -> Iterator[Beds]:
    beds = Beds(agent, tmp_path)
    with beds.ended():
        yield beds
