"""When an encoded record was logged: as much decoding as that takes.

For those that wait, so that nothing has to be kept beside their bytes, which may come
from a dead process's spool. See ``opentelemetry/proto/logs/v1/logs.proto``.
"""

from __future__ import annotations

import struct
from typing import Final

__all__ = ["first_ns", "logged_ns"]

_TIME: Final = struct.Struct("<BQ")
_TIME_TAG: Final = 0x09  # LogRecord.time_unix_nano, the first of its fields

# ResourceLogs, in that the first ScopeLogs, in that the first LogRecord.
_PATH: Final = (0x0A, 0x12, 0x12)


def first_ns(body: bytes) -> int | None:
    """Return when the first record of a request was logged, or None: it says nothing.

    Args:
        body: An ``ExportLogsServiceRequest``, as we or protobuf's own library encode it.
    """
    start = 0
    try:
        for tag in _PATH:
            while body[start] != tag:
                length, start = _length(body, start + 1)
                start += length
            _, start = _length(body, start + 1)
    except IndexError:  # there is no record, or it is damaged
        return None
    return _time_at(body, start)


def logged_ns(record: bytes) -> int | None:
    """Return the same of one record, an element of ``ScopeLogs.log_records``."""
    return _time_at(record, _length(record, 1)[1])


def _time_at(data: bytes, start: int) -> int | None:
    if len(data) < start + _TIME.size:
        return None
    tag, time_ns = _TIME.unpack_from(data, start)
    return time_ns if tag == _TIME_TAG else None


def _length(data: bytes, start: int) -> tuple[int, int]:
    """Return a field's length, and where it begins."""
    length = shift = 0
    while data[start] >= 0x80:
        length |= (data[start] & 0x7F) << shift
        shift += 7
        start += 1
    return length | data[start] << shift, start + 1
