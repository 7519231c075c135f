"""OTLP bytes back to plain values: for SDK exporters and for receivers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

    from otel_tasklog.capture._values import Value

__all__ = ["DecodedRecord", "decode_request", "partial_success"]


class DecodedRecord(NamedTuple):
    """One record of a request, with what it shares with others."""

    resource: dict[str, Value]
    scope: str
    record: LogRecord
    body: Value
    attributes: dict[str, Value]


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


def decode_request(body: bytes) -> Iterator[DecodedRecord]:
    """Yield the records of an ``ExportLogsServiceRequest``.

    Raises:
        ValueError: The bytes are no such message.
    """
    try:
        request = logs_service_pb2.ExportLogsServiceRequest.FromString(body)
    except Exception as error:
        raise ValueError(f"not an ExportLogsServiceRequest: {error}") from error
    for resource_logs in request.resource_logs:
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


def partial_success(body: bytes) -> tuple[int, str]:
    """Return how many records a receiver's answer refuses, and its message.

    Raises:
        ValueError: The bytes are no ``ExportLogsServiceResponse``.
    """
    try:
        answer = logs_service_pb2.ExportLogsServiceResponse.FromString(body)
    except Exception as error:
        raise ValueError(f"not an ExportLogsServiceResponse: {error}") from error
    partial = answer.partial_success
    return partial.rejected_log_records, partial.error_message
