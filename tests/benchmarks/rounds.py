"""How everything here is measured: variants in turn, in random order, medians."""

from __future__ import annotations

import enum
import gc
import json
import os
import random
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Scale", "child", "medians", "rounds_of"]

T = TypeVar("T")


class Scale(enum.IntEnum):
    """How much is measured."""

    SMOKE = 0
    """Once, and little: shows that everything runs; the numbers mean nothing."""

    QUICK = 1
    """For a look while working."""

    FULL = 2
    """For the page."""

    def pick(self, smoke: T, quick: T, full: T) -> T:
        """Return the one for this scale."""
        return (smoke, quick, full)[self]


def rounds_of(names: Iterable[str], rounds: int) -> Iterable[str]:
    """Yield all names once a round, in an order that is new in each.

    What a machine does beside the benchmark then hits all variants alike.
    """
    order = list(names)
    for _ in range(rounds):
        random.shuffle(order)
        yield from order


def medians(
    variants: Mapping[str, Callable[[], float]],
    rounds: int,
    *,
    turns: int = 1,
    warm_up: int = 2,
    collect: bool,
) -> dict[str, float]:
    """Run each variant in turn, in random order; return the median of its rounds.

    The garbage collector is on. A pass belongs to whoever's objects make it due, but
    a measurement that is short pays for what stood there before.

    Args:
        variants: Each measures one thing once.
        rounds: How often.
        turns: So many turns make a round, whose value is their mean. The shorter they
            are, the more alike is what the variants meet: the speed of a machine that
            others use, too, changes within a second.
        warm_up: So many rounds before them are not counted.
        collect: Collect before each measurement. For short ones, which then pay for
            what they allocate themselves and for nothing else. Long ones are left
            to the collector's own time: full passes are then in them, as in life.
    """
    found: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(warm_up + rounds):
        spent = dict.fromkeys(variants, 0.0)
        for name in rounds_of(variants, turns):
            if collect:
                gc.collect()
            spent[name] += variants[name]()
        if number >= warm_up:
            for name, sum_of_turns in spent.items():
                found[name].append(sum_of_turns / turns)
    return {name: statistics.median(values) for name, values in found.items()}


def child(script: str, *arguments: object) -> dict[str, Any]:
    """Run a script in a fresh process; return the JSON of its last line."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    finished = subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        env=clean,
        timeout=300,
    )
    result: dict[str, Any] = json.loads(finished.stdout.strip().splitlines()[-1])
    return result
