"""When the next attempt to send may be made.

Exponential, capped, with jitter; a pause that the receiver asked for replaces it.
"""

from __future__ import annotations

import random
from typing import Final

__all__ = ["FIRST_BACKOFF_SECONDS", "MISCONFIGURED_SECONDS", "Backoff"]

FIRST_BACKOFF_SECONDS: Final = 0.5
MAX_BACKOFF_SECONDS: Final = 30.0
MISCONFIGURED_SECONDS: Final = 30.0
"""Nobody mends a token faster, and a wrong address deserves no load."""


class Backoff:
    """The pause after attempts that failed. It knows no clock.

    Attributes:
        not_before: The time of the next attempt.
    """

    def __init__(self) -> None:
        self.not_before = 0.0
        self._hurry_from = 0.0
        self._failures = 0

    def succeeded(self) -> None:
        """Forget the failures: there was an answer that settles a batch."""
        self._failures = 0
        self.not_before = 0.0

    def failed(self, now: float, asked_seconds: float | None = None) -> None:
        """Wait longer than the last time, or as long as the receiver asked for."""
        self._failures += 1
        if asked_seconds is not None:
            self._wait(now, asked_seconds, jitter=0.1, hurry=False)
        else:
            backoff = FIRST_BACKOFF_SECONDS * 2 ** min(self._failures - 1, 10)
            self._wait(now, min(backoff, MAX_BACKOFF_SECONDS), jitter=0.2)

    def misconfigured(self, now: float) -> None:
        """Wait for a person to mend something."""
        self._failures += 1
        self._wait(now, MISCONFIGURED_SECONDS, jitter=1.0)

    def hurry(self) -> None:
        """End a pause early, though not one that the receiver asked for."""
        if self._failures:
            self.not_before = min(self.not_before, self._hurry_from)

    def _wait(
        self, now: float, seconds: float, *, jitter: float, hurry: bool = True
    ) -> None:
        self.not_before = now + seconds * (1 + jitter * random.random())  # noqa: S311
        self._hurry_from = now + FIRST_BACKOFF_SECONDS if hurry else self.not_before
