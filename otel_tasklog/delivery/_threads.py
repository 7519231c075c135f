"""The two threads of delivery, and their life.

The *worker* turns `Worker.turn` and waits in between. The *sender* blocks in one
request at a time and posts what came of it to the worker's inbox. So a receiver that
hangs delays neither the finishing of records, nor the bounds, nor the program's end.

Both are started at the first record, by ``_thread.start_new_thread``: a log call may
come from a signal handler, and ``threading.Thread.start`` takes locks that the
interrupted code may hold. They end with the interpreter, as daemon threads do; for
an orderly end ``atexit`` calls `Threads.stop` (see `TaskLog`).
"""

from __future__ import annotations

import _thread
import contextlib
import logging
import threading
import time
from queue import Empty
from typing import TYPE_CHECKING

from otel_tasklog.delivery._senders import Outcome, Retry
from otel_tasklog.delivery._worker import Stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tasklog.delivery._buffer import Intake
    from otel_tasklog.delivery._outbox import Batch, Outbox
    from otel_tasklog.delivery._senders import Sender
    from otel_tasklog.delivery._worker import Worker

__all__ = ["Threads"]

_log = logging.getLogger("otel_tasklog")

LONGEST_SECONDS = 1e8


class Threads:
    """Starts and stops the worker and the sender.

    Args:
        worker: What the one turns.
        intake: Whose inbox it waits at.
        outbox: Whose batches the other sends; None if nothing is exported.
        sender: How it sends them.

        own_threads: Holds the idents of both, while they run.
    """

    def __init__(
        self,
        worker: Worker,
        intake: Intake,
        outbox: Outbox | None,
        sender: Sender | None,
        *,
        own_threads: set[int | None],
        on_worker: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._worker = worker
        self._intake = intake
        self._outbox = outbox
        self._sender = sender
        self._started = False
        self._own_threads = own_threads
        self._on_worker = on_worker

    def start(self) -> bool:
        """Start the threads if they are not there. From a log call; no lock.

        Returns:
            Whether they are there.
        """
        if self._started:
            return True
        self._started = True
        try:
            if self._sender is not None:
                _thread.start_new_thread(self._send, (self._sender,))
            _thread.start_new_thread(self._turn, ())
        except RuntimeError:
            # No thread to be had, at the interpreter's end for example. The next
            # record tries again, and `stop` does the work itself.
            self._started = False
        return self._started

    def stop(self, timeout_seconds: float) -> None:
        """Deliver what is there within the time, count the rest, end the threads.

        Returns when that is done. It is done in this thread if no thread of ours
        can be started any more, as at the end of the interpreter.
        """
        wish = Stop(self._worker.clock.monotonic() + timeout_seconds)
        self.start()
        if self._started:
            self._intake.inbox.put(wish)
            # The worker keeps the deadline itself; a moment for its last turn.
            self._worker.stopped.wait(min(timeout_seconds + 1.0, LONGEST_SECONDS))
        else:
            self._finish_here(wish)

    def _turn(self) -> None:
        self._adopt("otel_tasklog worker")
        self._on_worker(_thread.get_ident())
        try:
            wait = 0.0
            while not self._worker.stopped.is_set():
                try:
                    wait = self._worker.turn(self._receive(wait))
                except Exception:  # noqa: BLE001 - it must not end
                    wait = 1.0
                    with contextlib.suppress(Exception):  # a handler's own fault
                        _log.exception("the delivery worker failed, and goes on")
        finally:
            self._own_threads.discard(_thread.get_ident())

    def _send(self, sender: Sender) -> None:
        self._adopt("otel_tasklog sender")
        try:
            while (batch := self._worker.to_send.get()) is not None:
                self._intake.inbox.put(_answer(sender, batch))
        finally:
            self._own_threads.discard(_thread.get_ident())

    def _adopt(self, name: str) -> None:
        threading.current_thread().name = name
        self._own_threads.add(_thread.get_ident())

    def _receive(self, wait: float) -> object:
        try:
            if wait <= 0:
                return self._intake.inbox.get_nowait()
            return self._intake.inbox.get(timeout=wait)
        except Empty:
            return None

    def _finish_here(self, wish: Stop) -> None:
        ident = _thread.get_ident()
        self._own_threads.add(ident)
        try:
            wait = self._worker.turn(wish)
            while not self._worker.stopped.is_set():
                batch = self._outbox.in_flight if self._outbox is not None else None
                if batch is not None and self._sender is not None:
                    wait = self._worker.turn(_answer(self._sender, batch))
                else:
                    time.sleep(wait)
                    wait = self._worker.turn(None)
        finally:
            self._own_threads.discard(ident)


def _answer(sender: Sender, batch: Batch) -> Outcome:
    try:
        return sender.send(batch.body)
    except Exception as error:  # noqa: BLE001 - a sender is anybody's code
        return Retry(f"{type(sender).__name__}.send raised {error!r}")
