"""A follower's records, sent to a client as they come.

Guarantees:

* A client that reads slowly, or not at all, holds up neither the loggers nor the
  event loop: its follower leaves out what it has no room for, and counts it.
* All tails of an application together take a share of its event loop, and of the
  interpreter, that does not grow with their number: they take turns, a slice of a
  fraction of a millisecond each, and pause.
* A client that leaves takes its follower with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_tasklog._errors import FollowerError
from otel_tasklog.viewer._pieces import PIECE_BYTES, SLICE_SECONDS, give, rest_seconds
from otel_tasklog.viewer._record_json import RecordEncoder, dumps

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from otel_tasklog.capture._record import TaskRecord
    from otel_tasklog.store._follow import Follower
    from otel_tasklog.viewer._record_json import Run

__all__ = ["EVENTS", "LINES", "Encoder", "Tail"]

HEARTBEAT_SECONDS: Final = 15.0
"""A client that is sent nothing for so long is sent a sign of life."""

STALLED_SECONDS: Final = 300.0
"""A client that takes nothing for so long gives its place up."""

TAKEN_RECORDS: Final = 256
"""So many are taken from a follower at once; what is behind them waits there."""

REMEMBERED_RECORDS: Final = 512
REMEMBERED_BYTES: Final = 8_192
"""How many encoded records are remembered, and how long each is at most."""


class Style(NamedTuple):
    """How a tail looks on the wire.

    Attributes:
        media_type: Of the answer.
        alive: A sign of life.
        record: Returns a record, from its sequence and its JSON.
        notice: Returns what the tail says of itself, from its name and its JSON.
    """

    media_type: bytes
    alive: bytes
    record: Callable[[Run, int, bytes], bytes]
    notice: Callable[[str, bytes], bytes]


def _event(run: Run, sequence: int, data: bytes) -> bytes:
    return b"id: %s\ndata: %s\n\n" % (run.id_of(sequence).encode(), data)


def _named_event(name: str, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)


def _line(_run: Run, _sequence: int, data: bytes) -> bytes:
    return data + b"\n"


def _named_line(_name: str, data: bytes) -> bytes:
    return data + b"\n"


EVENTS: Final = Style(b"text/event-stream", b": still there\n\n", _event, _named_event)
LINES: Final = Style(b"application/x-ndjson", b"\n", _line, _named_line)


class Encoder:
    """Encodes for all tails of an application, which send much the same records.

    Args:
        run: Makes the ids.

    Attributes:
        turn: Held by the tail that encodes.
    """

    def __init__(self, run: Run) -> None:
        self.turn: Final = asyncio.Lock()
        self._run = run
        self._records = RecordEncoder(run)
        # By sequence and time: after a fork, sequences begin anew.
        self._remembered: dict[tuple[int, int], bytes] = {}

    def encode(self, record: TaskRecord, style: Style) -> bytes:
        """Return a record as a tail sends it."""
        sequence = record.sequence
        key = sequence, record.timestamp_ns
        data = self._remembered.get(key)
        if data is None:
            data = self._records.encode(record)
            if len(data) <= REMEMBERED_BYTES:
                self._remembered[key] = data
                if len(self._remembered) > REMEMBERED_RECORDS:
                    del self._remembered[next(iter(self._remembered))]
        return style.record(self._run, sequence, data)


class Tail:
    """A response that goes on. Made in the event loop that sends it.

    Args:
        follower: What is sent.
        gap: What may be missing before the first record, or None.
        style: `EVENTS` or `LINES`.
        encoder: The application's.
        leave: Called once, at the end.
    """

    def __init__(
        self,
        follower: Follower,
        *,
        gap: str | None,
        style: Style,
        encoder: Encoder,
        leave: Callable[[], object],
    ) -> None:
        self._follower = follower
        self._gap = gap
        self._style = style
        self._encoder = encoder
        self._leave = leave
        self._told = 0  # of what was missed

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send until there is no more, or nobody to send to."""
        sending = asyncio.create_task(self._send_all(send))
        watching = asyncio.create_task(_until_left(receive))
        try:
            await asyncio.wait((sending, watching), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._leave()
            watching.cancel()
            if not sending.done():
                sending.cancel()
            await asyncio.wait((sending, watching))
        with contextlib.suppress(asyncio.CancelledError, OSError):  # it left
            sending.result()

    async def _send_all(self, send: Send) -> None:
        kind = self._style.media_type
        headers = [(b"content-type", kind), (b"x-accel-buffering", b"no")]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        await send(start)
        # A server sends the headers with the first part of the body, if an empty one.
        await give(
            send, self._notice("gap", self._gap) if self._gap else b"", STALLED_SECONDS
        )
        end = None
        while end is None:
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    records = await self._follower.take(TAKEN_RECORDS)
            except TimeoutError:
                await give(send, self._style.alive, STALLED_SECONDS)
            except FollowerError as error:
                end = str(error)
            else:
                await self._send_slices(send, records)
                end = None if records else "the TaskLog was closed"
        await give(send, self._notice("end", end), STALLED_SECONDS)
        await send({"type": "http.response.body", "body": b""})

    def _notice(self, name: str, value: object) -> bytes:
        return self._style.notice(name, dumps({name: value}))

    async def _send_slices(self, send: Send, records: list[TaskRecord]) -> None:
        unsent = deque(records)
        while unsent:
            async with self._encoder.turn:
                started = time.perf_counter()
                chunk = self._slice(unsent, until=started + SLICE_SECONDS)
                await asyncio.sleep(rest_seconds(time.perf_counter() - started))
            await give(send, chunk, STALLED_SECONDS)

    def _slice(self, unsent: deque[TaskRecord], until: float) -> bytes:
        """Take from the left of *unsent* what makes a slice."""
        parts: list[bytes] = []
        size, missed = 0, self._follower.missed
        if missed > self._told:
            self._told = missed
            parts.append(self._notice("missed", missed))
        while unsent:
            parts.append(self._encoder.encode(unsent.popleft(), self._style))
            size += len(parts[-1])
            if size >= PIECE_BYTES or time.perf_counter() >= until:
                break
        return b"".join(parts)


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
