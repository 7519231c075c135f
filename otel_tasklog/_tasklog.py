"""The path of a record, from the log call to the wire; read this first.

::

    logging ─► TaskLogHandler ─► Intake      on the caller's thread: capture, append
                                   │
                        Worker ────┤         on the worker's thread, `TaskLog._process`:
                                   ├─► resolve   text, span ids, redaction, traceback
                                   ├─► Ring      keep; query() reads it
                                   └─► Outbox    encode, batch ─► Sender ─► collector

`TaskLog` joins these stages and owns all state; the stages know nothing of each
other. `install`, in its own module, makes one and remembers it until it is closed.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from typing import TYPE_CHECKING, Final, cast

from opentelemetry.sdk.resources import Resource

from otel_tasklog._attach import Attachment
from otel_tasklog._errors import ClosedError, ConfigError
from otel_tasklog._process import renew_after_fork
from otel_tasklog.capture._handler import RECORD_BYTES, Port, TaskLogHandler
from otel_tasklog.capture._record import NO_REST, ORIGIN, REST, SIZE
from otel_tasklog.capture._resolve import Resolver, replacement
from otel_tasklog.delivery._buffer import Intake, Wake
from otel_tasklog.delivery._counter import Counter
from otel_tasklog.delivery._encode import Encoder
from otel_tasklog.delivery._outbox import Outbox
from otel_tasklog.delivery._senders import HttpSender
from otel_tasklog.delivery._worker import Flush, Worker
from otel_tasklog.store._memory import Ring
from otel_tasklog.store._query import Query
from otel_tasklog.store._storage import Stats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self, Unpack

    from otel_tasklog._config import Config
    from otel_tasklog.capture._record import Captured, Sealed, TaskRecord
    from otel_tasklog.capture._values import Value
    from otel_tasklog.delivery._senders import Sender
    from otel_tasklog.monitor import Monitor
    from otel_tasklog.store._query import Filters

__all__ = ["TaskLog"]

SEALED_BYTES: Final = 400
"""What a finished record takes without its texts."""

_log = logging.getLogger("otel_tasklog")


class TaskLog:
    """Captures, keeps, delivers. Made by `install`; safe to use from any thread.

    A context manager, ``async with`` or ``with``, that closes itself.

    Args:
        config: The settings.
        sender: Sends the batches instead of what the settings ask for; a test
            passes `otel_tasklog.testing.MemorySender`.
    """

    def __init__(self, config: Config, *, sender: Sender | None = None) -> None:
        self.config = config
        self._given_sender = sender
        self._resource = _resource(config)
        self._resolve = Resolver()
        self._monitor: Monitor | None = None
        self._closed = False
        self.when_closed: Callable[[], None] = lambda: None
        self.handler: Final = TaskLogHandler()
        """Attach it to a logger that does not propagate to one of ``loggers``."""
        self._assemble()
        self._attachment = Attachment(
            self.handler, config, own_threads=self._worker.own_threads
        )
        renew_after_fork(self)

    def attach(self) -> None:
        """Attach the handler to the configured loggers, and deliver at the end.

        The program's normal end and a SIGTERM that nobody handles deliver what is
        there, within ``exit_timeout_seconds``.
        """
        self._attachment.attach(
            at_exit=self.close,
            at_termination=lambda: self.flush(self.config.exit_timeout_seconds),
        )

    # -- the path of a record --------------------------------------------------

    def _assemble(self) -> None:
        config = self.config
        exports = config.exporter is not None or self._given_sender is not None
        self._export_level = config.export_levelno if exports else sys.maxsize
        self._intake = Intake(
            records=config.buffer_records,
            size_bytes=config.buffer_bytes,
            export_level=self._export_level,
            start=self._start,
        )
        self._ring = Ring(
            records=config.ring_records,
            size_bytes=config.ring_bytes,
            unfinished=lambda: self._resolve(self._intake.unfinished()),
        )
        self._sender = self._given_sender or _sender(config)
        self._outbox = self._new_outbox() if self._sender is not None else None
        self._worker = Worker(
            intake=self._intake,
            process=self._process,
            outbox=self._outbox,
            sender=self._sender,
            delay_seconds=config.schedule_delay_seconds,
            limits=(config.buffer_records, config.buffer_bytes),
        )
        self._taken = 0
        self._sequence = Counter()
        self.port: Port = Port(
            accept=self._intake.accept,
            next_sequence=self._sequence.add,
            wake=lambda: self._intake.inbox.put(Wake.MANY),
            own_threads=self._worker.own_threads,
        )
        self.handler.connect(self.port)

    def _new_outbox(self) -> Outbox:
        attributes = cast("Mapping[str, Value]", self._resource.attributes)
        encoder = Encoder(
            attributes,
            schema_url=self._resource.schema_url,
            include=self.config.include,
        )
        return Outbox(
            encoder=encoder,
            batch_records=self.config.batch_records,
            batch_bytes=self.config.batch_bytes,
            delay_seconds=self.config.schedule_delay_seconds,
        )

    def _start(self) -> None:
        self._worker.start()

    def _process(self, taken: list[Captured], now: float) -> None:
        """Finish a slice of records, on the worker's thread."""
        try:
            finished = self._resolve(taken)
        except Exception as error:  # noqa: BLE001 - one of them must not cost the rest
            _log.warning("a record could not be finished: %r", error)
            finished = [self._resolve_one(captured) for captured in taken]
        self._ring.keep(finished, map(_kept_size, taken, finished))
        if self._outbox is None:
            return
        for record in finished:
            if record[ORIGIN][1] >= self._export_level:
                self._taken += 1
                try:
                    self._outbox.add(record, now)
                except Exception as error:  # noqa: BLE001 - as above
                    self._outbox.dropped["not encodable"] += 1
                    _log.warning("a record could not be encoded: %r", error)

    def _resolve_one(self, captured: Captured) -> Sealed:
        try:
            return self._resolve([captured])[0]
        except Exception as error:  # noqa: BLE001 - as above
            return self._resolve([replacement(captured, error)])[0]

    # -- what it is asked ------------------------------------------------------

    def query(self, **filters: Unpack[Filters]) -> list[TaskRecord]:
        """Return records from the ring, the newest first unless asked otherwise.

        A record is there the moment its log call returns. Takes no lock: it may be
        called from any thread, and from within a log call.

        Args:
            **filters: See `Query`: ``task_id``, ``run_id``, ``level``,
                ``min_level``, ``logger``, ``text``, ``trace_id``,
                ``asyncio_task``, ``since``, ``until``, ``attributes``,
                ``limit`` (200), ``newest_first`` (True).

        Raises:
            ConfigError: A filter cannot have its value.
        """
        return self._ring.select(Query(**filters))

    def clear(self) -> None:
        """Forget what the ring holds. What is to be delivered stays."""
        with self._worker.lock:
            self._worker.take_all()
            self._ring.clear()

    def stats(self) -> Stats:
        """Return what became of the records so far."""
        outbox = self._outbox
        with self._worker.lock:
            waiting = self._intake.waiting.copy()
            dropped_here = self._intake.dropped.value
            exportable = sum(c[2]["levelno"] >= self._export_level for c in waiting)
            rejected = dict(outbox.rejected) if outbox is not None else {}
            dropped = dict(outbox.dropped) if outbox is not None else {}
            if dropped_here:
                dropped["buffer_full"] = dropped.get("buffer_full", 0) + dropped_here
            kept = self._ring.kept + len(waiting)
            return Stats(
                captured=self._sequence.value,
                accepted=self._taken + exportable + dropped_here,
                recovered=0,
                delivered=outbox.delivered if outbox is not None else 0,
                rejected=sum(rejected.values()),
                rejected_by=rejected,
                dropped=sum(dropped.values()),
                dropped_by=dropped,
                spooled=0,
                pending=exportable + (outbox.records if outbox is not None else 0),
                pending_bytes=self._intake.waiting_bytes
                + (outbox.size_bytes if outbox is not None else 0),
                kept=min(kept, self.config.ring_records),
                kept_bytes=self._ring.kept_bytes,
                evicted=self._ring.evicted
                + dropped_here
                + self._intake.unseen.value
                + max(kept - self.config.ring_records, 0),
                last_error=outbox.last_error if outbox is not None else None,
            )

    # -- delivery on demand ----------------------------------------------------

    def flush(self, timeout_seconds: float = 5.0) -> bool:
        """Deliver what was accepted before the call. Blocks; see `aflush`.

        Returns:
            True if all of it was delivered or finally refused in time.

        Raises:
            ClosedError: You closed this TaskLog.
        """
        finished = threading.Event()
        outcome: list[bool] = []

        def done(whole: bool) -> None:  # noqa: FBT001
            outcome.append(whole)
            finished.set()

        self._ask(Flush(done), "flush")
        return finished.wait(timeout_seconds) and outcome[0]

    async def aflush(self, timeout_seconds: float = 5.0) -> bool:
        """Do as `flush` without blocking the event loop."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[bool] = loop.create_future()

        def set_result(whole: bool) -> None:  # noqa: FBT001
            if not outcome.done():
                outcome.set_result(whole)

        def done(whole: bool) -> None:  # noqa: FBT001
            try:
                loop.call_soon_threadsafe(set_result, whole)
            except RuntimeError:  # the loop ended before its answer came
                return

        self._ask(Flush(done), "aflush")
        try:
            return await asyncio.wait_for(outcome, timeout_seconds)
        except TimeoutError:
            return False

    def _ask(self, flush: Flush, operation: str) -> None:
        if self._closed:
            raise ClosedError(operation)
        self._intake.inbox.put(flush)
        self._worker.start()

    # -- the end ---------------------------------------------------------------

    def close(self, timeout_seconds: float | None = None) -> None:
        """Detach from ``logging``, deliver what is there, end the threads.

        What the time does not suffice for is lost, counted and reported in one
        line. The ring can still be queried. Closing again does nothing.

        Args:
            timeout_seconds: ``exit_timeout_seconds`` by default.
        """
        if self._closed:
            return
        self._closed = True
        self._attachment.detach(at_exit=self.close)
        self.handler.connect(None)
        timeout = self.config.exit_timeout_seconds
        self._worker.stop(timeout if timeout_seconds is None else timeout_seconds)
        if self._sender is not None:
            self._sender.close()
        self.when_closed()

    async def aclose(self, timeout_seconds: float | None = None) -> None:
        """Do as `close` without blocking the event loop."""
        if self._monitor is not None:
            await asyncio.to_thread(self._monitor.stop)
        await asyncio.to_thread(self.close, timeout_seconds)
        # Signals are the main thread's to touch, where `close` may not have run.
        self._attachment.disarm()

    def renew(self) -> None:
        """Start over in a forked child: nothing of the parent's is sent twice."""
        if not self._closed:
            self._assemble()
            self._attachment.own_threads = self._worker.own_threads

    # -- live tasks ------------------------------------------------------------

    def monitor(
        self, *, port: int | None = None, web_port: int | None = None
    ) -> Monitor:
        """Return an async context manager that runs aiomonitor with our commands.

        Telnet to it to list the live tasks and read one task's log.

        Args:
            port: The telnet port; None takes 20101, or the next that is free.
            web_port: The port of aiomonitor's web page; None likewise, from 20102.

        Raises:
            MissingExtraError: aiomonitor is not installed.
            MonitorError: It could not start; on entry.
        """
        from otel_tasklog.monitor import Monitor

        return Monitor(self, port=port, web_port=web_port)

    def start_monitor(self) -> None:
        """Start the monitor of ``monitor=True``, once, in a running loop."""
        if self._monitor is None:
            self._monitor = self.monitor()
            self._monitor.start()

    # -- context managers ------------------------------------------------------

    def __enter__(self) -> Self:
        """Return itself."""
        if self.config.monitor and self._monitor is None:
            expected = "False, or 'async with': it needs a running loop"
            raise ConfigError("monitor", self.config.monitor, expected)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close, which blocks: in a coroutine use ``async with``."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            _log.warning(
                "a TaskLog was left by 'with' in a coroutine, which blocks the event "
                "loop while it delivers; use 'async with'"
            )
        self.close()

    async def __aenter__(self) -> Self:
        """Return itself, with the monitor started if the settings ask for it."""
        if self.config.monitor:
            self.start_monitor()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close without blocking the event loop."""
        await self.aclose()


def _kept_size(captured: Captured, finished: Sealed) -> int:
    rest = finished[REST]
    more = sum(len(text) for text in rest if text) if rest is not NO_REST else 0
    return captured[SIZE] - RECORD_BYTES + SEALED_BYTES + more


def _resource(config: Config) -> Resource:
    attributes = dict(config.resource_attributes)
    if config.service_name is not None:
        attributes["service.name"] = config.service_name
    return Resource.create(attributes)


def _sender(config: Config) -> Sender | None:
    if config.exporter is None:
        return None
    if config.exporter == "otlp":
        return HttpSender(
            config.endpoint,
            headers=config.headers,
            compress=config.compression == "gzip",
            timeout_seconds=config.timeout_seconds,
            max_retry_after_seconds=config.max_retry_after_seconds,
        )
    from otel_tasklog.delivery._exporter import (
        ExporterSender,
    )

    return ExporterSender(config.exporter)
