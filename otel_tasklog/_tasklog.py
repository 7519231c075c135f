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
What can be asked of one is in `Reader`, who else can ask in `WaysIn`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from otel_tasklog._account import LeftOut, Stages, account
from otel_tasklog._assemble import (
    make_intake,
    make_outbox,
    make_ring,
    make_sender,
    make_shared,
)
from otel_tasklog._attach import Attachment
from otel_tasklog._errors import ClosedError, ConfigError
from otel_tasklog._loop import resolver_of, run_in_own_thread, warn_in_loop
from otel_tasklog._metrics import measured
from otel_tasklog._process import park_before_fork, renew_after_fork
from otel_tasklog._reader import Reader
from otel_tasklog._ways_in import WaysIn
from otel_tasklog.capture._handler import TaskLogHandler
from otel_tasklog.capture._port import Port
from otel_tasklog.capture._record import ORIGIN
from otel_tasklog.capture._resolve import Resolver
from otel_tasklog.capture._sizes import sealed_sizes
from otel_tasklog.delivery._counter import Counter
from otel_tasklog.delivery._echo import while_exporting
from otel_tasklog.delivery._messages import Answer, Errand, Flush
from otel_tasklog.delivery._threads import Threads
from otel_tasklog.delivery._worker import Worker
from otel_tasklog.live._levels import Levels, LevelSetter
from otel_tasklog.store._follow import Followers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    from otel_tasklog._attach import AccessPoint
    from otel_tasklog._config import Config
    from otel_tasklog._hints import Hints
    from otel_tasklog.capture._record import Captured
    from otel_tasklog.capture._values import Value
    from otel_tasklog.delivery._outbox import Outbox
    from otel_tasklog.delivery._refused import RefusedBatch
    from otel_tasklog.delivery._senders import Sender
    from otel_tasklog.monitor import Monitor
    from otel_tasklog.store._storage import Stats

__all__ = ["TaskLog"]


