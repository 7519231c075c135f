"""A receiver that hangs, and the event loop of the program that logs to it."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import TYPE_CHECKING, Self

import pytest

import otel_tasklog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e

TICK_SECONDS = 0.005
LATE_SECONDS = 0.5
"""A busy machine delays a tick, too, but not by what the waits below would."""

HANG_SECONDS = 2.0


@pytest.fixture
def hanging() -> Iterator[str]:
    """Accepts connections, and never reads or answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


class Ticks:
    """How late the loop was at most, while something else went on."""

    def __init__(self) -> None:
        self.count = 0
        self.latest_seconds = 0.0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *raised: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(TICK_SECONDS)
            late = time.monotonic() - before - TICK_SECONDS
            self.latest_seconds = max(self.latest_seconds, late)
            self.count += 1


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("spool", [False, True], ids=["memory", "spool"])
def test_neither_logging_nor_flushing_nor_closing_holds_up_the_loop(
    hanging: str, protocol: str, tmp_path: Path, *, spool: bool
) -> None:
    """The buffer is full most of the time, so records are dropped, or go to disk."""
    tasklog = otel_tasklog.install(
        level="INFO", console=False, endpoint=hanging, protocol=protocol,
        buffer_records=2_000, timeout_seconds=60, exit_timeout_seconds=HANG_SECONDS,
        spool_dir=tmp_path if spool else None, spool_fsync=spool,
        blocked_after_seconds=None,  # a busy machine would make it one record more
    )  # fmt: skip
    log = logging.getLogger("busy")
    calls: list[float] = []

    async def main() -> Ticks:
        async with Ticks() as ticks:
            for number in range(10_000):
                before = time.perf_counter()
                log.info("record %d", number)
                calls.append(time.perf_counter() - before)
                if not number % 50:
                    await asyncio.sleep(0)
            assert await tasklog.aflush(HANG_SECONDS) is False
            await tasklog.aclose()
        return ticks

    ticks = asyncio.run(main())
    stats = tasklog.stats()
    assert stats.delivered == 0
    assert stats.dropped + stats.spooled == 10_000
    assert ticks.count > HANG_SECONDS / TICK_SECONDS / 4
    assert ticks.latest_seconds < LATE_SECONDS
    assert max(calls) < LATE_SECONDS
