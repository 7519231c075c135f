"""Delivered records: how many a second, and the CPU of one, to the same receiver.

Each run in a fresh process, the sink in another. An asyncio task logs as fast as
the pipeline takes: above `HIGH` records that wait it sleeps a millisecond, so that
nothing is dropped. The clock stops when everything is settled. Then the sink
decodes what it got, and a run counts only if every record is there once. CPU is
that of the whole process, all threads, above that of the same loop with a handler
that does nothing.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from typing import TYPE_CHECKING

from peers import OFFICIAL_GRPC, OFFICIAL_HTTP, QUEUE_OFFICIAL
from pipelines import FLOOR, OURS, OURS_512, OURS_GRPC, open_pipeline
from rounds import child, rounds_of
from rows import Result, Row, table
from sink import Sink, running_sink

if TYPE_CHECKING:
    from pipelines import Pipeline
    from rounds import Scale

__all__ = ["COMPARED", "MEASURED", "run"]

HIGH = 16_384
WARM_UP = 1_000

COMPARED = (
    (OURS, OFFICIAL_HTTP, ""),
    (OURS, QUEUE_OFFICIAL, ""),
    (OURS_512, OFFICIAL_HTTP, ", requests of 512"),
    (OURS_GRPC, OFFICIAL_GRPC, ", gRPC"),
)
"""Ours, the peer, and what to say of it. Bars are for the first.

Each sends what its defaults let into a request; in between ours with the peer's.
"""

MEASURED = (FLOOR, *dict.fromkeys(name for pair in COMPARED for name in pair[:2]))


async def _produce(line: Pipeline, records: int) -> None:
    for i in range(records):
        line.log.info("task %d step %s", i, "x", extra={"user": "u-17", "amount": i})
        if not i % 100:
            await asyncio.sleep(0)
            while line.pending() > HIGH:  # noqa: ASYNC110 - no peer has an event
                await asyncio.sleep(0.001)


def _measure(name: str, sink: Sink, records: int) -> dict[str, float]:
    with open_pipeline(name, sink) as line:
        asyncio.run(_produce(line, WARM_UP))
        line.settle()
        all_threads, this_thread = time.process_time(), time.thread_time()
        started = time.perf_counter()
        asyncio.run(_produce(line, records))
        line.settle()
        return {
            "rate": records / (time.perf_counter() - started),
            "cpu": (time.process_time() - all_threads) / records * 1e6,
            "caller": (time.thread_time() - this_thread) / records * 1e6,
        }


def _run_once(name: str, sink: Sink, records: int) -> dict[str, float]:
    result = child(__file__, name, records, *sink.ports)
    got = sink.count()
    expected = records + WARM_UP if name != FLOOR else 0
    distinct = max(records, WARM_UP) if name != FLOOR else 0
    if (got["records"], got["distinct"]) != (expected, distinct):
        raise RuntimeError(f"{name}: sent {expected}, the sink has {got}")
    return {**result, "bytes": got["bytes"] / max(got["records"], 1)}


def run(scale: Scale) -> Result:
    """Measure the floor, ours and the peers in turn."""
    rounds, records = scale.pick((1, 100), (3, 20_000), (7, 60_000))
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in MEASURED}
    with running_sink() as sink:
        for name in rounds_of(MEASURED, rounds):
            runs[name].append(_run_once(name, sink, records))
    found = {
        name: {key: statistics.median(each[key] for each in own) for key in own[0]}
        for name, own in runs.items()
    }
    rows = []
    for ours, peer, note in COMPARED:
        held = (ours, peer) == (OURS, OFFICIAL_HTTP)
        rows += [
            Row(
                what=f"delivered records a second{note}", peer=peer, unit="/s",
                ours=found[ours]["rate"], theirs=found[peer]["rate"],
                bar=3.5 if held else None, stretch=4.5 if held else None, more=True,
            ),
            Row(
                what=f"CPU a delivered record{note}", peer=peer, unit="us",
                ours=found[ours]["cpu"] - found[FLOOR]["cpu"],
                theirs=found[peer]["cpu"] - found[FLOOR]["cpu"],
                bar=5 if held else None, stretch=7 if held else None,
            ),
        ]  # fmt: skip
    head = ("each record", "calling thread", "other threads", "on the wire")
    lines = [
        (
            name, f"{of['caller']:.1f} us", f"{of['cpu'] - of['caller']:.1f} us",
            f"{of['bytes']:.0f} B",
        )
        for name, of in found.items()
    ]  # fmt: skip
    return Result(
        rows=rows,
        detail=[
            "CPU with the call itself, and bytes. Every run delivered each record once.",
            table(head, lines),
        ],
    )


if __name__ == "__main__":
    print(
        json.dumps(
            _measure(
                sys.argv[1], Sink(*map(int, sys.argv[3:])), records=int(sys.argv[2])
            )
        )
    )
