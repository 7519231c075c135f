r"""The file format of the spool: frames, each a batch that is to be delivered.

::

    segment = file header, frame, frame, ...

    file header    8 bytes  b"tasklog\n"
                   u32      version, 1
                   u32      crc32 of the 12 bytes before
    frame          4 bytes  b"\xffTL\xfe"
                   u32      length of the payload
                   u32      records in it
                   u32      crc32 of the file's name, length, records and payload
                   u8       state: 0xff is settled, anything else is not
                   payload  an encoded ExportLogsServiceRequest

Numbers are big-endian. Frames are appended, and never changed but for the state, which
is one byte, so that no crash leaves half of it; the two states differ in every bit, so
that no flipped bit makes a batch pass for settled. A crash in the middle of an append
leaves a torn frame at the end. Whatever is no valid frame is skipped up to the next
magic bytes that begin one, and each run of such bytes counts as one damage.

The file's name has random digits, and is part of the checksum. So neither a frame that
somebody managed to have logged is taken for one, should the frame around it be torn, nor
one of a deleted segment whose blocks come back after the loss of power.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "FILE_HEADER",
    "HEADER_BYTES",
    "MAX_PAYLOAD_BYTES",
    "Found",
    "encode",
    "known_version",
    "mark_settled",
    "seed_of",
    "walk",
    "write",
]

MAX_PAYLOAD_BYTES: Final = 64 * 1024 * 1024
"""No batch is near this; a length that is over it is a flipped bit."""

_VERSION: Final = 1
_FILE_MAGIC: Final = b"tasklog\n"
_FILE: Final = struct.Struct(">8sII")
_MAGIC: Final = b"\xffTL\xfe"
_FRAME: Final = struct.Struct(">4sIIIB")
_SIZES: Final = struct.Struct(">II")
_UNSETTLED: Final = 0x00
_SETTLED: Final = 0xFF
_SEARCH_BYTES: Final = 1024 * 1024

HEADER_BYTES: Final = _FRAME.size
"""What a frame takes besides its payload."""

FILE_HEADER: Final = _FILE.pack(
    _FILE_MAGIC, _VERSION, zlib.crc32(_FILE_MAGIC + struct.pack(">I", _VERSION))
)


class Found(NamedTuple):
    """A valid frame: from which byte on, and what it holds."""

    offset: int
    records: int
    settled: bool
    body: bytes


def known_version(header: bytes) -> bool | None:
    """Return whether a file header is of this version, or None if it is damaged."""
    if len(header) < _FILE.size:
        return None
    magic, version, crc = _FILE.unpack(header)
    if magic != _FILE_MAGIC or crc != zlib.crc32(header[:-4]):
        return None
    return bool(version == _VERSION)


def seed_of(name: str) -> int:
    """Return the checksum of a file's name, which those of its frames go on from."""
    return zlib.crc32(name.encode())


def encode(body: bytes, records: int, seed: int) -> bytes:
    """Return a frame that is not settled."""
    crc = _checksum(body, records, seed)
    return _FRAME.pack(_MAGIC, len(body), records, crc, _UNSETTLED) + body


def _checksum(body: bytes, records: int, seed: int) -> int:
    return zlib.crc32(body, zlib.crc32(_SIZES.pack(len(body), records), seed))


def write(fd: int, data: bytes, offset: int) -> None:
    """Write it all, at an offset.

    Raises:
        OSError: A part of it may be there.
    """
    rest = memoryview(data)
    while rest:  # a disk that fills up takes a part first, and then fails
        written = os.pwrite(fd, rest, offset)
        rest = rest[written:]
        offset += written


def mark_settled(fd: int, offset: int) -> None:
    """Mark the frame that begins there.

    Raises:
        OSError: It is not marked.
    """
    os.pwrite(fd, bytes((_SETTLED,)), offset + HEADER_BYTES - 1)


def walk(fd: int, seed: int, offset: int, end: int) -> Iterator[Found | None]:
    """Yield each frame from an offset on, and None for each run of other bytes.

    Raises:
        OSError: The file cannot be read.
    """
    damaged = False
    while offset < end:
        found = _frame_at(fd, seed, offset, end)
        if found is not None:
            yield found
            damaged = False
            offset += HEADER_BYTES + len(found.body)
            continue
        if not damaged:
            damaged = True
            yield None
        offset = _next_magic(fd, offset + 1, end)


def _frame_at(fd: int, seed: int, offset: int, end: int) -> Found | None:
    header = os.pread(fd, HEADER_BYTES, offset)
    if len(header) < HEADER_BYTES or not header.startswith(_MAGIC):
        return None
    _, length, records, crc, state = _FRAME.unpack(header)
    room = min(end - offset - HEADER_BYTES, MAX_PAYLOAD_BYTES)
    if length > room:
        return None
    body = os.pread(fd, length, offset + HEADER_BYTES)
    if crc != _checksum(body, records, seed):
        return None
    return Found(offset, records, state == _SETTLED, body)


def _next_magic(fd: int, offset: int, end: int) -> int:
    """Return where a frame may begin next, or the end."""
    while end - offset >= HEADER_BYTES:
        chunk = os.pread(fd, min(_SEARCH_BYTES, end - offset), offset)
        at = chunk.find(_MAGIC)
        if at >= 0:
            return offset + at
        if len(chunk) < len(_MAGIC):  # somebody cut the file
            break
        offset += len(chunk) - len(_MAGIC) + 1
    return end
