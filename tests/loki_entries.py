"""How Loki 3.7 stores a record of OTLP: labels, a line, and metadata.

Its own fields and the attributes of resource, scope and record become metadata,
mappings by joined names, lists as JSON, bytes as Base64.
"""

from __future__ import annotations

import base64
import decimal
import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.proto.common.v1.common_pb2 import (
        AnyValue,
        InstrumentationScope,
        KeyValue,
    )
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

__all__ = [
    "labels_and_metadata",
    "normalised",
    "of_record",
    "of_scope",
    "rendered",
    "time_ns_of",
]

INDEXED: Final = frozenset(
    {
        "service.name", "service.namespace", "service.instance.id",
        "deployment.environment", "deployment.environment.name", "cloud.region",
        "cloud.availability_zone", "container.name",
        *(
            f"k8s.{kind}.name"
            for kind in (
                "cluster", "namespace", "pod", "container", "replicaset", "deployment",
                "statefulset", "daemonset", "cronjob", "job",
            )
        ),
    }
)  # fmt: skip
"""Attributes of a resource that become labels of a stream."""

_INVALID: Final = re.compile(r"[^A-Za-z0-9]+")
_DOUBLE: Final = 2**64


def normalised(key: str) -> str:
    """Return what Loki makes of the key of an attribute; "" if it refuses it."""
    is_reserved = len(key) >= 4 and key.startswith("__") and key.endswith("__")
    name = _INVALID.sub("_", key[2:-2] if is_reserved else key)
    if is_reserved:
        name = f"__{name}__"
    if name[:1].isdigit():
        name = f"key_{name}"
    return name if name.strip("_") else ""


def rendered(value: AnyValue) -> str:
    """Return the text that Loki makes of a value."""
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "array_value" | "kvlist_value":
            try:
                text = json.dumps(
                    _raw(value), ensure_ascii=False, separators=(",", ":"),
                    allow_nan=False,
                )  # fmt: skip
            except ValueError:  # it leaves the whole value empty
                return ""
            return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
        case "bool_value":
            return "true" if value.bool_value else "false"
        case "int_value":
            return str(value.int_value)
        case "double_value":
            return _float_text(value.double_value)
        case _:
            return ""


def _float_text(number: float) -> str:
    if not math.isfinite(number):
        name = "NaN" if math.isnan(number) else "Infinity"
        return name if math.isnan(number) or number > 0 else f"-{name}"
    if number and not 1e-6 <= abs(number) < 1e21:
        return repr(number).replace("e-0", "e-")
    return format(decimal.Decimal(repr(number)), "f").removesuffix(".0")


def _raw(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case "array_value":
            return [_raw(item) for item in value.array_value.values]
        case "kvlist_value":
            return {each.key: _raw(each.value) for each in value.kvlist_value.values}
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case None:
            return None
        case kind:
            return getattr(value, kind)


def _flat(
    attributes: Iterable[KeyValue], prefix: str = ""
) -> Iterator[tuple[str, str]]:
    for each in attributes:
        name = normalised(f"{prefix}_{each.key}" if prefix else each.key)
        if each.value.HasField("kvlist_value"):
            yield from _flat(each.value.kvlist_value.values, name)
        else:
            yield name, rendered(each.value)


def labels_and_metadata(
    resource: Resource,
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the labels of a stream, and what each of its records has besides."""
    labels: list[tuple[str, str]] = []
    metadata: list[tuple[str, str]] = []
    for attribute in resource.attributes:
        pairs = labels if attribute.key in INDEXED else metadata
        pairs += _flat([attribute])
    if not any(name == "service_name" for name, _ in labels):
        labels.append(("service_name", "unknown_service"))
    return labels, metadata


def of_scope(scope: InstrumentationScope) -> Iterator[tuple[str, str]]:
    """Yield what the records of a scope have as metadata."""
    yield from _flat(scope.attributes)
    if scope.name:
        yield "scope_name", scope.name
    if scope.version:
        yield "scope_version", scope.version
    if scope.dropped_attributes_count:
        yield "scope_dropped_attributes_count", str(scope.dropped_attributes_count)


def of_record(record: LogRecord) -> Iterator[tuple[str, str]]:
    """Yield what a record has as metadata."""
    yield from _flat(record.attributes)
    if record.time_unix_nano and record.observed_time_unix_nano:
        yield "observed_timestamp", str(record.observed_time_unix_nano)
    if record.severity_number:
        yield "severity_number", str(record.severity_number)
    if record.severity_text:
        yield "severity_text", record.severity_text
    if record.dropped_attributes_count:
        yield "dropped_attributes_count", str(record.dropped_attributes_count)
    if record.flags:
        yield "flags", str(record.flags)
    if record.trace_id:
        yield "trace_id", record.trace_id.hex()
    if record.span_id:
        yield "span_id", record.span_id.hex()


def time_ns_of(record: LogRecord) -> int:
    """Return the time by which a record is stored; 0: when it comes."""
    time_ns = record.time_unix_nano or record.observed_time_unix_nano
    return time_ns if time_ns < _DOUBLE // 2 else time_ns - _DOUBLE  # as Go has it
