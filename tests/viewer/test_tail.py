"""A tail: records as they come, to clients of every kind; each call driven by hand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from otel_tasklog.viewer import _application, _pieces, _tail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from conftest import Harness
    from starlette.types import ASGIApp, Message

LINES = "format=ndjson"


class Call:
    """One request, as a server sees it.

    Attributes:
        takes: Whether the client takes what is sent.
        breaks: Whether what is sent breaks the connection.
        ended: Whether the body has.
    """

    def __init__(self, app: ASGIApp, query: str, last_event_id: str | None) -> None:
        self.takes = asyncio.Event()
        self.takes.set()
        self.breaks = self.ended = False
        self._sent: asyncio.Queue[Message] = asyncio.Queue()
        self._left = asyncio.Event()
        headers = [(b"host", b"localhost")]
        if last_event_id is not None:
            headers.append((b"last-event-id", last_event_id.encode()))
        scope: dict[str, Any] = {
            "type": "http", "method": "GET", "path": "/v1/tail", "root_path": "",
            "query_string": query.encode(), "headers": headers,
            "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http",
            "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 9),
        }  # fmt: skip
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))
        self._unread = b""
        self._asked = False

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await self.takes.wait()
        if self.breaks:
            raise ConnectionResetError
        self._sent.put_nowait(message)

    async def chunk(self) -> bytes:
        """Return the next part of the body."""
        message = await asyncio.wait_for(self._sent.get(), 10)
        self.ended = not message.get("more_body", False)
        return bytes(message["body"])

    async def part(self, end: bytes) -> str:
        """Return the body's next part up to *end*."""
        while end not in self._unread:
            assert not self.ended
            self._unread += await self.chunk()
        part, _, self._unread = self._unread.partition(end)
        return part.decode("ascii")

    async def start(self) -> Message:
        message = await asyncio.wait_for(self._sent.get(), 10)
        assert message["type"] == "http.response.start"
        return message

    async def event(self) -> dict[str, str]:
        """Return the fields of the next event, without the signs of life."""
        while True:
            block = await self.part(b"\n\n")
            if not block.startswith(":"):
                return dict(line.split(": ", 1) for line in block.split("\n"))

    async def line(self) -> dict[str, Any]:
        """Return the next line's value, without the signs of life."""
        while True:
            line = await self.part(b"\n")
            if line:
                value: dict[str, Any] = json.loads(line)
                return value

    async def messages(self, count: int) -> list[str]:
        return [(await self.line())["message"] for _ in range(count)]

    async def leave(self) -> None:
        self._left.set()
        await asyncio.wait_for(self.task, 10)


