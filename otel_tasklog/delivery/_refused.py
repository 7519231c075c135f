"""The last batches that the receiver refused for good, to be read and sent again.

They are kept in memory and, with a spool, as files of OTLP/JSON. To send one::

    url=http://collector:4318/v1/logs
    curl -H 'Content-Type: application/json' --data-binary @FILE $url

See https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
import json
import os
import re
from collections import deque
from typing import TYPE_CHECKING, Final

from otel_tasklog._text import printable_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from otel_tasklog.delivery._decode import DecodedRecord

__all__ = ["FOLDER", "MAX_BATCHES", "MAX_BYTES", "Refused", "RefusedBatch"]

MAX_BATCHES: Final = 16
MAX_BYTES: Final = 16 * 1024 * 1024
"""Of the batches in memory, and again of the files on disk. The newest always stays."""

TURNOVER_SECONDS: Final = 10.0
"""In this time no more files than are kept: for a receiver that refuses everything,
making JSON of it all would cost the application more than logging does."""

FOLDER: Final = "refused"
"""Where in the spool's directory the files are."""

_NAME: Final = re.compile(r"(\d+)-(\d+)-(\d+)\.json(?:\.tmp)?")


@dataclasses.dataclass(frozen=True, slots=True)
class RefusedBatch:
    """A batch that the receiver refused for good.

    Attributes:
        time_ns: When, in nanoseconds since 1970.
        reason: What its records are counted under in ``Stats.rejected_by``.
        message: What the receiver said.
        record_count: How many records it has.
        body: The request that was sent, an ``ExportLogsServiceRequest``.
    """

    time_ns: int
    reason: str
    message: str
    record_count: int
    body: bytes = dataclasses.field(repr=False)

    def records(self) -> list[DecodedRecord]:
        """Return its records, as ``otel_tasklog.viewer.Receiver`` hands them over.

        Raises:
            ValueError: The body cannot be read.
        """
        from otel_tasklog.delivery._decode import (
            decode_request,
        )

        return list(decode_request(self.body))

    def to_json(self) -> bytes:
        """Return it as a request of OTLP/JSON, on one line.

        Why it was refused stands beside the records, as a member that OTLP does not
        know: a receiver must ignore it.

        Raises:
            ValueError: The body cannot be read.
        """
        from otel_tasklog.delivery._decode import (
            request_json,
        )

        request = request_json(self.body)
        time = datetime.datetime.fromtimestamp(self.time_ns / 1e9, datetime.UTC)
        refused = {
            "time": time.isoformat(timespec="milliseconds"),
            "reason": self.reason,
            "message": self.message,
            "recordCount": self.record_count,
        }
        text = printable_json(
            json.dumps({"refused": refused, **request}, ensure_ascii=False)
        )
        return f"{text}\n".encode()


class Refused:
    """Keeps the last refused batches, in memory and on disk.

    `add` is for one thread at a time, the worker's under its lock; `batches` for any.

    Args:
        spool_dir: In its folder `FOLDER` each batch becomes a file, whose bounds hold
            for all processes together; None to keep them in memory only.
        report: Takes a cause and a text, once, if the disk fails. From then on they
            are in memory only.
    """

    def __init__(
        self, spool_dir: Path | None, report: Callable[[str, str], None]
    ) -> None:
        self._folder = None if spool_dir is None else spool_dir / FOLDER
        self._report = report
        # Never changed, only replaced: a reader has all of one or all of the other.
        self._batches: tuple[RefusedBatch, ...] = ()
        self._saved_ns: deque[int] = deque(maxlen=MAX_BATCHES)
        self._numbers = itertools.count()

    def add(
        self, body: bytes, records: int, reason: str, message: str, time_ns: int
    ) -> None:
        """Keep a batch; forget the oldest of those that are too many.

        Args:
            body: The request.
            records: How many records it has.
            reason: What they are counted under.
            message: What the receiver said.
            time_ns: When, in nanoseconds since 1970.
        """
        batch = RefusedBatch(time_ns, reason, message, records, body)
        batches = (*self._batches, batch)
        self._batches = batches[_excess([len(each.body) for each in batches]) :]
        if self._folder is None or self._is_busy(time_ns):
            return
        self._saved_ns.append(time_ns)
        try:
            self._save(batch, self._folder)
            _tidy(self._folder)
        except (OSError, ValueError) as error:
            self._report(
                "refused",
                f"refused batches cannot be written to {self._folder}, and are kept "
                f"in memory only: {error}",
            )
            self._folder = None

    def batches(self) -> list[RefusedBatch]:
        """Return those in memory, the newest last. From any thread."""
        return list(self._batches)

    def _is_busy(self, time_ns: int) -> bool:
        full = len(self._saved_ns) == MAX_BATCHES
        return full and abs(time_ns - self._saved_ns[0]) < TURNOVER_SECONDS * 1e9

    def _save(self, batch: RefusedBatch, folder: Path) -> None:
        """Write the file of a batch: whole under its name, or not at all."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{batch.time_ns}-{os.getpid()}-{next(self._numbers)}.json"
        path, unfinished = folder / name, folder / f"{name}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            with os.fdopen(os.open(unfinished, flags, 0o600), "wb") as file:
                file.write(batch.to_json())
            unfinished.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise


def _tidy(folder: Path) -> None:
    """Remove the oldest files that are too many, also what a crash left unfinished."""
    found: list[tuple[list[int], int, str]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if named := _NAME.fullmatch(entry.name):
                with contextlib.suppress(FileNotFoundError):  # by another process
                    size = entry.stat().st_size
                    found.append(([int(n) for n in named.groups()], size, entry.name))
    found.sort()
    for _, _, name in found[: _excess([size for _, size, _ in found])]:
        (folder / name).unlink(missing_ok=True)


def _excess(sizes: Sequence[int]) -> int:
    """Return how many of the first are too many. The last never is."""
    total = 0
    for kept, size in enumerate(reversed(sizes)):
        total += size
        if kept == MAX_BATCHES or (kept and total > MAX_BYTES):
            return len(sizes) - kept
    return 0
