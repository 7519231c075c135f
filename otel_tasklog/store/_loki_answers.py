"""What Loki answers, read: entries, and what is wrong with a request.

See https://grafana.com/docs/loki/latest/reference/loki-http-api/
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from otel_tasklog._errors import StorageError
from otel_tasklog._text import cut, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Entry", "Reply", "read_entries", "read_frame", "refusal"]

_REASON_CHARACTERS: Final = 300
_SAYS: Final = (
    (401, "no org id", "it has several tenants: give tenant="),
    (401, "", "it wants other credentials: see username=, password= and token="),
    (403, "", "it wants other credentials: see username=, password= and token="),
    (404, "", "there is no Loki at this address: give the part before /loki/api"),
    (400, "max_entries_limit", "give a smaller page_records="),
    (400, "query time range exceeds", "give since and until closer to each other"),
    (400, "input size too long", "ask for less at once"),
)
"""By a status and a part of the text, what to do."""


class Entry(NamedTuple):
    """An entry of a stream.

    Attributes:
        timestamp_ns: Its time.
        line: Its line.
        labels: Of its stream.
        metadata: Its structured metadata.
    """

    timestamp_ns: int
    line: str
    labels: Mapping[str, str]
    metadata: Mapping[str, str]

    @property
    def key(self) -> int:
        """What tells it from all others: Loki keeps one of two that are equal."""
        parts = (self.labels.items(), self.metadata.items())
        return hash((self.timestamp_ns, self.line, *map(frozenset, parts)))


class Reply(NamedTuple):
    """What became of a request.

    Attributes:
        status: Of HTTP; 0 if there was no answer.
        body: The body, or why there was no answer.
        retry_after: The header of that name, or the empty text.
    """

    status: int
    body: bytes
    retry_after: str = ""


def read_entries(url: str, body: bytes) -> list[Entry]:
    """Return the entries of an answer to a query, one stream after the other.

    Args:
        url: Of Loki; for the error.
        body: The answer.

    Raises:
        StorageError: It is none that Loki gives.
    """
    try:
        return [*_entries(_streams(json.loads(body)))]
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{url} answers what Loki does not: {error}") from None


def _streams(answer: object) -> list[object]:
    data = _members(_members(answer).get("data"))
    if data.get("resultType") != "streams":
        raise ValueError("no streams")
    return _items(data.get("result"))


class Frame(NamedTuple):
    """What a tail sends.

    Attributes:
        entries: New ones.
        has_dropped: Whether some were left out.
    """

    entries: list[Entry]
    has_dropped: bool


def read_frame(url: str, text: str) -> Frame:
    """Return what a frame of a tail says.

    Args:
        url: Of Loki; for the error.
        text: The frame.

    Raises:
        StorageError: It is none that Loki sends.
    """
    try:
        members = _members(json.loads(text))
        entries = [*_entries(_items(members.get("streams") or []))]
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{url} sends what Loki does not: {error}") from None
    return Frame(entries, bool(members.get("dropped_entries")))


def _entries(streams: Iterable[object]) -> Iterator[Entry]:
    """Yield the entries of streams, as answers and tails have them.

    Raises:
        ValueError: They are none.
    """
    for stream in streams:
        members = _members(stream)
        labels = _texts(members.get("stream"))
        for value in _items(members.get("values")):
            time, line, categories = [*_items(value), None, None, None][:3]
            if not (isinstance(time, str) and isinstance(line, str)):
                raise ValueError("an entry is not as it should be")  # noqa: TRY004
            metadata = _members(categories or {}).get("structuredMetadata")
            yield Entry(int(time), line, labels, _texts(metadata or {}))


def _members(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ValueError("no streams")  # noqa: TRY004 - of the data
    return cast("Mapping[str, object]", value)


def _items(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError("no streams")  # noqa: TRY004 - of the data
    return cast("list[object]", value)


def _texts(value: object) -> Mapping[str, str]:
    members = _members(value)
    if not all(isinstance(each, str) for each in members.values()):
        raise ValueError("an entry is not as it should be")
    return cast("Mapping[str, str]", members)


def refusal(url: str, reply: Reply) -> StorageError:
    """Return the error for a request that was not answered, or was refused.

    Args:
        url: Of Loki.
        reply: What became of it.
    """
    said = visible(" ".join(reply.body.decode("utf-8", "replace").split()))
    said = cut(said, _REASON_CHARACTERS) or "without a reason"
    if not reply.status:
        return StorageError(f"Loki at {url} does not answer: {said}")
    for status, part, advice in _SAYS:
        if status == reply.status and part in said:
            said += f"; {advice}"
            break
    return StorageError(
        f"Loki at {url} refuses ({reply.status}): {said}", status=reply.status
    )
