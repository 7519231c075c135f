"""A tail of Loki in an event loop: connected, and connected again."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from otel_tasklog._errors import StorageError
from otel_tasklog.store._loki_client import AsyncConnection
from otel_tasklog.store._loki_tail import BURST_SECONDS, SILENCE_SECONDS

if TYPE_CHECKING:
    from httpx2.websockets import AsyncWebSocketSession

    from otel_tasklog.store._loki_client import Settings
    from otel_tasklog.store._loki_records import Stored
    from otel_tasklog.store._loki_tail import Tail

__all__ = ["Following"]

WAITING_RECORDS: Final = 1_000
"""So many may have been read that nobody has asked for yet."""

FRAME_BYTES: Final = 16 * 1024 * 1024


class Following:
    """Reads a tail, from the first record that is asked for on. In one event loop.

    Args:
        settings: Of the Loki.
        tail: What is followed.
    """

    def __init__(self, settings: Settings, tail: Tail) -> None:
        self._settings = settings
        self._tail = tail
        self._came: asyncio.Queue[Stored | None] = asyncio.Queue(WAITING_RECORDS)
        # The websocket has a task group, which no generator may be suspended in.
        self._reader: asyncio.Task[None] | None = None

    async def next(self) -> Stored:
        """Return the next record, once there is one.

        Raises:
            StorageError: Loki refuses.
        """
        if self._reader is None:
            self._reader = asyncio.create_task(self._read(), name="loki tail")
        record = await self._came.get()
        if record is None:
            self._came.put_nowait(None)  # whoever asks again is told the same
            await self._reader
            raise StorageError(f"the tail of {self._settings.address} was closed")
        return record

    async def close(self) -> None:
        """End the reading."""
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._reader

    async def _read(self) -> None:
        connection = AsyncConnection(self._settings)
        try:
            async for page in connection.run(self._tail.backlog()):
                await self._put(page)
            while True:
                await self._connected(connection)
                await self._caught_up(connection)
                await asyncio.sleep(self._tail.pause_seconds)
        finally:
            await connection.close()
            while self._came.full():  # nobody reads on, or the end is what is next
                self._came.get_nowait()
            self._came.put_nowait(None)

    async def _connected(self, connection: AsyncConnection) -> None:
        """Take what one connection brings, until it ends or brings too little."""
        from httpx2 import HTTPError
        from httpx2.websockets import HTTPXWSException

        refusal: StorageError | None = None
        try:
            async with connection.client.websocket(**self._opening()) as socket:
                try:
                    await self._heard(connection, socket)
                except StorageError as error:  # not out of the group of tasks
                    refusal = error
        except* (HTTPError, HTTPXWSException) as group:
            self._tail.failed(group.exceptions[0])
        if refusal is not None:
            raise refusal

    def _opening(self) -> dict[str, Any]:
        scheme, _, rest = self._settings.address.partition("://")
        return {
            "url": f"{'wss' if scheme == 'https' else 'ws'}://{rest}/loki/api/v1/tail",
            "params": self._tail.parameters,
            "max_message_size_bytes": FRAME_BYTES,
            # Silence is met by a question, which tells more than an answered ping.
            "keepalive_ping_interval_seconds": None,
        }

    async def _heard(
        self, connection: AsyncConnection, socket: AsyncWebSocketSession
    ) -> None:
        tail, clock = self._tail, asyncio.get_running_loop().time
        await self._caught_up(connection)
        due, was_silent = clock() + SILENCE_SECONDS, True
        while True:
            try:
                text = await socket.receive_text(timeout=max(due - clock(), 0.0))
            except TimeoutError:
                if await self._caught_up(connection):
                    tail.heard()
                elif was_silent:
                    return
                due, was_silent = clock() + SILENCE_SECONDS, True
            else:
                await self._put(tail.frame(text))
                if tail.lost:
                    await self._caught_up(connection)
                if was_silent:
                    due, was_silent = clock() + BURST_SECONDS, False

    async def _caught_up(self, connection: AsyncConnection) -> bool:
        """Take what no frame has brought; return whether it is known that it is none."""
        is_none = True
        try:
            async for page in connection.run(self._tail.caught_up()):
                is_none = False
                await self._put(page)
        except StorageError as error:
            self._tail.failed(error)
            return False
        return is_none

    async def _put(self, page: list[Stored]) -> None:
        for each in page:
            await self._came.put(each)
