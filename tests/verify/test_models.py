"""The models of tests/core describe the C: each run of the explorer is a run of theirs."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core import model_cond, model_lock, model_sem
from core.search import Run
from verify import faults, run
from verify.inclusion import Change, Graph, Label, explored, first_difference, reachable

LOW = 0xFFFFFFFF


def graph_of(program: Path, name: str, label: Any, folder: Path) -> Graph:
    found = next(s for s in run.scenarios(program) if s.name == name)
    path = folder / "graph"
    outcome = run.explore(program, found, "--quiet", "--graph", str(path))
    assert outcome.status in (0, 1), outcome.said
    return explored(path, label)


# --- lock -----------------------------------------------------------------------------------------


def lock_word(word: int) -> model_lock.Word:
    low = word & LOW
    return model_lock.Word(low & 0x3FFFFF, low >> 30 & 1, word >> 32, low >> 29 & 1)


def seen_of_lock(change: Change) -> Label:
    return (change.thread, lock_word(change.after)) if change.cell == 0 else None


def lock_model(rounds: int) -> tuple[Graph, Hashable]:
    def steps(state: Any) -> Iterator[tuple[Label, Hashable]]:
        for number, thread in enumerate(state.threads):
            if number in state.asleep:
                if thread.at == "nap":
                    yield None, model_lock.wake(state, number, 0)
            elif thread.at not in model_lock.ENDS:
                for after in model_lock.step(state, number + 1, model_lock.Faults()):
                    yield None if after.word == state.word else (number, after.word), after

    start = model_lock.State(
        model_lock.Word(), frozenset(), (model_lock.Thread(rounds=rounds),) * 2, 0
    )
    return reachable(start, steps), start


@functools.cache
def lock_graph() -> tuple[Graph, Hashable]:
    return lock_model(rounds=2)


def test_a_run_of_the_lock_is_a_run_of_its_model(explorer: Path, tmp_path: Path) -> None:
    real = graph_of(explorer, "lock-model", seen_of_lock, tmp_path)
    model, start = lock_graph()
    assert first_difference(real, 1, model, start) == []


# --- semaphore ------------------------------------------------------------------------------------


def sem_word(word: int) -> model_sem.Word:
    return model_sem.Word(word & 0x7FFFFFFF, word >> 32, word >> 31 & 1)


def seen_of_sem(change: Change) -> Label:
    return sem_word(change.after) if change.cell == 0 else None


@functools.cache
def sem_graph() -> tuple[Graph, Hashable]:
    """The model does not tell threads apart."""
    world = model_sem.World(2, (1,), slices=True)

    def steps(state: Any) -> Iterator[tuple[Label, Hashable]]:
        for _, after in model_sem.steps(state, world):
            yield None if after.word == state.word else after.word, after

    return reachable(world.start(), steps), world.start()


def test_a_run_of_the_semaphore_is_a_run_of_its_model(explorer: Path, tmp_path: Path) -> None:
    real = graph_of(explorer, "sem-model", seen_of_sem, tmp_path)
    model, begin = sem_graph()
    assert first_difference(real, 1, model, begin) == []


# --- condition ------------------------------------------------------------------------------------


def cond_state(world: Any) -> Hashable:
    return world.current, world.joining, tuple(world.words)


def seen_of_cond(change: Change) -> Label:
    group, low = change.after >> 32, change.after & LOW
    if change.cell == 1:
        return "joining", (group, low & 0x7FFFFFFF, bool(low >> 31))
    if change.cell == 5:
        return "current", (group, low)
    return ("word" if change.cell == 0 else "word2"), (group, low & 0xFFFFF)


def cond_model(numbers: tuple[int, ...], **world: Any) -> tuple[Graph, Hashable]:
    """The model's threads are generators: a state is reached by the choices that led to it."""
    crew = [model_cond.early_waiter] * 2 + [model_cond.notifier(*numbers)]

    def after(path: tuple[Any, ...]) -> Run:
        queue = model_cond.Queue(model_cond.Faults(), **world)
        queue.words = list(queue.words)
        made = Run(queue, crew)
        for choice in path:
            queue.happen(made, choice)
        return made

    graph: Graph = {}
    begin = after(()).key()
    todo: list[tuple[Any, ...]] = [()]
    while todo:
        path = todo.pop()
        here = after(path)
        key, shown = here.key(), cond_state(here.world)
        if key in graph:
            continue
        graph[key] = []
        for choice in here.world.choices(here):
            then = after((*path, choice))
            label: Label = None
            names = ("current", "joining", ("word", "word2"))
            for name, was, now in zip(names, shown, cond_state(then.world), strict=True):  # type: ignore[call-overload]
                if was != now and isinstance(name, str):
                    label = name, now
                elif was != now:
                    at = 0 if was[0] != now[0] else 1
                    label = name[at], now[at]
            graph[key].append((label, then.key()))
            todo.append((*path, choice))
    return graph, begin


@functools.cache
def cond_graph() -> tuple[Graph, Hashable]:
    return cond_model((1,), timeouts=1)


def test_a_run_of_the_condition_is_a_run_of_its_model(explorer: Path, tmp_path: Path) -> None:
    real = graph_of(explorer, "cond-model", seen_of_cond, tmp_path)
    model, begin = cond_graph()
    assert first_difference(real, 1, model, begin) == []


# --------------------------------------------------------------------------------------------------


WRONG = {
    "a waiter that takes it stays counted": "lock",
    "a waiter that leaves stays counted": "sem",
    "tokens are published before the count": "cond",
}


@pytest.mark.parametrize("what", WRONG)
def test_a_run_of_faulty_c_is_none(explorer: Path, tmp_path: Path, what: str) -> None:
    names = {"lock": "Lock", "sem": "Semaphore", "cond": "Condition"}
    kind = WRONG[what]
    fault = next(f for f in faults.ALL if f.what == what and f.primitive == names[kind])
    planted = faults.plant_and_build(fault, tmp_path, explorer.parent)
    label = {"lock": seen_of_lock, "sem": seen_of_sem, "cond": seen_of_cond}[kind]
    model, begin = {"lock": lock_graph, "sem": sem_graph, "cond": cond_graph}[kind]()
    real = graph_of(planted, f"{kind}-model", label, tmp_path)
    assert first_difference(real, 1, model, begin) != []
