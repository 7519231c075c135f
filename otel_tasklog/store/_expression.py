"""A query as a tree of frozen nodes: printed, planned, and made into a test.

The nodes that hold others are here, the terms in `_terms`. ``str(expression)`` is
the one spelling of it, which the parser reads back as an equal expression.
"""

from __future__ import annotations

import abc
import dataclasses
from itertools import chain
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    from otel_tasklog.capture._record import Sealed

__all__ = [
    "And",
    "Evaluation",
    "Expression",
    "Family",
    "Not",
    "Or",
    "Plan",
    "Test",
    "all_of",
    "any_of",
    "common_plan",
    "tests_of",
]

Test: TypeAlias = "Callable[[Sealed], bool]"

Family: TypeAlias = "Callable[[str], Container[str | None]]"
"""Returns the ids of the jobs inside a job. It is asked once for each test that is
made; what it returns is asked for each record, so it may come to hold more."""


class Plan(NamedTuple):
    """What an index can answer of a query, before each record is tested.

    Attributes:
        task_id: Every match is of this job.
        lowest_level: No match is below this level.
        text: In lower case; it is in the lower-case message, exception message or
            stacktrace of every match.
    """

    task_id: str | None = None
    lowest_level: int = 0
    text: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Evaluation:
    """What a query does not know of itself.

    Attributes:
        now_ns: From when durations count back, in nanoseconds since the epoch.
        family: Knows which jobs are inside a job.
    """

    now_ns: int
    family: Family


class Expression(abc.ABC):
    """A condition on records, as ``Query.parse`` makes it from a text."""

    __slots__ = ()

    cost: ClassVar[int] = 0
    """How dear the test of a term is: the cheaper of two goes first."""

    @abc.abstractmethod
    def compile(self, evaluation: Evaluation) -> Test:
        """Return what tells whether a finished record meets it. It never raises."""

    def plan(self) -> Plan:
        """Return what is true of every record that meets it."""
        return Plan()

    @abc.abstractmethod
    def __str__(self) -> str: ...


@dataclasses.dataclass(frozen=True, slots=True)
class And(Expression):
    """All of two or more."""

    parts: tuple[Expression, ...]

    def compile(self, evaluation: Evaluation) -> Test:
        """Return what tells whether a record passes the tests of all parts."""
        tests = tests_of(self.parts, evaluation)

        def test(record: Sealed) -> bool:
            for each in tests:  # noqa: SIM110 - all() takes twice the time
                if not each(record):
                    return False
            return True

        return test

    def plan(self) -> Plan:
        """Return what any of the parts says."""
        return common_plan(self.parts)

    def __str__(self) -> str:
        return " ".join(
            f"({part})" if isinstance(part, Or) else str(part) for part in self.parts
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Or(Expression):
    """Any of two or more."""

    parts: tuple[Expression, ...]

    def compile(self, evaluation: Evaluation) -> Test:
        """Return what tells whether a record passes the test of one part."""
        tests = tests_of(self.parts, evaluation)

        def test(record: Sealed) -> bool:
            for each in tests:  # noqa: SIM110 - any() takes twice the time
                if each(record):
                    return True
            return False

        return test

    def plan(self) -> Plan:
        """Return what all of the parts say."""
        plans = [part.plan() for part in self.parts]
        same = {plan.task_id for plan in plans}
        return Plan(
            task_id=same.pop() if len(same) == 1 else None,
            lowest_level=min(plan.lowest_level for plan in plans),
        )

    def __str__(self) -> str:
        return " OR ".join(map(str, self.parts))


@dataclasses.dataclass(frozen=True, slots=True)
class Not(Expression):
    """What another is not."""

    part: Expression

    def compile(self, evaluation: Evaluation) -> Test:
        """Return what tells whether a record fails the test of the other."""
        test = self.part.compile(evaluation)
        return lambda record: not test(record)

    def __str__(self) -> str:
        inner = f"({self.part})" if isinstance(self.part, And | Or | Not) else self.part
        return f"-{inner}"


def all_of(first: Expression, others: Sequence[Expression]) -> Expression:
    """Return an expression for all of one or more."""
    flat = (p.parts if isinstance(p, And) else (p,) for p in (first, *others))
    return And(tuple(chain.from_iterable(flat))) if others else first


def any_of(first: Expression, others: Sequence[Expression]) -> Expression:
    """Return an expression for any of one or more."""
    flat = (p.parts if isinstance(p, Or) else (p,) for p in (first, *others))
    return Or(tuple(chain.from_iterable(flat))) if others else first


def tests_of(parts: Iterable[Expression], evaluation: Evaluation) -> list[Test]:
    """Return the test of each, the cheap ones first."""
    return [part.compile(evaluation) for part in sorted(parts, key=_cost)]


def _cost(expression: Expression) -> int:
    """Return what the dearest term costs."""
    if isinstance(expression, Not):
        return _cost(expression.part)
    if isinstance(expression, And | Or):
        return max(map(_cost, expression.parts))
    return expression.cost


def common_plan(parts: Iterable[Expression]) -> Plan:
    """Return the plan for records that meet all *parts*."""
    task_id, lowest_level, text = Plan()
    for part in parts:
        plan = part.plan()
        task_id = plan.task_id if task_id is None else task_id
        lowest_level = max(plan.lowest_level, lowest_level)
        text = max(plan.text or "", text or "", key=len) or None
    return Plan(task_id, lowest_level, text)
