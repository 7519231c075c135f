"""Event-loop lag at a steady rate: how late a 1 ms ticker is, 99th percentile.

Each run in a fresh process for some seconds, the sink in another. One coroutine
logs at the rate, a few records each millisecond; another sleeps a millisecond
again and again, and notes how much later than that it ran. The table has what a
pipeline adds to the 99th percentile of a handler that does nothing, and what CPU
the process takes above the one with that handler, in percent of one core. Where a
peer cannot keep up with the rate, what it reached is said.

The noise floor: on a busy machine the 99th percentile of doing nothing moves by
0.1 ms and more between runs, which is as much as a good pipeline adds.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from typing import TYPE_CHECKING

from delivery import COMPARED, MEASURED
from peers import OFFICIAL_HTTP
from pipelines import FLOOR, open_pipeline
from rounds import child, rounds_of
from rows import Result, Row, table
from sink import Sink, running_sink

if TYPE_CHECKING:
    from pipelines import Pipeline
    from rounds import Scale

__all__ = ["run"]

TICK_SECONDS = 0.001
MOST_AT_ONCE = 200
RATES = ((5_000, None, None), (20_000, 10, 25))
"""Records a second, the bar and the stretch."""


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
    warm = time.perf_counter() + min(seconds, 0.5)
    await asyncio.gather(_produce(line, rate, warm), _tick(warm))
    started, cpu = time.perf_counter(), time.process_time()
    until = started + seconds
    sent, late = await asyncio.gather(_produce(line, rate, until), _tick(until))
    spent = time.perf_counter() - started
    return {
        "p99": statistics.quantiles(late, n=100)[98] * 1e3,
        "p50": statistics.median(late) * 1e3,
        "cpu": (time.process_time() - cpu) / spent * 100,
        "rate": sent / spent,
    }


def _measure(name: str, sink: Sink, rate: int, seconds: float) -> dict[str, float]:
    with open_pipeline(name, sink) as line:
        return asyncio.run(_run(line, rate, seconds))


def run(scale: Scale) -> Result:
    """Measure both rates."""
    rounds, seconds = scale.pick((1, 0.05), (2, 1), (5, 3))
    rows = []
    reached: list[tuple[str, ...]] = []
    with running_sink() as sink:
        for rate, bar, stretch in RATES:
            runs: dict[str, list[dict[str, float]]] = {name: [] for name in MEASURED}
            for name in rounds_of(MEASURED, rounds):
                runs[name].append(child(__file__, name, rate, seconds, *sink.ports))
                sink.count()
            found = {
                name: {
                    key: statistics.median(each[key] for each in own) for key in own[0]
                }
                for name, own in runs.items()
            }
            floor = found[FLOOR]
            for ours, peer, note in COMPARED:
                held = peer == OFFICIAL_HTTP
                rows += [
                    Row(
                        what=f"loop lag p99 added, {rate:,}/s{note}", peer=peer,
                        unit="ms", ours=found[ours]["p99"] - floor["p99"],
                        theirs=found[peer]["p99"] - floor["p99"],
                        bar=bar if held else None, stretch=stretch if held else None,
                    ),
                    Row(
                        what=f"CPU added, {rate:,}/s{note}", peer=peer,
                        unit="%", ours=found[ours]["cpu"] - floor["cpu"],
                        theirs=found[peer]["cpu"] - floor["cpu"],
                    ),
                ]  # fmt: skip
            reached += [
                (
                    name, f"{rate:,}/s", f"{of['rate']:,.0f}/s", f"{of['p50']:.2f} ms",
                    f"{of['p99']:.2f} ms", f"{of['cpu']:.0f} %",
                )
                for name, of in found.items()
            ]  # fmt: skip
    head = ("pipeline", "asked", "reached", "lag p50", "lag p99", "CPU")
    return Result(rows=rows, detail=["as measured.", table(head, reached)])


if __name__ == "__main__":
    print(
        json.dumps(
            _measure(
                sys.argv[1], Sink(*map(int, sys.argv[4:])),
                int(sys.argv[2]), float(sys.argv[3]),
            )
        )
    )  # fmt: skip
