"""What Loki makes of a record, and the record that is made of that again.

Loki has labels of a stream, a line, and texts by name, its structured metadata. Names
have other characters there, and every value is a text. What capture keeps in fields
comes back into fields; what the resource has is told from the attributes of the record
by its name, for Loki puts both side by side.

So a query's attributes are looked for by Loki's names and as Loki's texts: `stored`
says the same query in those. What was a text and what was a number is not known there:
``@amount:10`` finds both.

Tried against Loki 3.7.6, and the rules are also those of
https://grafana.com/docs/loki/latest/send-data/otel/
"""

from __future__ import annotations

import dataclasses
import decimal
import math
import re
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from otel_tasklog.capture._levels import logged_level
from otel_tasklog.capture._names import normal
from otel_tasklog.capture._record import (
    KEYS,
    NO_REST,
    REST,
    VALUES,
    Origin,
    Rest,
    Sealed,
    Span,
    Who,
)
from otel_tasklog.store._attributes import AnyAttribute, Attribute, AttributeLike
from otel_tasklog.store._expression import And, Expression, Not, Or
from otel_tasklog.store._matching import containing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_tasklog.capture._values import Value
    from otel_tasklog.store._expression import Evaluation, Test

__all__ = ["FIXED", "AnyOwn", "OneOf", "Stored", "is_resource", "loki_name", "stored"]

_WHO: Final = (
    "task_id", "task_parent_id", "asyncio_task_id", "asyncio_task_name",
    "asyncio_task_parent_id",
)  # fmt: skip
_REST: Final = (
    "exception_type", "exception_message", "exception_stacktrace", "code_stacktrace",
)  # fmt: skip
_LOKIS: Final = (
    "severity_number", "severity_text", "detected_level", "observed_timestamp",
    "trace_id", "span_id", "flags", "scope_name", "scope_version",
    "dropped_attributes_count", "scope_dropped_attributes_count", "__error__",
    "__error_details__",
)  # fmt: skip

FIXED: Final = frozenset(
    {
        *_WHO, *_REST, *_LOKIS, "code_file_path", "code_function_name",
        "code_line_number", "thread_id", "thread_name", "process_pid",
    }
)  # fmt: skip
"""Names of what is no attribute, neither the record's nor the resource's."""

_RESOURCE: Final = re.compile(
    "(service_(name|namespace|version|instance_id)|telemetry_(sdk|auto|distro)_.*"
    "|deployment_environment(_name)?|(host|os|container|k8s|cloud)_.*"
    "|process_(runtime|executable|command|owner|parent_pid).*)"
)
_DIGITS: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_TRACE: Final = re.compile("[0-9a-f]{32}")
_SPAN: Final = re.compile("[0-9a-f]{16}")


def loki_name(key: str) -> str:
    """Return what Loki calls an attribute; empty if it would refuse the key."""
    is_reserved = len(key) >= 4 and key.startswith("__") and key.endswith("__")
    name = f"__{normal(key[2:-2])}__" if is_reserved else normal(key)
    if name[:1].isdigit():
        name = f"key_{name}"
    return name if name.strip("_") else ""


def is_resource(name: str) -> bool:
    """Return whether what Loki calls so is an attribute of a resource."""
    return _RESOURCE.fullmatch(name) is not None


class Stored(NamedTuple):
    """A record as Loki has it.

    Attributes:
        whole: With the attributes of the resource among its own; for tests.
        resource: Those of the resource, by Loki's names.
    """

    whole: Sealed
    resource: Mapping[str, str]

    @classmethod
    def read(
        cls,
        timestamp_ns: int,
        line: str,
        labels: Mapping[str, str],
        metadata: Mapping[str, str],
    ) -> Stored:
        """Return a record of an answer.

        Args:
            timestamp_ns: Its time.
            line: Its line.
            labels: Of its stream.
            metadata: Its structured metadata.
        """
        left = {**metadata}
        take = left.pop
        number = _whole(take("severity_number", "")) or 0
        text = take("severity_text", "")
        origin = Origin(
            logger=take("scope_name", ""),
            # Without a number Loki cannot compare it, whatever the text says.
            level=logged_level(number, text)
            if number
            else min(logged_level(0, text), 0),
            severity_number=number,
            severity_text=text,
            path=take("code_file_path", ""),
            line=_whole(take("code_line_number", "")) or 0,
            function=take("code_function_name", ""),
            thread_id=_whole(take("thread_id", "")) or 0,
            thread_name=take("thread_name", ""),
            process_id=_whole(take("process_pid", "")) or 0,
        )
        who = Who(
            task_id=take("task_id", None),
            task_parent_id=take("task_parent_id", None),
            number=_whole(take("asyncio_task_id", "")),
            name=take("asyncio_task_name", None),
            parent_number=_whole(take("asyncio_task_parent_id", "")),
        )
        rest = Rest(
            event_name=left.get("event_name"),
            exception_type=take("exception_type", None),
            exception_message=take("exception_message", None),
            exception_stacktrace=take("exception_stacktrace", None),
            stack_info=take("code_stacktrace", None),
            dropped_attributes=_whole(take("dropped_attributes_count", "")),
        )
        span = _span(take("trace_id", ""), take("span_id", ""), take("flags", ""))
        for name in _LOKIS:
            left.pop(name, None)
        resource = {name: each for name, each in left.items() if is_resource(name)}
        resource.update(labels)
        left.update(labels)
        whole = (
            0, timestamp_ns, tuple(origin), tuple(who), span, line, None,
            (*left,), (*left.values(),), NO_REST if rest == NO_REST else tuple(rest),
        )  # fmt: skip
        return cls(whole, resource)

    @property
    def sealed(self) -> Sealed:
        """The record with its own attributes alone; all have the sequence 0."""
        whole = self.whole
        own = {
            name: value
            for name, value in zip(whole[KEYS], whole[VALUES], strict=True)
            if name not in self.resource
        }
        return (*whole[:KEYS], (*own,), (*own.values(),), whole[REST])


