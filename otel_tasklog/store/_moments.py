"""Times as a query says them: back from now, today, or a date with a zone."""

from __future__ import annotations

import dataclasses
import datetime
import math
import re
from typing import Final, TypeAlias

from otel_tasklog.store._spelling import UnfitError

__all__ = ["Ago", "Clock", "Instant", "Moment", "When", "moment_of", "read_moment"]

Moment: TypeAlias = datetime.datetime | datetime.timedelta | float
"""An aware datetime, or a duration back from now (a timedelta, or seconds)."""

_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND: Final = datetime.timedelta(microseconds=1)
_SECOND_NS: Final = 1_000_000_000
_UNITS_NS: Final = {
    "d": 86_400 * _SECOND_NS, "h": 3_600 * _SECOND_NS, "m": 60 * _SECOND_NS,
    "s": _SECOND_NS,
}  # fmt: skip
_AGO: Final = re.compile(r"(-?)([0-9]{1,400})(?:\.([0-9]{1,400}))?([smhd])")
_CLOCK: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")


@dataclasses.dataclass(frozen=True, slots=True)
class Ago:
    """So many nanoseconds back from when the query is asked; fewer than 0: ahead."""

    ns: int

    def at(self, now_ns: int) -> int:
        """Return the instant in nanoseconds since the epoch."""
        return now_ns - self.ns

    def __str__(self) -> str:
        for unit, unit_ns in _UNITS_NS.items():
            if self.ns and self.ns % unit_ns == 0:
                return f"{self.ns // unit_ns}{unit}"
        whole, rest = divmod(abs(self.ns), _SECOND_NS)
        fraction = f".{rest:09}".rstrip("0").rstrip(".")
        return f"{'-' * (self.ns < 0)}{whole}{fraction}s"


@dataclasses.dataclass(frozen=True, slots=True)
class Clock:
    """A time of the day on which the query is asked, in this machine's time zone."""

    hour: int
    minute: int
    second: int = 0

    def at(self, now_ns: int) -> int:
        """Return the instant in nanoseconds since the epoch."""
        now = datetime.datetime.fromtimestamp(now_ns // _SECOND_NS, datetime.UTC)
        # Without a zone, for the offset may have been another at that time of today.
        local = now.astimezone().replace(
            hour=self.hour, minute=self.minute, second=self.second, tzinfo=None
        )
        return int(local.timestamp()) * _SECOND_NS

    def __str__(self) -> str:
        seconds = f":{self.second:02}" if self.second else ""
        return f"{self.hour:02}:{self.minute:02}{seconds}"


@dataclasses.dataclass(frozen=True, slots=True)
class Instant:
    """A date and time with a zone."""

    time: datetime.datetime

    def at(self, now_ns: int) -> int:  # noqa: ARG002 - as the others'
        """Return the instant in nanoseconds since the epoch."""
        return (self.time - _EPOCH) // _MICROSECOND * 1_000

    def __str__(self) -> str:
        text = self.time.isoformat()
        return text[:-6] + "Z" if text.endswith("+00:00") else text


When: TypeAlias = Ago | Clock | Instant


def moment_of(value: object) -> When:
    """Return what the keyword of a query means.

    Raises:
        UnfitError: It means nothing, or another instant in each time zone.
    """
    if isinstance(value, datetime.timedelta):
        return Ago(value // _MICROSECOND * 1_000)
    if isinstance(value, datetime.datetime):
        offset = value.utcoffset()
        if offset is None:
            raise UnfitError(
                "an aware datetime, such as datetime.now(timezone.utc): a naive "
                "one means another instant in each time zone",
            )
        # A time zone that changes has times that equal none, themselves included.
        return Instant(value.replace(tzinfo=datetime.timezone(offset), fold=0))
    if isinstance(value, int):
        return Ago(value * _SECOND_NS)
    if isinstance(value, float) and math.isfinite(value * _SECOND_NS):
        return Ago(int(value * _SECOND_NS))
    raise UnfitError("an aware datetime, a timedelta or seconds")


def read_moment(text: str) -> When:
    """Return what the text of a query means.

    Raises:
        UnfitError: As for `moment_of`.
    """
    if ago := _AGO.fullmatch(text):
        sign, whole, fraction, unit = ago.groups(default="")
        parts = int(whole + fraction) * _UNITS_NS[unit] // 10 ** len(fraction)
        return Ago(-parts if sign else parts)
    if clock := _CLOCK.fullmatch(text):
        hour, minute, second = map(int, clock.groups(default="0"))
        if hour < 24 and minute < 60 and second < 60:
            return Clock(hour, minute, second)
        raise UnfitError(f"there is no time of day {text}: expected 00:00 to 23:59:59")
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise UnfitError(
            "expected a duration back from now (90s, 5m, 2h, 1d), a time of today "
            "(12:30, 12:30:15), or a date with a zone (2026-01-31T12:30Z)"
        ) from None
    offset = time.utcoffset()
    if offset is None:
        raise UnfitError(
            "a date without a zone means another instant in each time zone: add Z "
            f"or an offset, {time.isoformat(timespec='minutes')}Z"
        )
    return Instant(time)
