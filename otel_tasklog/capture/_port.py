"""Where handlers hand their records over; all that they know of a TaskLog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from otel_tasklog.capture._shape import STANDARD_FIELDS, Guesses, Shapes

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tasklog.capture._clean import Cleaner, Limits
    from otel_tasklog.capture._handler import TaskLogHandler
    from otel_tasklog.capture._names import AttributeNames
    from otel_tasklog.capture._record import Captured

__all__ = ["Port"]


def _nowhere(captured: Captured) -> None:
    """Take a record before there is anybody to give it to."""


class Port:
    """Where the handlers of one TaskLog hand their records over.

    It stays the same when what is behind it changes, as in a forked child.

    Attributes:
        accept: Takes a `Captured`; must neither wait nor raise.
        next_sequence: Draws the next number; one step of the interpreter.
        wake: Asks for delivery soon.
        own_threads: Threads whose records are ours and go nowhere,
        worker_thread: but for one of them, where others' objects are freed, too.
        closed: Nobody takes what is handed over here any more.
        last_ns: The timestamp of the record before.
        limits: What is longer is cut in the call.
        clean: Takes secrets out of a text that is shown beside the records.
        handlers: Who hands over here.
        shapes: Those of the records that came by,
        guesses: and where to look first.
    """

    __slots__ = (
        "accept", "clean", "closed", "guesses", "handlers", "last_ns", "limits",
        "next_sequence", "own_threads", "shapes", "wake", "worker_thread",
    )  # fmt: skip

    def __init__(self, names: AttributeNames, cleaner: Cleaner) -> None:
        self.wake: Callable[[], None] = lambda: None
        self.accept: Callable[[Captured], None] = _nowhere
        self.next_sequence: Callable[[], Any] = int
        self.own_threads: set[int | None] = set()
        self.worker_thread: int | None = None
        self.closed: bool = False
        self.last_ns: int = 0
        self.handlers: WeakSet[TaskLogHandler] = WeakSet()
        self.limits: Limits = cleaner.limits
        self.clean: Callable[[str], str] = cleaner.text
        self.shapes: Shapes = Shapes(names, ignored=STANDARD_FIELDS)
        self.guesses: Guesses = self.shapes.guesses

    def know_worker(self, ident: int) -> None:
        """Learn which thread is the worker's."""
        self.worker_thread = ident

    def close(self) -> None:
        """Send the handlers away; one made by hand finds the next TaskLog itself."""
        self.closed = True
        for handler in list(self.handlers):
            handler.connect(None)
