"""Which event loops are known, and that each is watched once."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import pytest
from loops import LOOPS

import otel_tasklog
from otel_tasklog import Config
from otel_tasklog._loops import Loops

if TYPE_CHECKING:
    from collections.abc import Callable

    from loops import Run

run_in = pytest.mark.parametrize("run", LOOPS)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


class Watched:
    """The loops of a process, and which of them one was asked to watch."""

    def __init__(self) -> None:
        self.loops: list[asyncio.AbstractEventLoop] = []
        config = Config(blocked_after_seconds=None)
        self.known = Loops(logging.NullHandler(), config, self.loops.append)


async def number_a_task() -> None:
    with otel_tasklog.task("order-1"):
        pass


@run_in
def test_the_running_one_is_watched_once(run: Run) -> None:
    async def main() -> None:
        watched = Watched()
        for _ in range(2):
            watched.known.note_running()
        assert watched.loops == [asyncio.get_running_loop()]

    run(main())
    watched = Watched()
    watched.known.note_running()  # there is none
    assert watched.loops == []


@run_in
def test_one_in_which_a_task_has_a_number_is_found(run: Run) -> None:
    async def main() -> None:
        watched = Watched()
        await number_a_task()
        for _ in range(2):
            watched.known.look()
        assert asyncio.get_running_loop() in watched.loops
        assert len(watched.loops) == len(set(watched.loops))

    run(main())


def test_one_that_is_closed_is_not_watched() -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(number_a_task())
    loop.close()
    watched = Watched()
    watched.known.look()
    assert loop not in watched.loops


def test_none_is_watched_after_close() -> None:
    async def main() -> None:
        watched = Watched()
        watched.known.close()
        watched.known.note_running()
        assert watched.loops == []

    asyncio.run(main())


def test_one_that_cannot_be_referred_to_weakly_is_left_alone() -> None:
    class Strong:
        __slots__ = ()

        def is_closed(self) -> bool:
            return False

    watched = Watched()
    watched.known._note(Strong())  # type: ignore[arg-type]
    assert watched.loops == []


@run_in
def test_exceptions_are_heard_of_from_the_first_record_of_a_task(run: Run) -> None:
    tasklog = otel_tasklog.install(
        level="INFO", exporter=None, console=False, uncaught=True
    )

    async def main() -> None:
        loop = asyncio.get_running_loop()
        logging.getLogger("shop").info("hello")
        await asyncio.to_thread(
            wait_until, lambda: loop.get_exception_handler() is not None
        )
        tasklog.close()
        assert loop.get_exception_handler() is None

    run(main())
