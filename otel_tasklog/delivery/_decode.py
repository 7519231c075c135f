"""OTLP bytes back to plain values: for SDK exporters and for receivers."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
        ExportLogsServiceRequest,
    )
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

    from otel_tasklog.capture._values import Value

__all__ = [
    "DecodedRecord",
    "decode_request",
    "parse_request",
    "plain",
    "request_json",
]


class DecodedRecord(NamedTuple):
    """One record of a request, with what it shares with others.

    Attributes:
        resource: The attributes of the resource.
        scope: The name of the scope, which is that of the logger.
        record: The record as the message that came, for all else that it has.
        body: The body.
        attributes: The attributes of the record.
    """

    resource: dict[str, Value]
    scope: str
    record: LogRecord
    body: Value
    attributes: dict[str, Value]

    def to_dict(self) -> dict[str, object]:
        """Return all of it as a new dict that ``json.dumps`` takes."""
        record = self.record
        return {
            "timestamp_ns": record.time_unix_nano,
            "severity_number": record.severity_number,
            "severity_text": record.severity_text,
            "scope": self.scope,
            "body": plain(self.body),
            "attributes": plain(self.attributes),
            "trace_id": record.trace_id.hex(),
            "span_id": record.span_id.hex(),
            "trace_flags": record.flags,
            "event_name": record.event_name,
            "resource": plain(self.resource),
        }


def plain(value: Value) -> object:
    """Return a value as one that JSON has. Bytes become base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def _value(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return tuple(_value(item) for item in value.array_value.values)
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    plain: Value = getattr(value, kind)
    return plain


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Value]:
    return {pair.key: _value(pair.value) for pair in pairs}


def parse_request(body: bytes) -> ExportLogsServiceRequest:
    """Return the message that the bytes of an ``ExportLogsServiceRequest`` are.

    Raises:
        ValueError: They are no such message.
    """
    request = logs_service_pb2.ExportLogsServiceRequest()
    try:
        request.ParseFromString(body)
    except Exception as error:
        raise ValueError(f"not an ExportLogsServiceRequest: {error}") from error
    return request


def decode_request(body: bytes) -> Iterator[DecodedRecord]:
    """Yield the records of an ``ExportLogsServiceRequest``.

    Raises:
        ValueError: The bytes are no such message.
    """
    for resource_logs in parse_request(body).resource_logs:
        resource = _attributes(resource_logs.resource.attributes)
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                yield DecodedRecord(
                    resource,
                    scope_logs.scope.name,
                    record,
                    _value(record.body),
                    _attributes(record.attributes),
                )


def request_json(body: bytes) -> dict[str, Any]:
    """Return an ``ExportLogsServiceRequest`` as OTLP/JSON has it, for ``json.dumps``.

    See https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding

    Raises:
        ValueError: The bytes are no such message.
    """
    from google.protobuf import json_format  # type: ignore[import-untyped]

    request: dict[str, Any] = json_format.MessageToDict(
        parse_request(body), use_integers_for_enums=True
    )
    for resource_logs in request.get("resourceLogs", ()):
        for scope_logs in resource_logs.get("scopeLogs", ()):
            for record in scope_logs.get("logRecords", ()):
                for name in ("traceId", "spanId"):  # OTLP has them in hex
                    if name in record:
                        record[name] = base64.b64decode(record[name]).hex()
    return request
