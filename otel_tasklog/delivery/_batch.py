"""Encoded records that travel as one request."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from otel_tasklog.delivery._segment import Frame

__all__ = ["Batch", "Copy", "joined"]

SAME_REFUSALS: Final = 3
LARGE_BATCH_BYTES: Final = 262_144


class Copy:
    """A batch's copy in the spool. The halves that it was split into share it."""

    __slots__ = ("frame", "holders")

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.holders = 1


class Batch:
    """Encoded records that travel as one request.

    Attributes:
        body: The request.
        records: How many it has.
        ready_at: It may wait for others until then.
        copies: Where it stands in the spool, if it does.
        behind: Records in the spool alone are older than it.
        tried: It was sent before, or is a part of one that was; it is not joined with
            others then, so that an attempt can be told to be of the same batch.
        parts: What it was joined from, if it was. Never itself: a cycle would keep its
            body until the garbage collector comes, which does not see its size.
        refusals: What the receiver said to the last attempts.
    """

    __slots__ = (
        "behind", "body", "copies", "parts", "ready_at", "records", "refusals", "tried",
    )  # fmt: skip

    def __init__(
        self,
        body: bytes,
        records: int,
        *,
        ready_at: float = 0.0,
        copies: tuple[Copy, ...] = (),
        tried: bool = False,
    ) -> None:
        self.body = body
        self.records = records
        self.ready_at = ready_at
        self.copies = copies
        self.parts: list[Batch] = []
        self.behind = False
        self.tried = tried
        self.refusals: deque[str] = deque(maxlen=SAME_REFUSALS)

    @property
    def safe(self) -> bool:
        """Whether it stands on disk."""
        return bool(self.copies) and all(copy.frame.there for copy in self.copies)

    def is_like(self, other: Batch) -> bool:
        """Return whether both may be joined: untried, and both on disk or neither."""
        alike = bool(self.copies) == bool(other.copies) and self.behind == other.behind
        return alike and not (self.tried or other.tried)

    def seems_too_large(self, message: str) -> bool:
        """Note a refusal; return whether, with those before, it may mean the size.

        Loki is "busy", in the same words, for ever, if a push is too large for it.
        """
        self.refusals.append(message)
        alike = list(self.refusals) == [message] * SAME_REFUSALS
        return alike and len(self.body) > LARGE_BATCH_BYTES

    def part(self, body: bytes, records: int) -> Batch:
        """Return a batch that stands in the place of a part of this one."""
        return Batch(body, records, copies=self.copies, tried=True)


def joined(batches: list[Batch]) -> Batch:
    """Return one batch of several. Protobuf merges messages that are concatenated."""
    if len(batches) == 1:
        return batches[0]
    batch = Batch(
        b"".join([each.body for each in batches]),
        sum(each.records for each in batches),
        copies=tuple(copy for each in batches for copy in each.copies),
    )
    batch.parts = batches  # a full spool may drop the copy of one, and not another's
    return batch
