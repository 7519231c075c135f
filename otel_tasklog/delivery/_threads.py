"""The two threads of delivery, and their life.

The *worker* turns `Worker.turn` and waits in between. The *sender* blocks in one
request at a time and posts what came of it to the worker's inbox. So a receiver that
hangs delays neither the finishing of records, nor the bounds, nor the program's end.

Both are started at the first record, by ``_thread.start_new_thread``: a log call may
come from a signal handler, and ``threading.Thread.start`` takes locks that the
interrupted code may hold. They end with the interpreter, as daemon threads do; for
an orderly end ``atexit`` calls `Threads.stop` (see `TaskLog`).

Before a fork they leave, if they have nothing to do: Python warns of a fork in a
process with threads. The next record starts them again.
"""

from __future__ import annotations

import _thread
import contextlib
import logging
import threading
from queue import Empty
from typing import TYPE_CHECKING, Final

from otel_tasklog._process import is_listed, wait_while
from otel_tasklog.delivery._messages import Stop
from otel_tasklog.delivery._senders import Outcome, Retry
from otel_tasklog.delivery._waiting import lent

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tasklog.delivery._batch import Batch
    from otel_tasklog.delivery._buffer import Intake
    from otel_tasklog.delivery._outbox import Outbox
    from otel_tasklog.delivery._senders import Sender
    from otel_tasklog.delivery._waiting import Latch
    from otel_tasklog.delivery._worker import Worker

__all__ = ["Threads"]

_log = logging.getLogger("otel_tasklog")

PARK_SECONDS: Final = 0.05
"""At most so long a fork waits until idle threads have left."""

_LEAVE: Final = object()
"""The message that has the threads leave, if there is nothing to do."""


class Threads:
    """Starts and stops the worker and the sender.

    Args:
        worker: What the one turns.
        intake: Whose inbox it waits at.
        outbox: Whose batches the other sends; None if nothing is exported.
        sender: How it sends them.
        own_threads: Holds the idents of both, while they run.
        on_worker: Is told the worker's ident when it starts.
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
        self._turning = False
        self._sending = False
        self._own_threads = own_threads
        self._native_ids: set[int] = set()  # the system's names for them
        self._on_worker = on_worker

    def start(self) -> bool:
        """Start the threads if they are not there. From a log call; no lock.

        Returns:
            Whether they are there.
        """
        # Each look, the claim and the start are one unit for the interpreter, which
        # changes threads, and runs signal handlers, at the end of calls.
        try:
            if self._sender is not None and not self._sending:
                self._sending = True
                _thread.start_new_thread(self._send, (self._sender,))
        except RuntimeError:
            # No thread to be had, at the interpreter's end for example. The next
            # record tries again, and `stop` does the work itself.
            self._sending = False
            return False
        try:
            if not self._turning:
                self._turning = True
                _thread.start_new_thread(self._turn, ())
        except RuntimeError:
            self._turning = False
        return self._turning

    def stop(self, timeout_seconds: float) -> None:
        """Deliver what is there within the time, count the rest, end the threads.

        Returns when that is done. It is done in this thread if no thread of ours
        can be started any more, as at the end of the interpreter. A signal handler may
        call it in the middle of another call.
        """
        wish = Stop(self._worker.clock.monotonic() + timeout_seconds)
        # In this order, for the threads may be about to leave.
        self._intake.inbox.put(wish)
        if self.start():
            # The worker keeps the deadline itself; a moment for its last turn.
            self.wait_for(self._worker.stopped, timeout_seconds + 1.0)
        else:
            self._finish_here()

    def wait_for(self, latch: Latch, timeout_seconds: float) -> bool:
        """Wait for what the worker will set; return whether it did in time.

        The worker gets what it needs meanwhile, even if this thread has it: a signal
        handler may have interrupted the thread while it counted records.
        """
        with lent(self._worker.lock):
            return latch.wait(timeout_seconds)

    def park(self) -> None:
        """End the threads for now, if they have nothing to do.

        Before a fork, in whatever thread and state the program is: takes no lock,
        and waits for `PARK_SECONDS` at most. Threads that have work go on.
        """
        if (
            not self._turning
            or not self._worker.is_idle()
            or _thread.get_ident() in self._own_threads
        ):
            return
        leaving = list(self._native_ids)
        self._intake.inbox.put(_LEAVE)
        wait_while(lambda: any(map(self._is_there, leaving)), PARK_SECONDS)

    def _is_there(self, native_id: int) -> bool:
        return native_id in self._native_ids or is_listed(native_id)

    def _leave(self) -> bool:
        """Have both threads leave, unless there is something to do.

        On the worker's thread. Whatever comes before the look at the end is seen
        there. Who comes later finds no threads, and starts others.
        """
        if not self._worker.is_idle():
            return False
        if self._sender is not None:
            self._sending = False
            self._worker.to_send.put(None)  # if new ones are there, one of them leaves
        self._turning = False
        self._intake.parked = True
        if not (self._worker.is_idle() and self._intake.inbox.empty()):
            self.start()
        return True

    def _turn(self) -> None:
        self._adopt("otel_tasklog worker")
        self._on_worker(_thread.get_ident())
        try:
            wait = 0.0
            while not self._worker.stopped.is_set():
                message = self._receive(wait)
                if message is _LEAVE:
                    if self._leave():
                        return
                    message = None
                try:
                    wait = self._worker.turn(message)
                except Exception:  # noqa: BLE001 - it must not end
                    wait = 1.0
                    with contextlib.suppress(Exception):  # a handler's own fault
                        _log.exception("the delivery worker failed, and goes on")
        finally:
            self._disown()

    def _send(self, sender: Sender) -> None:
        self._adopt("otel_tasklog sender")
        try:
            while (batch := self._worker.to_send.get()) is not None:
                self._intake.inbox.put(_answer(sender, batch))
        finally:
            self._disown()

    def _adopt(self, name: str) -> None:
        threading.current_thread().name = name
        self._own_threads.add(_thread.get_ident())
        self._native_ids.add(_thread.get_native_id())

    def _disown(self) -> None:
        self._own_threads.discard(_thread.get_ident())
        self._native_ids.discard(_thread.get_native_id())

    def _receive(self, wait: float) -> object:
        try:
            if wait <= 0:
                return self._intake.inbox.get_nowait()
            return self._intake.inbox.get(timeout=wait)
        except Empty:
            return None

    def _finish_here(self) -> None:
        ident = _thread.get_ident()
        if ident in self._own_threads:  # a signal handler interrupted this very work
            return
        self._own_threads.add(ident)
        try:
            wait = 0.0
            while not self._worker.stopped.is_set():
                batch = self._outbox.in_flight if self._outbox is not None else None
                if batch is None or self._sender is None or self._sending:
                    message = self._receive(wait)
                else:
                    message = _answer(self._sender, batch)
                wait = self._worker.turn(None if message is _LEAVE else message)
        finally:
            self._own_threads.discard(ident)


def _answer(sender: Sender, batch: Batch) -> Outcome:
    try:
        return sender.send(batch.body)
    except Exception as error:  # noqa: BLE001 - a sender is anybody's code
        return Retry(f"{type(sender).__name__}.send raised {error!r}")
