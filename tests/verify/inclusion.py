"""Is every run of the explorer a run of a model?

Both are graphs of states.  What can be seen of a step is how it changes the words; steps that
change none are silent.  A run of the C is followed through the model, which may be in any of
several states after what has been seen; if it can be in none, the model does not describe the C.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import NamedTuple

Label = Hashable  # what is seen of a step; None: nothing
Graph = dict[Hashable, list[tuple[Label, Hashable]]]


class Change(NamedTuple):
    """One word of the slot, by its number among the 64-bit words, before and after a step."""

    thread: int
    cell: int
    before: int
    after: int


def explored(path: Path, label: Callable[[Change], Label]) -> Graph:
    """What `explore NAME --graph` has written."""
    graph: Graph = {}
    for line in path.read_text().splitlines():
        start, end, _, thread, _, _, cell, before, after = line.split()
        seen = None
        if cell != "-1":
            seen = label(Change(int(thread), int(cell), int(before, 16), int(after, 16)))
        graph.setdefault(int(start), []).append((seen, int(end)))
        graph.setdefault(int(end), [])
    return graph


def reachable(
    start: Hashable, steps: Callable[[Hashable], Iterable[tuple[Label, Hashable]]]
) -> Graph:
    graph: Graph = {}
    todo = [start]
    while todo:
        state = todo.pop()
        if state not in graph:
            graph[state] = list(steps(state))
            todo += [after for _, after in graph[state]]
    return graph


def first_difference(real: Graph, start: Hashable, model: Graph, begin: Hashable) -> list[Label]:
    """[] if whatever can be seen of a run of the first can be seen of one of the second; else what
    was seen of one that the second cannot follow."""
    closures: dict[Hashable, frozenset[Hashable]] = {}

    def closure(states: Iterable[Hashable]) -> frozenset[Hashable]:
        found: set[Hashable] = set()
        for state in states:
            if state not in closures:
                near, todo = {state}, [state]
                while todo:
                    for seen, after in model[todo.pop()]:
                        if seen is None and after not in near:
                            near.add(after)
                            todo.append(after)
                closures[state] = frozenset(near)
            found |= closures[state]
        return frozenset(found)

    moves: dict[tuple[frozenset[Hashable], Label], frozenset[Hashable]] = {}

    def move(states: frozenset[Hashable], label: Label) -> frozenset[Hashable]:
        if (states, label) not in moves:
            moves[states, label] = closure(
                after for state in states for seen, after in model[state] if seen == label
            )
        return moves[states, label]

    first = (start, closure([begin]))
    came: dict[object, tuple[object, Label] | None] = {first: None}
    todo = [first]
    while todo:
        here = todo.pop()
        state, possible = here
        for label, after in real[state]:
            then = (after, possible if label is None else move(possible, label))
            if not then[1]:
                seen, at = [label], came[here]
                while at is not None:
                    seen.append(at[1])
                    at = came[at[0]]
                return [each for each in reversed(seen) if each is not None]
            if then not in came:
                came[then] = (here, label)
                todo.append(then)
    return []
