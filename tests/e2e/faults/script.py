"""What a receiver is told to do: steps, each for some requests or some time."""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import Any, Final, Literal, TypeAlias

__all__ = ["ACCEPT", "Action", "Script", "Step"]

Action: TypeAlias = Literal[
    "accept",
    "answer",
    "partial",
    "hang",
    "trickle",
    "cut head",
    "cut body",
    "reset",
    "refuse",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """One behaviour. The last of a script goes on for ever.

    Attributes:
        do: ``accept`` takes a request and says so. ``answer`` says no with `status`
            or `code`. ``partial`` takes all but the first `rejects` records.
            ``hang`` reads a request and never answers. ``trickle`` takes it, and
            answers a byte each `pause_seconds`. ``cut head`` reads it, and hangs
            up in the middle of a yes; ``cut body`` after the head of it. ``reset`` resets the connection in the middle of the
            request. ``refuse`` closes the listener and all connections, and opens
            the same port when the step is over.
        requests: For how many requests it lasts; None: `seconds` says it.
        seconds: For how long; None: for ever, or for `requests`.
        over_bytes: Only for larger bodies; others are accepted, and do not count.
        path: Only for requests to this path; likewise.
        status: Of ``answer`` over HTTP.
        headers: Of ``answer`` over HTTP. A ``Retry-After`` of ``"date+2"`` becomes
            the date of two seconds later.
        text: The body of ``answer`` over HTTP; the details over gRPC.
        code: Of ``answer`` over gRPC, by its name.
        retry_seconds: A ``RetryInfo`` with the code, in ``grpc-status-details-bin``.
        keeps: Whether the receiver keeps what it answers so: an odd yes.
        refuses: Whether the answer is a no for good.
        rejects: How many records ``partial`` rejects of a request.
        pause_seconds: Of ``trickle``; over gRPC all of it is before the answer.
    """

    do: Action = "accept"
    requests: int | None = None
    seconds: float | None = None
    over_bytes: int = -1
    path: str = ""
    status: int = 503
    headers: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    text: str = ""
    code: str = "UNAVAILABLE"
    retry_seconds: float | None = None
    keeps: bool = False
    refuses: bool = False
    rejects: int = 1
    pause_seconds: float = 0.01

    def applies(self, path: str, size_bytes: int) -> bool:
        """Return whether this is the behaviour for such a request."""
        return size_bytes > self.over_bytes and self.path in ("", path)


ACCEPT: Final = Step()


class Script:
    """Which step it is. From any thread.

    Args:
        steps: As dictionaries of `Step`'s attributes.
    """

    def __init__(self, steps: list[dict[str, Any]]) -> None:
        self._steps = [Step(**step) for step in steps] or [ACCEPT]
        self._lock = threading.Lock()
        self._index = -1
        self._left: int | None = None
        self._until = 0.0
        self._next()

    def _next(self) -> None:
        self._index += 1
        step = self._steps[self._index]
        self._left = step.requests
        seconds = float("inf") if step.seconds is None else step.seconds
        self._until = time.monotonic() + seconds

    @property
    def _has_more(self) -> bool:
        return self._index < len(self._steps) - 1

    def step(self) -> Step:
        """Return the step of now."""
        with self._lock:
            if time.monotonic() >= self._until and self._has_more:
                self._next()
            return self._steps[self._index]

    def done(self, step: Step) -> None:
        """Note that a request was dealt with as a step says."""
        with self._lock:
            if step is not self._steps[self._index] or self._left is None:
                return
            self._left -= 1
            if self._left == 0 and self._has_more:
                self._next()
