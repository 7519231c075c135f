"""A segment of the spool: one file of frames, and how far it has been read.

What `Segment.append` has written survives the end of the process, by ``SIGKILL`` too,
as the kernel has it; after `Segment.sync` it survives the loss of power. ``_frames.py``
has the file's format.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from otel_tasklog.delivery._frames import (
    FILE_HEADER,
    HEADER_BYTES,
    encode,
    known_version,
    mark_settled,
    seed_of,
    walk,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["Frame", "Segment", "lock"]


def lock(fd: int) -> None:
    """Lock a file until this opening of it is closed, by forked children too.

    It is ``flock``: a lock of POSIX would end as soon as the process closes any
    opening of the same file.

    Raises:
        BlockingIOError: It is locked.
        OSError: The file system has no locks.
    """
    import fcntl  # not there on Windows

    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Frame:
    """A batch in a segment.

    Attributes:
        segment: Where it stands,
        offset: and from which byte on.
        records: How many records it has.
        size_bytes: The size of its payload.
        settled: It needs no delivery any more.
    """

    __slots__ = ("offset", "records", "segment", "settled", "size_bytes")

    def __init__(
        self, segment: Segment, offset: int, records: int, size_bytes: int
    ) -> None:
        self.segment = segment
        self.offset = offset
        self.records = records
        self.size_bytes = size_bytes
        self.settled = False

    @property
    def end(self) -> int:
        """Where the next frame begins."""
        return self.offset + HEADER_BYTES + self.size_bytes

    @property
    def there(self) -> bool:
        """Whether a later process would find and deliver it."""
        return not (self.settled or self.segment.removed)


class Segment:
    """One file of frames.

    Only while it is written to it is kept open, so that a long outage costs no
    descriptors. It is locked then as well: should somebody delete its owner's lock,
    the file still tells that its owner lives.

    Args:
        path: The file.
        owner: Who wrote it.
        end: Where its frames end.

    Attributes:
        cursor: What is before it has been read, or never left the memory.
        unread_records, unread_bytes: What is after it and not settled.
        held: How many frames before it are not settled.
        damaged: How many runs of bytes were found that are no frame.
        removed: The file is deleted.
    """

    __slots__ = (
        "_fd", "_foreseen", "_seed", "cursor", "damaged", "end", "held", "owner", "path",
        "removed", "unread_bytes", "unread_records",
    )  # fmt: skip

    def __init__(self, path: Path, owner: str, end: int) -> None:
        self.path = path
        self.owner = owner
        self.end = end
        self.cursor = len(FILE_HEADER)
        self.unread_records = 0
        self.unread_bytes = 0
        self.held = 0
        self.damaged = 0
        self.removed = False
        self._foreseen = 0  # damages that were counted by `scan`, to be met again
        self._seed = seed_of(path.name)
        self._fd: int | None = None

    @classmethod
    def create(cls, path: Path, owner: str) -> Segment:
        """Make a segment to write to.

        Raises:
            OSError: It could not be made, and there is nothing left of it.
        """
        segment = cls(path, owner, len(FILE_HEADER))
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fchmod(fd, 0o600)  # the umask may have taken more away
            lock(fd)
            write(fd, FILE_HEADER, 0)
        except BaseException:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        segment._fd = fd
        return segment

    @classmethod
    def scan(cls, path: Path, owner: str) -> Segment | None:
        """Read through the segment of an owner who should be dead.

        Returns:
            The segment, all unread; or None if it has a version that is not known
            here.

        Raises:
            BlockingIOError: Its owner lives.
            OSError: It cannot be read.
        """
        fd = os.open(path, os.O_RDWR)
        try:
            lock(fd)  # a question only: the owner's lock is what keeps others out
            segment = cls(path, owner, os.fstat(fd).st_size)
            header = os.pread(fd, len(FILE_HEADER), 0)
            known = known_version(header)
            if known is False:
                return None
            for found in walk(fd, segment._seed, segment.cursor, segment.end):
                if found is None:
                    segment.damaged += 1
                    segment._foreseen += 1
                elif not found.settled:
                    segment.unread_records += found.records
                    segment.unread_bytes += len(found.body)
            if known is None and header:  # hides no frame; an empty file never had one
                segment.damaged += 1
        finally:
            os.close(fd)
        return segment

    @property
    def empty(self) -> bool:
        """Whether it has no frame."""
        return self.end <= len(FILE_HEADER)

    @property
    def done(self) -> bool:
        """Whether nothing in it is to be delivered any more."""
        return not (self.held or self.unread_records)

    def vanished(self) -> bool:
        """Return whether somebody deleted the file that is written to."""
        return self._fd is not None and os.fstat(self._fd).st_nlink == 0

    def append(self, body: bytes, records: int, *, unread: bool) -> Frame:
        """Write a frame at the end.

        Args:
            body: The payload.
            records: How many records it has.
            unread: Whether it will be read; if not, it stays in memory as well.

        Raises:
            OSError: It could not be written, and the file ends where it did.
        """
        assert self._fd is not None  # noqa: S101 - for the type checker
        frame = Frame(self, self.end, records, len(body))
        try:
            write(self._fd, encode(body, records, self._seed), frame.offset)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, frame.offset)
            raise
        self.end = frame.end
        if unread:
            self.unread_records += records
            self.unread_bytes += len(body)
        else:
            self.cursor = self.end
            self.held += 1
        return frame

    def read(
        self, batches: list[tuple[Frame, bytes]], max_records: int, max_bytes: int
    ) -> bool:
        """Add what comes after the cursor and is not settled, oldest first.

        Args:
            batches: Is added to; at least one if it is empty.
            max_records: How many records all in it may have,
            max_bytes: and how many bytes.

        Returns:
            Whether the end is reached.

        Raises:
            OSError: The file cannot be read.
        """
        records = sum(frame.records for frame, _ in batches)
        size_bytes = sum(frame.size_bytes for frame, _ in batches)
        with self._opened(os.O_RDONLY) as fd:
            for found in walk(fd, self._seed, self.cursor, self.end):
                if found is None and self._foreseen:
                    self._foreseen -= 1
                elif found is None:
                    self.damaged += 1
                elif not found.settled:
                    frame = Frame(self, found.offset, found.records, len(found.body))
                    records += frame.records
                    size_bytes += frame.size_bytes
                    self.cursor = frame.offset
                    if batches and (records > max_records or size_bytes > max_bytes):
                        return False
                    batches.append((frame, found.body))
                    self.cursor = frame.end
                    self.unread_records -= frame.records
                    self.unread_bytes -= frame.size_bytes
                    self.held += 1
        self.cursor = self.end
        return True

    def abandon_unread(self) -> None:
        """Note that what is unread cannot be read."""
        self.cursor = self.end
        self.unread_records = self.unread_bytes = 0

    def settle(self, frame: Frame) -> None:
        """Mark a frame that was held.

        Raises:
            OSError: It is not marked; a later process may deliver it again.
        """
        frame.settled = True
        self.held -= 1
        with self._opened(os.O_WRONLY) as fd:
            mark_settled(fd, frame.offset)

    def clear(self) -> None:
        """Cut all frames off from the file that is written to.

        Raises:
            OSError: They are still there.
        """
        assert self._fd is not None  # noqa: S101 - for the type checker
        os.ftruncate(self._fd, len(FILE_HEADER))
        self.end = self.cursor = len(FILE_HEADER)

    def sync(self) -> None:
        """Wait until the disk has all that was written.

        Another thread may close or delete the file meanwhile.

        Raises:
            OSError: The disk may not have it.
        """
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(self.path, os.O_RDWR)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def close(self) -> None:
        """Write to it no more. Closing leaves a lock alone that a parent has, too."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)

    def remove(self) -> None:
        """Delete the file.

        Raises:
            OSError: It is still there.
        """
        self.removed = True
        self.close()
        self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _opened(self, flags: int) -> Generator[int]:
        if self._fd is not None:
            yield self._fd
            return
        fd = os.open(self.path, flags)
        try:
            yield fd
        finally:
            os.close(fd)
