"""A program that logs numbered, checksummed records, and watches its own books.

``python -m e2e.faults.producer '{"name": "p", "endpoint": "http://127.0.0.1:4318",
"records": 1000}'`` prints one line of JSON at its end: `Job` says what it is told,
`Report` what it tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import logging
import os
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from e2e.faults.records import Payloads, checksum

import otel_tasklog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["LOGGED", "Job", "Report", "run"]

TICK_SECONDS: Final = 0.005
LOGGED: Final = struct.Struct("<Qd")
"""What the side file has for each log call that returned: its number, and when."""

UNBALANCED_KEPT: Final = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What a producer is to do.

    Attributes:
        name: In the name of each writer.
        endpoint: Where to send.
        protocol: How.
        official: Whether by the official handler and batch processor, with their
            defaults, instead of by us.
        settings: For `otel_tasklog.install`.
        records: How many to log, all in all.
        rate: So many a second; 0: as fast as it goes.
        threads: So many writers; 0: one task of an event loop.
        payload_length: Of a text, on average, in characters.
        sample_seconds: How often the books are looked at.
        flush_seconds: For the flush at the end; None: there is none.
        close_seconds: For the end itself; None: the default.
        side_file: Where each log call that returned is noted at once, for a
            producer that is going to be killed; with one writer.
    """

    name: str
    endpoint: str
    protocol: str = "http/protobuf"
    official: bool = False
    settings: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    records: int = 0
    rate: float = 0.0
    threads: int = 0
    payload_length: int = 100
    sample_seconds: float = 0.02
    flush_seconds: float | None = 20.0
    close_seconds: float | None = None
    side_file: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What a producer did.

    Attributes:
        logged: By writer, how many records; their numbers start at 0.
        worst_call_seconds: The longest log call.
        samples: How often the books were looked at.
        unbalanced: The first of those samples whose two sides differ.
        stats: The last books, after the end; None for the official handler.
        flushed: What the flush returned; None: there was none.
        flush_seconds: How long it took.
        close_seconds: How long the end took.
    """

    logged: dict[str, int]
    worst_call_seconds: float
    samples: int = 0
    unbalanced: list[dict[str, Any]] = dataclasses.field(
        default_factory=list[dict[str, Any]]
    )
    stats: dict[str, Any] | None = None
    flushed: bool | None = None
    flush_seconds: float = 0.0
    close_seconds: float = 0.0


class Pipeline(Protocol):
    """What the records go through."""

    def flush(self, timeout_seconds: float) -> bool: ...

    def close(self, timeout_seconds: float | None) -> None: ...


class _Official:
    """The official handler, processor and exporter, at their defaults."""

    def __init__(self, job: Job) -> None:
        from opentelemetry.instrumentation.logging.handler import LoggingHandler
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

        if job.protocol == "grpc":
            from opentelemetry.exporter.otlp.proto.grpc import _log_exporter as grpc

            exporter: Any = grpc.OTLPLogExporter(endpoint=job.endpoint, insecure=True)
        else:
            from opentelemetry.exporter.otlp.proto.http import _log_exporter as http

            exporter = http.OTLPLogExporter(endpoint=f"{job.endpoint}/v1/logs")
        # What it says of its own fate would be sent, too, and is not what is counted.
        own = logging.getLogger("opentelemetry")
        own.addHandler(logging.NullHandler())
        own.propagate = False
        self._provider = LoggerProvider()
        self._provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        root = logging.getLogger()
        root.setLevel(logging.INFO)
        root.addHandler(LoggingHandler(logger_provider=self._provider))

    def flush(self, timeout_seconds: float) -> bool:
        return self._provider.force_flush(int(timeout_seconds * 1_000))

    def close(self, timeout_seconds: float | None) -> None:
        self._provider.shutdown()


class _Writer:
    """Logs the records of one name, and times each call."""

    def __init__(self, job: Job, name: str, share: int) -> None:
        self.name = name
        self.logged = 0
        self.worst_seconds = 0.0
        self._share = share
        self._rate = job.rate / max(job.threads, 1)
        self._payloads = Payloads(name, job.payload_length)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._side = os.open(job.side_file, flags, 0o600) if job.side_file else None
        self._log = logging.getLogger("faults.producer")

    def _write(self) -> None:
        number, text = self.logged, self._payloads.next()
        extra = {
            "fault.writer": self.name,
            "fault.number": number,
            "fault.sum": checksum(self.name, number, text),
        }
        before = time.perf_counter()
        self._log.info("%s", text, extra=extra)
        took = time.perf_counter() - before
        self.logged += 1
        self.worst_seconds = max(self.worst_seconds, took)
        if self._side is not None:
            os.write(self._side, LOGGED.pack(number, time.monotonic()))

    def write(self) -> Iterator[float]:
        """Log what is due, and yield for how long nothing is, until all is done."""
        start = time.monotonic()
        while self.logged < self._share:
            due = self._share
            if self._rate:
                elapsed = time.monotonic() - start
                due = min(int(elapsed * self._rate) + 1, self._share)
            # In pieces, so that an event loop gets its turn.
            for _ in range(min(due - self.logged, 256)):
                self._write()
            yield TICK_SECONDS if self._rate else 0.0


class _Books:
    """Looks at the books from a thread of its own for as long as the block runs."""

    def __init__(self, stats: Callable[[], Any], interval_seconds: float) -> None:
        self._stats = stats
        self._interval_seconds = interval_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.samples = 0
        self.unbalanced: list[dict[str, Any]] = []

    def _watch(self) -> None:
        while not self._ended.wait(self._interval_seconds):
            self.look()

    def look(self) -> dict[str, Any]:
        s = self._stats()
        self.samples += 1
        left = s.accepted + s.recovered
        right = s.delivered + s.rejected + s.dropped + s.spooled + s.pending
        found = dataclasses.asdict(s)
        if left != right and len(self.unbalanced) < UNBALANCED_KEPT:
            self.unbalanced.append(found)
        return found

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *raised: object) -> None:
        self._ended.set()
        self._thread.join()


def _write_all(job: Job) -> list[_Writer]:
    count = max(job.threads, 1)
    shares = [job.records // count + (n < job.records % count) for n in range(count)]
    writers = [_Writer(job, f"{job.name}/{n}", share) for n, share in enumerate(shares)]
    if not job.threads:
        asyncio.run(_write_in_task(writers[0]))
        return writers

    def write(writer: _Writer) -> None:
        for pause in writer.write():
            time.sleep(pause)

    threads = [threading.Thread(target=write, args=(each,)) for each in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return writers


async def _write_in_task(writer: _Writer) -> None:
    for pause in writer.write():
        await asyncio.sleep(pause)


def run(job: Job) -> Report:
    """Do a job in this process; return when everything is over."""
    books: _Books | None = None
    if job.official:
        pipeline: Pipeline = _Official(job)
    else:
        tasklog = otel_tasklog.install(
            level="INFO", console=False, endpoint=job.endpoint, protocol=job.protocol,
            **job.settings,
        )  # fmt: skip
        pipeline = tasklog
        books = _Books(tasklog.stats, job.sample_seconds)
    flushed = None
    with books or contextlib.nullcontext():
        writers = _write_all(job)
        times = [time.monotonic()]
        if job.flush_seconds is not None:
            flushed = pipeline.flush(job.flush_seconds)
        times.append(time.monotonic())
        pipeline.close(job.close_seconds)
        times.append(time.monotonic())
    flush_seconds, close_seconds = (b - a for a, b in itertools.pairwise(times))
    return Report(
        logged={writer.name: writer.logged for writer in writers},
        worst_call_seconds=max(writer.worst_seconds for writer in writers),
        stats=books.look() if books is not None else None,
        samples=books.samples if books is not None else 0,
        unbalanced=books.unbalanced if books is not None else [],
        flushed=flushed,
        flush_seconds=flush_seconds,
        close_seconds=close_seconds,
    )


if __name__ == "__main__":
    report = run(Job(**json.loads(sys.argv[1])))
    print(json.dumps(dataclasses.asdict(report)))  # noqa: T201 - for who started us
