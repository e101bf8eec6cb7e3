"""Segments attached: locks that came from ever more processes, each with memory of its own."""

from __future__ import annotations

import os
import pickle
import random
import resource
import socket
import statistics
import traceback
from functools import partial
from operator import mul
from time import perf_counter

import altsem
from altsem import _core
from altsem.synchronize import travel

from ..measuring.memory import mappings, shared_bytes
from .clock import OPERATIONS, ROUNDS, descriptors, isolated, pair
from .series import CONSTANT, LINEAR, Chart, Column, Point, Series

SIZES = (1, 3, 10, 30, 100, 300, 1_000)
LOCKS = 1_000  # made at a time, with all those segments attached


class Arrived:
    """A way to a segment whose descriptor is here already."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def detach(self) -> int:
        return self._fd


class Sources:
    """A process that forks another for every lock it is asked for: no two share a segment."""

    def __init__(self) -> None:
        self._here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._here.close()
                self._serve(there)
            except BaseException:  # noqa: BLE001 - it goes no further than this process
                traceback.print_exc()
            finally:
                there.close()  # whoever waits for an answer is told that there is none
                os._exit(0)
        there.close()

    @staticmethod
    def _serve(there: socket.socket) -> None:
        altsem.Lock()  # so that the children need not find out what this machine can do
        while there.recv(1):
            child = os.fork()
            if child == 0:
                segment, offset = _core.export(altsem.Lock())
                socket.send_fds(there, [pickle.dumps((segment.id, offset))], [segment.fileno()])
                os._exit(0)
            os.waitpid(child, 0)

    def sent(self) -> tuple[bytes, int, Arrived]:
        """What arrives of a lock: its segment's identity, its place there, and the way to it."""
        self._here.send(b".")
        message, fds, _, _ = socket.recv_fds(self._here, 1024, 1)
        identity, offset = pickle.loads(message)
        return identity, offset, Arrived(fds[0])

    def close(self) -> None:
        self._here.close()
        os.waitpid(self._pid, 0)


def _at(sources: Sources, n: int) -> Point:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    open_before = descriptors()
    first = altsem.Lock()  # the first of all is dearer: what this machine can do is found out
    arrived = [sources.sent() for _ in range(n)]
    start = perf_counter()
    locks = [travel.rebuild(altsem.Lock, *sent) for sent in arrived]
    attached = perf_counter() - start
    if _core.segments() != n + 1:
        raise RuntimeError("two locks came in one segment")
    point: Point = {
        "attach": attached,
        "attach each": attached / n,
        "mappings": mappings(),
        "descriptors": descriptors() - open_before,
        "shared bytes": shared_bytes(),
    }
    one = locks[n // 2]
    point["same"] = pair(partial(mul, [one], OPERATIONS))
    point["random"] = pair(partial(random.choices, locks, k=OPERATIONS))
    made, dropped = [], []
    for _ in range(4 * ROUNDS + 1):
        start = perf_counter()
        own = [altsem.Lock() for _ in range(LOCKS)]
        made.append((perf_counter() - start) / LOCKS)
        start = perf_counter()
        own.clear()
        dropped.append((perf_counter() - start) / LOCKS)
    point["create"], point["drop"] = statistics.median(made), statistics.median(dropped)
    random.shuffle(locks)
    del one, first
    start = perf_counter()
    locks.clear()
    point["detach"] = perf_counter() - start
    point["detach each"] = point["detach"] / n
    return point


def measure(quick: bool) -> list[Point]:
    sources = Sources()
    points = isolated(lambda n: _at(sources, n), (n for n in SIZES if not quick or n <= 300))
    sources.close()
    return points


SERIES = Series(
    name="segments",
    title="Segments attached",
    of="segments attached",
    columns=(
        Column("create", "create a lock of one's own", at_most=CONSTANT, paced=True),
        Column("drop", "drop it", at_most=CONSTANT, paced=True),
        Column("same", "take and release, always the same", at_most=CONSTANT, paced=True),
        Column("random", "take and release, a random one", paced=True),
        Column("attach", "attach all", at_most=LINEAR, paced=True),
        Column("attach each", "attach, each", paced=True),
        Column("detach", "let all go", at_most=LINEAR, paced=True),
        Column("detach each", "let go, each", paced=True),
        Column("mappings", "mappings", ""),
        Column("descriptors", "descriptors", ""),
        Column("shared bytes", "shared memory", "B", LINEAR),
    ),
    charts=(
        Chart(
            "times",
            "Time per operation",
            "time per operation",
            ("create", "drop", "same", "random", "attach each", "detach each"),
        ),
    ),
    text=(
        "Each segment holds one lock that another process made and sent here, which is the "
        "dearest way to have a lock: a page, a mapping and a descriptor for it alone.  Random ones "
        "lie each in a page of its own, so they miss the processor's table of pages as well as its "
        "cache.  Attaching is without the way of the message.  The segments go in random order."
    ),
    measure=measure,
)
