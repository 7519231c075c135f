"""A segment's file: what is read of it whatever has happened to its bytes."""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tasklog.delivery._frames import (
    FILE_HEADER,
    HEADER_BYTES,
    encode,
    seed_of,
)
from otel_tasklog.delivery._segment import Frame, Segment

if TYPE_CHECKING:
    from pathlib import Path

NO_LIMIT = 1 << 40
BODIES = [b"first", b"", b"the third and last"]


class Read(NamedTuple):
    bodies: list[bytes]
    damaged: int


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "7-00000000deadbeef-00000000.spool"


def write(path: Path, bodies: list[bytes]) -> list[Frame]:
    """Make a segment whose writer is dead."""
    segment = Segment.create(path, "owner")
    frames = [segment.append(body, 1, unread=True) for body in bodies]
    segment.close()
    return frames


def scan(path: Path) -> Segment:
    segment = Segment.scan(path, "owner")
    assert segment is not None
    return segment


def read(path: Path) -> Read:
    """Read a segment as a later process does; both of its looks must agree."""
    segment = scan(path)
    known = segment.damaged
    batches: list[tuple[Frame, bytes]] = []
    assert segment.unread_bytes >= 0
    expected = segment.unread_records
    assert segment.read(batches, NO_LIMIT, NO_LIMIT)
    assert sum(frame.records for frame, _ in batches) == expected
    assert (segment.unread_records, segment.unread_bytes) == (0, 0)
    assert segment.damaged == known
    return Read([body for _, body in batches], known)


def test_what_was_appended_is_read_in_order(path: Path) -> None:
    write(path, BODIES)
    assert read(path) == (BODIES, 0)


def test_only_its_user_may_read_it_whatever_the_umask(path: Path) -> None:
    before = os.umask(0o777)
    try:
        write(path, BODIES)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    before = os.umask(0)
    try:
        write(path.with_name("other"), BODIES)
    finally:
        os.umask(before)
    assert path.with_name("other").stat().st_mode & 0o777 == 0o600


def test_the_format_is_what_the_page_says(path: Path) -> None:
    write(path, [b"body"])
    version = b"tasklog\n" + struct.pack(">I", 1)
    crc = zlib.crc32(path.name.encode() + struct.pack(">II", 4, 1) + b"body")
    assert path.read_bytes() == (
        version
        + struct.pack(">I", zlib.crc32(version))
        + struct.pack(">4sIIIB", b"\xffTL\xfe", 4, 1, crc, 0)
        + b"body"
    )


def test_settling_changes_one_byte_and_hides_the_frame(path: Path) -> None:
    frames = write(path, BODIES)
    before = path.read_bytes()
    segment = scan(path)
    segment.held = 1
    segment.settle(Frame(segment, frames[1].offset, 1, 0))
    changed = [
        i
        for i, (a, b) in enumerate(zip(before, path.read_bytes(), strict=True))
        if a != b
    ]
    assert changed == [frames[1].offset + HEADER_BYTES - 1]
    assert read(path) == ([BODIES[0], BODIES[2]], 0)


def test_cut_at_any_byte_it_gives_all_frames_before(path: Path) -> None:
    """So does a crash in the middle of an append, or of the first write."""
    frames = write(path, BODIES)
    whole = path.read_bytes()
    ends = [frame.end for frame in frames]
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        complete = [b for b, end in zip(BODIES, ends, strict=True) if end <= cut]
        torn = cut not in (0, len(FILE_HEADER), *ends)
        assert read(path) == (complete, int(torn)), cut


def test_a_bit_that_flipped_costs_no_more_than_its_frame(path: Path) -> None:
    """And never lets a settled frame's neighbour, or an unsettled one, be skipped."""
    frames = write(path, [*BODIES, b"settled"])
    segment = scan(path)
    segment.settle(Frame(segment, frames[-1].offset, 1, 7))
    whole = path.read_bytes()
    states = [frame.offset + HEADER_BYTES - 1 for frame in frames]
    for at in range(len(whole)):
        hit = [
            b for b, f in zip(BODIES, frames, strict=False) if f.offset <= at < f.end
        ]
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[at] ^= 1 << bit
            path.write_bytes(flipped)
            if at in states:  # delivered twice at worst
                again = [b"settled"] if at == states[-1] else []
                assert read(path) == (BODIES + again, 0), (at, bit)
            else:
                rest = [body for body in BODIES if body not in hit]
                assert read(path) == (rest, 1), (at, bit)


