"""A question to a store, as a value.

Built from keywords, from a text, or from both; checked then, and evaluated on finished
records by the terms that both become. The semantics of AsyncZ's ``LogStorage.query``
are a subset: ``level`` means exactly that level, ``text`` is a case-insensitive part
of the message, newest first.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypedDict

from otel_tasklog._config import check_names, level_number
from otel_tasklog._errors import ConfigError
from otel_tasklog.capture._record import SEQUENCE
from otel_tasklog.store._attributes import RUN_ID, Attribute, AttributeLike
from otel_tasklog.store._expression import (
    Evaluation,
    Expression,
    Family,
    Plan,
    all_of,
    common_plan,
    tests_of,
)
from otel_tasklog.store._matching import Constant, Glob
from otel_tasklog.store._moments import Moment, moment_of
from otel_tasklog.store._parser import parse
from otel_tasklog.store._spelling import UnfitError
from otel_tasklog.store._terms import Hex, Level, Like, Message, Time

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator
    from typing import Self, Unpack

    from otel_tasklog.store._expression import Test

__all__ = ["Conditions", "Filters", "Moment", "Query"]


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
    where: Expression | None
    after: int | None


class Filters(Conditions, total=False):
    """The keywords of `TaskLog.query`; `Query` says what each means."""

    until: Moment | None
    before: int | None
    limit: int | None
    newest_first: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Query:
    """Which records, in which order, and how many. None means any.

    Attributes:
        task_id: Exactly this job's; its ``str()`` is compared.
        run_id: Exactly this value of the attribute ``run_id``.
        level: Exactly this level, by number or by any of its names.
        min_level: At least this level.
        logger: This logger and the ones below it.
        text: A part of the message, whatever its case.
        trace_id: 32 hexadecimal digits, or the first of them.
        asyncio_task: The number of an asyncio task.
        since: Not before; an aware datetime, or a duration back from now.
        until: Before; likewise.
        attributes: Names and values that a record's attributes must have.
        where: What the text of `parse` asks for; joined to the others by AND.
        after: Only records with a higher sequence.
        before: Only records with a lower sequence.
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
    where: Expression | None = None
    after: int | None = None
    before: int | None = None
    limit: int | None = 200
    newest_first: bool = True

    def __post_init__(self) -> None:
        for name in ("task_id", "run_id"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, str(value))
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise ConfigError(name, value, f"of type {kind.__name__}, or None")
        if self.limit is not None and self.limit < 0:
            raise ConfigError("limit", self.limit, "0 or more, or None for all")
        _ = self._terms  # which say what is wrong

    @classmethod
    def parse(cls, search: str, /, **filters: Unpack[Filters]) -> Self:
        """Return what a text asks for: ``"level>=warning task:import-* timeout"``.

        Args:
            search: As the grammar in ``docs/reference/query.md`` has it; empty: any.
            **filters: The attributes, joined to the text by AND.

        Raises:
            QueryError: The text means nothing.
            ConfigError: A filter cannot have its value, or there is no such filter.
        """
        check_names(filters, Filters.__annotations__)
        if not isinstance(search, str):
            raise ConfigError("search", search, "the text of a query")
        terms = [each for each in (parse(search), filters.get("where")) if each]
        if terms:
            filters["where"] = all_of(terms[0], terms[1:])
        return cls(**filters)

    def __str__(self) -> str:
        """The text that `parse` reads as a query for the same records.

        Sequences, limit and order are no part of it. Of an attribute that is no
        plain value, only the text is compared.
        """
        expression = self.expression()
        return str(expression) if expression is not None else ""

    def expression(self) -> Expression | None:
        """Return what a record must meet; None if that is nothing."""
        terms = self._terms
        return all_of(terms[0], terms[1:]) if terms else None

    def plan(self) -> Plan:
        """Return what an index can answer."""
        return common_plan(self._terms)

    def predicates(self, family: Family | None = None) -> list[Test]:
        """Return what a matching record passes, cheapest first.

        Durations count back from the moment of this call.

        Args:
            family: Knows the jobs inside a job; without it ``under:`` finds those
                directly inside alone.
        """
        tests: list[Test] = []
        if self.after is not None:
            tests.append(_by_sequence(operator.gt, self.after))
        if self.before is not None:
            tests.append(_by_sequence(operator.lt, self.before))
        known = family if family is not None else _no_family
        evaluation = Evaluation(now_ns=time.time_ns(), family=known)
        return tests + tests_of(self._terms, evaluation)

    @functools.cached_property
    def _terms(self) -> tuple[Expression, ...]:
        """What a record must meet.

        Raises:
            ConfigError: A value cannot mean anything, such as a naive datetime.
        """
        return (*self._place_terms(), *self._value_terms())

    def _place_terms(self) -> Iterator[Expression]:
        if self.task_id is not None:
            yield Like("task", Glob((str(self.task_id),)))
        if self.asyncio_task is not None:
            yield Like("asyncio", Glob((str(int(self.asyncio_task)),)))
        if self.min_level is not None:
            yield Level(">=", level_number("min_level", self.min_level))
        if self.level is not None:
            yield Level(":", level_number("level", self.level))
        if self.logger is not None:
            yield Like("logger", Glob((self.logger,)))
        if self.trace_id is not None:
            yield _in_trace(self.trace_id)
        if self.since is not None:
            yield _time("since", ">=", self.since)
        if self.until is not None:
            yield _time("until", "<", self.until)

    def _value_terms(self) -> Iterator[Expression]:
        for key, value in (self.attributes or {}).items():
            yield Attribute(key, ":", Constant.of(value))
        if self.run_id is not None:
            yield AttributeLike(RUN_ID, Glob((str(self.run_id),)))
        if self.text is not None:
            yield Message(self.text.lower())
        if self.where is not None:
            yield self.where


_KINDS: Final[Mapping[str, type]] = {
    "text": str, "logger": str, "trace_id": str, "asyncio_task": int,
    "attributes": Mapping, "where": Expression, "after": int, "before": int,
    "limit": int,
}  # fmt: skip


def _time(setting: str, comparison: str, moment: Moment) -> Time:
    try:
        return Time(comparison, moment_of(moment))
    except UnfitError as unfit:
        raise ConfigError(setting, moment, str(unfit)) from None


def _in_trace(trace_id: str) -> Hex:
    try:
        return Hex("trace", trace_id)
    except UnfitError:
        expected = "32 hexadecimal digits, or the first of them"
        raise ConfigError("trace_id", trace_id, expected) from None


def _by_sequence(compare: Callable[[int, int], bool], bound: int) -> Test:
    return lambda record: compare(record[SEQUENCE], bound)


def _no_family(task_id: str) -> Container[str | None]:  # noqa: ARG001
    return ()
