"""Answers that may be large: encoded in slices, and sent in pieces.

Guarantees:

* Encoding takes a share of the interpreter, a fifth at most, and never all of it for
  longer than a slice: the application's event loop needs it, too. So an answer takes
  about five times as long as the work for it, from the first slice on.
* No step is as long as an answer: neither joining its parts nor handing them over.
* A client that takes nothing is given up on, and holds no more than what it was sent
  and what there is to send.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final, TypeVar

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from starlette.types import Receive, Scope, Send

__all__ = [
    "PIECE_BYTES",
    "RESPONSE_BYTES",
    "SLICE_SECONDS",
    "Pieces",
    "encode_values",
    "give",
    "rest_seconds",
]

T = TypeVar("T")

RESPONSE_BYTES: Final = 16 * 1024 * 1024
"""Of values in one answer; the first that is over it begins the next page."""

PIECE_BYTES: Final = 65_536
"""So much, and one value more, is joined and handed over at once."""

SLICE_SECONDS: Final = 0.0002
"""What is encoded in one go, at most. For so long nobody else has the interpreter."""

REST: Final = 4
REST_SECONDS: Final = 0.001
"""So many times as long as a slice took, and so long at least, is left to all else."""

TAKEN_SECONDS: Final = 30.0
"""A client that takes nothing of an answer for so long gives its place up."""


def rest_seconds(slice_seconds: float) -> float:
    """Return how long to leave the interpreter to others after a slice."""
    return max(REST * slice_seconds, REST_SECONDS)


def encode_values(
    values: Iterable[T], encode: Callable[[T], bytes], before: bytes, between: bytes
) -> tuple[list[bytes], int]:
    """Return the beginning of an answer, in pieces, and how many values are in it.

    As many as one answer may hold, one at least. Rests between slices, so it is for a
    thread without an event loop.

    Args:
        values: What the answer lists.
        encode: Returns one of them as it is sent.
        before: Stands before the first.
        between: Stands between two.
    """
    pieces: list[bytes] = []
    parts = [before]
    count = size = piece_bytes = 0
    started = time.perf_counter()
    for each in values:
        worked = time.perf_counter() - started
        if worked >= SLICE_SECONDS:
            time.sleep(rest_seconds(worked))
            started = time.perf_counter()
        encoded = encode(each)
        size += len(encoded)
        if count and size > RESPONSE_BYTES:
            break
        if count:
            parts.append(between)
        parts.append(encoded)
        count += 1
        piece_bytes += len(encoded)
        if piece_bytes >= PIECE_BYTES:
            pieces.append(b"".join(parts))
            parts, piece_bytes = [], 0
    return [*pieces, b"".join(parts)], count


async def give(send: Send, piece: bytes, patience_seconds: float) -> None:
    """Send a part of the body; raises TimeoutError if the client takes nothing."""
    async with asyncio.timeout(patience_seconds):
        await send({"type": "http.response.body", "body": piece, "more_body": True})


class Pieces(Response):
    """An answer whose body is sent piece by piece.

    Args:
        pieces: The body.
        media_type: What it is.
        headers: Of the answer, beside those of every answer.
    """

    def __init__(
        self,
        pieces: list[bytes],
        *,
        media_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        length = str(sum(map(len, pieces)))
        super().__init__(
            headers={**(headers or {}), "content-length": length},
            media_type=media_type,
        )
        self._pieces = pieces

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it; end it early if the client takes nothing."""
        await send({
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        })  # fmt: skip
        with contextlib.suppress(TimeoutError):  # and the server hangs up
            for piece in self._pieces:
                await give(send, piece, TAKEN_SECONDS)
                await asyncio.sleep(0)  # a server's send need not wait for anything
            await send({"type": "http.response.body", "body": b""})
