"""What is encoded and not yet settled: batches, their order, retries and bounds.

No thread of its own and no clock: the worker says what time it is, hands over
records, asks which batch to send now, and reports what came of it.
"""

from __future__ import annotations

import random
from collections import Counter as Tally
from collections import deque
from typing import TYPE_CHECKING, Final

from otel_tasklog.capture._record import ORIGIN, SEQUENCE, Sealed
from otel_tasklog.delivery._senders import (
    Accepted,
    Misconfigured,
    Outcome,
    Rejected,
    Retry,
    TooLarge,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_tasklog.delivery._encode import Encoder

__all__ = ["Batch", "Outbox"]

FIRST_BACKOFF_SECONDS: Final = 0.5
MAX_BACKOFF_SECONDS: Final = 30.0
LARGE_BATCH_BYTES: Final = 262_144
"""A batch over this that is answered "busy" three times alike is split."""

SAME_REFUSALS: Final = 3

MISCONFIGURED_SECONDS: Final = 30.0
"""Nobody mends a token faster, and a wrong address deserves no load."""


class Batch:
    """Encoded records that travel as one request."""

    __slots__ = ("body", "number", "records", "refusals")

    def __init__(self, number: int, body: bytes, records: int) -> None:
        self.number = number
        self.body = body
        self.records = records
        self.refusals: deque[str] = deque(maxlen=SAME_REFUSALS)


class Outbox:
    """Holds encoded batches until a receiver took or refused them.

    On the worker's thread, or under the lock that keeps the worker out. Batches
    leave in order, one at a time.
    """

    def __init__(
        self,
        *,
        encoder: Encoder,
        batch_records: int,
        batch_bytes: int,
        delay_seconds: float,
    ) -> None:
        self._encoder = encoder
        self._batch_records = batch_records
        self._batch_bytes = batch_bytes
        self._delay_seconds = delay_seconds
        self._open: dict[str, list[bytes]] = {}
        self._open_records = 0
        self._open_bytes = 0
        self._open_since = 0.0
        self._held: deque[Batch] = deque()
        self.in_flight: Batch | None = None
        self.next_number = 0
        self._closed_records = 0  # held or in flight
        self._closed_bytes = 0
        self._failures = 0
        self._not_before = 0.0
        self._hurry_from = 0.0
        self.delivered = 0
        self.rejected: Tally[str] = Tally()
        self.dropped: Tally[str] = Tally()
        self.last_error: str | None = None

    @property
    def records(self) -> int:
        """How many are not settled: in the open batch, held, or on their way."""
        return self._open_records + self._closed_records

    @property
    def size_bytes(self) -> int:
        """What they take, encoded."""
        return self._open_bytes + self._closed_bytes

    def add(self, records: Iterable[Sealed], now: float) -> str | None:
        """Encode records into the open batch; close that whenever it is full.

        Returns:
            What was wrong with one that could not be encoded, if any could not: it
            is dropped and counted, and must not cost the rest.
        """
        encode = self._encoder.record
        opened, count, size = self._open, self._open_records, self._open_bytes
        fault: str | None = None
        for record in records:
            try:
                encoded = encode(record)
            except Exception as error:  # noqa: BLE001
                fault = f"a record could not be encoded: {error!r}"
                self.dropped["not encodable"] += 1
                continue
            if count >= self._batch_records or size + len(encoded) > self._batch_bytes:
                self._open_records, self._open_bytes = count, size
                self.close_batch()
                opened, count, size = self._open, 0, 0
            if not count:
                self._open_since = now
            logger = record[ORIGIN][0]
            if logger in opened:
                opened[logger].append(encoded)
            else:
                opened[logger] = [encoded]
            count += 1
            size += len(encoded)
        self._open_records, self._open_bytes = count, size
        if count >= self._batch_records:
            self.close_batch()
        return fault

    def refuse(self, records: list[Sealed], theirs: set[int]) -> list[Sealed]:
        """Count those with these numbers as rejected; return the others.

        They are what the receiver's own work logged.
        """
        if not theirs:
            return records
        others = [record for record in records if record[SEQUENCE] not in theirs]
        self.rejected["logged while exporting"] += len(records) - len(others)
        return others

    def close_batch(self) -> None:
        """Make a batch of what is open, if anything is."""
        if not self._open_records:
            return
        body = self._encoder.request(self._open)
        batch = Batch(self.next_number, body, self._open_records)
        self._held.append(batch)
        self._count(batch)
        self.next_number += 1
        self._open = {}
        self._open_records = self._open_bytes = 0

    def _count(self, batch: Batch) -> None:
        self._closed_records += batch.records
        self._closed_bytes += len(batch.body)

    def make_room(self, records: int, size_bytes: int) -> None:
        """Drop the oldest batches that are not on their way, down to the bounds."""
        while self._held and (self.records > records or self.size_bytes > size_bytes):
            self._drop(self._held.popleft(), "buffer_full")

    def _drop(self, batch: Batch, reason: str) -> None:
        self.dropped[reason] += batch.records
        self._forget(batch)

    def _forget(self, batch: Batch) -> None:
        self._closed_records -= batch.records
        self._closed_bytes -= len(batch.body)

    def give_up(self, reason: str) -> int:
        """Drop everything, also what is on its way; return how many records."""
        self.close_batch()
        lost = self.records
        if self.in_flight is not None:
            self._held.appendleft(self.in_flight)
            self.in_flight = None
        while self._held:
            self._drop(self._held.popleft(), reason)
        return lost

    @property
    def oldest_number(self) -> int:
        """The number of the oldest batch that is not settled, or of the next one."""
        if self.in_flight is not None:
            return self.in_flight.number
        return self._held[0].number if self._held else self.next_number

    def hurry(self) -> None:
        """Try at once what waits for its back-off, though not a Retry-After."""
        if self._failures:
            self._not_before = min(self._not_before, self._hurry_from)

    def next_batch(self, now: float) -> Batch | None:
        """Return the batch to send now, if there is one and none is on its way."""
        if self._open_records and now >= self._open_since + self._delay_seconds:
            self.close_batch()
        if self.in_flight is not None or not self._held or now < self._not_before:
            return None
        self.in_flight = self._held.popleft()
        return self.in_flight

    def wait_seconds(self, now: float) -> float | None:
        """Return how long `next_batch` will have nothing new, or None: until more."""
        due: list[float] = []
        if self._held and self.in_flight is None:
            due.append(self._not_before)
        if self._open_records:
            due.append(self._open_since + self._delay_seconds)
        return max(min(due) - now, 0.0) if due else None

    def settle(self, outcome: Outcome, now: float) -> None:
        """Account for the answer to the batch that was on its way."""
        batch, self.in_flight = self.in_flight, None
        if batch is None:  # given up meanwhile
            return
        match outcome:
            case Accepted():
                refused = min(outcome.rejected, batch.records)
                self.delivered += batch.records - refused
                if refused:
                    self.rejected["partial success"] += refused
                    self.last_error = f"partial success: {outcome.message}"
                self._forget(batch)
                self._failures = 0
                self._not_before = 0.0
                return
            case Rejected():
                self.rejected[outcome.reason] += batch.records
                self._forget(batch)
                self._failures = 0
                self._not_before = 0.0
            case TooLarge():
                self._split(batch, outcome)
            case Misconfigured():
                self._failures += 1
                self._wait(batch, now, MISCONFIGURED_SECONDS, jitter=1.0)
            case Retry():
                self._retry(batch, outcome, now)
        self.last_error = outcome.message

    def _retry(self, batch: Batch, outcome: Retry, now: float) -> None:
        batch.refusals.append(outcome.message)
        same = set(batch.refusals) == {outcome.message}
        if outcome.busy and same and len(batch.refusals) == SAME_REFUSALS:
            large = len(batch.body) > LARGE_BATCH_BYTES and batch.records > 1
            if large:  # Loki refuses too large a push so, for ever
                self._split(batch, TooLarge(outcome.message))
                return
        self._failures += 1
        if outcome.after_seconds is not None:
            self._wait(batch, now, outcome.after_seconds, jitter=0.1, hurry=False)
        else:
            backoff = FIRST_BACKOFF_SECONDS * 2 ** min(self._failures - 1, 10)
            self._wait(batch, now, min(backoff, MAX_BACKOFF_SECONDS), jitter=0.2)

    def _wait(
        self, batch: Batch, now: float, seconds: float, *, jitter: float,
        hurry: bool = True,
    ) -> None:  # fmt: skip
        self._held.appendleft(batch)
        self._not_before = now + seconds * (1 + jitter * random.random())  # noqa: S311
        self._hurry_from = now + FIRST_BACKOFF_SECONDS if hurry else self._not_before

    def _split(self, batch: Batch, outcome: TooLarge) -> None:
        """Put two halves in the batch's place; one record alone is refused."""
        halves = self._encoder.split(batch.body) if batch.records > 1 else []
        self._forget(batch)
        if not halves:
            self.rejected["too large"] += batch.records
            self.last_error = outcome.message
            return
        for body, records in reversed(halves):
            half = Batch(batch.number, body, records)
            self._held.appendleft(half)
            self._count(half)
