"""Work that somebody waits for, but not for ever."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["begin", "within"]

T = TypeVar("T")


def begin(work: Callable[[], T]) -> Future[T]:
    """Begin some work on a thread of its own; return what becomes of it.

    The program's end does not wait for the thread.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised by `result`
            future.set_exception(error)

    threading.Thread(target=run, name="background", daemon=True).start()
    return future


def within(seconds: float, work: Callable[[], T]) -> T:
    """Return what some work returns, if it does in time.

    The system's look-up of a name knows no time-out, and cannot be interrupted. So it
    is done on a thread, which is left behind.

    Raises:
        TimeoutError: It did not return in time.
        BaseException: Whatever the work raised.
    """
    return begin(work).result(seconds)
