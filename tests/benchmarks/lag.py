"""Event-loop lag at a steady rate: how late a 1 ms ticker is, 99th percentile.

Each run in a fresh process for some seconds, the sink in another. One coroutine
logs at the rate, a few records each millisecond; another sleeps a millisecond
again and again, and notes how much later than that it ran. The table has what a
pipeline adds to the 99th percentile of a handler that does nothing.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import time
from typing import TYPE_CHECKING

from delivery import PEER, open_pipeline
from rounds import child
from rows import Result, Row
from sink import running_sink

if TYPE_CHECKING:
    from pipelines import Pipeline

__all__ = ["run"]

TICK_SECONDS = 0.001
MOST_AT_ONCE = 200
NOTES = [
    (
        "Noise floor: on a busy machine the 99th percentile of doing nothing moves by "
        "0.1 ms and more between runs, which is what ours adds."
    ),
]


async def _produce(line: Pipeline, rate: int, until: float) -> int:
    started = time.perf_counter()
    sent = 0
    while (now := time.perf_counter()) < until:
        due = min(int((now - started) * rate) - sent, MOST_AT_ONCE)
        for i in range(due):
            line.log.info(
                "task %d step %s", i, "x", extra={"user": "u-17", "amount": i}
            )
        sent += due
        await asyncio.sleep(TICK_SECONDS)
    return sent


async def _tick(until: float) -> list[float]:
    late = []
    while (before := time.perf_counter()) < until:
        await asyncio.sleep(TICK_SECONDS)
        late.append(time.perf_counter() - before - TICK_SECONDS)
    return late


async def _run(line: Pipeline, rate: int, seconds: float) -> dict[str, float]:
    warm = time.perf_counter() + 0.5
    await asyncio.gather(_produce(line, rate, warm), _tick(warm))
    until = time.perf_counter() + seconds
    sent, late = await asyncio.gather(_produce(line, rate, until), _tick(until))
    return {
        "p99": statistics.quantiles(late, n=100)[98] * 1e3,
        "p50": statistics.median(late) * 1e3,
        "rate": sent / seconds,
    }


def _measure(name: str, endpoint: str, rate: int, seconds: float) -> dict[str, float]:
    with open_pipeline(name, endpoint) as line:
        return asyncio.run(_run(line, rate, seconds))


def run(*, quick: bool) -> Result:
    """Measure both rates."""
    rows = []
    detail = []
    names = ["floor", "ours", "official"]
    with running_sink() as sink:
        for rate, bar, stretch in ((5_000, None, None), (20_000, 10, 25)):
            found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
            for _ in range(2 if quick else 5):
                random.shuffle(names)
                for name in names:
                    result = child(
                        __file__, name, sink.endpoint, rate, 1 if quick else 3
                    )
                    sink.count()
                    found[name].append(result)
            p99 = {n: statistics.median(r["p99"] for r in found[n]) for n in names}
            real = {n: statistics.median(r["rate"] for r in found[n]) for n in names}
            row = Row(
                what=f"loop lag p99 added, {rate:,}/s", peer=PEER, unit="ms",
                ours=p99["ours"] - p99["floor"],
                theirs=p99["official"] - p99["floor"], bar=bar, stretch=stretch,
            )  # fmt: skip
            rows.append(row)
            reached = ", ".join(f"{name} {real[name]:,.0f}/s" for name in real)
            detail.append(
                f"At {rate:,}/s: floor p99 {p99['floor']:.2f} ms; reached: {reached}."
            )
    return Result(rows=rows, notes=NOTES, detail=detail)


if __name__ == "__main__":
    print(
        json.dumps(
            _measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
        )
    )
