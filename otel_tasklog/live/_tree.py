"""Who waits for whom, and who made whom, as a tree of live tasks."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING, Literal, TypeAlias

from otel_tasklog.capture._tasks import known_cell
from otel_tasklog.live._await_chain import is_pending, name_of
from otel_tasklog.live._awaited_by import told_to_await
from otel_tasklog.live._slices import in_slices
from otel_tasklog.live._tasks import coroutine_name, number_of
from otel_tasklog.live._waits import awaited_of, wait_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from otel_tasklog.live._await_chain import Task
    from otel_tasklog.live._tasks import Clean, Seen
    from otel_tasklog.live._waits import TaskWait

__all__ = [
    "Again",
    "Branches",
    "TaskPlace",
    "awaited_by_each",
    "made_by_each",
    "placed",
    "places",
    "waiters_of",
]

Branches: TypeAlias = Literal["waits", "parents"]
"""What is below a task: those that it waits for, or those that it made."""

Again: TypeAlias = Literal["cycle", "above"]

Edges: TypeAlias = "Mapping[int, Sequence[int]]"
"""By the place of one of some tasks in a list, those of all that are below it."""

Place: TypeAlias = "tuple[int, int, Again | None]"
"""How deep a task stands, where in the list it is, and why nothing is below it."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TaskPlace:
    """A live asyncio task in one of the places where it stands in a tree.

    A tree is a list of these, each followed by those that are below it.

    Attributes:
        depth: How far below a root; 0 is one.
        again: None where it stands for the first time. Elsewhere nothing is below it,
            and this says why: ``"cycle"``, it stands below itself, or ``"above"``, it
            stands higher up with what is below it.
        number: Its number, or None as long as it has neither logged nor opened a
            scope.
        name: Its name.
        coroutine: The qualified name of its coroutine.
        address: ``id(task)``, which aiomonitor's ``ps`` prints as Task ID.
        wait: What it waits on, or None if that cannot be told.
    """

    depth: int
    again: Again | None
    number: int | None
    name: str
    coroutine: str
    address: int
    wait: TaskWait | None


def awaited_by_each(tasks: Sequence[Seen]) -> Edges:
    """Return whom each of some tasks waits for, in the order of the tasks."""
    # By addresses, of which one can only mean another task if its own is done.
    place_of = {_address(seen): at for at, seen in enumerate(in_slices(tasks))}
    awaited: defaultdict[int, set[int]] = defaultdict(set)
    for place, seen in enumerate(in_slices(tasks)):
        for other in _addresses(awaited_of, seen):
            if other in place_of:
                awaited[place].add(place_of[other])
        # Those of which asyncio says that they wait for it.
        for other in _addresses(told_to_await, seen):
            if other in place_of:
                awaited[place_of[other]].add(place)
    return {place: sorted(others) for place, others in in_slices(awaited.items())}


def _address(seen: Seen) -> int:
    return id(seen())


def _addresses(of: Callable[[Task], Iterable[Task]], seen: Seen) -> list[int]:
    """Return the addresses of what a function tells of a task."""
    task = seen()
    return [*map(id, of(task))] if task is not None else []


def waiters_of(task: Seen, alive: Sequence[Seen]) -> list[Seen]:
    """Return those of the live tasks that wait for one."""
    address = _address(task)
    told = frozenset(_addresses(told_to_await, task))
    return [
        seen
        for seen in in_slices(alive)
        if address in _addresses(awaited_of, seen) or _address(seen) in told
    ]


def made_by_each(tasks: Sequence[Seen]) -> Edges:
    """Return whom each of some tasks made, as far as both have a number."""
    place_of = {number_of(seen): at for at, seen in enumerate(in_slices(tasks))}
    made: defaultdict[int, list[int]] = defaultdict(list)
    for place, seen in enumerate(in_slices(tasks)):
        parent = _parent_of(seen)
        if parent is not None and parent in place_of:
            made[place_of[parent]].append(place)
    return made


def _parent_of(seen: Seen) -> int | None:
    task = seen()
    cell = known_cell(task) if task is not None else None
    return cell.parent if cell is not None else None


def places(count: int, below: Edges) -> Iterator[Place]:
    """Yield where some tasks stand in a tree, each followed by those below it.

    Roots are the tasks that are below none; and of those that are below each other
    alone, the first. What is below a task is there once: else some that all wait for
    the same would stand in more places than there are atoms.

    Args:
        count: How many tasks there are.
        below: Which of them are below each.
    """
    inner = {task for each in below.values() for task in each}
    roots = (task for task in range(count) if task not in inner)
    shown: set[int] = set()
    for root in chain(roots, range(count)):
        if root in shown:
            continue
        path: dict[int, None] = {}
        unseen = [(0, root)]
        while unseen:
            depth, task = unseen.pop()
            while len(path) > depth:
                path.popitem()
            if task in shown:
                yield depth, task, "cycle" if task in path else "above"
                continue
            yield depth, task, None
            shown.add(task)
            path[task] = None
            unseen += [(depth + 1, other) for other in reversed(below.get(task, ()))]


def placed(
    depth: int, again: Again | None, seen: Seen, clean: Clean
) -> TaskPlace | None:
    """Return a task in its place, or None if it is done."""
    task = seen()
    if task is None or not is_pending(task):
        return None
    return TaskPlace(
        depth=depth,
        again=again,
        number=number_of(seen),
        name=clean(name_of(task)),
        coroutine=coroutine_name(task),
        address=id(task),
        wait=wait_of(task, clean),
    )
