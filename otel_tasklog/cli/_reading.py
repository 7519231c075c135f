"""What is in a file, as records: this library's own JSON, and OTLP/JSON.

A file holds one value of JSON after the other, each on a line of its own, or laid out
over several. A value is a record as the API, `TaskRecord.to_dict` or ``otel-tasklog
receive --json`` has it, an answer of the API, a request of OTLP, or an array of these.
Whatever else there is, is left out and counted.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from otel_tasklog._text import cut, visible
from otel_tasklog.cli._failures import Failure
from otel_tasklog.viewer._members import Members
from otel_tasklog.viewer._otlp_read import OtlpRecord, is_request, placed_records
from otel_tasklog.viewer._record_read import read_sealed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader

    from otel_tasklog.capture._record import Sealed
    from otel_tasklog.capture._values import Value

__all__ = ["Read", "Reading"]

_GZIP: Final = b"\x1f\x8b"
_NOTICES: Final = frozenset({"missed", "gap", "end"})
_UNFIT: Final = (ValueError, OverflowError, RecursionError)
_REASON_CHARACTERS: Final = 120


class Read(NamedTuple):
    """A record of a file.

    Attributes:
        sealed: The record.
        id: As the API made it, or alike.
        resource: The attributes of its resource, if the file has them.
    """

    sealed: Sealed
    id: str
    resource: dict[str, Value]


class Reading:
    """One pass through a file.

    Args:
        file: The file, at its beginning; compressed with gzip or not.
        name: What it is called; printable.

    Attributes:
        left_out: How many things in it are no log records.
        failure: Why there is no more, if what is compressed is broken or ends too soon.
        reason: Where the first of them is, and what is wrong with it; printable.
    """

    def __init__(self, file: BufferedReader, name: str) -> None:
        self._file = file
        self._name = name
        self._count = 0
        self.left_out = 0
        self.failure: Failure | None = None
        self.reason = ""

    def records(self) -> Iterator[Read]:
        """Yield the records in the order of the file, those of one request by time."""
        lines = self._lines()
        for number, line in enumerate(lines, 1):
            where = f"line {number}"
            text = line.strip()
            if number == 1 and text in {b"{", b"["}:
                yield from self._laid_out(b"".join((line, *lines)))
            elif text:
                try:
                    value = _parsed(text)
                except _UNFIT as error:
                    self._leave_out(where, error)
                else:
                    yield from self._found_in(value, where)

    def _lines(self) -> Iterator[bytes]:
        if not self._file.peek(len(_GZIP)).startswith(_GZIP):
            yield from self._file
            return
        try:
            yield from gzip.GzipFile(fileobj=self._file)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            self.failure = Failure(f"{self._name} is not all there: {error}")

    def _laid_out(self, data: bytes) -> Iterator[Read]:
        decoder = json.JSONDecoder()
        try:
            text = data.decode().strip()
            while text:
                value, end = decoder.raw_decode(text)
                yield from self._found_in(value, "there")
                text = text[end:].lstrip()
        except _UNFIT as error:
            self._leave_out("it", error)

    def _found_in(self, value: object, where: str) -> Iterator[Read]:
        """Yield the records that a value of JSON is, or has in it."""
        if isinstance(value, list):
            for each in cast("list[object]", value):
                yield from self._found_in(each, where)
            return
        try:
            if not isinstance(value, Mapping):
                raise ValueError("expected an object")  # noqa: TRY004 - of the data
            members = cast("Mapping[str, object]", value)
            if isinstance(members.get("records"), list):
                yield from self._found_in(members["records"], where)
            elif is_request(members):
                yield from self._requested(members, where)
            elif not (len(members) == 1 and _NOTICES.issuperset(members)):
                yield self._record(members)
        except _UNFIT as error:
            self._leave_out(where, error)

    def _record(self, value: Mapping[str, object]) -> Read:
        """Return the record that an object is."""
        members = Members(value)
        if members.has("logger"):
            sealed = read_sealed(value)
            made = f"{sealed[0]}-{members.whole('process_id', 0):x}"
            return Read(sealed, members.text("id", made), {})
        if not members.has("scope"):
            raise ValueError("neither a record of otel_tasklog nor logs of OTLP")
        record = OtlpRecord.of_receive(value)
        return self._numbered(record, members.mapping("resource"))

    def _requested(self, value: Mapping[str, object], where: str) -> Iterator[Read]:
        """Yield the records of a request, by time: it has them by their loggers."""
        found: list[tuple[OtlpRecord, dict[str, Value]]] = []
        for placed in placed_records(value):
            try:
                record = OtlpRecord.of_json(placed.record, placed.scope)
            except _UNFIT as error:
                self._leave_out(where, error)
            else:
                found.append((record, placed.resource))
        found.sort(key=lambda pair: pair[0].timestamp_ns)
        for record, resource in found:
            yield self._numbered(record, resource)

    def _numbered(self, record: OtlpRecord, resource: dict[str, Value]) -> Read:
        self._count += 1
        return Read(record.sealed(self._count), f"{self._count}-0", resource)

    def _leave_out(self, where: str, error: Exception) -> None:
        self.left_out += 1
        if not self.reason:
            said = f"{where}: {error}" if str(error) else where
            self.reason = cut(visible(said), _REASON_CHARACTERS)


def _parsed(text: bytes) -> object:
    """Return the value of a line of JSON, its texts free of what UTF-8 has not."""
    value: object = json.loads(text)
    if b"\\ud" in text or b"\\uD" in text:  # a pair is one character, a half is none
        whole = json.dumps(value, ensure_ascii=False).encode(errors="replace")
        value = json.loads(whole)
    return value
