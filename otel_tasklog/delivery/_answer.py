"""What a receiver's answer says, read without the runtime of protobuf.

Importing that takes a program's time, and worse: if the first answer comes at the
program's end, behind a Ctrl-C, the exit status would no longer tell of it. CPython
forgets the Ctrl-C when a text is evaluated as a program, as such imports do.

See https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["partial_success", "status_message"]


def partial_success(body: bytes, *, is_json: bool = False) -> tuple[int, str]:
    """Return how many records a receiver's answer refuses, and its message.

    Args:
        body: The answer.
        is_json: Whether it is one of OTLP/JSON.

    Raises:
        ValueError: It is no ``ExportLogsServiceResponse``.
    """
    if is_json:
        return _partial_success_of_json(body)
    rejected, message = 0, ""
    for number, partial in _fields(body):
        if number == 1:
            count, said = _number_and_text(partial)
            rejected, message = count or rejected, said or message
    return rejected, message


def status_message(body: bytes) -> str:
    """Return the message of a ``google.rpc.Status``, the body of an OTLP error.

    Raises:
        ValueError: It is none, or has no message.
    """
    _, message = _number_and_text(body)
    if not message:
        raise ValueError("a google.rpc.Status without a message")
    return message


def _partial_success_of_json(body: bytes) -> tuple[int, str]:
    try:
        answer: object = json.loads(body)
    except RecursionError as error:
        raise ValueError("no answer: nested too deeply") from error
    partial: object = answer
    if isinstance(answer, dict):
        partial = cast("dict[str, Any]", answer).get("partialSuccess", {})
    if not isinstance(partial, dict):
        raise ValueError("not an ExportLogsServiceResponse")  # noqa: TRY004
    said = cast("dict[str, Any]", partial)
    try:
        # An int64 is a string there, but a number is accepted as well.
        rejected = int(said.get("rejectedLogRecords") or 0)
    except (TypeError, OverflowError) as error:
        raise ValueError("rejectedLogRecords is no number") from error
    return rejected, str(said.get("errorMessage") or "")


def _number_and_text(message: int | bytes) -> tuple[int, str]:
    """Return the fields 1 and 2 of a message that has a number and a text there."""
    if not isinstance(message, bytes):
        raise ValueError("a number, where a message was expected")  # noqa: TRY004
    count, text = 0, b""
    for number, value in _fields(message):
        if number == 1 and isinstance(value, int):
            count = value - (1 << 64) if value >> 63 else value
        elif number == 2 and isinstance(value, bytes):
            text = value
    return count, text.decode("utf-8", "replace")


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a message: numbers as such, all else as bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _varint(message, at)
        else:
            size = {1: 8, 5: 4}.get(kind, len(message))
        if at + size > len(message):
            raise ValueError("the message is cut off, or none of protobuf")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return a number and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        value |= (message[at] & 0x7F) << shift
        at += 1
        if message[at - 1] < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise ValueError("a number is cut off, or none of protobuf")
