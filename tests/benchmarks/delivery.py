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
import contextlib
import json
import random
import statistics
import sys
import time
from typing import TYPE_CHECKING

import pipelines
from rounds import child
from rows import Result, Row
from sink import Sink, running_sink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines import Pipeline

__all__ = ["open_pipeline", "run"]

HIGH = 16_384
PEER = "official OTLP/HTTP"
NOTES = [
    (
        "The official exporter goes through requests and one batch at a time on the "
        "thread that also encodes; it exports its own metrics' instruments if told to, "
        "and sends neither task, nor job, nor code location, and keeps nothing for "
        "queries. Ours does all that, and sends more than three times the bytes a record for it."
    ),
]


@contextlib.contextmanager
def open_pipeline(name: str, endpoint: str) -> Iterator[Pipeline]:
    """Yield ``floor``, ``ours`` or ``official``, delivering to *endpoint*."""
    if name == "ours":
        with pipelines.ours(endpoint) as line:
            yield line
    elif name == "official":
        from opentelemetry.exporter.otlp.proto.http._log_exporter import (
            OTLPLogExporter,
        )

        with pipelines.official(OTLPLogExporter(endpoint=endpoint)) as line:
            yield line
    else:
        with pipelines.floor() as line:
            yield line


async def _produce(line: Pipeline, records: int) -> None:
    for i in range(records):
        line.log.info("task %d step %s", i, "x", extra={"user": "u-17", "amount": i})
        if not i % 100:
            await asyncio.sleep(0)
            while line.pending() > HIGH:  # noqa: ASYNC110 - no peer has an event
                await asyncio.sleep(0.001)


def _measure(name: str, endpoint: str, records: int) -> dict[str, float]:
    with open_pipeline(name, endpoint) as line:
        asyncio.run(_produce(line, 1_000))
        line.settle()
        cpu, wall = time.process_time(), time.perf_counter()
        asyncio.run(_produce(line, records))
        line.settle()
        return {
            "cpu": (time.process_time() - cpu) / records * 1e6,
            "rate": records / (time.perf_counter() - wall),
        }


def _run_once(name: str, sink: Sink, records: int) -> dict[str, float]:
    result = child(__file__, name, sink.endpoint, records)
    got = sink.count()
    expected = records + 1_000 if name != "floor" else 0
    if (got["records"], got["distinct"]) != (expected, min(expected, records)):
        raise RuntimeError(f"{name}: sent {expected}, the sink has {got}")
    return {**result, "bytes": got["bytes"] / max(got["records"], 1)}


def run(*, quick: bool) -> Result:
    """Measure floor, ours and the official exporter in turn."""
    records = 20_000 if quick else 60_000
    names = ["floor", "ours", "official"]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with running_sink() as sink:
        for _ in range(3 if quick else 7):
            random.shuffle(names)
            for name in names:
                found[name].append(_run_once(name, sink, records))

    def median(name: str, key: str) -> float:
        return statistics.median(each[key] for each in found[name])

    cpu = {name: median(name, "cpu") - median("floor", "cpu") for name in names}
    rows = [
        Row(
            what="delivered records a second", peer=PEER, unit="/s",
            ours=median("ours", "rate"), theirs=median("official", "rate"),
            bar=3.5, stretch=4.5, more=True,
        ),
        Row(
            what="CPU a delivered record", peer=PEER, unit="us", ours=cpu["ours"],
            theirs=cpu["official"], bar=5, stretch=7,
        ),
    ]  # fmt: skip
    sizes = ", ".join(f"{n} {median(n, 'bytes'):.0f}" for n in ("ours", "official"))
    return Result(
        rows=rows,
        notes=NOTES,
        detail=[
            (
                f"The floor: {median('floor', 'cpu'):.2f} us a record. Bytes a record "
                f"on the wire: {sizes}. Every run delivered each record once."
            )
        ],
    )


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
