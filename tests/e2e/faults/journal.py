"""What a receiver notes while it runs, so that its own crash loses none of it.

Each line is written at once. A request has a line when it is there, before it is
answered, and another one when its answer is out; a crash between them leaves open
whether the client knows.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import time
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from e2e.faults.records import arrived, runs_of

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.faults.records import Runs

__all__ = ["SENDER", "Fate", "Journal", "Noted", "Notes", "Sent"]

SENDER: Final = "fault-sender"
"""The header by which one may tell producers apart that send the same records."""

Fate: TypeAlias = Literal["kept", "not now", "refused"]
"""What the receiver does with the records of a request, whether it says so or not."""


class Sent(NamedTuple):
    """A request as it came."""

    body: bytes
    sender: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noted:
    """One request.

    Attributes:
        at_seconds: When it was there, by the machine's monotonic clock.
        do: What the script said.
        fate: What became of its records.
        sender: What its header `SENDER` says.
        size_bytes: Of its body.
        records: Those with that fate.
        rejected: Those that a partial success refused.
        damaged: How many records are not as they were written.
        is_answered: Whether its answer is out.
    """

    at_seconds: float
    do: str
    fate: Fate
    sender: str
    size_bytes: int
    records: Runs
    rejected: Runs
    damaged: int
    is_answered: bool


class Notes:
    """Writes a journal. From any thread.

    Args:
        path: Of the file; what it has stays.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._file = os.open(path, flags, 0o600)
        self._numbers = itertools.count()

    def _write(self, **line: Any) -> None:
        line["at_seconds"] = time.monotonic()
        os.write(self._file, json.dumps(line).encode() + b"\n")

    def listens(self, *, up: bool) -> None:
        """Note that the port is opened, or closed."""
        self._write(listens=up)

    def request(self, sent: Sent, do: str, fate: Fate, *, rejects: int = 0) -> str:
        """Note a request that is there; return by which name `answered` knows it."""
        found = list(arrived(sent.body))
        name = f"{os.getpid()}-{next(self._numbers)}"
        self._write(
            request=name,
            do=do,
            fate=fate,
            sender=sent.sender,
            size_bytes=len(sent.body),
            records=runs_of(found[rejects:]),
            rejected=runs_of(found[:rejects]),
            damaged=sum(not each.is_whole for each in found),
        )
        return name

    def cut(self) -> None:
        """Note that a connection was reset in the middle of a request."""
        self._write(cut=True)

    def answered(self, name: str) -> None:
        """Note that the answer to a request is out."""
        self._write(answered=name)


@dataclasses.dataclass(frozen=True)
class Journal:
    """What a receiver noted.

    Attributes:
        requests: In the order in which they came.
        openings: When the port was opened.
        cuts: How many requests were cut short.
    """

    requests: list[Noted]
    openings: list[float]
    cuts: int

    @classmethod
    def read(cls, path: Path) -> Journal:
        """Return what the file has by now."""
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        answered = {line["answered"] for line in lines if "answered" in line}
        return cls(
            [
                Noted(
                    **{field: line[field] for field in _FIELDS},
                    is_answered=line["request"] in answered,
                )
                for line in lines
                if "request" in line
            ],
            [line["at_seconds"] for line in lines if line.get("listens")],
            sum("cut" in line for line in lines),
        )

    @property
    def gaps_seconds(self) -> list[float]:
        """The time between each request and the next."""
        times = [request.at_seconds for request in self.requests]
        return [after - before for before, after in itertools.pairwise(times)]


_FIELDS: Final = [f.name for f in dataclasses.fields(Noted) if f.name != "is_answered"]
