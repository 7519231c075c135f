"""How an event loop is: whether it rests, how late it is, and what holds it up.

A thread looks at it a few times a second, by `Pulse.beat`. A loop that rests is left
alone. One at work is pinged: a callback is posted, and until it has run, whatever was
running when it was posted holds the loop up.
"""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from functools import partial
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import ref

from otel_tasklog.live._running import AT_WORK, culprit_in, running_in

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable
    from types import CodeType

    from otel_tasklog.live._running import Culprit

__all__ = ["Blocked", "Pulse"]

WINDOW_SECONDS: Final = 60.0
"""For so long the worst lag is remembered."""

LOOKS: Final = 2
"""So often a loop is looked at in the time that it may be blocked for,"""

CLOSE_LOOKS: Final = 8
"""and so often one that owes an answer."""

ONGOING: Final = 8
"""So many times that time must have passed, and a block is said while it lasts."""


class Blocked(NamedTuple):
    """That a loop is, or was, blocked.

    Attributes:
        culprit: By what.
        seconds: For how long, at least.
        over: Whether it is over.
    """

    culprit: Culprit
    seconds: float
    over: bool


class Pulse:
    """The state of one event loop. It does not keep the loop alive.

    Args:
        loop: The loop.
        limit_seconds: What blocks it for so long is said.
        on_blocked: Is told.
        on_lag: Is told how long a callback had to wait.
        clock: For tests; the machine's by default.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        limit_seconds: float,
        *,
        on_blocked: Callable[[Blocked], None],
        on_lag: Callable[[float], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.loop: Final = ref(loop)
        self._limit = limit_seconds
        self._on_blocked = on_blocked
        self._on_lag = on_lag
        self._clock = clock
        self._pings = 0
        self._posted: float | None = None
        self._answer: tuple[int, float] | None = None  # written by the loop's thread
        self._thread: int | None = None
        self._below: CodeType | None = None
        self._seen: int | None = None
        self._since = 0.0
        self._culprit: Culprit | None = None
        self._said = False
        # When, and how late; each is worse than all after it.
        self._worst: deque[tuple[float, float]] = deque()

    def beat(self, now: float) -> float | None:
        """Look at the loop. On one thread.

        Returns:
            After how many seconds to look again; None if the loop has ended.
        """
        loop = self.loop()
        if loop is None or loop.is_closed():
            self._let_go(now)
            return None
        if not loop.is_running():  # nobody waits for it
            self._let_go(now)
            self._posted = None
            return self._limit / LOOKS
        answered = self._take_answer(now)
        seen = running_in(loop, self._thread, self._below)
        if seen != self._seen:
            self._let_go(now)
            self._seen, self._since = seen, now
        elif seen is not None and seen != AT_WORK:
            self._suspect(loop, now)
        if self._posted is None and seen is not None:
            self._ping(loop, now)
        if self._posted is not None:
            return self._limit / CLOSE_LOOKS
        if not answered:
            self._on_lag(0.0)  # who posted something now would not wait
        return self._limit / LOOKS

    def end(self, now: float) -> None:
        """Say of what blocks that it does not any more: nobody looks from now on."""
        self._let_go(now)

    def skip(self, seconds: float) -> None:
        """Leave out a time in which the whole process stood still."""
        self._since += seconds
        if self._posted is not None:
            self._posted += seconds

    def lag_seconds(self, now: float) -> float:
        """Return for how long a callback had to wait lately, at worst. Any thread."""
        posted = self._posted
        waits = now - posted if posted is not None else 0.0
        recent = [
            lag for at, lag in self._worst.copy() if at >= now - WINDOW_SECONDS
        ]  # fmt: skip
        return max(waits, *recent, 0.0)

    def _ping(self, loop: AbstractEventLoop, now: float) -> None:
        self._pings += 1
        self._posted = now
        with contextlib.suppress(RuntimeError):  # it was closed just now
            loop.call_soon_threadsafe(partial(self._pong, self._pings))

    def _pong(self, ping: int) -> None:
        """Answer. On the loop's thread: it only notes what it sees."""
        self._answer = ping, self._clock()
        self._thread = get_ident()
        # The documented way to find a caller.
        with contextlib.suppress(ValueError):  # there is none but C
            self._below = sys._getframe(1).f_code  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def _take_answer(self, now: float) -> bool:
        if self._answer is None or self._posted is None:
            return False
        ping, at = self._answer
        if ping != self._pings:  # to one before the loop was stopped
            return False
        lag, self._posted, self._answer = max(at - self._posted, 0.0), None, None
        while self._worst and self._worst[-1][1] <= lag:
            self._worst.pop()
        self._worst.append((now, lag))
        while self._worst[0][0] < now - WINDOW_SECONDS:
            self._worst.popleft()
        self._on_lag(lag)
        self._let_go(at)
        return True

    def _suspect(self, loop: AbstractEventLoop, now: float) -> None:
        seconds = now - self._since
        if self._culprit is None and seconds >= self._limit:
            self._culprit = culprit_in(loop, self._thread, self._below)
        elif self._culprit is not None and not self._said:
            self._said = seconds >= self._limit * ONGOING
            if self._said:
                latest = culprit_in(loop, self._thread, self._below) or self._culprit
                self._on_blocked(Blocked(latest, seconds, over=False))

    def _let_go(self, at: float) -> None:
        """Nothing that was seen runs any more, since a time."""
        culprit, seconds = self._culprit, max(at - self._since, self._limit)
        self._culprit, self._said, self._seen = None, False, None
        if culprit is not None:
            self._on_blocked(Blocked(culprit, seconds, over=True))
