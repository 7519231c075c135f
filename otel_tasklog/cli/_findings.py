"""What a check of ``otel-tasklog doctor`` found."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "LONGEST_STEP_SECONDS",
    "Finding",
    "Result",
    "failed",
    "ok",
    "warning",
    "within",
]

Result: TypeAlias = Literal["ok", "warning", "failed"]
T = TypeVar("T")

LONGEST_STEP_SECONDS: Final = 30.0
"""A time-out of the settings may be longer, or none. Somebody waits for this one."""


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        check: What was looked at, in a word or two.
        result: How it is.
        said: What was found.
        mend: What to do about it; empty if there is nothing to do.
    """

    check: str
    result: Result
    said: str
    mend: str = ""


def ok(check: str, said: str) -> Finding:
    """Return a finding that needs nothing done."""
    return Finding(check, "ok", said)


def warning(check: str, said: str, mend: str) -> Finding:
    """Return a finding that keeps no record from arriving, or may be wanted."""
    return Finding(check, "warning", said, mend)


def failed(check: str, said: str, mend: str) -> Finding:
    """Return a finding that keeps records from arriving."""
    return Finding(check, "failed", said, mend)


def within(seconds: float, work: Callable[[], T]) -> T:
    """Return what some work returns, if it does in time.

    The system's look-up of a name knows no time-out, and cannot be interrupted. So it
    is done on a thread, which is left behind: the program's end does not wait for it.

    Raises:
        TimeoutError: It did not return in time.
        BaseException: Whatever the work raised.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised by `result`
            future.set_exception(error)

    threading.Thread(target=run, name="doctor", daemon=True).start()
    return future.result(seconds)
