"""The terms of a query: each a frozen node that looks at one thing of a record."""

from __future__ import annotations

import dataclasses
import logging
import re
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias

from otel_tasklog.capture._record import (
    MESSAGE,
    ORIGIN,
    REST,
    SPAN,
    TIMESTAMP_NS,
    WHO,
    Origin,
    Rest,
    Sealed,
    Span,
    Who,
)
from otel_tasklog.store._expression import Expression, Plan
from otel_tasklog.store._matching import (
    OPERATORS,
    Glob,
    containing,
    is_exact,
    searching,
)
from otel_tasklog.store._spelling import UnfitError, spelled_value, spelled_word

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tasklog.store._expression import Evaluation, Test
    from otel_tasklog.store._moments import When

__all__ = [
    "Hex",
    "Level",
    "Like",
    "LikeField",
    "Message",
    "Regex",
    "Text",
    "Time",
    "Under",
]

_LEVEL: Final = Origin._fields.index("level")
_LOGGER: Final = Origin._fields.index("logger")
_THREAD_ID: Final = Origin._fields.index("thread_id")
_THREAD_NAME: Final = Origin._fields.index("thread_name")
_TASK_ID: Final = Who._fields.index("task_id")
_PARENT_ID: Final = Who._fields.index("task_parent_id")
_NUMBER: Final = Who._fields.index("number")
_EVENT_NAME: Final = Rest._fields.index("event_name")
_EXCEPTION: Final = Rest._fields.index("exception_type")
_EXCEPTION_MESSAGE: Final = Rest._fields.index("exception_message")
_STACKTRACE: Final = Rest._fields.index("exception_stacktrace")
_SPAN_PLACE: Final = {
    "trace": (Span._fields.index("trace_id"), 32),
    "span": (Span._fields.index("span_id"), 16),
}

LikeField: TypeAlias = Literal["task", "logger", "thread", "asyncio", "exc", "event"]


def _exceptions(record: Sealed) -> tuple[Any, ...]:
    name: str | None = record[REST][_EXCEPTION]
    return () if name is None else (name, name.rpartition(".")[2])


_TEXTS: Final[dict[str, Callable[[Sealed], tuple[Any, ...]]]] = {
    "task": lambda r: (r[WHO][_TASK_ID],),
    "thread": lambda r: (r[ORIGIN][_THREAD_NAME], str(r[ORIGIN][_THREAD_ID])),
    "asyncio": lambda r: () if r[WHO][_NUMBER] is None else (str(r[WHO][_NUMBER]),),
    "exc": _exceptions,
    "event": lambda r: (r[REST][_EVENT_NAME],),
}
"""Where a field looks: one of the texts must match; None has nothing to match."""


@dataclasses.dataclass(frozen=True, slots=True)
class Like(Expression):
    """``task:import-*``: a name or an id, whole, in its own case."""

    cost: ClassVar[int] = 1
    field: LikeField
    glob: Glob

    def compile(self, evaluation: Evaluation) -> Test:  # noqa: ARG002
        """Return the test of the field's texts."""
        like, literal = self.glob.test(), self.glob.literal
        if self.field == "task" and literal is not None:
            return lambda record: bool(record[WHO][_TASK_ID] == literal)
        if self.field == "logger":
            below = _below(literal) if literal is not None else like
            return lambda record: below(record[ORIGIN][_LOGGER])
        texts = _TEXTS[self.field]

        def test(record: Sealed) -> bool:
            for text in texts(record):  # noqa: SIM110 - any() takes twice the time
                if text is not None and like(text):
                    return True
            return False

        return test

    def plan(self) -> Plan:
        """Return the job, if it is one."""
        return Plan(self.glob.literal if self.field == "task" else None)

    def __str__(self) -> str:
        return f"{self.field}:{self.glob}"


def _below(logger: str) -> Callable[[str], bool]:
    prefix = f"{logger}."
    return lambda name: name == logger or name.startswith(prefix)


@dataclasses.dataclass(frozen=True, slots=True)
class Under(Expression):
    """``under:import-42``: a job with every job inside it, however deep."""

    cost: ClassVar[int] = 1
    task_id: str

    def compile(self, evaluation: Evaluation) -> Test:
        """Return the test of the record's job and of the one around that."""
        wanted, family = self.task_id, evaluation.family(self.task_id)

        def test(record: Sealed) -> bool:
            own, parent = record[WHO][_TASK_ID], record[WHO][_PARENT_ID]
            return wanted in (own, parent) or own in family or parent in family

        return test

    def __str__(self) -> str:
        return f"under:{spelled_value(self.task_id)}"