class Server:
    """An application, and who asks it."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.app: ASGIApp = harness.tasklog.asgi(open_to_all=True)

    async def log(self, *texts: str) -> None:
        """Log, and have the worker come to it."""
        for text in texts:
            self.harness.log.info(text)
        assert await self.harness.tasklog.aflush()

    async def refused(self, query: str = "", last: str | None = None) -> Message:
        call = Call(self.app, query, last)
        start = await call.start()
        await call.task
        return start

    @contextlib.asynccontextmanager
    async def tail(
        self, query: str = LINES, last: str | None = None
    ) -> AsyncIterator[Call]:
        call = Call(self.app, query, last)
        start = await call.start()
        assert start["status"] == 200, await call.chunk()
        try:
            yield call
        finally:
            call.takes.set()
            await call.leave()

    @property
    def is_followed(self) -> bool:
        return bool(self.harness.tasklog._followers)


def serving(
    harness: Harness, test: Callable[[Server], Coroutine[Any, Any, None]]
) -> None:
    asyncio.run(test(Server(harness)))


def test_records_come_as_events_with_their_ids(harness: Harness) -> None:
    async def test(server: Server) -> None:
        async with server.tail("") as call:
            await server.log("one", "two\n\ndata: three")
            for text in ("one", "two\n\ndata: three"):
                event = await call.event()
                record = json.loads(event["data"])
                assert record["message"] == text
                assert event == {"id": record["id"], "data": event["data"]}

    serving(harness, test)


def test_what_kind_of_answer_it_is(harness: Harness) -> None:
    async def test(server: Server) -> None:
        for query, kind in (
            ("", b"text/event-stream"),
            (LINES, b"application/x-ndjson"),
        ):
            call = Call(server.app, query, None)
            headers = dict((await call.start())["headers"])
            assert headers[b"content-type"] == kind
            assert headers[b"cache-control"] == b"no-store"
            assert headers[b"x-accel-buffering"] == b"no"
            await call.leave()

    serving(harness, test)


def test_the_query_chooses_and_the_backlog_comes_first(harness: Harness) -> None:
    async def test(server: Server) -> None:
        await server.log("old x", "old y", "older no more x")
        async with server.tail(f"{LINES}&q=x&backlog=1") as call:
            await server.log("new y", "new x")
            assert await call.messages(2) == ["older no more x", "new x"]

    serving(harness, test)


def test_a_client_is_sent_signs_of_life(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tail, "HEARTBEAT_SECONDS", 0.01)

    async def test(server: Server) -> None:
        for query, sign in (("", b": still there\n\n"), (LINES, b"\n")):
            async with server.tail(query) as call:
                assert await call.chunk() == b""  # which carries the headers
                assert [await call.chunk() for _ in range(3)] == [sign] * 3

    serving(harness, test)


def test_a_client_resumes_where_it_was(harness: Harness) -> None:
    async def test(server: Server) -> None:
        async with server.tail("") as call:
            await server.log("one", "two")
            await call.event()
            last = (await call.event())["id"]
        await server.log("three")
        for query, header in ((LINES, last), (f"{LINES}&cursor={last}", None)):
            async with server.tail(query, header) as call:
                await server.log("four")
                assert (await call.messages(2))[0] == "three"

    serving(harness, test)


def test_what_is_no_longer_in_memory_is_said_to_be_missing(
    make: Callable[..., Harness],
) -> None:
    async def test(server: Server) -> None:
        async with server.tail("") as call:
            await server.log("first")
            last = (await call.event())["id"]
        await server.log(*map(str, range(8)))
        async with server.tail("", last) as call:
            gap = await call.event()
            assert gap["event"] == "gap"
            assert "no longer all in memory" in json.loads(gap["data"])["gap"]
            assert json.loads((await call.event())["data"])["message"] == "3"

    serving(make(ring_records=5), test)


def test_more_than_a_tail_may_begin_with_is_said_to_be_elsewhere(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_application, "RECORDS", 3)

    async def test(server: Server) -> None:
        async with server.tail() as call:
            await server.log("first")
            last = (await call.line())["id"]
        await server.log(*map(str, range(5)))
        async with server.tail(last=last) as call:
            assert "/v1/records with order=oldest" in (await call.line())["gap"]
            assert await call.messages(3) == ["2", "3", "4"]

    serving(harness, test)


def test_after_a_restart_all_that_is_in_memory_comes(harness: Harness) -> None:
    async def test(server: Server) -> None:
        await server.log("since the start")
        async with server.tail(last="70000-0123456789ab") as call:
            assert "a restart" in (await call.line())["gap"]
            assert await call.messages(1) == ["since the start"]

    serving(harness, test)


def test_a_slow_client_is_told_how_many_it_missed(harness: Harness) -> None:
    """And the logger has noticed nothing."""

    async def test(server: Server) -> None:
        async with server.tail() as call:
            await server.log("first")
            assert await call.messages(1) == ["first"]
            call.takes.clear()
            await server.log(*map(str, range(3_000)))
            call.takes.set()
            await server.log("last")
            got, missed = [], 0
            while "last" not in got:
                line = await call.line()
                missed = line.get("missed", missed)
                if "message" in line:
                    got.append(line["message"])
            assert missed > 0
            assert missed + len(got) == 3_001
            assert got == [*sorted(got[:-1], key=int), "last"]

    serving(harness, test)


def test_a_client_that_takes_nothing_for_long_gives_its_place_up(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tail, "STALLED_SECONDS", 0.01)

    async def test(server: Server) -> None:
        call = Call(server.app, LINES, None)
        await call.start()
        call.takes.clear()
        await server.log("nobody takes this")
        await asyncio.wait_for(call.task, 10)
        assert not server.is_followed

    serving(harness, test)


def test_tails_take_turns_of_a_slice_each(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So their share of the event loop does not grow with their number."""
    monkeypatch.setattr(_tail, "SLICE_SECONDS", 0.0)  # a record is always sent

    async def test(server: Server) -> None:
        await server.log(*map(str, range(6)))
        taken: list[tuple[int, int]] = []

        async def read(number: int) -> None:
            async with server.tail(f"{LINES}&backlog=6") as call:
                for _ in range(7):
                    count = (await call.chunk()).strip().count(b"message")
                    taken.append((number, count))

        await asyncio.gather(read(0), read(1))
        counts = [count for _, count in taken if count]
        assert counts == [1] * 12
        turns = [number for number, count in taken if count]
        assert turns in ([0, 1] * 6, [1, 0] * 6)

    serving(harness, test)


