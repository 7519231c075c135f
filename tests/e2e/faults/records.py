"""Records that tell who wrote them, which they are, and whether they are whole."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Arrived", "Payloads", "Runs", "arrived", "checksum", "runs_of"]

Runs: TypeAlias = "dict[str, list[list[int]]]"
"""For each writer the first and the last of each run of numbers, as they came."""

_LETTERS = "abcdefghijklmnopqrstuvwxyz 0123456789 \n\t\0\"'\\{}%éß中\u202e😀👩\u200d🚀"


class Arrived(NamedTuple):
    """What a receiver finds in one record."""

    writer: str
    number: int
    is_whole: bool


def checksum(writer: str, number: int, text: str) -> str:
    """Return what only this text of this record has."""
    content = f"{writer}\0{number}\0{text}".encode()
    return hashlib.sha256(content).hexdigest()[:16]


class Payloads:
    """Random texts that cost little: pieces of one that is longer.

    Args:
        seed: The same one gives the same texts.
        length: Of a text, on average, in characters.
    """

    def __init__(self, seed: str, length: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - it is to be repeatable
        self._lengths = max(length // 2, 1), max(length * 3 // 2, 1)
        self._source = "".join(self._random.choices(_LETTERS, k=4 * length + 4_096))

    def next(self) -> str:
        """Return the next text."""
        length = self._random.randint(*self._lengths)
        start = self._random.randrange(len(self._source) - length)
        return self._source[start : start + length]


def arrived(body: bytes) -> Iterator[Arrived]:
    """Yield what an ``ExportLogsServiceRequest`` holds, in its order."""
    request = ExportLogsServiceRequest.FromString(body)
    for resource in request.resource_logs:
        for scope in resource.scope_logs:
            for record in scope.log_records:
                found = {each.key: each.value for each in record.attributes}
                if "fault.number" not in found:
                    yield Arrived("somebody else", 0, is_whole=False)
                    continue
                writer = found["fault.writer"].string_value
                number = found["fault.number"].int_value
                said = found["fault.sum"].string_value
                expected = checksum(writer, number, record.body.string_value)
                yield Arrived(writer, number, is_whole=said == expected)


def runs_of(records: Iterable[Arrived]) -> Runs:
    """Return the numbers of records, in their order, as runs."""
    runs: Runs = {}
    for record in records:
        known = runs.setdefault(record.writer, [])
        if known and known[-1][1] == record.number - 1:
            known[-1][1] = record.number
        else:
            known.append([record.number, record.number])
    return runs
