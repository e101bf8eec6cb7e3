"""The backends against futex, and each against its nearest peer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from ..measuring.paired import Timing
from ..page.text import seconds
from ..workloads.server import Server
from .conftest import Pair

PART = "The backends"

Servers = Callable[[str], Server]


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """The process of a kind of lock, started when it is first asked for."""
    running: dict[str, Server] = {}
    with ExitStack() as left:

        def server(kind: str) -> Server:
            if kind not in running:
                running[kind] = left.enter_context(closing(Server(kind)))
            return running[kind]

        yield server


@pytest.mark.parametrize("backend", ["sysv", "filelock"])
def test_uncontended(pair: Pair, servers: Servers, backend: str) -> None:
    ours, theirs = servers(backend).does("uncontended"), servers("futex").does("uncontended")
    pair(f"{backend}, `with L:` uncontended", "futex", ours, theirs, 1.05, 61)


@pytest.mark.parametrize("count", [2, 4, 8])
@pytest.mark.parametrize(
    ("backend", "peer", "at_most"),
    [
        ("sysv", "sysv_ipc", 0.5),
        ("filelock", "filelock package", 0.1),
        ("sysv", "futex", None),
        ("filelock", "futex", None),
        ("sysv", "native", None),
    ],
)
def test_contended(
    pair: Pair, servers: Servers, backend: str, peer: str, at_most: float | None, count: int
) -> None:
    what = f"contended {count}"
    ours, theirs = servers(backend).does(what), servers(peer).does(what)
    pair(f"{backend}, contended, {count} processes", peer, ours, theirs, at_most, 15)


class Kept:
    """A timing that remembers its rounds, for what the medians do not tell."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._taken: list[float] = []

    def __call__(self) -> float:
        self._taken.append(self._timing())
        return self._taken[-1]

    def worst(self) -> str:
        """What the slowest of twenty rounds takes at least."""
        taken = sorted(self._taken)
        return seconds(taken[int(len(taken) * 0.95)])


@pytest.mark.parametrize(
    ("backend", "peer"),
    [
        ("futex", "native"),
        ("sysv", "native"),
        ("sysv", "sysv_ipc"),
        ("filelock", "native"),
        ("filelock", "filelock package"),
    ],
)
def test_wake(pair: Pair, servers: Servers, backend: str, peer: str) -> None:
    ours, theirs = (Kept(servers(kind).does("wake")) for kind in (backend, peer))
    pair(
        f"{backend}, from release to a sleeper's acquire",
        peer,
        ours,
        theirs,
        None,
        100,
        note=lambda: f"1 in 20 takes {ours.worst()} or more, {peer} {theirs.worst()}",
    )
