"""The batch that is being filled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_tasklog.capture._record import ORIGIN, Sealed
from otel_tasklog.delivery._age import logged_ns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_tasklog.delivery._encode import Encoder

__all__ = ["OpenBatch"]


class OpenBatch:
    """Encoded records, by the name of their logger.

    Args:
        encoder: Makes bytes of records.
        limits: The records and the bytes that it has room for. One record alone may
            be larger.

    Attributes:
        records: How many it has.
        size_bytes: What they take.
        since: When the first came.
    """

    def __init__(self, encoder: Encoder, limits: tuple[int, int]) -> None:
        self._encoder = encoder
        self._max_records, self._max_bytes = limits
        self._scopes: dict[str, list[bytes]] = {}
        self.records = 0
        self.size_bytes = 0
        self.since = 0.0

    def add(
        self, records: Sequence[Sealed], now: float, full: Callable[[], None]
    ) -> tuple[str | None, int]:
        """Encode records.

        Args:
            records: The records.
            now: The time.
            full: Is called whenever there is no more room, and must `take` all.

        Returns:
            What was wrong with those that could not be encoded, and how many.
        """
        encoder = self._encoder
        scopes, count, size = self._scopes, self.records, self.size_bytes
        fault: str | None = None
        failed = 0
        for record in records:
            try:
                encoded = encoder.record(record)
            except Exception as error:  # noqa: BLE001
                fault = f"a record could not be encoded: {error!r}"
                failed += 1
                continue
            if count >= self._max_records or size + len(encoded) > self._max_bytes:
                self.records, self.size_bytes = count, size
                full()
                scopes, count, size = self._scopes, 0, 0
            if not count:
                self.since = now
            logger = record[ORIGIN][0]
            if logger in scopes:
                scopes[logger].append(encoded)
            else:
                scopes[logger] = [encoded]
            count += 1
            size += len(encoded)
        self.records, self.size_bytes = count, size
        if count >= self._max_records:
            full()
        return fault, failed

    def oldest_ns(self) -> int | None:
        """Return when its first record was logged, or None: it says nothing."""
        return logged_ns(next(iter(self._scopes.values()))[0])

    def take(self) -> tuple[bytes, int]:
        """Return it as a request, with the number of its records; it is empty then."""
        taken = self._encoder.request(self._scopes), self.records
        self._scopes = {}
        self.records = self.size_bytes = 0
        return taken
