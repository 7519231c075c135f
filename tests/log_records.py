"""Whole LogRecords as no application should make them, and as some do.

One grammar, `RecordMaker`, from two sources of choices: `random.Random` for volume,
and Hypothesis, which shrinks what it finds.

Each record carries its number, as the attribute `NUMBER` or, where a record is so
broken that attributes may not survive, in its logger's name.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from choices import Drawn, Seeded
from hostile_exceptions import EXCEPTIONS
from hostile_values import HEAVY, HOSTILE, HOSTILE_RECORDS, PLAIN
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from choices import Source
    from hypothesis.strategies import DrawFn

__all__ = ["LOGGER", "NUMBER", "SECRET", "Made", "RecordMaker", "made_of", "records"]

LOGGER: Final = "hostile"
NUMBER: Final = "hostile.number"
SECRET: Final = "hunter2-swordfish"  # noqa: S105 - a made-up one
"""Stands only where redaction must find it."""

INTEGERS: Final = (
    0, 1, 127, 128, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64,
    10**40, 10**5_000, -(10**5_000),
)  # fmt: skip
DOUBLES: Final = (
    0.0, -0.0, 0.1, 5e-324, 1.8e308, math.inf, -math.inf, math.nan, 1e16, 1e21,
)  # fmt: skip
KEYS: Final = (
    "", "_", "__", "____", "_a", "__x__", "日本", "größe", "é", "\udc80", "\0", " ", ".",
    "1st", "a.b", "a_b", "a-b", "A.B", "a", "b", "key", "k" * 300, "x" * 10_000,
    "level", "LEVEL", "Level", "log.level", "lvl", "severity", "Severity", "SeverityText",
    "severity_number", "severity.text", "detected_level", "trace_id", "trace.id", "span-id",
    "flags", "scope_name", "service.name", "service_name", "observed_timestamp",
    "task_id", "task.id", "task-id", "Task_Id", "task_parent_id", "job_id",
    "asyncz_task_id", "asyncio.task.id", "asyncio_task_name", "exception.type",
    "exception_message", "code.file.path", "code_line_number", "thread.name",
    "dropped_attributes_count", "event.name", "otel.event.name", "message", "asctime",
    "otelTraceID", "_logger", "_name", "self", "args", "name", "msg",
)  # fmt: skip
SECRET_KEYS: Final = (
    "password",
    "Authorization",
    "api_key",
    "set-cookie",
    "client_secret",
)
NO_TEXTS: Final = (None, 0, 5, 1.5, b"bytes", True, ("t",), {"a": 1}, math.nan)
TEMPLATES: Final = (
    "%s", "%s and %s", "%d", "%(a)s", "%(missing)s", "%", "%%", "100%", "%1000000s", "%*d",
    "%r %r %r", "{} {0}", "no arguments", "%c", "%x", "%.3f", "%(",
)  # fmt: skip
LEVELS: Final = (
    0,
    1,
    5,
    7,
    10,
    11,
    19,
    20,
    25,
    30,
    35,
    39,
    40,
    50,
    55,
    60,
    1_000,
    2**70,
)
FIELDS: Final = (
    "name", "levelno", "levelname", "pathname", "lineno", "funcName", "created", "msecs",
    "relativeCreated", "thread", "threadName", "process", "processName", "module",
    "filename", "stack_info", "exc_info", "exc_text", "msg", "args", "taskName",
)  # fmt: skip
TIMES: Final = (
    0, 0.0, -1.0, -1e300, 1e300, 1e10, 253_402_300_800.0, math.nan, math.inf, -math.inf,
    1.0, 10**30, True, "now", None,
)  # fmt: skip
CLASSES: Final[list[type[logging.LogRecord]]] = [logging.LogRecord] * 12
CLASSES.extend(HOSTILE_RECORDS)
_FIELDS_OF: Final = vars(logging.LogRecord)["__dict__"].__get__
"""Also of a record that has a ``__dict__`` of its own."""

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Made:
    """A record, and what it is made of.

    Attributes:
        record: The record.
        number: Its own.
        kinds: What is odd about it, in words.
    """

    record: logging.LogRecord
    number: int
    kinds: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Made({self.number}, {', '.join(self.kinds) or 'nothing odd'})"

    @property
    def fields(self) -> dict[Any, Any]:
        """The record's own, also where it does not show them."""
        fields: dict[Any, Any] = _FIELDS_OF(self.record)
        return fields

    @property
    def passes_loggers(self) -> bool:
        """Whether ``logging`` itself can compare its level with a handler's."""
        return type(self.fields.get("levelno")) is int


