"""The spool: batches on disk, first in, first out, until they are settled.

A log of segments (``_segment.py``), oldest first. Our last one is written to, and followed
by a new one when it is large. What is before a segment's cursor has been read, or never
left the memory; what is after it is on disk alone::

    oldest segment                                          the one written to
    [settled settled held held]   [held unread unread]   [unread unread ......]
                                        └ read() goes on here    append() ┘

Frames have no index in memory: a long outage costs none. A segment in which all is settled
is deleted, or cut back if it is the one that is written to.

What is at risk: a batch is safe from ``SIGKILL`` once `Spool.append` has returned, and
from the loss of power once `Spool.sync` has, if ``fsync`` is on. It is delivered twice
if the process is killed between a receiver's answer and `Spool.settle`, or the power is
lost soon after. What a dead process left is found by a later one, or by another that
lives (``_owners.py``). A disk that fails is not the program's failure: batches stay in
memory then, and the disk is tried again after a while.
"""

from __future__ import annotations

import contextlib
import errno
import math
from collections import Counter as Tally
from collections import deque
from typing import TYPE_CHECKING, Final

from otel_tasklog._errors import ConfigError
from otel_tasklog.delivery._frames import FILE_HEADER, HEADER_BYTES, MAX_PAYLOAD_BYTES
from otel_tasklog.delivery._owners import Orphan, Owners, prepare
from otel_tasklog.delivery._segment import Frame, Segment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Frame", "Orphan", "Spool"]

SEGMENT_BYTES: Final = 8 * 1024 * 1024

SEGMENTS: Final = 8
"""The bound has room for so many at least, as the oldest is dropped whole."""

RETRY_SECONDS: Final = 30.0
"""So long a disk that failed is not written to."""

