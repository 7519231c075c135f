"""Between threads of ours and somebody's event loop, which none of it may block."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["resolver_of", "run_in_own_thread", "warn_in_loop"]

T = TypeVar("T")


_log = logging.getLogger("otel_tasklog")


def warn_in_loop(what: str, instead: str) -> None:
    """Say so if a coroutine does what blocks its event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    _log.warning(
        "%s in a coroutine, which blocks the event loop while it delivers; use %s",
        what, instead,
    )  # fmt: skip


def resolver_of(future: asyncio.Future[T]) -> Callable[[T], None]:
    """Return what sets a future's result from any thread.

    It does nothing if the future was cancelled, or its loop has ended, meanwhile.
    """
    loop = future.get_loop()

    def set_result(value: T) -> None:
        if not future.done():
            future.set_result(value)

    def resolve(value: T) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(set_result, value)

    return resolve


async def run_in_own_thread(function: Callable[[], object]) -> None:
    """Run a function in a new thread and wait for its end.

    Not in the loop's executor, which may be busy, or shut down already. The thread
    goes on if the wait is cancelled.
    """
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    resolve = resolver_of(ended)

    def run() -> None:
        try:
            function()
        finally:
            resolve(None)

    threading.Thread(target=run, name="otel_tasklog close").start()
    await ended