@given(
    junk=st.lists(
        st.binary(min_size=1, max_size=40) | st.just(b"\xffTL\xfe" * 9), max_size=4
    )
)
def test_each_run_of_other_bytes_counts_once(
    tmp_path_factory: pytest.TempPathFactory, junk: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("junk") / "1-0123456789abcdef-00000000.spool"
    seed = seed_of(path.name)
    pieces = [piece + encode(b"%d" % i, 1, seed) for i, piece in enumerate(junk)]
    path.write_bytes(FILE_HEADER + b"".join(pieces) + b"end")
    assert read(path) == ([b"%d" % i for i in range(len(junk))], len(junk) + 1)


def test_damage_longer_than_a_look_is_crossed(path: Path) -> None:
    last = encode(b"last", 1, seed_of(path.name))
    # The magic bytes lie across the border of two looks for them.
    junk = bytes(1024 * 1024 - 1)
    path.write_bytes(FILE_HEADER + junk + last)
    assert read(path) == ([b"last"], 1)


@pytest.mark.parametrize("other", ["", "7-00000000deadbeef-00000001.spool"])
def test_a_frame_that_was_logged_or_moved_is_not_taken_for_one(
    path: Path, other: str
) -> None:
    """A payload is the application's, and the frame around it may be torn."""
    forged = encode(b"forged", 1, seed_of(other) if other else 0)
    frames = write(path, [b"....." + forged + b"....."])
    os.truncate(path, frames[0].end - 1)
    assert read(path) == ([], 1)


def test_a_frame_that_claims_more_than_there_is_is_damaged(path: Path) -> None:
    write(path, [b"one"])
    huge = struct.pack(">4sIIIB", b"\xffTL\xfe", 0xFFFF_FFFF, 1, 0, 0)
    with path.open("ab") as file:
        file.write(huge + encode(b"two", 1, seed_of(path.name)))
    assert read(path) == ([b"one", b"two"], 1)


def test_another_version_is_left_alone(path: Path) -> None:
    write(path, BODIES)
    version = b"tasklog\n" + struct.pack(">I", 2)
    header = version + struct.pack(">I", zlib.crc32(version))
    path.write_bytes(header + path.read_bytes()[len(header) :])
    assert Segment.scan(path, "owner") is None


def test_while_it_is_written_to_nobody_else_has_it(path: Path) -> None:
    segment = Segment.create(path, "owner")
    with pytest.raises(BlockingIOError):
        Segment.scan(path, "other")
    segment.close()
    assert scan(path).empty


def test_damage_since_the_scan_counts_anew(path: Path) -> None:
    frames = write(path, BODIES)
    flip(path, frames[0].offset)
    segment = scan(path)
    assert segment.damaged == 1
    flip(path, frames[2].offset)
    batches: list[tuple[Frame, bytes]] = []
    segment.read(batches, NO_LIMIT, NO_LIMIT)
    assert [body for _, body in batches] == [b""]
    assert segment.damaged == 2
    assert segment.unread_records == 1


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_reading_goes_on_where_the_limits_stopped_it(path: Path) -> None:
    write(path, [b"aaaa", b"bb", b"cc", b"dddd"])
    segment = scan(path)

    def some(max_records: int, max_bytes: int) -> tuple[list[bytes], bool]:
        batches: list[tuple[Frame, bytes]] = []
        ended = segment.read(batches, max_records, max_bytes)
        return [body for _, body in batches], ended

    assert some(1, 3) == ([b"aaaa"], False)  # at least one
    assert some(9, 4) == ([b"bb", b"cc"], False)
    assert some(1, 9) == ([b"dddd"], True)
    assert some(9, 9) == ([], True)
    assert segment.held == 4


def test_a_file_that_shrinks_while_it_is_read_is_damaged(path: Path) -> None:
    write(path, [b"x" * 100])
    segment = scan(path)
    os.truncate(path, len(FILE_HEADER) + 50)
    batches: list[tuple[Frame, bytes]] = []
    assert segment.read(batches, NO_LIMIT, NO_LIMIT)
    assert (batches, segment.damaged, segment.unread_records) == ([], 1, 1)


def test_what_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "there"
    path.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        Segment.create(path, "owner")
    assert path.read_bytes() == b"theirs"
