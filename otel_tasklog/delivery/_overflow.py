"""The outbox's side of the spool: which batches stand on disk, and which there alone.

Memory holds the oldest batches, those that leave next. When it is full, newer ones stay
on disk alone, and all that come after them too, until they have been read back: so the
order holds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from otel_tasklog.delivery._batch import Batch, Copy

if TYPE_CHECKING:
    from collections import Counter as Tally

    from otel_tasklog.delivery._spool import Orphan, Spool

__all__ = ["Overflow"]

LOOK_SECONDS: Final = 30.0
"""So often a process looks for what others left."""


class Overflow:
    """Writes batches to a spool, if there is one, and reads them back.

    On the worker's thread, or under the lock that keeps the worker out.

    Args:
        spool: The spool, or None: then nothing is ever on disk.
        memory_records: How many records are held in memory as well,
        memory_bytes: and how many bytes.

    Attributes:
        searches: Whether to look for what dead processes left; not at the end.
        recovered: How many records were found that other processes had left.
        left: How many were left for the next process.
    """

    def __init__(
        self, spool: Spool | None, memory_records: int = 0, memory_bytes: int = 0
    ) -> None:
        self.spool = spool
        self._memory_records = memory_records
        self._memory_bytes = memory_bytes
        self._look_at = -math.inf
        self.searches = True
        self.recovered = 0
        self.left = 0

    @property
    def unread_records(self) -> int:
        """How many records are on disk alone, to be delivered when it is their turn."""
        return self.spool.unread_records if self.spool is not None else 0

    @property
    def lost_records(self) -> int:
        """How many records the disk's own bounds and faults cost."""
        return self.spool.dropped.total() if self.spool is not None else 0

    @property
    def size_bytes(self) -> int:
        """What the files take."""
        return self.spool.size_bytes if self.spool is not None else 0

    def count_losses(self, records: Tally[str], size_bytes: Tally[str]) -> None:
        """Add what the disk's own bounds and faults cost, by reason."""
        if self.spool is not None:
            records += self.spool.dropped
            size_bytes += self.spool.dropped_bytes

    def write(self, batch: Batch, records: int, size_bytes: int, now: float) -> bool:
        """Write a batch; return whether it is to be held in memory, too.

        Args:
            batch: The newest one.
            records: How many records are in memory without it,
            size_bytes: and how many bytes.
            now: The time.
        """
        if self.spool is None:
            return True
        batch.behind = self.unread_records > 0
        unread = (
            batch.behind
            or records + batch.records > self._memory_records
            or size_bytes + len(batch.body) > self._memory_bytes
        )
        frame = self.spool.append(batch.body, batch.records, now, unread=unread)
        if frame is None:  # the spool has said why
            return True
        batch.copies = () if unread else (Copy(frame),)
        return not unread

    def read(self, held: Batch | None, records: int, size_bytes: int) -> list[Batch]:
        """Read back what is to be sent before *held*, up to about a request's size."""
        if self.spool is None or not self.unread_records:
            return []
        if held is not None and not held.behind:
            return []
        found = self.spool.read(records, size_bytes)
        return [Batch(body, f.records, copies=(Copy(f),)) for f, body in found]

    def settle(self, batch: Batch) -> None:
        """Strike a batch off, unless other parts of it are still to be sent."""
        for copy in batch.copies:
            copy.holders -= 1
            if not copy.holders and self.spool is not None:
                self.spool.settle(copy.frame)

    def leave(self, batch: Batch) -> bool:
        """Leave a batch to the next process; return whether it is on disk."""
        if not batch.safe:
            return False
        self.left += batch.records
        return True

    def look_at(self) -> float:
        """Return when to look for what dead processes left."""
        if self.spool is None or not self.searches:
            return math.inf
        at_once = self.spool.more and self.spool.is_empty()
        return -math.inf if at_once else self._look_at

    def find_orphans(self, now: float) -> list[Orphan]:
        """Look for it if it is time. Reads files; needs no lock."""
        if self.spool is None or now < self.look_at():
            return []
        self._look_at = now + LOOK_SECONDS
        return self.spool.find_orphans()

    def adopt(self, orphans: list[Orphan]) -> int:
        """Deliver it, too; return how many records it has."""
        assert self.spool is not None  # noqa: S101 - who else would have found them
        found = self.spool.adopt(orphans)
        self.recovered += found
        if found:  # perhaps not all that there is
            self._look_at = -math.inf
        return found

    def sync(self) -> None:
        """Wait for the disk, if that is asked for. Outside the worker's lock."""
        if self.spool is not None:
            self.spool.sync()

    def close(self) -> None:
        """Let go of the files, so that another process may take what is left."""
        if self.spool is not None:
            self.spool.close()

    def forget(self) -> None:
        """Let go of the parent's files, in a forked child."""
        if self.spool is not None:
            self.spool.forget()
