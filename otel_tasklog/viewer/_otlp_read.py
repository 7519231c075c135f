"""Records of OTLP, from whatever program and in either form, as records of ours.

What capture keeps in fields goes over the wire in attributes, and comes back into
fields here; all else stays an attribute.

See https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar, cast

from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber
from opentelemetry.semconv.attributes import code_attributes as code
from opentelemetry.semconv.attributes import exception_attributes as exception

from otel_tasklog.capture._levels import logged_level
from otel_tasklog.capture._record import Origin, Rest, Sealed, Who
from otel_tasklog.viewer._members import Members, check_time
from otel_tasklog.viewer._record_read import body_text, rest_part, span_part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from otel_tasklog.capture._values import Value
    from otel_tasklog.delivery._decode import DecodedRecord

__all__ = ["OtlpRecord", "PlacedRecord", "is_request", "placed_records"]

_T = TypeVar("_T")

_PREFIX: Final = "SEVERITY_NUMBER_"
_SEVERITIES: Final[dict[int, str]] = {
    number: name.removeprefix(_PREFIX)
    for name, number in SeverityNumber.items()
    if number
}


class OtlpRecord(NamedTuple):
    """One record as the wire has it.

    Attributes:
        scope: The name of its scope.
        timestamp_ns: When it was made.
        severity_number: Its severity.
        severity_text: The same, as the program calls it.
        body: Its body.
        attributes: Its attributes.
        span: The span around it, as a record of ours holds it.
        event_name: The name of the event that it is, or the empty text.
        dropped_attributes: How many attributes there was no room for.
    """

    scope: str
    timestamp_ns: int
    severity_number: int
    severity_text: str
    body: Value
    attributes: dict[str, Value]
    span: tuple[object, ...] | None
    event_name: str = ""
    dropped_attributes: int = 0

    @classmethod
    def of(cls, decoded: DecodedRecord) -> OtlpRecord:
        """Return a record that came as protobuf."""
        record = decoded.record
        trace_id = record.trace_id if len(record.trace_id) == 16 else b""
        span_id = record.span_id if len(record.span_id) == 8 else bytes(8)
        return cls(
            scope=decoded.scope,
            timestamp_ns=record.time_unix_nano or record.observed_time_unix_nano,
            severity_number=record.severity_number,
            severity_text=record.severity_text,
            body=decoded.body,
            attributes=decoded.attributes,
            span=span_part(trace_id, span_id, record.flags),
            event_name=record.event_name,
            dropped_attributes=record.dropped_attributes_count,
        )

    @classmethod
    def of_receive(cls, value: Mapping[str, object]) -> OtlpRecord:
        """Return a record that ``otel-tasklog receive --json`` printed.

        Raises:
            ValueError: It is none; the message says which member is wrong.
        """
        members = Members(value)
        return cls(
            scope=members.text("scope"),
            timestamp_ns=check_time(members.whole("timestamp_ns")),
            severity_number=members.whole("severity_number", 0),
            severity_text=members.text("severity_text", ""),
            body=members.value("body"),
            attributes=members.mapping("attributes"),
            span=_span(members, "trace_id", "span_id", "trace_flags"),
            event_name=members.text("event_name", ""),
        )

    @classmethod
    def of_json(cls, value: Mapping[str, object], scope: str) -> OtlpRecord:
        """Return a ``LogRecord`` of OTLP/JSON.

        Raises:
            ValueError: It is none; the message says which member is wrong.
        """
        members = _members(value)
        observed = members.whole("observedTimeUnixNano", 0)
        return cls(
            scope=scope,
            timestamp_ns=check_time(members.whole("timeUnixNano", 0) or observed),
            severity_number=_severity(members),
            severity_text=members.text("severityText", ""),
            body=_any_value(members.object("body")),
            attributes=_attributes(members.objects("attributes")),
            span=_span(members, "traceId", "spanId", "flags"),
            event_name=members.text("eventName", ""),
            dropped_attributes=members.count("droppedAttributesCount", 0),
        )

    def sealed(self, sequence: int) -> Sealed:
        """Return it as a finished record.

        Args:
            sequence: Its place among others; the wire does not tell.
        """
        rest = _Rest(self.attributes)
        number = self.severity_number if 0 <= self.severity_number <= 24 else 0
        origin = Origin(
            logger=self.scope,
            level=logged_level(number, self.severity_text),
            severity_number=number,
            severity_text=self.severity_text or _SEVERITIES.get(number, ""),
            path=rest.take(code.CODE_FILE_PATH, str) or "",
            line=rest.take(code.CODE_LINE_NUMBER, int) or 0,
            function=rest.take(code.CODE_FUNCTION_NAME, str) or "",
            thread_id=rest.take("thread.id", int) or 0,
            thread_name=rest.take("thread.name", str) or "",
            process_id=rest.take("process.pid", int) or 0,
        )
        who = Who(
            task_id=rest.take("task_id", str),
            task_parent_id=rest.take("task_parent_id", str),
            number=rest.take("asyncio.task.id", int),
            name=rest.take("asyncio.task.name", str),
            parent_number=rest.take("asyncio.task.parent_id", int),
        )
        special = Rest(
            event_name=self.event_name or None,
            exception_type=rest.take(exception.EXCEPTION_TYPE, str),
            exception_message=rest.take(exception.EXCEPTION_MESSAGE, str),
            exception_stacktrace=rest.take(exception.EXCEPTION_STACKTRACE, str),
            stack_info=rest.take(code.CODE_STACKTRACE, str),
            dropped_attributes=self.dropped_attributes or None,
        )
        body = self.body if isinstance(self.body, dict) else None
        return (
            sequence, self.timestamp_ns, tuple(origin), tuple(who), self.span,
            _message(self.body), body, (*rest.left,), (*rest.left.values(),),
            rest_part(special),
        )  # fmt: skip


class _Rest:
    """Attributes, and which of them have not become fields.

    Attributes:
        left: Those.
    """

    def __init__(self, attributes: dict[str, Value]) -> None:
        self.left = attributes.copy()

    def take(self, name: str, kind: type[_T]) -> _T | None:
        """Return an attribute of this type and leave it out; None if there is none."""
        found = self.left.get(name)
        if type(found) is not kind:
            return None
        del self.left[name]
        return found


def _message(body: Value) -> str:
    if isinstance(body, dict):
        return body_text(body)
    return "" if body is None else str(body)


class PlacedRecord(NamedTuple):
    """A ``LogRecord`` of OTLP/JSON with what it shares with others.

    Attributes:
        resource: The attributes of the resource.
        scope: The name of the scope.
        record: The record, not looked at yet.
    """

    resource: dict[str, Value]
    scope: str
    record: Mapping[str, object]


def is_request(value: Mapping[str, object]) -> bool:
    """Return whether this may be an ``ExportLogsServiceRequest`` of OTLP/JSON."""
    return "resourceLogs" in value or "resource_logs" in value


def placed_records(value: Mapping[str, object]) -> Iterator[PlacedRecord]:
    """Yield the records of an ``ExportLogsServiceRequest``, in its order.

    Args:
        value: What ``json.loads`` made of it; names in lowerCamelCase, or as the
            protocol has them.

    Raises:
        ValueError: It is none; the message says which member is wrong.
    """
    for resource_logs in map(_members, _members(value).objects("resourceLogs")):
        resource = _attributes(_inner(resource_logs, "resource").objects("attributes"))
        for scope_logs in map(_members, resource_logs.objects("scopeLogs")):
            scope = _inner(scope_logs, "scope").text("name", "")
            for record in scope_logs.objects("logRecords"):
                yield PlacedRecord(resource, scope, record)


def _inner(members: Members, name: str) -> Members:
    return _members(members.object(name))


def _members(value: Mapping[str, object]) -> Members:
    """Return the members by their names in lowerCamelCase, whichever they have."""
    if any("_" in name for name in value):
        value = {_camel(name): each for name, each in value.items()}
    return Members(value)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _span(
    members: Members, trace: str, span: str, flags: str
) -> tuple[object, ...] | None:
    return span_part(
        members.id(trace, 16), members.id(span, 8), members.whole(flags, 0)
    )


def _severity(members: Members) -> int:
    try:
        return members.whole("severityNumber", 0)
    except ValueError:
        name = members.text("severityNumber")  # as protobuf's own JSON has it
        return cast("int", SeverityNumber.Value(name))


def _attributes(pairs: Iterable[Mapping[str, object]]) -> dict[str, Value]:
    attributes: dict[str, Value] = {}
    for pair in pairs:
        members = Members(pair)
        attributes[members.text("key", "")] = _any_value(members.object("value"))
    return attributes


def _any_value(value: Mapping[str, object]) -> Value:
    if len(value) != 1:
        if not value:
            return None
        raise ValueError(f"a value has one member, got {', '.join(value)[:60]}")
    ((name, found),) = value.items()
    kind = _camel(name) if "_" in name else name
    if kind == "stringValue" and isinstance(found, str):
        return found  # most are
    members = Members({kind: found})
    match kind:
        case "stringValue":
            return members.text(kind)
        case "intValue":
            return members.whole(kind)
        case "boolValue" if isinstance(found, bool):
            return found
        case "doubleValue" if isinstance(found, int | float | str):
            return float(found)  # "NaN" and "Infinity" are texts
        case "bytesValue":
            standard = members.text(kind).translate({45: 43, 95: 47})
            return base64.b64decode(f"{standard}==")
        case "arrayValue":
            return tuple(map(_any_value, _inner(members, kind).objects("values")))
        case "kvlistValue":
            return _attributes(_inner(members, kind).objects("values"))
        case _:
            raise ValueError(f"{name[:60]} is no value of OTLP")
