"""What is encoded and not yet settled: batches, their order, retries and bounds.

No thread of its own and no clock: the worker says what time it is, hands over
records, asks which batch to send now, and reports what came of it.

With a spool, each batch is written there when it is closed, and struck off when it is
settled. Memory holds the oldest batches, those that leave next. As long as it is full,
newer ones stay on disk alone, and are read back when it is their turn::

    add ─► open batch ─► close ─┬─► held in memory ─► in flight ─► settled
                                └─► on disk alone ──────┘  next_batch reads it
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from otel_tasklog._text import visible
from otel_tasklog.capture._record import SEQUENCE, Sealed
from otel_tasklog.delivery._age import first_ns
from otel_tasklog.delivery._backoff import Backoff
from otel_tasklog.delivery._batch import Batch, joined
from otel_tasklog.delivery._open import OpenBatch
from otel_tasklog.delivery._resize import cut, split
from otel_tasklog.delivery._senders import (
    Accepted,
    Misconfigured,
    Outcome,
    Rejected,
    Retry,
    TooLarge,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_tasklog.delivery._encode import Encoder
    from otel_tasklog.delivery._overflow import Overflow
    from otel_tasklog.delivery._refused import Refused

__all__ = ["Outbox"]

UNREADABLE_SECONDS: Final = 1.0


class Outbox:
    """Holds encoded batches until a receiver took or refused them.

    On the worker's thread, or under the lock that keeps the worker out. Batches
    leave in order, one at a time.

    Args:
        encoder: Makes bytes of records.
        refused: Keeps the last batches that were refused.
        limits: A request has at most so many records, and so many bytes, but for a
            single record that is larger.
        delay_seconds: How long a record waits for others.
        overflow: Where batches are written to as well.
        write_seconds: How long a record may wait to be written there.
        drop_newest: Whether `make_room` drops the newest instead of the oldest.

    Attributes:
        in_flight: What is on its way.
        backoff: When the next attempt may be made.
        entered: How many records were to be delivered so far.
        delivered, rejected, dropped, dropped_bytes: What became of the records so
            far; the last three by reason.
        last_error: What the receiver last said instead of taking a batch.
        shown: Makes of a receiver's or an exporter's words what may be shown.
    """

    def __init__(
        self,
        *,
        encoder: Encoder,
        refused: Refused,
        limits: tuple[int, int],
        delay_seconds: float,
        overflow: Overflow,
        write_seconds: float,
        drop_newest: bool = False,
    ) -> None:
        self.refused = refused
        self._batch_records, self._batch_bytes = limits
        self.overflow = overflow
        self._close_seconds = min(write_seconds, delay_seconds)
        self._hold_seconds = delay_seconds - self._close_seconds
        self._drop_newest = drop_newest
        self._open = OpenBatch(encoder, limits)
        self._held: deque[Batch] = deque()
        self.in_flight: Batch | None = None
        self._closed_records = 0  # held or in flight
        self._closed_bytes = 0
        self.entered = 0
        self.backoff = Backoff()
        self.delivered = 0
        self.rejected: Tally[str] = Tally()
        self.dropped: Tally[str] = Tally()
        self.dropped_bytes: Tally[str] = Tally()
        self.last_error: str | None = None
        self.shown: Callable[[str], str] = visible

    @property
    def records(self) -> int:
        """How many are in memory: in the open batch, held, or on their way."""
        return self._open.records + self._closed_records

    @property
    def sent_records(self) -> int:
        """How many of them were sent at least once."""
        sent = sum(each.records for each in self._held if each.tried)
        return sent + (self.in_flight.records if self.in_flight is not None else 0)

    @property
    def size_bytes(self) -> int:
        """What they take, encoded."""
        return self._open.size_bytes + self._closed_bytes

    @property
    def outstanding(self) -> int:
        """How many are to be delivered, in memory or on disk alone."""
        return self.records + self.overflow.unread_records

    @property
    def spooled(self) -> int:
        """How many are on disk alone."""
        return self.overflow.unread_records + self.overflow.left

    def oldest_ns(self) -> int | None:
        """Return when the oldest record in memory was logged, or None if not known."""
        first = self.in_flight or next(iter(self._held), None)
        if first is not None:
            return first_ns(first.body)
        return self._open.oldest_ns() if self._open.records else None

    def add(self, records: Sequence[Sealed], now: float) -> str | None:
        """Encode records into the open batch; close that whenever it is full.

        Returns:
            What was wrong with one that could not be encoded, if any could not: it
            is dropped and counted, and must not cost the rest.
        """
        fault, failed = self._open.add(records, now, lambda: self.close_batch(now))
        self.entered += len(records) - failed
        if failed:
            self.dropped["not encodable"] += failed
        return fault

    def reject_echo(self, records: list[Sealed], theirs: set[int]) -> list[Sealed]:
        """Count those with these numbers as rejected; return the others.

        They are what the receiver's own work logged.
        """
        if not theirs:
            return records
        others = [record for record in records if record[SEQUENCE] not in theirs]
        self.rejected["logged while exporting"] += len(records) - len(others)
        return others

    def release(self, now: float) -> None:
        """Close the open batch, and let none wait for others."""
        self.close_batch(now)
        for batch in self._held:
            batch.ready_at = now

    def close_batch(self, now: float) -> None:
        """Make a batch of what is open, if anything is."""
        if not self._open.records:
            return
        ready_at = self._open.since + self._hold_seconds
        batch = Batch(*self._open.take(), ready_at=ready_at)
        if self._held and self._held[-1].behind:
            self._write_again(now)
        if self.overflow.write(batch, self.records, self.size_bytes, now):
            self._hold(batch)

    def _write_again(self, now: float) -> None:
        """Write what the disk did not take, before what is newer overtakes it there."""
        for batch in [each for each in self._held if each.behind]:
            if not self.overflow.write(batch, self.records, self.size_bytes, now):
                self._held.remove(batch)
                self._closed_records -= batch.records
                self._closed_bytes -= len(batch.body)
            elif not batch.copies:
                return

    def _hold(self, batch: Batch, *, first: bool = False) -> None:
        (self._held.appendleft if first else self._held.append)(batch)
        self._closed_records += batch.records
        self._closed_bytes += len(batch.body)

    def _forget(self, batch: Batch) -> None:
        self._closed_records -= batch.records
        self._closed_bytes -= len(batch.body)
        self.overflow.settle(batch)

    def make_room(self, records: int, size_bytes: int) -> None:
        """Drop batches that are not on their way, down to the bounds.

        Not what stands on disk: that has bounds of its own.
        """
        if not self._over(records, size_bytes):
            return
        if self._drop_newest:
            self.close_batch(self._open.since)
        for batch in [*self._held][:: -1 if self._drop_newest else 1]:
            if not self._over(records, size_bytes):
                break
            if not batch.safe:
                self._held.remove(batch)
                self._drop(batch, "buffer_full")

    def _over(self, records: int, size_bytes: int) -> bool:
        return self.records > records or self.size_bytes > size_bytes

    def _drop(self, batch: Batch, reason: str) -> None:
        self.dropped[reason] += batch.records
        self.dropped_bytes[reason] += len(batch.body)
        self._forget(batch)

    def give_up(self, reason: str, now: float) -> int:
        """Drop everything that is not on disk; return how many records."""
        self.close_batch(now)
        before = self.dropped[reason]
        if self.in_flight is not None:
            self._held.appendleft(self.in_flight)
            self.in_flight = None
        for batch in [part for each in self._held for part in each.parts or [each]]:
            if not self.overflow.leave(batch):
                self._drop(batch, reason)
        self._held.clear()
        self._closed_records = self._closed_bytes = 0
        return self.dropped[reason] - before

    def dropped_count(self) -> int:
        """Return how many records were given up so far. From any thread."""
        return self.dropped.total() + self.overflow.lost_records

    def next_batch(self, now: float) -> Batch | None:
        """Return the batch to send now, if there is one and none is on its way."""
        if self._open.records and now >= self._open.since + self._close_seconds:
            self.close_batch(now)
        if self.in_flight is not None or now < self.backoff.not_before:
            return None
        self._read()
        if not self._held or now < self._ready_at():
            return None
        batches = [self._held.popleft()]
        records, size = batches[0].records, len(batches[0].body)
        while self._held and self._held[0].is_like(batches[0]):
            records += self._held[0].records
            size += len(self._held[0].body)
            if records > self._batch_records or size > self._batch_bytes:
                break
            batches.append(self._held.popleft())
        self.in_flight = joined(batches)
        self.in_flight.tried = True
        self.in_flight.behind = False  # should it come back, it is the oldest
        return self.in_flight

    def _read(self) -> None:
        """Read back from the disk what is to be sent next, if it is there alone."""
        first = self._held[0] if self._held else None
        limits = self._batch_records, self._batch_bytes
        for batch in reversed(self.overflow.read(first, *limits)):
            self._hold(batch, first=True)

    def _ready_at(self) -> float:
        """Return when what is held may be sent: old enough, or enough for a request."""
        enough = self._closed_records >= self._batch_records
        return 0.0 if enough else self._held[0].ready_at

    def wait_seconds(self, now: float) -> float | None:
        """Return how long `next_batch` will have nothing new, or None: until more."""
        due: list[float] = []
        if self.in_flight is None and self._held:
            due.append(max(self.backoff.not_before, self._ready_at()))
        elif self.in_flight is None and self.overflow.unread_records:
            # They could not be read: no memory, too many open files.
            due.append(max(self.backoff.not_before, now + UNREADABLE_SECONDS))
        if self._open.records:
            due.append(self._open.since + self._close_seconds)
        return max(min(due) - now, 0.0) if due else None

    def settle(self, outcome: Outcome, now: float) -> None:
        """Account for the answer to the batch that was on its way."""
        batch, self.in_flight = self.in_flight, None
        if batch is None:  # given up meanwhile
            return
        # From here on it is shown, and its words are a receiver's or an exporter's.
        outcome = replace(outcome, message=self.shown(outcome.message))
        match outcome:
            case Accepted():
                refused = min(outcome.rejected, batch.records)
                self.delivered += batch.records - refused
                if refused:
                    self.rejected["partial success"] += refused
                if outcome.message:
                    self.last_error = f"partial success: {outcome.message}"
                self._forget(batch)
                self.backoff.succeeded()
                return
            case Rejected():
                self._reject(batch, outcome.reason, outcome.message)
                self.backoff.succeeded()
            case TooLarge():
                self._shrink(batch, outcome)
            case Misconfigured():
                self._held.appendleft(batch)
                self.backoff.misconfigured(now)
            case Retry():
                self._retry(batch, outcome, now)
        self.last_error = outcome.message

    def _reject(self, batch: Batch, reason: str, message: str) -> None:
        self.rejected[reason] += batch.records
        self.refused.add(batch.body, batch.records, reason, message, time.time_ns())
        self._forget(batch)

    def _retry(self, batch: Batch, outcome: Retry, now: float) -> None:
        self.backoff.failed(now, outcome.after_seconds)
        if batch.seems_too_large(outcome.message) and outcome.busy:
            self._shrink(batch, TooLarge(outcome.message))
        else:
            self._held.appendleft(batch)

    def _shrink(self, batch: Batch, outcome: TooLarge) -> None:
        """Put two halves in the batch's place, or what is left of a single record."""
        parts: list[tuple[bytes, int]] = []
        if batch.records > 1:
            parts = split(batch.body)
        elif smaller := cut(batch.body):
            parts = [(smaller, 1)]
        if not parts:
            self._reject(batch, "too large", outcome.message)
            return
        for copy in batch.copies:
            copy.holders += len(parts)
        for body, records in reversed(parts):
            self._hold(batch.part(body, records), first=True)
        self._forget(batch)
