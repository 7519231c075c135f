"""Smaller requests, for a receiver that finds one too large.

On message objects, not by hand as in ``_encode.py``: it is rare.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from otel_tasklog.capture._plain import MARK_CHARACTERS, whole_length

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
        ExportLogsServiceRequest,
    )
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

__all__ = ["CUT_ATTRIBUTE", "SHORTEST_BYTES", "cut", "split"]

CUT_ATTRIBUTE: Final = "otel_tasklog.cut"
"""How many bytes of a record were cut off because it was too large in all."""

SHORTEST_BYTES: Final = 256
"""What is no longer than this is not cut."""


def split(body: bytes) -> list[tuple[bytes, int]]:
    """Return a request as two, each with the number of its records.

    Each record is in one of them, in order, with its resource and its scope. A
    request of fewer than two records comes back as it is.

    Raises:
        ValueError: The bytes are no ``ExportLogsServiceRequest``.
    """
    count = sum(1 for _ in _records(_parse(body)))
    if count < 2:
        return [(body, count)]
    middle = count // 2
    return [
        (_between(body, 0, middle), middle),
        (_between(body, middle, count), count - middle),
    ]


def _parse(body: bytes) -> ExportLogsServiceRequest:
    from otel_tasklog.delivery._decode import (
        parse_request,
    )

    return parse_request(body)


def _records(request: ExportLogsServiceRequest) -> Iterator[LogRecord]:
    for resource_logs in request.resource_logs:
        for scope_logs in resource_logs.scope_logs:
            yield from scope_logs.log_records


def _between(body: bytes, first: int, end: int) -> bytes:
    """Return a request without the records before *first* and from *end* on."""
    request = _parse(body)
    position = 0
    for resource_logs in list(request.resource_logs):
        for scope_logs in list(resource_logs.scope_logs):
            count = len(scope_logs.log_records)
            del scope_logs.log_records[max(end - position, 0) :]
            del scope_logs.log_records[: max(first - position, 0)]
            position += count
            if not scope_logs.log_records:
                resource_logs.scope_logs.remove(scope_logs)
        if not resource_logs.scope_logs:
            request.resource_logs.remove(resource_logs)
    encoded: bytes = request.SerializeToString()
    return encoded


def cut(body: bytes) -> bytes | None:
    """Return a request of one record at about half its size, or None.

    The longest texts and bytes in the record's body and attributes are cut, all to
    the same length. A text then ends in a mark, and the attribute `CUT_ATTRIBUTE`
    says how many bytes are gone; both count what earlier cuts took, too.

    Returns:
        A shorter request; None if it has nothing left to cut, or not one record.

    Raises:
        ValueError: The bytes are no ``ExportLogsServiceRequest``.
    """
    request = _parse(body)
    records = list(_records(request))
    if len(records) != 1:
        return None
    values = [each for each in _values(records[0]) if _size(each) > SHORTEST_BYTES]
    sizes = [_size(each) for each in values]
    longest = _longest(sizes, len(body) // 2)
    for value in values:
        _shorten(value, longest)
    _count(records[0], sum(sizes) - sum(map(_size, values)))
    smaller: bytes = request.SerializeToString()
    return smaller if len(smaller) < len(body) else None


def _values(record: LogRecord) -> Iterator[AnyValue]:
    """Yield the texts and bytes in a record's body and attributes, at all depths."""
    waiting = [record.body, *(each.value for each in record.attributes)]
    while waiting:
        value = waiting.pop()
        kind = value.WhichOneof("value")
        if kind == "array_value":
            waiting += value.array_value.values
        elif kind == "kvlist_value":
            waiting += (each.value for each in value.kvlist_value.values)
        elif kind in {"string_value", "bytes_value"}:
            yield value


def _size(value: AnyValue) -> int:
    return len(value.bytes_value) or len(value.string_value.encode())


def _longest(sizes: list[int], excess: int) -> int:
    """Return the length that, as everyone's longest, makes them *excess* less."""
    longest = total = 0
    ordered = [*sorted(sizes, reverse=True), 0]
    for count, (size, next_size) in enumerate(itertools.pairwise(ordered), 1):
        total += size
        longest = (total - excess) // count
        if longest >= next_size:
            break
    return max(longest, SHORTEST_BYTES)


def _shorten(value: AnyValue, longest: int) -> None:
    if value.bytes_value:
        value.bytes_value = value.bytes_value[:longest]
        return
    text = value.string_value
    # A character that the limit parts goes whole.
    kept = text.encode()[:longest].decode(errors="ignore")
    if len(text) > len(kept) + MARK_CHARACTERS:  # else it would not be shorter
        gone = whole_length(text) - len(kept)
        value.string_value = f"{kept}… [{gone} characters cut]"


def _count(record: LogRecord, gone: int) -> None:
    for attribute in record.attributes:
        if attribute.key == CUT_ATTRIBUTE:
            attribute.value.int_value += gone
            return
    record.attributes.add(key=CUT_ATTRIBUTE).value.int_value = gone