PASSING: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""A file cannot be opened now, but there is nothing wrong with it."""


class Spool:
    """A log of batches in a directory that other processes use as well.

    Its methods are called by one thread at a time, but for `sync` and `find_orphans`:
    they take the disk's time, and another thread may call the others meanwhile.

    Args:
        directory: Where the files are; made if it is not there.
        max_bytes: What our files may take, without those that were adopted.
        fsync: Whether `sync` waits for the disk.
        report: Is told a cause and a text when records are lost or no longer safe.

    Attributes:
        dropped, dropped_bytes: Records that were on disk alone and are lost, by
            reason, ``spool_full`` or ``spool_damaged``; the size of their batches.
        damaged: How many runs of bytes were found that are no frame.
        unread_records, unread_bytes: What is on disk alone, also after `close`.
        size_bytes: What our files take.
        more: There is more of the dead's, to be looked for when this is delivered.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_bytes: int,
        fsync: bool,
        report: Callable[[str, str], None],
    ) -> None:
        self._directory = directory.absolute()  # a daemon may change its own
        self._max_bytes = max_bytes
        self._segment_bytes = min(SEGMENT_BYTES, max_bytes // SEGMENTS)
        self._fsync = fsync
        self._report = report
        self._owners = Owners(
            self._directory, lambda text: self._report("spool_orphans", text)
        )
        self._log: deque[Segment] = deque()
        self._active: Segment | None = None  # the last of the log, if there is one
        self._unsynced: set[Segment] = set()
        self._now = self._not_before = -math.inf
        self._failing = False
        self._closed = False
        self.dropped: Tally[str] = Tally()
        self.dropped_bytes: Tally[str] = Tally()
        self.damaged = 0
        self.unread_records = 0
        self.unread_bytes = 0
        self.size_bytes = 0
        self.more = False
        try:
            prepare(self._directory)
        except (OSError, ConfigError) as error:
            self._fail(error)

    def append(
        self, body: bytes, records: int, now: float, *, unread: bool
    ) -> Frame | None:
        """Write a batch at the end.

        Args:
            body: The batch, an encoded ``ExportLogsServiceRequest``.
            records: How many records it has.
            now: The time, as ``time.monotonic()`` has it.
            unread: Whether it is on disk alone, to be got by `read`. If not, the caller
                keeps it in memory, too, and will `settle` it.

        Returns:
            What `settle` takes; or None if it could not be written, so that the caller
            must keep it in memory.

        Raises:
            ValueError: It would overtake what is on disk alone.
        """
        if not unread and self.unread_records:
            raise ValueError("older batches are on disk alone: read them before")
        self._now = now
        if self._closed or now < self._not_before:
            return None
        size = HEADER_BYTES + len(body)
        if len(body) > MAX_PAYLOAD_BYTES or len(FILE_HEADER) + size > self._max_bytes:
            text = f"a batch of {len(body)} bytes is too large for the spool"
            self._report("spool_full", text)
            return None
        try:
            segment = self._writable(size)
            self._make_room(size)
            frame = segment.append(body, records, unread=unread)
        except (OSError, ConfigError) as error:
            self._fail(error)
            return None
        self._failing = False
        self.size_bytes += size
        if unread:
            self.unread_records += records
            self.unread_bytes += len(body)
        if self._fsync:
            self._unsynced.add(segment)
        return frame

    def _writable(self, size: int) -> Segment:
        """Return the segment to write to, a new one if that has no room."""
        active = self._active
        if active is not None and active.vanished():
            self._lose(active, "spool_damaged", f"{active.path} was deleted")
            self._remove(active)
        elif active is not None:
            if active.empty or active.end + size <= self._segment_bytes:
                return active
            active.close()
        self._active = None
        self._active = segment = self._owners.create()
        self._add(segment)
        return segment

    def _add(self, segment: Segment) -> None:
        self._log.append(segment)
        self._count(segment, +1)

    def _count(self, segment: Segment, sign: int) -> None:
        self.size_bytes += sign * segment.end
        self.unread_records += sign * segment.unread_records
        self.unread_bytes += sign * segment.unread_bytes

    def _make_room(self, size: int) -> None:
        """Drop our oldest segments; the bound of the adopted was their writers'."""
        if self.size_bytes + size <= self._max_bytes:
            return
        ours = [each for each in self._log if self._owners.wrote(each)]
        taken = sum(each.end for each in ours)
        for segment in ours:
            if taken + size <= self._max_bytes:
                break
            taken -= segment.end
            self._lose(segment, "spool_full", "the spool is full (spool_bytes)")
            self._remove(segment)

    def _lose(self, segment: Segment, reason: str, text: str) -> None:
        """Count what is unread in a segment as dropped."""
        if not segment.unread_records:
            return
        self._count(segment, -1)
        self.dropped[reason] += segment.unread_records
        self.dropped_bytes[reason] += segment.unread_bytes
        segment.abandon_unread()
        self._count(segment, +1)
        self._report(reason, f"{text}: {self.dropped[reason]} records lost so far")

    def _remove(self, segment: Segment) -> None:
        """Delete a segment. Should that fail, it is left to a later process."""
        self._log.remove(segment)
        self._count(segment, -1)
        try:
            segment.remove()
            self._owners.removed(segment)
        except OSError as error:
            self._fail(error)

    def settle(self, frame: Frame) -> None:
        """Mark a batch that was read, or kept in memory: it needs no delivery any more.

        Does nothing if it is marked, or dropped.
        """
        if self._closed or not frame.there:
            return
        segment = frame.segment
        try:
            # Even if the file is deleted next: should that fail, another process would
            # deliver what is not marked.
            segment.settle(frame)
        except OSError as error:
            self._fail(error)
        self._tidy(segment)

    def _tidy(self, segment: Segment) -> None:
        """Delete a segment, or cut it back, if nothing in it is to be delivered."""
        if not segment.done:
            return
        if segment is not self._active:
            self._remove(segment)
            return
        self._count(segment, -1)
        try:
            segment.clear()
        except OSError as error:
            self._fail(error)
        self._count(segment, +1)

    def read(self, max_records: int, max_bytes: int) -> list[tuple[Frame, bytes]]:
        """Read the oldest of what is on disk alone; each is to be settled later.

        What is damaged is skipped and counted.

        Returns:
            At least one batch if there is any, more as long as all have no more records
            and bytes than asked for. None although `unread_records` is not 0 if no file
            can be opened for the moment.
        """
        batches: list[tuple[Frame, bytes]] = []
        for segment in [each for each in self._log if each.unread_records]:
            self._count(segment, -1)
            self.damaged -= segment.damaged
            try:
                ended = segment.read(batches, max_records, max_bytes)
            except OSError as error:
                ended = error.errno not in PASSING
                if not ended:
                    self._fail(error)
            self.damaged += segment.damaged
            self._count(segment, +1)
            if not ended:
                break
            # What it should have had as well, now that there is no more.
            self._lose(segment, "spool_damaged", f"{segment.path} is damaged")
            self._tidy(segment)
        return batches

    def is_empty(self) -> bool:
        """Return whether nothing of ours is on disk."""
        return self.size_bytes <= len(FILE_HEADER)

    def sync(self) -> None:
        """Wait until the disk has all that was appended, if ``fsync`` is on."""
        try:
            while self._unsynced:
                self._unsynced.pop().sync()
            if self._fsync:
                self._owners.sync()
        except OSError as error:
            self._fail(error)

    def find_orphans(self) -> list[Orphan]:
        """Look for what dead processes left, and claim it for `adopt`.

        If it finds anything, there may be more: look again soon after.
        """
        found: list[Orphan] = []
        if not self._closed:
            with contextlib.suppress(OSError):  # told when the directory was made
                found = self._owners.find()
            self.more = self._owners.more
        return found

    def adopt(self, orphans: list[Orphan]) -> int:
        """Put what dead processes left at the end of the log, to be read.

        Returns:
            How many records it has that are not settled.
        """
        damaged = records = 0
        for orphan in orphans:
            if self._closed:
                self._owners.give_back(orphan)
                continue
            if self._active is not None:
                active, self._active = self._active, None
                active.close()
                self._tidy(active)
            self._owners.adopt(orphan)
            for segment in orphan.segments:
                self._add(segment)
                damaged += segment.damaged
                records += segment.unread_records
                self._tidy(segment)
        if damaged:
            self.damaged += damaged
            text = f"places that cannot be read in what dead processes left: {damaged}"
            self._report("spool_damaged", text)
        return records

    def close(self) -> None:
        """Let go of the files; what is not settled stays for another process."""
        if not self._closed:
            self._closed = True
            if self._active is not None:
                (self._remove if self._active.empty else Segment.close)(self._active)
            self._owners.release()

    def forget(self) -> None:
        """Let go of the parent's files, in a forked child, and leave all to it."""
        self._closed = True
        if self._active is not None:
            self._active.close()
        self._owners.forget()
        self._log.clear()
        self.unread_records = self.unread_bytes = self.size_bytes = 0

    def _fail(self, error: Exception) -> None:
        """Leave the disk alone for a while; say so when that begins."""
        self._not_before = self._now + RETRY_SECONDS
        if not self._failing:
            self._failing = True
            text = (
                f"the spool in {self._directory} fails, new records are in memory alone: "
                f"{error}; it is tried again every {RETRY_SECONDS:.0f} s"
            )
            self._report("spool", text)