class TaskLog(Reader, WaysIn, LevelSetter):
    """Captures, keeps, delivers. Made by `install`; safe to use from any thread.

    Args:
        config: The settings.
        sender: Sends the batches instead of what the settings ask for; a test
            passes `otel_tasklog.testing.MemorySender`.
    """

    def __init__(self, config: Config, *, sender: Sender | None = None) -> None:
        self.config = config
        self._given_sender = sender
        self._shared = make_shared(config)
        self._resolve = Resolver(self._shared.cleaner, self._shared.names)
        self.monitors: list[Monitor] = []
        self._levels = Levels()
        self._closed = False
        self._outbox: Outbox | None = None
        self.when_closed: Callable[[], None] = lambda: None
        self.handler: Final = TaskLogHandler()
        """Attach it to a logger that does not propagate to one of ``loggers``."""
        self.port: Port = Port(self._shared.names, self._shared.cleaner)
        self._assemble()
        self.handler.connect(self.port)
        self._attachment = Attachment(
            self.handler, self.port, config,
            exports=self._outbox is not None, run=self._run,
        )  # fmt: skip
        self.hints: Hints = self._attachment.hints
        renew_after_fork(self)

    def attach(self, access: AccessPoint | None = None) -> None:
        """Attach to loggers, the program's end and SIGTERM; open *access* in time."""
        self._attachment.attach(
            at_exit=self.close,
            at_termination=self._deliver_at_termination,
            access=access,
        )
        if self.config.spool_dir:  # where a dead process may have left something
            self._threads.start()

    def _deliver_at_termination(self) -> None:
        timeout = self._attachment.seconds_left()
        if self._closed:  # or about to be: the signal may have interrupted that
            self._threads.stop(timeout)
        elif not self.flush(timeout):
            self._attachment.say_last(self.stats)

    def _assemble(self) -> None:
        config = self.config
        exports = config.exporter is not None or self._given_sender is not None
        self._export_level = config.export_levelno if exports else sys.maxsize
        self._intake = make_intake(
            config,
            export_level=self._export_level,
            start=lambda: self._threads.start(),  # noqa: PLW0108 - it is made below
            followed=lambda: bool(self._followers),
            own_threads=self.port.own_threads,
        )
        self._ring = make_ring(config, self._intake, self._resolve)
        self._sender = measured(self._given_sender or make_sender(config), self)
        reports: deque[tuple[str, str]] = deque()
        if self._sender is not None:
            first = self._outbox is None
            self._outbox = make_outbox(config, self._shared, reports, strict=first)
        self._worker = Worker(
            reports=reports,
            intake=self._intake,
            process=self._process,
            outbox=self._outbox,
            delay_seconds=config.take_delay_seconds,
        )
        self._followers = Followers(self._ring, self._intake.unfinished, self._worker)
        self.port.own_threads.clear()
        self._threads = Threads(
            self._worker, self._intake, self._outbox, self._sender,
            own_threads=self.port.own_threads,
            on_worker=lambda ident: self._attachment.know_worker(ident),  # noqa: PLW0108
        )  # fmt: skip
        park_before_fork(self._threads)
        self._left_out = LeftOut(config, self._worker.report)
        self._taken, self._sequence = 0, Counter()
        self.resource: Mapping[str, Value] = self._shared.resource
        self.started_ns: int = time.time_ns()
        self.port.accept, self.port.wake = self._intake.accept, self._intake.wake
        self.port.next_sequence = self._sequence.add

    def _run(self, errand: Callable[[], None]) -> None:
        self._intake.inbox.put(Errand(errand))
        self._threads.start()

    def _process(self, taken: list[Captured], now: float) -> None:
        """Finish a slice of records, on the worker's thread."""
        self._attachment.look()
        finished = self._resolve(taken)
        self._ring.keep(finished, sealed_sizes(taken, finished))
        self._left_out.count(finished)
        self._followers.publish(finished)
        if self._outbox is None:
            return
        exportable = [r for r in finished if r[ORIGIN][1] >= self._export_level]
        self._taken += len(exportable)
        if self.config.logger_provider is not None:
            exportable = self._outbox.reject_echo(exportable, while_exporting(taken))
        fault = self._outbox.add(exportable, now)
        if fault is not None:
            self._worker.report("not encodable", fault)

    def clear(self) -> None:
        """Forget what the ring holds. What is to be delivered stays."""
        with self._worker.lock:
            self._worker.take_all()
            self._ring.clear()

    def stats(self) -> Stats:
        """Return what became of the records so far."""
        with self._worker.lock:
            return account(
                Stages(self._intake, self._ring, self._outbox, self._attachment.loops),
                captured=self._sequence.value,
                taken=self._taken,
                dropped_attributes=self._left_out.attributes,
                abandoned=self._worker.abandoned,
            )

    def refused(self) -> list[RefusedBatch]:
        """Return the last batches that the receiver refused for good, newest last."""
        return self._outbox.refused.batches() if self._outbox is not None else []

    def flush(self, timeout_seconds: float = 5.0) -> bool:
        """Deliver what was accepted before the call. Blocks; see `aflush`.

        Returns:
            True if all of it was delivered or finally refused in time.

        Raises:
            ClosedError: You closed this TaskLog.
        """
        answer = Answer()
        self._ask(Flush(answer.give, timeout_seconds), "flush")
        return self._threads.wait_for(answer.given, timeout_seconds) and answer.value

    async def aflush(self, timeout_seconds: float = 5.0) -> bool:
        """Do as `flush` without blocking the event loop."""
        outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._ask(Flush(resolver_of(outcome), timeout_seconds), "aflush")
        try:
            return await asyncio.wait_for(outcome, timeout_seconds)
        except TimeoutError:
            return False

    def _ask(self, flush: Flush, operation: str) -> None:
        if self._closed:
            raise ClosedError(operation)
        flush.dropped = self._worker.dropped_count()
        self._intake.inbox.put(flush)
        self._threads.start()

    def close(self, timeout_seconds: float | None = None) -> None:
        """Detach from ``logging``, deliver what is there, end the threads.

        What the time does not suffice for stays in the spool, or is lost, counted and
        reported. The ring can still be queried. Closing again does nothing.

        Args:
            timeout_seconds: ``exit_timeout_seconds`` by default.
        """
        if self._closed:
            return
        self._closed = True
        self._levels.close()
        self._attachment.detach(at_exit=self.close)
        self.port.close()
        for monitor in self.monitors.copy():
            monitor.stop()
        timeout = self._attachment.seconds_left()
        try:
            self._threads.stop(timeout if timeout_seconds is None else timeout_seconds)
        finally:  # also on Ctrl-C
            if self._outbox is not None and self._sender is not None:
                with self._worker.lock:
                    self._outbox.overflow.close()
                self._sender.close()
            self._followers.end()
            self._attachment.release()
            self.when_closed()

    async def aclose(self, timeout_seconds: float | None = None) -> None:
        """Do as `close` without blocking the event loop."""
        try:
            await run_in_own_thread(lambda: self.close(timeout_seconds))
        finally:
            # Signals are the main thread's to touch, where `close` did not run.
            self._attachment.disarm()

    def renew(self) -> None:
        """Start over in a forked child: nothing of the parent's is sent twice."""
        self._followers.forget()
        if self._outbox is not None:
            self._outbox.overflow.forget()
        if not self._closed:
            self._assemble()
            self._attachment.renew()

    def __enter__(self) -> Self:
        """Return itself."""
        if self.config.monitor and not self.monitors:
            expected = (
                "False, also in OTEL_TASKLOG_MONITOR, or 'async with': it needs a "
                "running loop"
            )
            raise ConfigError("monitor", self.config.monitor, expected)
        return self

    def __exit__(self, *raised: object) -> None:
        """Close, which blocks: in a coroutine use ``async with``."""
        warn_in_loop("a TaskLog was left by 'with'", "'async with'")
        self.close()

    async def __aenter__(self) -> Self:
        """Return itself, with the monitor started if the settings ask for it."""
        if self.config.monitor and not self.monitors:
            await self.monitor().__aenter__()
        self._attachment.watch_loop()
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Close without blocking the event loop."""
        await self.aclose()
