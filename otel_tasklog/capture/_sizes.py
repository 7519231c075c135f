"""What records take: estimates by which the ring and the buffer are bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_tasklog.capture._record import BODY, MESSAGE, NO_REST, REST, SIZE, VALUES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from otel_tasklog.capture._record import Sealed, Whole
    from otel_tasklog.capture._values import Value

__all__ = [
    "LARGE_BYTES",
    "RECORD_BYTES",
    "SEALED_BYTES",
    "dropped_attributes",
    "length",
    "sealed_sizes",
]

# As a name of this module's own: compiled, one of another that is not has to be
# looked up each time.
_NO_REST: Final = NO_REST

RECORD_BYTES: Final = 700
"""What a `Captured` takes without its texts."""

SEALED_BYTES: Final = 400
"""What a `Sealed` takes without its texts."""

LARGE_BYTES: Final = RECORD_BYTES + 8_192
"""From here on what is long in a record is cut in the call, so that nobody's 10 MB
string is kept for a line of log."""

_LIGHTER_BYTES: Final = RECORD_BYTES - SEALED_BYTES


def length(value: Value) -> int:
    """Return the bytes that a value takes, estimated."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, tuple):
        return 56 + sum(8 + length(item) for item in value)
    if isinstance(value, dict):
        return 64 + sum(50 + len(k) + length(v) for k, v in value.items())
    return 32


def sealed_sizes(taken: Sequence[Whole], finished: Sequence[Whole]) -> list[int]:
    """Return what finished records take, from what they took before."""
    sizes: list[int] = []
    for captured, sealed in zip(taken, finished, strict=True):
        size: int = captured[SIZE]
        light = size < LARGE_BYTES and sealed[REST] is _NO_REST
        sizes.append(size - _LIGHTER_BYTES if light else _size(sealed))
    return sizes


def _size(sealed: Sealed) -> int:
    """Return it of a record of which the limits may have cut something."""
    body = sealed[BODY]
    return (
        SEALED_BYTES
        + len(sealed[MESSAGE])
        + (length(body) if body is not None else 0)
        + sum([length(value) for value in sealed[VALUES]])
        + sum([len(text) for text in sealed[REST] if type(text) is str])
    )


def dropped_attributes(finished: Iterable[Whole]) -> int:
    """Return how many attributes of the records there was no room for."""
    return sum([each[REST][-1] or 0 for each in finished if each[REST] is not _NO_REST])
