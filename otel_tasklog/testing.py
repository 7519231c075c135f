"""Doubles for tests of code that logs, and of this library.

Example:
    A test that looks at what a function logged::

        from otel_tasklog.testing import captured_records


        def test_charge_logs_the_amount():
            with captured_records() as tasklog:
                charge("order-1")
            [record] = tasklog.query(task_id="order-1")
            assert record.attributes["amount"] == 12.5
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING

from otel_tasklog._config import Config
from otel_tasklog._tasklog import TaskLog
from otel_tasklog.delivery._decode import DecodedRecord, decode_request
from otel_tasklog.delivery._senders import (
    Accepted,
    Misconfigured,
    Outcome,
    Rejected,
    Retry,
    TooLarge,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

__all__ = [
    "Accepted",
    "FakeClock",
    "MemorySender",
    "Misconfigured",
    "Outcome",
    "Rejected",
    "Retry",
    "TooLarge",
    "captured_records",
]


class FakeClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now: float = 1_000.0

    def monotonic(self) -> float:
        """Return the time that was set last."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class MemorySender:
    """A sender that keeps what it is given.

    Args:
        outcomes: What to answer, one after the other; then always `Accepted`.

    Attributes:
        bodies: Every request, also the ones that were not accepted.
    """

    def __init__(self, outcomes: Iterable[Outcome] = ()) -> None:
        self.bodies: list[bytes] = []
        self.accepted: list[bytes] = []
        self.closed: bool = False
        self._outcomes = deque(outcomes)

    def send(self, body: bytes) -> Outcome:
        """Keep a request and answer with the next outcome."""
        outcome = self._outcomes.popleft() if self._outcomes else Accepted()
        self.bodies.append(body)
        if isinstance(outcome, Accepted):
            self.accepted.append(body)
        return outcome

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    @property
    def records(self) -> list[DecodedRecord]:
        """The records of the accepted requests, in their order."""
        return [record for body in self.accepted for record in decode_request(body)]


@contextlib.contextmanager
def captured_records(
    logger: str = "", level: int | str = "DEBUG"
) -> Generator[TaskLog]:
    """Capture what is logged in the block; query the value for it, also after.

    Beside whatever is installed, and without delivery.

    Args:
        logger: Where to listen; the root logger by default.
        level: The logger's level for the time of the block.
    """
    tasklog = TaskLog(Config(exporter=None))
    target = logging.getLogger(logger)
    before = target.level
    target.addHandler(tasklog.handler)
    target.setLevel(level)
    try:
        yield tasklog
    finally:
        target.setLevel(before)
        target.removeHandler(tasklog.handler)
        tasklog.close()
