"""A worker: uses all primitives, again and again, until it is told to stop, or killed."""

from __future__ import annotations

import faulthandler
import signal
import threading
import warnings
from collections.abc import Callable
from typing import Any

import altsem
from stress.ledger import PARTIES, Common, Ledger, Own, Token

TOKENS = 2
SOON = 0.02
PATIENT = 0.2
MOST = 50  # of the stock


class Room:
    """What the processes of a round use together."""

    def __init__(self) -> None:
        # The last of them is not inherited: who ended its owner releases it by hand.
        self.locks = [altsem.Lock(robust=True), altsem.RLock(robust=True), altsem.Lock()]
        self.semaphores = [altsem.Semaphore(TOKENS), altsem.BoundedSemaphore(TOKENS)]
        self.condition = altsem.Condition(altsem.RLock(robust=True))
        self.barrier = altsem.Barrier(PARTIES)
        self.go_on = altsem.Event()
        self.pulse = altsem.Event()


class Worker:
    def __init__(self, room: Room, ledger: Ledger, number: int) -> None:
        self.room, self.ledger, self.number = room, ledger, number
        self.row, self.common = ledger.rows[number], ledger.common

    def run(self) -> None:
        faulthandler.enable()
        warnings.simplefilter("ignore", altsem.OwnerDiedWarning)
        row = self.row
        row[Own.PARKED] = row[Own.LEAVING] = row[Own.AT_BARRIER] = 0
        signal.signal(signal.SIGTERM, self._leave)
        while not self.common[Common.STOP] and not row[Own.LEAVING]:
            if self.common[Common.PAUSE]:
                self._park()
                continue
            for turn in (self.locks, self.semaphores, self.stock, self.pulse, self.meet):
                row[Own.OPERATIONS] += turn()

    def _leave(self, *_: object) -> None:
        """The handler uses what a handler may: it wakes whoever waits for a pulse."""
        self.row[Own.LEAVING] = 1
        self.room.pulse.set()

    def _park(self) -> None:
        self.row[Own.PARKED] = 1
        self.room.go_on.wait()
        self.row[Own.PARKED] = 0

    def locks(self) -> int:
        for _ in range(20):
            for which, lock in enumerate(self.room.locks):
                lock.acquire()
                self.locked(which, lock)
                lock.release()
        lock = self.room.locks[1]
        if lock.acquire(False):
            lock.acquire()
            self.locked(1, lock)
            lock.release()
            lock.release()
        if self.room.locks[0].acquire(timeout=SOON):
            self.locked(0, self.room.locks[0])
            self.room.locks[0].release()
        return 126

    def locked(self, which: int, lock: Any) -> None:
        row, common = self.row, self.common
        if lock.robust and lock.owner_died:
            row[Own.RECOVERED] += 1
            mend(self.ledger, which, row)
        if common[Common.INSIDE + which]:
            row[Own.DOUBLE] += 1
        common[Common.INSIDE + which] = self.number + 1
        row[Own.LOCKED + which] += 1
        common[Common.SEQUENCE + which] += 1
        if common[Common.INSIDE + which] != self.number + 1:
            row[Own.DOUBLE] += 1
        common[Common.INSIDE + which] = 0

    def semaphores(self) -> int:
        row, done = self.row, 0
        for which, semaphore in enumerate(self.room.semaphores):
            for attempt in range(10):
                row[Own.TOKEN + which] = Token.TAKING
                got = semaphore.acquire(timeout=SOON) if attempt % 5 else semaphore.acquire(False)
                done += 1
                if got:
                    row[Own.TOKEN + which] = Token.HELD
                    row[Own.TOKEN + which] = Token.GIVING
                    semaphore.release()
                    done += 1
                row[Own.TOKEN + which] = Token.NONE
        return done

    def stock(self) -> int:
        """Half of the workers put, half get."""
        row, common, condition = self.row, self.common, self.room.condition
        for _ in range(10):
            with condition:
                self._told()
                if self.number % 2:
                    if common[Common.STOCK] < MOST:
                        row[Own.PUT] += 1
                        common[Common.STOCK] += 1
                    condition.notify()
                    continue
                if not common[Common.STOCK]:
                    condition.wait(SOON)
                    self._told()
                if common[Common.STOCK]:
                    row[Own.GOT] += 1
                    common[Common.STOCK] -= 1
        return 30

    def _told(self) -> None:
        if self.room.condition.owner_died:
            self.row[Own.RECOVERED] += 1
            mend_stock(self.ledger, self.row)

    def pulse(self) -> int:
        pulse = self.room.pulse
        if self.number % 3 == 0:
            pulse.set()
            pulse.clear()
            return 2
        pulse.wait(0.002)
        return 1

    def meet(self) -> int:
        row = self.row
        if self.number >= PARTIES:
            return 0
        row[Own.AT_BARRIER] = 1
        try:
            index = self.room.barrier.wait(PATIENT)
            row[Own.PASSED + index] += 1
        except threading.BrokenBarrierError:
            # Not more often than needed: how a generation ended is known for some others only.
            if self.room.barrier.broken:
                self.room.barrier.reset()
        row[Own.AT_BARRIER] = 0
        return 1


def mend(ledger: Ledger, which: int, row: Any = None) -> None:
    """Under the lock, whose owner has died: it may have been between two of its steps."""
    truth, common = ledger.sum(Own.LOCKED + which), ledger.common
    _count(row, truth - common[Common.SEQUENCE + which] in (0, 1))
    common[Common.SEQUENCE + which] = truth
    common[Common.INSIDE + which] = 0


def mend_stock(ledger: Ledger, row: Any = None) -> None:
    truth = ledger.sum(Own.PUT) - ledger.sum(Own.GOT)
    _count(row, truth - ledger.common[Common.STOCK] in (-1, 0, 1))
    ledger.common[Common.STOCK] = truth


def _count(row: Any, good: bool) -> None:
    if row is None:
        assert good, "something was lost"
    elif not good:
        row[Own.LOST] += 1


def use(room: Room, ledger: Ledger | None) -> None:
    """What a passer-by does: takes and gives back, and has no part in what is counted.

    Who inherits has to mend; without a ledger it keeps to what is not inherited.
    """
    use_old(room, ledger)
    room.pulse.set()
    room.pulse.clear()
    made: list[Callable[[], Any]] = [altsem.Lock, altsem.Event, altsem.Condition, altsem.RLock]
    for make in made:
        thing = make()
        if hasattr(thing, "acquire"):
            assert thing.acquire(timeout=10)
            thing.release()


def use_old(room: Room, ledger: Ledger | None, timeout: float = 1) -> None:
    """Only what there is already."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", altsem.OwnerDiedWarning)
        for which, lock in enumerate(room.locks):
            if (ledger or not lock.robust) and lock.acquire(timeout=timeout):
                if lock.robust and lock.owner_died:
                    assert ledger is not None
                    mend(ledger, which)
                lock.release()
        for semaphore in room.semaphores:
            if semaphore.acquire(timeout=timeout):
                semaphore.release()
        if ledger and room.condition.acquire(timeout=timeout):
            if room.condition.owner_died:
                mend_stock(ledger)
            room.condition.release()
