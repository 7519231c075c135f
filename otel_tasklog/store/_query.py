"""A question to a store, as a value.

Built once from keywords, checked then, and evaluated on finished records. The
semantics of AsyncZ's ``LogStorage.query`` are a subset: ``level`` means exactly
that level, text is a case-insensitive part of the message, newest first.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypedDict

from otel_tasklog._config import level_number
from otel_tasklog._errors import ConfigError
from otel_tasklog.capture._record import (
    KEYS,
    MESSAGE,
    ORIGIN,
    SPAN,
    TIMESTAMP_NS,
    VALUES,
    WHO,
    Origin,
    Sealed,
    Who,
)
from otel_tasklog.capture._values import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Conditions", "Filters", "Moment", "Query"]

Moment: TypeAlias = datetime.datetime | datetime.timedelta | float
"""An aware datetime, or a duration back from now (a timedelta, or seconds)."""


class Conditions(TypedDict, total=False):
    """The keywords of `TaskLog.follow`; `Query` says what each means."""

    task_id: object
    run_id: object
    level: int | str | None
    min_level: int | str | None
    logger: str | None
    text: str | None
    trace_id: str | None
    asyncio_task: int | None
    since: Moment | None
    attributes: Mapping[str, object] | None


class Filters(Conditions, total=False):
    """The keywords of `TaskLog.query`; `Query` says what each means."""

    until: Moment | None
    limit: int | None
    newest_first: bool


_LEVEL: Final = Origin._fields.index("level")
_LOGGER: Final = Origin._fields.index("logger")
_TASK_ID: Final = Who._fields.index("task_id")
_NUMBER: Final = Who._fields.index("number")


def _instant_ns(setting: str, moment: object) -> int:
    if isinstance(moment, datetime.timedelta):
        return time.time_ns() - int(moment.total_seconds() * 1e9)
    if isinstance(moment, datetime.datetime):
        if moment.tzinfo is None:
            raise ConfigError(
                setting,
                moment,
                "an aware datetime, such as datetime.now(timezone.utc): a naive "
                "one means another instant in each time zone",
            )
        return int(moment.timestamp() * 1e9)
    if isinstance(moment, int | float) and math.isfinite(moment):
        return time.time_ns() - int(moment * 1e9)
    raise ConfigError(setting, moment, "an aware datetime, a timedelta or seconds")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """Which records, in which order, and how many. None means any.

    Attributes:
        task_id: Exactly this job's; its ``str()`` is compared.
        run_id: Exactly this value of the attribute ``run_id``.
        level: Exactly this level, by number or by any of its names.
        min_level: At least this level.
        logger: This logger and the ones below it.
        text: A part of the message, whatever its case.
        trace_id: 32 hexadecimal digits.
        asyncio_task: The number of an asyncio task.
        since: Not before; an aware datetime, or a duration back from now.
        until: Before; likewise.
        attributes: Names and values that a record's attributes must have.
        limit: At most so many records; None for all.
        newest_first: The order, by sequence. The limit counts in this order.
    """

    task_id: object = None
    run_id: object = None
    level: int | str | None = None
    min_level: int | str | None = None
    logger: str | None = None
    text: str | None = None
    trace_id: str | None = None
    asyncio_task: int | None = None
    since: Moment | None = None
    until: Moment | None = None
    attributes: Mapping[str, object] | None = None
    limit: int | None = 200
    newest_first: bool = True

    def __post_init__(self) -> None:
        for name in ("task_id", "run_id"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, str(value))
        for name, kind in (("text", str), ("logger", str), ("limit", int)):
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise ConfigError(name, value, f"of type {kind.__name__}, or None")
        if self.limit is not None and self.limit < 0:
            raise ConfigError("limit", self.limit, "0 or more, or None for all")
        if self.attributes is not None and not isinstance(self.attributes, Mapping):
            raise ConfigError("attributes", self.attributes, "a mapping")
        for setting in ("level", "min_level"):
            if getattr(self, setting) is not None:
                level_number(setting, getattr(self, setting))

    @property
    def lowest_level(self) -> int:
        """No record below this level matches."""
        if self.min_level is not None:
            return level_number("min_level", self.min_level)
        return level_number("level", self.level) if self.level is not None else 0

    def predicates(self) -> list[Callable[[Sealed], bool]]:
        """Return what a matching record passes, cheapest first.

        Durations count back from the moment of this call.

        Raises:
            ConfigError: A value cannot mean anything, such as a naive datetime.
        """
        tests: list[Callable[[Sealed], bool]] = []
        if self.task_id is not None:
            task_id = self.task_id
            tests.append(lambda r: bool(r[WHO][_TASK_ID] == task_id))
        if self.asyncio_task is not None:
            number = self.asyncio_task
            tests.append(lambda r: bool(r[WHO][_NUMBER] == number))
        if self.min_level is not None:
            lowest = level_number("min_level", self.min_level)
            tests.append(lambda r: bool(r[ORIGIN][_LEVEL] >= lowest))
        if self.level is not None:
            exactly = level_number("level", self.level)
            tests.append(lambda r: bool(r[ORIGIN][_LEVEL] == exactly))
        if self.since is not None:
            since_ns = _instant_ns("since", self.since)
            tests.append(lambda r: r[TIMESTAMP_NS] >= since_ns)
        if self.until is not None:
            until_ns = _instant_ns("until", self.until)
            tests.append(lambda r: r[TIMESTAMP_NS] < until_ns)
        if self.logger is not None:
            tests.append(_below(self.logger))
        if self.trace_id is not None:
            tests.append(_in_trace(self.trace_id))
        wanted = dict(self.attributes or {})
        if self.run_id is not None:
            wanted["run_id"] = self.run_id
        tests.extend(_has(name, value) for name, value in wanted.items())
        if self.text is not None:
            text = self.text.lower()
            tests.append(lambda r: text in r[MESSAGE].lower())
        return tests


def _below(logger: str) -> Callable[[Sealed], bool]:
    prefix = f"{logger}."

    def test(record: Sealed) -> bool:
        name = record[ORIGIN][_LOGGER]
        return bool(name == logger or name.startswith(prefix))

    return test


def _in_trace(trace_id: str) -> Callable[[Sealed], bool]:
    try:
        wanted = bytes.fromhex(trace_id)
    except ValueError:
        raise ConfigError("trace_id", trace_id, "32 hexadecimal digits") from None

    def test(record: Sealed) -> bool:
        span = record[SPAN]
        return span is not None and bool(span[0] == wanted)

    return test


def _has(name: str, value: object) -> Callable[[Sealed], bool]:
    # As it would have been logged: a list as a tuple, an Enum member as its name.
    # So no code of the application runs where a follower's filters do.
    logged, text = snapshot(value), str(value)

    def test(record: Sealed) -> bool:
        if name not in record[KEYS]:
            return False
        found: Any = record[VALUES][record[KEYS].index(name)]
        return bool(found == logged) or str(found) == text

    return test
