"""How everything here is measured: variants in turn, in random order, medians."""

from __future__ import annotations

import gc
import json
import os
import random
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["child", "medians"]


def medians(
    variants: Mapping[str, Callable[[], float]], rounds: int, *, warm_up: int = 2
) -> dict[str, float]:
    """Run each variant once a round, in random order; return each one's median.

    What a machine does beside the benchmark then hits all variants alike.

    Args:
        variants: Each measures one thing once.
        rounds: How often.
        warm_up: So many rounds before them are not counted.
    """
    found: dict[str, list[float]] = {name: [] for name in variants}
    order = list(variants)
    for number in range(-warm_up, rounds):
        random.shuffle(order)
        for name in order:
            gc.collect()
            value = variants[name]()
            if number >= 0:
                found[name].append(value)
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
