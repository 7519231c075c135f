"""The terms of a query that look at attributes."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, ClassVar, Final

from otel_tasklog.capture._record import KEYS, VALUES, Sealed
from otel_tasklog.store._expression import Expression
from otel_tasklog.store._matching import Constant, Glob, containing
from otel_tasklog.store._spelling import quoted, spelled_value

if TYPE_CHECKING:
    from otel_tasklog.store._expression import Evaluation, Test

__all__ = ["KEY", "RUN_ID", "AnyAttribute", "Attribute", "AttributeLike"]

KEY: Final = re.compile(r'[^\s:<>="()]+')
"""An attribute's name that needs no quotes, unless it is an asterisk."""

RUN_ID: Final = "run_id"


@dataclasses.dataclass(frozen=True, slots=True)
class Attribute(Expression):
    """``@user:bob``, ``@amount>10``: an attribute's value, or how it compares."""

    cost: ClassVar[int] = 3
    key: str
    operator: str
    constant: Constant

    def compile(self, evaluation: Evaluation) -> Test:  # noqa: ARG002
        """Return the test of the value."""
        key, test = self.key, self.constant.test(self.operator)

        def matches(record: Sealed) -> bool:
            keys = record[KEYS]
            return key in keys and test(record[VALUES][keys.index(key)])

        return matches

    def __str__(self) -> str:
        return f"@{_spelled_key(self.key)}{self.operator}{self.constant}"


@dataclasses.dataclass(frozen=True, slots=True)
class AttributeLike(Expression):
    """``@order.id:*``, ``run:import-*``: the text of an attribute's value, whole."""

    cost: ClassVar[int] = 3
    key: str
    glob: Glob

    def compile(self, evaluation: Evaluation) -> Test:  # noqa: ARG002
        """Return the test of the value's text."""
        key, like = self.key, self.glob.test()

        def matches(record: Sealed) -> bool:
            keys = record[KEYS]
            return key in keys and like(str(record[VALUES][keys.index(key)]))

        return matches

    def __str__(self) -> str:
        start = "run" if self.key == RUN_ID else f"@{_spelled_key(self.key)}"
        return f"{start}:{self.glob}"


@dataclasses.dataclass(frozen=True, slots=True)
class AnyAttribute(Expression):
    """``@*:timeout``: a part of the text of any attribute's value, by smart case."""

    cost: ClassVar[int] = 7
    text: str

    def compile(self, evaluation: Evaluation) -> Test:  # noqa: ARG002
        """Return the test of all values."""
        found = containing(self.text)
        return lambda record: any(found(str(value)) for value in record[VALUES])

    def __str__(self) -> str:
        return f"@*:{spelled_value(self.text)}"


def _spelled_key(key: str) -> str:
    return key if KEY.fullmatch(key) and key != "*" else quoted(key)