def test_a_slice_ends_when_its_time_is_up(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is left to others is four times as long, a millisecond at least."""
    now = 0.0

    def read_clock() -> float:
        nonlocal now
        now += _pieces.SLICE_SECONDS * 0.4
        return now

    monkeypatch.setattr(time, "perf_counter", read_clock)
    assert _pieces.rest_seconds(0.0) == _pieces.REST_SECONDS
    assert _pieces.rest_seconds(1.0) == 4.0

    async def test(server: Server) -> None:
        await server.log(*map(str, range(9)))
        async with server.tail(f"{LINES}&backlog=9") as call:
            assert await call.chunk() == b""
            counts = [(await call.chunk()).count(b"\n") for _ in range(3)]
            assert counts == [3, 3, 3]

    serving(harness, test)


def test_large_records_make_small_slices(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tail, "SLICE_SECONDS", 10.0)

    async def test(server: Server) -> None:
        await server.log(*["x" * 30_000] * 10)
        async with server.tail(f"{LINES}&backlog=10") as call:
            assert await call.chunk() == b""
            assert (await call.chunk()).count(b"\n") == 3
            assert await call.messages(7) == ["x" * 30_000] * 7

    serving(harness, test)


@pytest.mark.parametrize("how", ["it left", "it broke off", "the server stops"])
def test_a_client_that_goes_takes_its_follower_with_it(
    harness: Harness, how: str
) -> None:
    async def test(server: Server) -> None:
        call = Call(server.app, LINES, None)
        await call.start()
        await call.chunk()
        assert server.is_followed
        if how == "it left":
            await call.leave()
        elif how == "it broke off":
            call.breaks = True
            await server.log("to nobody")
            await asyncio.wait_for(call.task, 10)
        else:
            call.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await call.task
        assert not server.is_followed

    serving(harness, test)


def test_there_is_room_for_so_many_and_a_place_is_free_again(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_application, "TAILS", 2)

    async def test(server: Server) -> None:
        async with server.tail():
            async with server.tail():
                start = await server.refused()
                assert start["status"] == 503
                assert (b"retry-after", b"1") in start["headers"]
            assert (await server.refused("backlog=x"))["status"] == 400
            assert (await server.refused("cursor=x"))["status"] == 400
            async with server.tail():
                pass

    serving(harness, test)


def test_a_closed_tasklog_ends_its_tails(harness: Harness) -> None:
    async def test(server: Server) -> None:
        call = Call(server.app, "", None)
        await call.start()
        await server.log("last words")
        await server.harness.tasklog.aclose()
        assert json.loads((await call.event())["data"])["message"] == "last words"
        assert (await call.event())["event"] == "end"
        assert await call.chunk() == b""
        assert call.ended
        await asyncio.wait_for(call.task, 10)

    serving(harness, test)