@dataclasses.dataclass(frozen=True, slots=True)
class Level(Expression):
    """``level>=warning``."""

    cost: ClassVar[int] = 0
    operator: str
    number: int

    def compile(self, evaluation: Evaluation) -> Test:  # noqa: ARG002
        """Return the test of the level."""
        compare, number = OPERATORS[self.operator], self.number
        return lambda record: compare(record[ORIGIN][_LEVEL], number)

    def plan(self) -> Plan:
        """Return the lowest level there can be."""
        if self.operator in (":", ">="):
            return Plan(lowest_level=max(self.number, 0))
        return Plan(lowest_level=max(self.number + 1, 0) if self.operator == ">" else 0)

    def __str__(self) -> str:
        # The application may have given the name to another level.
        name = logging.getLevelName(self.number)
        known = logging.getLevelNamesMapping().get(name) == self.number
        plain = known and name.isascii() and name.isalpha() and name.isupper()
        return f"level{self.operator}{name.lower() if plain else self.number}"


@dataclasses.dataclass(frozen=True, slots=True)
class Time(Expression):
    """``since:5m``, ``until:12:30``, ``time>2026-01-31T12:30Z``."""

    cost: ClassVar[int] = 0
    operator: str
    when: When

    def compile(self, evaluation: Evaluation) -> Test:
        """Return the test of the timestamp."""
        compare, bound = OPERATORS[self.operator], self.when.at(evaluation.now_ns)
        return lambda record: compare(record[TIMESTAMP_NS], bound)

    def __str__(self) -> str:
        start = {">=": "since:", "<": "until:"}.get(
            self.operator, f"time{self.operator}"
        )
        return f"{start}{self.when}"


@dataclasses.dataclass(frozen=True, slots=True)
class Hex(Expression):
    """``trace:4bf9``: the first digits of an id, or all of them; none: any id."""

    cost: ClassVar[int] = 2
    field: Literal["trace", "span"]
    digits: str

    def __post_init__(self) -> None:
        most = _SPAN_PLACE[self.field][1]
        if not re.fullmatch(f"[0-9a-fA-F]{{0,{most}}}", self.digits):
            raise UnfitError(
                f"expected {most} hexadecimal digits, or the first of them"
            )
        object.__setattr__(self, "digits", self.digits.lower())

    def compile(self, evaluation: Evaluation) -> Test:  # noqa: ARG002
        """Return the test of the span's ids."""
        place, digits = _SPAN_PLACE[self.field][0], self.digits

        def test(record: Sealed) -> bool:
            span = record[SPAN]
            return span is not None and span[place].hex().startswith(digits)

        return test

    def __str__(self) -> str:
        return f"{self.field}:{self.digits or '*'}"


@dataclasses.dataclass(frozen=True, slots=True)
class Message(Expression):
    """``message:timeout``: a part of the message alone, by smart case."""

    cost: ClassVar[int] = 5
    text: str

    def compile(self, evaluation: Evaluation) -> Test:  # noqa: ARG002
        """Return the test of the message."""
        found = containing(self.text)
        return lambda record: found(record[MESSAGE])

    def plan(self) -> Plan:
        """Return the text."""
        return _text_plan(self.text)

    def __str__(self) -> str:
        return f"message:{spelled_value(self.text)}"


@dataclasses.dataclass(frozen=True, slots=True)
class Text(Expression):
    """``timeout``: a part of the message, or of what an exception says."""

    cost: ClassVar[int] = 6
    text: str

    def compile(self, evaluation: Evaluation) -> Test:  # noqa: ARG002
        """Return the test of all texts."""
        return _in_texts(containing(self.text))

    def plan(self) -> Plan:
        """Return the text."""
        return _text_plan(self.text)

    def __str__(self) -> str:
        return spelled_word(self.text)


@dataclasses.dataclass(frozen=True, slots=True)
class Regex(Expression):
    """``/time(d )?out/i``: found where a `Text` is."""

    cost: ClassVar[int] = 8
    pattern: str
    ignore_case: bool = False

    def __post_init__(self) -> None:
        pattern = re.sub(
            r"\\(.)",
            lambda found: "/" if found[1] == "/" else found[0],
            self.pattern,
            flags=re.DOTALL,
        )
        object.__setattr__(self, "pattern", pattern)
        searching(pattern, ignore_case=self.ignore_case)  # it says what is wrong

    def compile(self, evaluation: Evaluation) -> Test:  # noqa: ARG002
        """Return the test of all texts."""
        return _in_texts(searching(self.pattern, ignore_case=self.ignore_case))

    def __str__(self) -> str:
        escaped = re.sub(
            r"\\.|/",
            lambda found: r"\/" if found[0] == "/" else found[0],
            self.pattern,
            flags=re.DOTALL,
        )
        return f"/{escaped}/{'i' * self.ignore_case}"


def _in_texts(found: Callable[[str], bool]) -> Test:
    def test(record: Sealed) -> bool:
        if found(record[MESSAGE]):
            return True
        message = record[REST][_EXCEPTION_MESSAGE]
        stacktrace = record[REST][_STACKTRACE]
        return (stacktrace is not None and found(stacktrace)) or (
            message is not None and found(message)
        )

    return test


def _text_plan(text: str) -> Plan:
    # Other letters may have another lower case by what stands around them.
    return Plan(text=text.lower()) if text.isascii() or not is_exact(text) else Plan()
