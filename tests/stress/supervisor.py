"""A round with one backend: starts workers, kills and stops them, has others get into trouble, and
looks again and again whether anything is lost, stuck or left."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
import warnings
from collections import Counter
from typing import Any

import altsem
import leaks
from altsem import _core
from stress import trouble
from stress.ledger import PARTIES, WORKERS, Common, Ledger, Own, Token
from stress.worker import TOKENS, Room, Worker, mend, mend_stock
from support import fork, wait_until

# s: far beyond the second that the death of an owner may cost
PATIENCE = float(os.environ.get("ALTSEM_TEST_PATIENCE", "60"))
KINDS = ("lost", "double", "stuck", "leaked")


class StuckError(Exception):
    pass


class Round:
    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.count: Counter[str] = Counter()
        self.said: list[str] = []
        self.unknown = [0, 0]  # tokens that a killed worker may have had, or not
        self.uncertain_at_barrier = False
        self._status = 0

    def run(self, seconds: float, operations: int) -> None:
        """Ends after so many seconds, or operations."""
        warnings.simplefilter("ignore", altsem.OwnerDiedWarning)
        leaks.adopt_orphans()
        before = leaks.snapshot()
        self.room, self.ledger = Room(), Ledger()
        self.pids: list[int] = [0] * WORKERS
        self.passed = [0] * PARTIES  # offsets, for parties that were killed before they had counted
        end = time.monotonic() + seconds
        troubles = [name for name in trouble.TROUBLES if trouble.possible(name, self.backend)]
        random.shuffle(troubles)
        try:
            for number in range(WORKERS):
                self._start(number)
            while time.monotonic() < end and self.ledger.sum(Own.OPERATIONS) < operations:
                self._disturb()
                troubles.append(troubles.pop(0))
                self._trouble(troubles[-1])
                self._audit()
            self._end()
        except StuckError as stuck:
            self.fault("stuck", str(stuck))
        finally:
            self._kill_all()
        ledger = self.ledger
        self.count["operations"] = ledger.sum(Own.OPERATIONS)
        self.count["inherited"] = ledger.sum(Own.RECOVERED)
        self.count["lost"] += ledger.sum(Own.LOST)
        self.count["double"] += ledger.sum(Own.DOUBLE)
        del self.room
        for what in leaks.leaked(before):
            self.fault("leaked", what)

    def fault(self, kind: str, what: str) -> None:
        self.count[kind] += 1
        self.said.append(f"{kind}: {what}")

    def _start(self, number: int) -> None:
        worker = Worker(self.room, self.ledger, number)
        self.pids[number] = fork(worker.run)

    # --- disturbing -------------------------------------------------------------------------------

    def _disturb(self) -> None:
        """A burst of signals; who has ended gets a successor."""
        for _ in range(random.randint(1, 6)):
            time.sleep(random.random() * 0.03)
            number = self._victim()
            pid, kind = self.pids[number], random.random()
            if kind < 0.55:
                self._kill(number)
            elif kind < 0.85:
                os.kill(pid, signal.SIGSTOP)
                time.sleep(random.random() * 0.05)
                if random.random() < 0.2:
                    self._kill(number)
                else:
                    os.kill(pid, signal.SIGCONT)
                    self.count["stopped"] += 1
                    continue
            else:
                os.kill(pid, signal.SIGTERM)
                self._reap(number, 0, signal.SIGTERM)  # it may not have had its handler yet
                self.count["terminated"] += 1
                self._settle_tokens(number)
            self._start(number)

    def _victim(self) -> int:
        """Anyone; or, as often, who is seen where it holds a lock."""
        for _ in range(random.choice((0, 200))):
            inside = self.ledger.common[Common.INSIDE + random.randrange(3)]
            if inside:
                return inside - 1
        return random.randrange(WORKERS)

    def _kill(self, number: int) -> None:
        os.kill(self.pids[number], signal.SIGKILL)
        self._reap(number, signal.SIGKILL)
        self.count["killed"] += 1
        self._mourn(number, self.pids[number])

    def _reap(self, number: int, *statuses: int) -> None:
        pid = self.pids[number]
        self._wait(lambda: self._gone(pid), f"the end of worker {number}")
        if self._status not in statuses:
            self.fault("lost", f"worker {number} ended with status {self._status:#x}")

    def _gone(self, pid: int) -> bool:
        found, status = os.waitpid(pid, os.WNOHANG)
        self._status = status
        return found != 0

    def _wait(self, condition: Any, what: str) -> None:
        try:
            wait_until(condition, what, PATIENCE)
        except AssertionError as error:
            self._dump()
            raise StuckError(str(error)) from None

    def _dump(self) -> None:
        """The workers say where they are."""
        for pid in self.pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGABRT)
        time.sleep(1)

    def _mourn(self, number: int, pid: int) -> None:
        """Gives back what nobody inherits."""
        lock = self.room.locks[2]
        owner = lock.owner
        if owner is not None and pid in (owner.pid, owner.tid) and owner.alive is not True:
            mend(self.ledger, 2, self.ledger.rows[number])
            lock.release()
            self.count["released by hand"] += 1
        if self.ledger.rows[number][Own.AT_BARRIER]:
            self.uncertain_at_barrier = True
        self._settle_tokens(number)

    def _settle_tokens(self, number: int) -> None:
        row = self.ledger.rows[number]
        for which, semaphore in enumerate(self.room.semaphores):
            state = row[Own.TOKEN + which]
            row[Own.TOKEN + which] = Token.NONE
            if state == Token.HELD:
                semaphore.release()
                self.count["released by hand"] += 1
            elif state != Token.NONE:
                self.unknown[which] += 1

    # --- trouble ----------------------------------------------------------------------------------

    def _trouble(self, name: str) -> None:
        run, room, ledger = trouble.TROUBLES[name], self.room, self.ledger
        pid = fork(lambda: run(room, ledger))
        try:
            self._wait(lambda: self._gone(pid), f"trouble: {name}")
        except StuckError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        self.count["troubles"] += 1
        if self._status != 0:
            self.fault("lost", f"{name}: status {self._status:#x}")

    # --- looking ----------------------------------------------------------------------------------

    def _audit(self) -> None:
        """With all workers waiting for the event: everything must come out even."""
        room, ledger, common = self.room, self.ledger, self.ledger.common
        room.go_on.clear()
        common[Common.PAUSE] = 1
        rows = ledger.rows
        self._wait(lambda: all(row[Own.PARKED] for row in rows), "all workers park")
        for which, lock in enumerate(room.locks):
            self._expect(lock.acquire(timeout=5), f"lock {which} is free")
            if lock.robust and lock.owner_died:
                mend(ledger, which, rows[0])
                self.count["inherited"] += 1
            self._expect(
                common[Common.SEQUENCE + which] == ledger.sum(Own.LOCKED + which),
                f"{common[Common.SEQUENCE + which]} counted under lock {which}",
            )
            lock.release()
        self._expect(room.condition.acquire(timeout=5), "the lock of the condition is free")
        if room.condition.owner_died:
            mend_stock(ledger, rows[0])
            self.count["inherited"] += 1
        room.condition.release()
        stock = ledger.sum(Own.PUT) - ledger.sum(Own.GOT)
        self._expect(common[Common.STOCK] == stock, "the stock")
        for which, semaphore in enumerate(room.semaphores):
            missing = TOKENS - semaphore.get_value()
            self._expect(
                0 <= missing <= self.unknown[which],
                f"{missing} tokens of {semaphore} are missing, where {self.unknown[which]} may be",
            )
            for _ in range(missing):
                semaphore.release()
                self.count["released by hand"] += 1
            self.unknown[which] = 0
        passed = [ledger.sum(Own.PASSED + i) - self.passed[i] for i in range(PARTIES)]
        if self.uncertain_at_barrier:
            self.passed = [ledger.sum(Own.PASSED + i) for i in range(PARTIES)]
            self.uncertain_at_barrier = False
            room.barrier.reset()  # a dead party may be counted still
        else:
            self._expect(len(set(passed)) == 1, f"the barrier was passed {passed} times")
        common[Common.PAUSE] = 0
        room.go_on.set()
        self._wait(lambda: not any(row[Own.PARKED] for row in rows), "all workers go on")
        self.count["audits"] += 1

    def _expect(self, good: bool, what: str) -> None:
        if not good:
            self.fault("lost", what)

    def _end(self) -> None:
        self.ledger.common[Common.STOP] = 1
        for number in range(WORKERS):
            self._reap(number, 0)
            self.pids[number] = 0

    def _kill_all(self) -> None:
        for pid in filter(None, self.pids):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    def report(self) -> dict[str, Any]:
        return {"backend": _core.backend(), "count": dict(self.count), "said": self.said}
