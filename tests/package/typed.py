"""What a type checker must make of a program: checked by `make lint`, and never run.

Each `type: ignore` stands where the checker must object; mypy objects to those that are not needed.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.process import BaseProcess

from typing_extensions import assert_type

import altsem
from altsem import _core, _owner
from altsem.context import AltsemContext


def names() -> None:
    altsem.Lokc()  # type: ignore[attr-defined]
    altsem.get_contxt()  # type: ignore[attr-defined]
    altsem.typing  # type: ignore[attr-defined]  # noqa: B018


def contexts() -> None:
    ctx = altsem.get_context("spawn")
    assert_type(ctx, AltsemContext)
    assert_type(ctx.Process, type[BaseProcess])
    assert_type(ctx.Process(target=print, args=("x",), daemon=True).start(), None)
    ctx.Process(traget=print)  # type: ignore[call-arg]
    assert_type(ctx.get_context("fork"), AltsemContext)
    assert_type(ctx.get_context(), AltsemContext)
    assert_type(ctx.get_context("altsem-fork"), multiprocessing.context.BaseContext)
    assert_type(ctx.Lock(), altsem.Lock)
    assert_type(ctx.Barrier(2), altsem.Barrier)


def primitives() -> None:
    lock = altsem.Lock()
    assert_type(lock.acquire(timeout=1.5), bool)
    assert_type(lock.owner, _owner.Owner | None)
    assert_type(lock.waiters, int)
    assert_type(altsem.Semaphore(2).get_value(), int)
    assert_type(altsem.Condition(lock).waiters, int)
    assert_type(altsem.Event().wait(1), bool)
    assert_type(altsem.install(), bool)
    assert_type(altsem.backend().reason, str)
    assert_type(altsem.SemLock(1, 1, 1, "/name", True), _core.SemLock)
