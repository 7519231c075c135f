"""How one batch is sent, and everything that can come of it.

A `Sender` has one method. Its answer is one of a closed set, over OTLP/HTTP and over
OTLP/gRPC alike:

============= ========================= ========================= ==================
outcome       HTTP                      gRPC                      the batch
============= ========================= ========================= ==================
Accepted      2xx                       OK                        is delivered
Retry         429, 502, 503, 504, no    CANCELLED, ABORTED,       waits, for ever
              connection, time-outs     DEADLINE_EXCEEDED,
                                        OUT_OF_RANGE, DATA_LOSS,
                                        UNAVAILABLE; with a
                                        RetryInfo also
                                        RESOURCE_EXHAUSTED
Misconfigured 401, 403, 404, 405, 407,  UNAUTHENTICATED,          waits 30 to 60 s
              501, a web page, TLS,     PERMISSION_DENIED,
              no address, 3xx that is   UNIMPLEMENTED, no
              not followed              address, TLS
TooLarge      413, or a 400 whose       RESOURCE_EXHAUSTED,       is halved, or cut
              text says so              OUT_OF_RANGE or
                                        INVALID_ARGUMENT whose
                                        text says so
Rejected      everything else           everything else           is refused
============= ========================= ========================= ==================

See https://opentelemetry.io/docs/specs/otlp/
"""

from __future__ import annotations

import dataclasses
from typing import Final, Protocol, TypeAlias

from otel_tasklog._config import VERSION
from otel_tasklog._text import visible
from otel_tasklog.delivery._answer import partial_success

__all__ = [
    "MAX_ANSWER_BYTES",
    "USER_AGENT",
    "Accepted",
    "Misconfigured",
    "Outcome",
    "Rejected",
    "Retry",
    "Sender",
    "TooLarge",
    "accepted",
    "says_too_large",
]

USER_AGENT: Final = f"otel-tasklog/{VERSION}"
MAX_ANSWER_BYTES: Final = 4_194_304
_MESSAGE_CHARACTERS: Final = 300
_TOO_LARGE_WORDS: Final = ("too large", "larger than", "exceeds", "body size")


@dataclasses.dataclass(frozen=True, slots=True)
class _Answered:
    """What all outcomes have.

    Attributes:
        status: The status of the HTTP answer, or gRPC's name for that of the call;
            None without an answer. It decides nothing.
        date: The ``Date`` of the HTTP answer, for whoever compares clocks.
    """

    status: int | str | None = dataclasses.field(
        default=None, kw_only=True, compare=False
    )
    date: str | None = dataclasses.field(
        default=None, kw_only=True, compare=False, repr=False
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Accepted(_Answered):
    """The receiver took the batch, but for *rejected* records of it."""

    rejected: int = 0
    message: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Retry(_Answered):
    """Not now. *busy*: the receiver said so, after how many seconds if it did."""

    message: str
    after_seconds: float | None = None
    busy: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class TooLarge(_Answered):
    """The batch is too large for the receiver."""

    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class Misconfigured(_Answered):
    """No batch will pass until somebody mends something; the message says what."""

    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class Rejected(_Answered):
    """The receiver refuses this batch for good."""

    reason: str
    message: str


Outcome: TypeAlias = Accepted | Retry | TooLarge | Misconfigured | Rejected


class Sender(Protocol):
    """Sends one encoded batch and says what came of it."""

    def send(self, body: bytes) -> Outcome:
        """Send an ``ExportLogsServiceRequest``. Blocks; must not raise."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


def accepted(answer: bytes, *, is_json: bool = False) -> Accepted:
    """Return the outcome for the OTLP body of an answer that says yes."""
    try:
        rejected, message = partial_success(answer, is_json=is_json)
    except ValueError:
        return Accepted()  # it is taken, whatever else is wrong with who says so
    return Accepted(max(rejected, 0), visible(message[:_MESSAGE_CHARACTERS]))


def says_too_large(text: str) -> bool:
    """Return whether a receiver's words mean the size of the batch."""
    return any(words in text.lower() for words in _TOO_LARGE_WORDS)
