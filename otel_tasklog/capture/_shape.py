"""What the keys of a record's attributes decide, once for all that have them."""

from __future__ import annotations

import logging
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from otel_tasklog.capture._names import AttributeNames, distinct, normal
from otel_tasklog.capture._redact import REDACTED
from otel_tasklog.capture._stamp import STAMP

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "EVENT_NAMES",
    "STANDARD_FIELDS",
    "Guesses",
    "Layout",
    "Shape",
    "Shapes",
    "bound_name",
    "free_name",
    "redacted",
]

# Not by makeLogRecord(), which asks the application's factory.
STANDARD_FIELDS: Final = frozenset(
    logging.LogRecord("", 0, "", 0, "", None, None).__dict__
)
"""What a LogRecord has before any extra: 22 fields on 3.11, 23 from 3.12."""

EVENT_NAMES: Final = ("otel.event.name", "event.name")
# Not attributes: what formatters leave behind, what the trace instrumentation
# adds of what the record has already, and what is sent as the task's identity.
_NOT_ATTRIBUTES: Final = frozenset(
    {
        "message", "asctime", "task_id", STAMP,
        # structlog's own, on records of its ProcessorFormatter.wrap_for_formatter.
        "_logger", "_name",
        "otelTraceID", "otelSpanID", "otelTraceSampled", "otelServiceName",
    }
)  # fmt: skip
_NOT_FREE: Final = STANDARD_FIELDS | {"message", "asctime", "_logger", "_name", STAMP}
_SPECIAL: Final = frozenset(
    {"task_id", "job_id", "asyncz_task_id", STAMP, *EVENT_NAMES}
)
_Pick: TypeAlias = "Callable[[Mapping[str, Any]], tuple[Any, ...]]"
Layout: TypeAlias = "tuple[Any, ...]"
"""What a record has of its `Shape`, a tuple that the collector need not look at: the
keys of the attributes as they were logged, their names on the wire, what the names take
in bytes, and for each whether its value is secret, or None if none is."""
Guesses: TypeAlias = "dict[object, tuple[int, Shape, tuple[Any, ...]]]"
_SHAPES_REMEMBERED: Final = 8_192
_NAMES_BYTES: Final = 4_096


def free_name(name: str) -> str:
    """Return the name for what comes as an attribute: no field of a LogRecord's."""
    return f"extra.{name}" if name in _NOT_FREE else name


def bound_name(name: str) -> str:
    """Return the name for what a scope carries, where nothing of a record's is."""
    return f"extra.{name}" if name in _NOT_ATTRIBUTES else name


class Shape:
    """What the keys of a record's attributes decide, once for all that have them.

    Attributes:
        layout: What records with these keys have of it.
        pick: Returns the attributes' values, of a mapping that has all the keys; raises
            KeyError for another.
        count: How many keys there are, with those that are not attributes'.
        special: The keys that say something of the record itself.
    """

    __slots__ = ("count", "layout", "pick", "special")

    def __init__(self, keys: tuple[str, ...], names: AttributeNames) -> None:
        attributes = tuple([key for key in keys if key not in _NOT_ATTRIBUTES])
        sent = _distinct([names.unmistaken(key) for key in attributes])
        secrets = tuple([names[key][1] for key in attributes])
        names_bytes = len("".join(sent).encode())
        kept = secrets if any(secrets) else None
        self.layout: Layout = (attributes, sent, names_bytes, kept)
        self.count: int = len(keys)
        self.pick: _Pick = _picker(attributes, keys)
        self.special: tuple[str, ...] = tuple([key for key in keys if key in _SPECIAL])


def redacted(values: tuple[Any, ...], secrets: tuple[bool, ...]) -> tuple[Any, ...]:
    """Return the values without those that are nobody's to read."""
    return tuple(
        [
            REDACTED
            if secret and value is not None and type(value) is not bool
            else value
            for value, secret in zip(values, secrets, strict=True)
        ]
    )


def _picker(attributes: tuple[str, ...], keys: tuple[str, ...]) -> _Pick:
    others = [key for key in keys if key in _NOT_ATTRIBUTES]
    if others:
        # They are looked for, too. Of one key it would return no tuple.
        every = itemgetter(*[*attributes, *others, *others])
        count = len(attributes)
        return lambda given: every(given)[:count]
    if not keys:
        return lambda _: ()
    if len(keys) == 1:
        (only,) = keys
        return lambda given: (given[only],)
    # In one step of the interpreter.
    return cast("_Pick", itemgetter(*keys))


def _distinct(names: list[str]) -> tuple[str, ...]:
    """Number what two keys become alike: Loki would keep one of them."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        names[index] = numbered = distinct(name, seen)
        seen.add(normal(numbered))
    return tuple(names)


class Shapes(dict["tuple[str, ...]", Shape]):
    """Shapes by the keys of what has them. Safe to ask from any thread.

    At worst two threads make the same one. Keys are often few; should an application
    make them up, the table starts anew.

    Args:
        names: What the keys become.
        ignored: Keys that are no attributes.

    Attributes:
        guesses: For a line of code, how many keys a record of it had last, their
            shape, and the record's origin. To look there costs a fifth of reading the
            keys. A record that has as many, and the shape's, has no others, but where
            somebody deletes standard fields of some records of a line and not of all.
    """

    def __init__(
        self, names: AttributeNames, ignored: frozenset[str] = frozenset()
    ) -> None:
        super().__init__()
        self._ignored = ignored
        self._names = names
        self.guesses: Guesses = {}

    def of(self, fields: Mapping[str, Any], origin: tuple[Any, ...]) -> Shape:
        """Return the shape of a record's fields, and guess both for its line."""
        shape = self[(*fields,)]
        if len(fields) == len(STANDARD_FIELDS) + shape.count:
            if len(self.guesses) >= _SHAPES_REMEMBERED:
                self.guesses.clear()
            self.guesses[fields["lineno"]] = len(fields), shape, origin
        return shape

    def __missing__(self, keys: tuple[str, ...]) -> Shape:
        """Make the shape of keys that are seen for the first time."""
        if len(self) >= _SHAPES_REMEMBERED:
            self.clear()
        shape = Shape(tuple([k for k in keys if k not in self._ignored]), self._names)
        _, _, names_bytes, _ = shape.layout
        if names_bytes <= _NAMES_BYTES:  # else it is not worth it
            self[keys] = shape
        return shape
