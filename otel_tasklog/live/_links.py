"""Weak references to tasks, of which as few as possible are made."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Final
from weakref import WeakSet, getweakrefs, ref

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_tasklog.live._await_chain import Task

__all__ = ["links_to"]

_OF_SETS: Final = WeakSet.__module__


def links_to(tasks: Iterable[Task]) -> list[ref[Task]]:
    """Return a weak reference to each: the oldest, by which asyncio itself knows it.

    Up to Python 3.13 there is one, so that none need be made.
    """
    return [
        links[-1]
        if (links := getweakrefs(task)) and _is_of_a_set(links[-1])
        else ref(task)
        for task in tasks
    ]


def _is_of_a_set(link: ref[Task]) -> bool:
    """Return whether a weak reference is a WeakSet's, which it does no harm to keep.

    Another's callback would be called though whoever made it had let it go.
    """
    if type(link) is not ref:
        return False
    callback = link.__callback__
    return type(callback) is FunctionType and callback.__module__ == _OF_SETS