class RecordMaker:
    """Makes one record.

    Args:
        source: Decides what it is like.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kinds: list[str] = []

    def made(self, number: int) -> Made:
        """Return a record with a number."""
        kind = self._pick(CLASSES)
        record = kind("", 0, "app/orders.py", 12, "", None, None, "charge")
        is_odd = kind is not logging.LogRecord
        if is_odd:
            self._kinds.append(kind.__name__)
        fields: dict[Any, Any] = _FIELDS_OF(record)
        fields["name"] = LOGGER
        fields["levelno"] = level = self._pick(LEVELS)
        fields["levelname"] = logging.getLevelName(level)
        fields["msg"], fields["args"] = self._message()
        if self._once_in(6):
            fields["exc_info"] = self._exc_info()
        if self._once_in(12):
            fields["stack_info"] = self._pick(
                ("Stack:\n", "s" * 70_000, "\udc80", ["s"])
            )
        fields[NUMBER] = number
        self._add_extras(fields)
        if self._once_in(3):
            for _ in range(1 + self._source.below(3)):
                self._tamper(fields)
            is_odd = True
        if is_odd:
            fields["name"] = f"{LOGGER}.{number}"
        return Made(record, number, tuple(self._kinds))

    def value(self, depth: int = 3) -> Any:
        """Return a value of any kind."""
        kind = self._source.below(14 if depth else 7)
        match kind:
            case 7:
                return [self.value(depth - 1) for _ in range(self._count())]
            case 8:
                items = [self.value(0) for _ in range(self._count())]
                return self._pick((tuple, set, frozenset))(items)
            case 9 | 10:
                return self._mapping(depth - 1)
            case 11:
                return self._one_of("plain", PLAIN)
            case 12 if self._once_in(50):
                return self._one_of("heavy", HEAVY)
            case 12:
                return self._one_of("hostile", HOSTILE)
            case 13:
                return self._large()
            case _:
                return self._scalar(kind)

    def _scalar(self, kind: int) -> Any:
        match kind:
            case 3:
                return self._either(self._source.integer, INTEGERS)
            case 4:
                return self._either(self._source.double, DOUBLES)
            case 5:
                return self._pick((None, True, False))
            case 6:
                return self._source.data()
            case _:
                return self._source.text(40)

    def _mapping(self, depth: int) -> dict[Any, Any]:
        return {self._key(): self.value(depth) for _ in range(self._count())}

    def _pick(self, choices: Sequence[_T]) -> _T:
        return choices[self._source.below(len(choices))]

    def _either(self, usual: Callable[[], _T], special: Sequence[_T]) -> _T:
        return self._pick(special) if self._source.below(3) == 2 else usual()

    def _once_in(self, times: int) -> bool:
        return self._source.below(times) == times - 1

    def _count(self) -> int:
        return self._pick((0, 1, 2, 3, 5))

    def _one_of(self, kind: str, makers: Sequence[Callable[[], object]]) -> Any:
        index = self._source.below(len(makers))
        self._kinds.append(f"{kind} {index}")
        return makers[index]()

    def _large(self) -> Any:
        if not self._once_in(25):
            return self._source.text(400)
        self._kinds.append("large")
        size = self._pick((2_000, 17_000, 70_000, 300_000))
        letter = self._pick(("x", '"', "\x01", "ß", "\u2028", "😀", "\udc80"))
        shapes: tuple[Callable[[], Any], ...] = (
            lambda: letter * size,
            lambda: letter.encode("utf-8", "surrogatepass") * size,
            lambda: [letter] * size,
            lambda: list(range(size)),
            lambda: {f"{letter}{n}": n for n in range(size)},
            lambda: [letter * 900] * 900,
            lambda: {letter * 200: {f"k{n}": letter * 40 for n in range(90)}},
        )  # fmt: skip
        return self._pick(shapes)()

    def _key(self) -> Any:
        match self._source.below(8):
            case 0 | 1 | 2:
                return f"key{self._source.below(20)}"
            case 3 | 4 | 5:
                return self._pick(KEYS)
            case 6:
                return self._source.text(12)
            case _:
                return self._pick(
                    (None, 5, 1.5, True, b"k", (1, "a"), math.nan, object)
                )

    def _message(self) -> tuple[Any, Any]:
        match self._source.below(8):
            case 0 | 1:
                return "charged %s of %d", ("order-7", self._source.below(100))
            case 2:
                return self._source.text(200), None
            case 3 | 4:
                args = tuple([self.value(1) for _ in range(self._count())])
                return self._pick(TEMPLATES), args
            case 5:
                return self._pick(TEMPLATES), self.value(2)
            case 6:
                return self.value(), None
            case _:
                return self._mapping(2), None

    def _secret(self) -> dict[str, Any]:
        key = self._pick(SECRET_KEYS)
        self._kinds.append("secret")
        return self._pick(
            ({key: SECRET}, {"headers": {key: SECRET}}, {"all": [({key: [SECRET]},)]})
        )

    def _add_extras(self, fields: dict[Any, Any]) -> None:
        for _ in range(self._count()):
            key = self._key()
            if key not in fields:
                fields[key] = self.value()
        if self._once_in(10):
            fields.update(self._secret())
        if self._once_in(40):
            self._kinds.append("many")
            size = self._pick((90, 100, 200))
            fields.update(
                {f"many.{n}": self._pick(("", 1, "v" * 900)) for n in range(size)}
            )

    def _tamper(self, fields: dict[Any, Any]) -> None:
        field = self._pick(FIELDS)
        self._kinds.append(f"tampered {field}")
        match self._source.below(5):
            case 0:
                fields.pop(field, None)
            case 1:
                fields[field] = self._one_of("hostile", HOSTILE)
            case 2:
                fields[field] = self._pick(NO_TEXTS)
            case 3:
                fields["created"] = self._pick((*TIMES, time.time() - 86_400))
            case _:
                fields[field] = self.value(1)
        level: Any = fields.get("levelno")
        if issubclass(type(level), int) and int.__lt__(level, 0):
            fields["levelno"] = 0  # what is below every level nobody asked for

    def _exc_info(self) -> Any:
        error: BaseException = self._one_of("exception", EXCEPTIONS)
        match self._source.below(8):
            case 0 | 1 | 2:
                return type(error), error, error.__traceback__
            case 3:
                return error
            case 4:
                return type(error), error, "no traceback"
            case 5:
                return True
            case 6:
                return self._pick(((None, None, None), (1, 2, 3), (error,), "text", 1))
            case _:
                return self.value(1)


def made_of(seed: int, number: int) -> Made:
    """Return a record of a series, the same one each time."""
    return RecordMaker(Seeded(f"{seed}/{number}")).made(number)


@st.composite
def records(draw: DrawFn) -> Made:
    """Any record at all."""
    return RecordMaker(Drawn(draw)).made(draw(st.integers(0, 2**31)))
