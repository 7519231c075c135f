"""A follower's records, sent to a client as they come.

Guarantees:

* A client that reads slowly, or not at all, holds up neither the loggers nor the
  event loop: its follower leaves out what it has no room for, and counts it.
* All tails of an application together take a share of its event loop that does not
  grow with their number: they take turns, a slice of records each, and pause.
* A client that leaves takes its follower with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_tasklog._errors import FollowerError
from otel_tasklog.viewer._record_json import dumps, record_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from otel_tasklog.capture._record import TaskRecord
    from otel_tasklog.store._follow import Follower
    from otel_tasklog.viewer._record_json import Run

__all__ = ["EVENTS", "LINES", "REST", "SLICE_RECORDS", "Encoder", "Tail"]

HEARTBEAT_SECONDS: Final = 15.0
"""A client that is sent nothing for so long is sent a sign of life."""

STALLED_SECONDS: Final = 300.0
"""A client that takes nothing for so long gives its place up."""

SLICE_RECORDS: Final = 50
SLICE_BYTES: Final = 262_144
"""What is encoded in one go, a millisecond of the event loop or so."""

REST: Final = 4
"""So many times as long as a slice took, the event loop is left to all else."""

REMEMBERED_RECORDS: Final = 512
REMEMBERED_BYTES: Final = 8_192
"""How many encoded records are remembered, and how long each is at most."""


class Style(NamedTuple):
    """How a tail looks on the wire.

    Attributes:
        media_type: Of the answer.
        alive: A sign of life.
        record: Returns a record, from its id and its JSON.
        notice: Returns what the tail says of itself, from its name and its JSON.
    """

    media_type: bytes
    alive: bytes
    record: Callable[[str, bytes], bytes]
    notice: Callable[[str, bytes], bytes]


def _event(mark: str, data: bytes) -> bytes:
    return b"id: %s\ndata: %s\n\n" % (mark.encode(), data)


def _named_event(name: str, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)


def _line(_: str, data: bytes) -> bytes:
    return data + b"\n"


EVENTS: Final = Style(b"text/event-stream", b": still there\n\n", _event, _named_event)
LINES: Final = Style(b"application/x-ndjson", b"\n", _line, _line)


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
        self._remembered: dict[TaskRecord, bytes] = {}

    def encode(self, record: TaskRecord, style: Style) -> bytes:
        """Return a record as a tail sends it."""
        data = self._remembered.get(record)
        if data is None:
            data = dumps(record_json(record, self._run))
            if len(data) <= REMEMBERED_BYTES:
                self._remembered[record] = data
                if len(self._remembered) > REMEMBERED_RECORDS:
                    del self._remembered[next(iter(self._remembered))]
        return style.record(self._run.id_of(record.sequence), data)


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
        await _give(send, self._notice("gap", self._gap) if self._gap else b"")
        end = None
        while end is None:
            try:
                first = await self._read()
            except StopAsyncIteration:
                end = "the TaskLog was closed"
            except FollowerError as error:
                end = str(error)
            else:
                await self._send_slices(send, first)
        await _give(send, self._notice("end", end))
        await send({"type": "http.response.body", "body": b""})

    def _notice(self, name: str, value: object) -> bytes:
        return self._style.notice(name, dumps({name: value}))

    async def _read(self) -> TaskRecord | None:
        """Return the next record, or None if none came for long.

        Raises:
            StopAsyncIteration: Nothing will come any more.
            FollowerError: Likewise.
        """
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                return await anext(self._follower)
        except TimeoutError:
            return None

    async def _with_more(self, first: TaskRecord) -> list[TaskRecord]:
        """Return a record and those that have come after it, the newest first."""
        found = [first]
        # What ends the following is met again by the next read.
        ends = (TimeoutError, StopAsyncIteration, FollowerError)
        with contextlib.suppress(*ends):
            async with asyncio.timeout(0):  # what is there, without waiting
                while len(found) < SLICE_RECORDS:
                    found.append(await anext(self._follower))
        return found[::-1]

    async def _send_slices(self, send: Send, first: TaskRecord | None) -> None:
        if first is None:
            await _give(send, self._style.alive)
            return
        records: list[TaskRecord] | None = None
        while records is None or records:
            async with self._encoder.turn:
                started = time.perf_counter()
                if records is None:  # reading has its share in what a slice takes
                    records = await self._with_more(first)
                chunk = self._slice(records)
                await asyncio.sleep(REST * (time.perf_counter() - started))
            await _give(send, chunk)

    def _slice(self, records: list[TaskRecord]) -> bytes:
        """Take from the end of *records* what makes a slice."""
        parts: list[bytes] = []
        size, missed = 0, self._follower.missed
        if missed > self._told:
            self._told = missed
            parts.append(self._notice("missed", missed))
        while records and size < SLICE_BYTES:
            parts.append(self._encoder.encode(records.pop(), self._style))
            size += len(parts[-1])
        return b"".join(parts)


async def _give(send: Send, chunk: bytes) -> None:
    """Send a part of the body; raises TimeoutError if the client takes nothing."""
    async with asyncio.timeout(STALLED_SECONDS):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
