"""Live tasks to be asked about: a shop whose till waits for an order that is stuck."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

import otel_tasklog

if TYPE_CHECKING:
    import logging
    from collections.abc import Generator

__all__ = ["shop_at_work"]


async def _charge(log: logging.Logger, mark: str, release: asyncio.Event) -> None:
    log.debug("connected", extra={"task_id": f"bank-1{mark}"})
    log.warning("the bank is slow%s", mark)
    await release.wait()


async def _till(log: logging.Logger, mark: str, release: asyncio.Event) -> None:
    with otel_tasklog.task(f"order-1{mark}"):
        log.info("opened")
        charge = _charge(log, mark, release)
        await asyncio.create_task(charge, name=f"charge-1{mark}")


async def _shop(
    log: logging.Logger, mark: str, ready: threading.Event, over: threading.Event
) -> None:
    release = asyncio.Event()
    till = asyncio.create_task(_till(log, mark, release), name=f"till-1{mark}")
    for _ in range(3):  # until both wait
        await asyncio.sleep(0)
    ready.set()
    await asyncio.to_thread(over.wait)
    release.set()
    await till


@contextlib.contextmanager
def shop_at_work(log: logging.Logger, *, mark: str = "") -> Generator[None]:
    """Have two tasks wait in a loop of a thread of its own until the block ends.

    ``till-1`` logs in the job ``order-1``, and waits for ``charge-1``, which it made,
    which logs of the job ``bank-1``, logs a warning of its own, and waits for an event.

    Args:
        log: What they log to.
        mark: Stands at the end of each of these names, and of the warning.
    """
    ready, over = threading.Event(), threading.Event()
    work = _shop(log, mark, ready, over)
    thread = threading.Thread(target=asyncio.run, args=(work,))
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        over.set()
        thread.join()