def _whole(text: str) -> int | None:
    return int(text) if _DIGITS.fullmatch(text) else None


def _span(trace_id: str, span_id: str, flags: str) -> tuple[object, ...] | None:
    if not _TRACE.fullmatch(trace_id) or trace_id.strip("0") == "":
        return None
    span = bytes.fromhex(span_id) if _SPAN.fullmatch(span_id) else bytes(8)
    return tuple(Span(bytes.fromhex(trace_id), span, (_whole(flags) or 0) & 0xFF))


@dataclasses.dataclass(frozen=True, slots=True)
class OneOf(Expression):
    """An attribute whose text is one of several.

    Attributes:
        name: By Loki's name.
        texts: The texts.
        meant: What it stands for.
    """

    cost: ClassVar[int] = 3
    name: str
    texts: tuple[str, ...]
    meant: Attribute

    def compile(self, evaluation: Evaluation) -> Test:  # noqa: ARG002
        """Return the test of the text."""
        name, texts = self.name, frozenset[object](self.texts)

        def matches(record: Sealed) -> bool:
            keys = record[KEYS]
            return name in keys and record[VALUES][keys.index(name)] in texts

        return matches

    def __str__(self) -> str:
        return str(self.meant)


@dataclasses.dataclass(frozen=True, slots=True)
class AnyOwn(Expression):
    """A part of the text of any attribute, those of the resource left out."""

    cost: ClassVar[int] = 7
    meant: AnyAttribute

    def compile(self, evaluation: Evaluation) -> Test:  # noqa: ARG002
        """Return the test of all values that are the record's own."""
        found = containing(self.meant.text)

        def matches(record: Sealed) -> bool:
            return any(
                not is_resource(name) and found(str(value))
                for name, value in zip(record[KEYS], record[VALUES], strict=True)
            )

        return matches

    def __str__(self) -> str:
        return str(self.meant)


def stored(expression: Expression) -> Expression:
    """Return the expression that finds as Loki has them what this one finds."""
    match expression:
        case And() | Or():
            return type(expression)(tuple(map(stored, expression.parts)))
        case Not():
            return Not(stored(expression.part))
        case Attribute(key, ":", constant):
            texts = dict.fromkeys((constant.text, *_texts_of(constant.value)))
            return OneOf(loki_name(key), (*texts,), expression)
        case Attribute(key):
            return dataclasses.replace(expression, key=loki_name(key))
        case AttributeLike(key):
            return dataclasses.replace(expression, key=loki_name(key))
        case AnyAttribute():
            return AnyOwn(expression)
        case _:
            return expression


def _texts_of(value: Value) -> list[str]:
    """Return what Loki may have in the place of a value that equals this one."""
    match value:
        case bool() | int():
            texts = [str(int(value))]
            return [*texts, ("false", "true")[value]] if value in (0, 1) else texts
        case float() if math.isfinite(value):
            texts = [_float_text(value)]
            return [*texts, *_texts_of(int(value))] if value in (0.0, 1.0) else texts
        case _:
            return []


def _float_text(number: float) -> str:
    """Return a number as OpenTelemetry's Collector writes it, which is as JSON does."""
    if number and not 1e-6 <= abs(number) < 1e21:
        return repr(number).replace("e-0", "e-")
    text = format(decimal.Decimal(repr(number)), "f")
    return text.removesuffix(".0") if number else "0"
