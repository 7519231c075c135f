"""The spool: what is appended comes back once, whatever ends a process or a disk."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from otel_tasklog import ConfigError
from otel_tasklog.delivery import _owners
from otel_tasklog.delivery._frames import FILE_HEADER, HEADER_BYTES
from otel_tasklog.delivery._segment import lock
from otel_tasklog.delivery._spool import RETRY_SECONDS, SEGMENTS, Frame, Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Make: TypeAlias = Callable[..., "Watched"]
    BeforeLock: TypeAlias = Callable[[Callable[[], object]], None]

NO_LIMIT = 1 << 40
LARGE = 1 << 30


class Watched(Spool):
    """A spool that keeps what it reported."""

    def __init__(
        self, directory: Path, max_bytes: int = LARGE, *, fsync: bool = False
    ) -> None:
        self.reports: list[tuple[str, str]] = []
        super().__init__(
            directory,
            max_bytes=max_bytes,
            fsync=fsync,
            report=lambda cause, text: self.reports.append((cause, text)),
        )

    def causes(self) -> list[str]:
        return [cause for cause, _ in self.reports]

    def put(self, body: bytes, records: int = 1, *, unread: bool = True) -> Frame:
        frame = self.append(body, records, 0.0, unread=unread)
        assert frame is not None
        return frame

    def bodies(self) -> list[bytes]:
        """Read all, as if it was delivered."""
        bodies = []
        while batches := self.read(1, NO_LIMIT):
            for frame, body in batches:
                bodies.append(body)
                self.settle(frame)
        return bodies

    def recover(self) -> int:
        return self.adopt(self.find_orphans())

    def crash(self) -> None:
        """Leave the files and locks as a process leaves them that is killed."""
        self.forget()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def make(directory: Path) -> Iterator[Make]:
    made: list[Watched] = []

    def factory(max_bytes: int = LARGE, *, fsync: bool = False) -> Watched:
        made.append(Watched(directory, max_bytes, fsync=fsync))
        return made[-1]

    yield factory
    for spool in made:
        spool.close()


def files(directory: Path) -> list[str]:
    return sorted(path.suffix for path in directory.iterdir())


# What is appended, read and settled


def test_what_is_on_disk_alone_is_read_oldest_first(
    make: Make,
) -> None:
    spool = make()
    for number in range(5):
        spool.put(b"%d" % number, records=10)
    assert (spool.unread_records, spool.unread_bytes) == (50, 5)
    first = spool.read(20, NO_LIMIT)
    assert [(frame.records, body) for frame, body in first] == [(10, b"0"), (10, b"1")]
    assert (spool.unread_records, spool.unread_bytes) == (30, 3)
    assert [body for _, body in spool.read(1, 1)] == [b"2"]
    assert [body for _, body in spool.read(100, 2)] == [b"3", b"4"]
    assert spool.read(1, 1) == []


def test_what_is_in_memory_too_is_not_read(make: Make) -> None:
    spool = make()
    held = spool.put(b"held", unread=False)
    spool.put(b"unread")
    assert spool.bodies() == [b"unread"]
    assert held.there
    spool.settle(held)
    assert not held.there


def test_what_would_overtake_is_refused(make: Make) -> None:
    spool = make()
    spool.put(b"older")
    with pytest.raises(ValueError, match="read them before"):
        spool.append(b"newer", 1, 0.0, unread=False)


def test_when_all_is_settled_the_directory_holds_no_frame(
    directory: Path, make: Make
) -> None:
    spool = make()
    for _ in range(3):
        frames = [spool.put(b"x" * 1000, unread=False) for _ in range(3)]
        for frame in frames:
            spool.settle(frame)
            spool.settle(frame)  # harmless
        assert spool.size_bytes == len(FILE_HEADER)
        assert [p.stat().st_size for p in directory.glob("*.spool")] == [16]
    spool.close()
    assert files(directory) == []


def test_nothing_is_made_before_the_first_append(directory: Path, make: Make) -> None:
    spool = make()
    assert files(directory) == []
    spool.put(b"")
    assert files(directory) == [".lock", ".spool"]


def test_segments_are_deleted_as_they_are_settled(directory: Path, make: Make) -> None:
    spool = make(1600)  # a segment holds one of these frames
    for number in range(4):
        spool.put(b"%d" % number * 200)
    assert files(directory) == [".lock"] + [".spool"] * 4
    assert spool.size_bytes == sum(p.stat().st_size for p in directory.iterdir())
    batches = spool.read(4, NO_LIMIT)
    for left, (frame, _) in zip((3, 2, 1, 1), batches, strict=True):
        spool.settle(frame)
        assert files(directory) == [".lock"] + [".spool"] * left
    assert spool.size_bytes == len(FILE_HEADER)


# Its bound


def test_a_full_spool_drops_its_oldest_segment_and_counts_it(
    make: Make,
) -> None:
    spool = make(SEGMENTS * 1000)
    body = b"x" * (250 - HEADER_BYTES)
    for _ in range(40):
        spool.put(body, records=10)
        assert spool.size_bytes <= SEGMENTS * 1000
    # A segment has 3 frames, and there is room for 10 segments and a piece.
    assert spool.dropped == {"spool_full": 10 * 3 * 3}
    assert spool.dropped_bytes == {"spool_full": len(body) * 3 * 3}
    assert spool.unread_records == 400 - 90
    assert set(spool.causes()) == {"spool_full"}
    assert (
        spool.reports[-1][1]
        == "the spool is full (spool_bytes): 90 records lost so far"
    )
    assert len(spool.bodies()) == 40 - 9


def test_what_is_dropped_though_in_memory_is_not_lost(
    make: Make,
) -> None:
    spool = make(SEGMENTS * 100)
    frames = [spool.put(b"x" * 80, unread=False) for _ in range(20)]
    assert not frames[0].there
    assert frames[-1].there
    assert (spool.dropped.total(), spool.reports) == (0, [])
    for frame in frames:
        spool.settle(frame)
    assert spool.size_bytes == len(FILE_HEADER)


def test_a_batch_larger_than_the_spool_is_refused(make: Make) -> None:
    spool = make(100)
    room = 100 - len(FILE_HEADER) - HEADER_BYTES
    assert spool.append(b"x" * (room + 1), 1, 0.0, unread=True) is None
    assert spool.causes() == ["spool_full"]
    assert spool.append(b"x" * room, 1, 0.0, unread=True) is not None


# Its directory


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_nobody_else_may_look_into_what_it_makes(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        spool = Watched(tmp_path / "a" / "b")
        spool.put(b"")
    finally:
        os.umask(before)
    modes = {p.relative_to(tmp_path).suffix: p.stat().st_mode & 0o777 for p in
             [tmp_path / "a", *(tmp_path / "a").rglob("*")]}  # fmt: skip
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    assert modes == {"": 0o700, ".lock": 0o600, ".spool": 0o600}
    assert spool.reports == []
    spool.close()


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
def test_a_directory_that_others_may_write_to_is_refused(
    directory: Path, mode: int
) -> None:
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(ConfigError, match=r"spool_dir=.*name one inside it") as caught:
        _owners.prepare(directory)
    assert caught.value.got == str(directory)


def test_a_directory_that_others_may_read_is_used(directory: Path) -> None:
    directory.mkdir(0o755)
    Watched(directory).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a directory to another user")
def test_the_directory_of_another_user_is_refused(directory: Path) -> None:
    directory.mkdir(0o700)
    os.chown(directory, 12_345, -1)
    with pytest.raises(ConfigError, match="of this user"):
        _owners.prepare(directory)


@pytest.mark.parametrize("below", ["", "sub", "sub/sub"])
def test_a_file_is_no_directory(directory: Path, below: str) -> None:
    directory.write_bytes(b"")
    with pytest.raises(ConfigError, match="a directory, not a file"):
        _owners.prepare(directory / below)


def test_what_others_keep_there_is_left_alone(directory: Path, make: Make) -> None:
    directory.mkdir(0o700)
    names = ["refused.json", "x-00000000.spool", "1-0123456789abcdef.lock~", "a.lock"]
    for name in names:
        (directory / name).write_bytes(b"theirs")
    (directory / "1-0123456789abcdef.spool").mkdir()
    spool = make()
    assert (spool.recover(), spool.reports) == (0, [])
    spool.close()
    assert len(list(directory.iterdir())) == len(names) + 1


def test_a_program_may_change_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spool = Watched(Path("spool"), 400)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    spool.put(b"x" * 100)
    spool.put(b"y" * 100)
    assert spool.bodies() == [b"x" * 100, b"y" * 100]
    assert list(Path().iterdir()) == []
    spool.close()


# Dead processes


def test_what_a_dead_process_left_is_delivered_once(
    directory: Path, make: Make
) -> None:
    dead = make()
    held = [dead.put(b"%d" % n, records=n + 1, unread=False) for n in range(3)]
    dead.put(b"unread", records=4)
    dead.settle(held[1])
    dead.crash()
    heir = make()
    assert heir.recover() == 1 + 3 + 4
    assert heir.unread_records == 8
    assert heir.bodies() == [b"0", b"2", b"unread"]
    assert files(directory) == []
    assert make().recover() == 0


def test_what_is_adopted_comes_after_what_was_there(
    make: Make,
) -> None:
    dead, heir = make(), make()
    dead.put(b"adopted")
    heir.put(b"ours")
    dead.crash()
    assert heir.recover() == 1
    heir.put(b"ours, later")
    assert heir.bodies() == [b"ours", b"adopted", b"ours, later"]


def test_the_oldest_owner_comes_first(directory: Path, make: Make) -> None:
    ages = {b"young": 3_000, b"old": 1_000, b"middle": 2_000}
    for body, age in ages.items():
        before = set(directory.iterdir()) if directory.exists() else set()
        dead = make(400)
        dead.put(body + b"-1" + b" " * 50)
        dead.put(body + b"-2" + b" " * 50)
        dead.crash()
        for later, path in enumerate(sorted(set(directory.iterdir()) - before)):
            os.utime(path, (age, age + later * 5_000))
    heir = make()
    assert heir.recover() == 6
    order = [body.strip().decode() for body in heir.bodies()]
    assert order == ["old-1", "old-2", "middle-1", "middle-2", "young-1", "young-2"]


def test_a_living_process_keeps_its_own(make: Make) -> None:
    one, other = make(), make()
    one.put(b"one")
    other.put(b"other")
    assert (one.find_orphans(), other.find_orphans()) == ([], [])
    assert (one.bodies(), other.bodies()) == ([b"one"], [b"other"])


def test_what_one_has_found_no_other_finds(make: Make) -> None:
    make_dead(make, b"x")
    first, second = make(), make()
    found = first.find_orphans()
    assert [len(orphan.segments) for orphan in found] == [1]
    assert second.find_orphans() == []
    assert first.find_orphans() == found  # still to be adopted
    first.adopt(found)
    assert (first.find_orphans(), second.find_orphans()) == ([], [])
    first.crash()
    assert second.recover() == 1


def make_dead(make: Make, *bodies: bytes) -> None:
    dead = make()
    for body in bodies:
        dead.put(body)
    dead.crash()


def test_after_close_another_delivers_the_rest(directory: Path, make: Make) -> None:
    spool, other = make(), make()
    frame = spool.put(b"held", unread=False)
    spool.put(b"unread", records=2)
    spool.close()
    spool.close()
    assert (spool.unread_records, frame.there) == (2, True)  # what is left
    assert files(directory) == [".lock", ".spool"]
    spool.settle(frame)
    assert spool.append(b"", 1, 99.0, unread=True) is None
    assert spool.find_orphans() == []
    assert other.recover() == 3
    assert other.bodies() == [b"held", b"unread"]
    assert files(directory) == []


def test_what_was_found_when_it_closes_stays(make: Make) -> None:
    make_dead(make, b"x")
    spool, other = make(), make()
    found = spool.find_orphans()
    spool.close()
    assert spool.adopt(found) == 0
    assert other.recover() == 1


def test_what_is_adopted_is_not_dropped_for_what_is_ours(make: Make) -> None:
    """Where it was, it was safe: who takes it over must not be what loses it."""
    dead = make(2_000)
    for number in range(10):
        dead.put(b"%d" % number * 150)
    dead.crash()
    heir = make(1_000)
    assert heir.recover() == 10
    for number in range(20):
        heir.put(b"x%02d" % number * 50)
    dropped = heir.dropped["spool_full"]
    assert dropped > 0
    left = heir.bodies()
    assert [body[:1] for body in left[:10]] == [b"%d" % n for n in range(10)]
    assert [body[:3] for body in left[10:]] == [
        b"x%02d" % n for n in range(dropped, 20)
    ]


def test_of_many_dead_some_wait_so_that_descriptors_do_not_run_out(
    directory: Path, make: Make
) -> None:
    for number in range(20):
        make_dead(make, b"%d" % number)
    heir = make()
    assert (heir.recover(), heir.recover()) == (16, 0)
    assert len(heir.bodies()) == 16
    assert (heir.recover(), len(heir.bodies())) == (4, 4)
    assert files(directory) == []


def test_of_many_bytes_some_wait_so_that_the_worker_is_not_away_for_long(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        make_dead(make, b"%d" % number * 100)
    monkeypatch.setattr(_owners, "LOOK_BYTES", 200)
    heir = make()
    assert [heir.recover() for _ in range(3)] == [2, 1, 0]


def test_a_lock_file_without_segments_goes(directory: Path, make: Make) -> None:
    directory.mkdir(0o700)
    (directory / "1-0123456789abcdef.lock").touch()
    (directory / "2-0123456789abcdef-00000000.spool").touch()  # killed very early
    spool = make()
    assert (spool.recover(), spool.damaged) == (0, 0)
    assert files(directory) == []


def test_an_empty_segment_does_not_outlive_what_comes_after_it(
    directory: Path, make: Make
) -> None:
    spool = make()
    spool.settle(spool.put(b"", unread=False))
    make_dead(make, b"x")
    assert (spool.recover(), spool.bodies()) == (1, [b"x"])
    assert files(directory) == []


def test_a_child_forked_before_it_was_adopted_holds_nothing_back(make: Make) -> None:
    make_dead(make, b"x")
    spool = make()
    assert len(spool.find_orphans()) == 1
    spool.forget()
    assert make().recover() == 1


def test_what_is_its_own_or_adopted_is_found_no_more(
    directory: Path, make: Make
) -> None:
    """Not even if the lock files, which others would meet, are deleted."""
    make_dead(make, b"adopted")
    spool = make()
    spool.put(b"ours")
    assert spool.recover() == 1
    for path in directory.glob("*.lock"):
        path.unlink()
    assert (spool.recover(), spool.bodies()) == (0, [b"ours", b"adopted"])


def test_whose_lock_file_was_deleted_is_dead_only_if_it_is(
    directory: Path, make: Make
) -> None:
    one, other = make(), make()
    one.put(b"one")
    for path in directory.glob("*.lock"):
        path.unlink()
    assert (other.recover(), other.reports) == (0, [])
    one.put(b"two")
    one.crash()
    assert other.recover() == 2


@pytest.fixture
def before_lock(monkeypatch: pytest.MonkeyPatch) -> BeforeLock:
    """Do something after the next lock file was opened, and before it is locked."""

    def arrange(action: Callable[[], object]) -> None:
        def late(fd: int) -> None:
            monkeypatch.setattr(_owners, "lock", lock)
            action()
            lock(fd)

        monkeypatch.setattr(_owners, "lock", late)

    return arrange


def test_who_comes_late_for_a_dead_one_takes_nothing(
    directory: Path, make: Make, before_lock: BeforeLock
) -> None:
    make_dead(make, b"x")
    quick, late = make(), make()
    delivered: list[bytes] = []

    def be_quick() -> None:
        quick.recover()
        delivered.extend(quick.bodies())

    before_lock(be_quick)
    assert late.find_orphans() == []
    assert delivered == [b"x"]
    assert files(directory) == []


def test_what_it_wrote_until_it_died_is_found(
    make: Make, before_lock: BeforeLock
) -> None:
    dying, heir = make(400), make()
    dying.put(b"a" * 100)

    def die() -> None:
        dying.put(b"b" * 100)
        dying.crash()

    before_lock(die)
    assert heir.recover() == 2


def test_a_new_owner_is_not_taken_for_a_dead_one(
    directory: Path, make: Make, before_lock: BeforeLock
) -> None:
    new, other = make(), make()
    before_lock(other.recover)
    new.put(b"x")
    assert files(directory) == [".lock", ".spool"]
    assert (other.recover(), new.bodies()) == (0, [b"x"])


def test_another_version_is_told_once_and_left_to_others(
    directory: Path, make: Make
) -> None:
    make_dead(make, b"x")
    (path,) = directory.glob("*.spool")
    data = path.read_bytes()
    version = b"tasklog\n" + (2).to_bytes(4)
    path.write_bytes(version + zlib.crc32(version).to_bytes(4) + data[16:])
    spool, newer = make(), make()
    assert (spool.recover(), spool.recover()) == (0, 0)
    assert spool.causes() == ["spool_orphans"]
    assert "version" in spool.reports[0][1]
    assert files(directory) == [".lock", ".spool"]
    path.write_bytes(data)
    assert newer.recover() == 1


def test_what_cannot_be_read_is_told_once_and_left(directory: Path, make: Make) -> None:
    make_dead(make, b"x")
    (path,) = directory.glob("*.spool")
    saved = path.rename(directory / "saved")
    path.mkdir()
    spool = make()
    assert (spool.recover(), spool.recover()) == (0, 0)
    assert spool.causes() == ["spool_orphans"]
    path.rmdir()
    saved.rename(path)
    assert spool.recover() == 1


def test_a_lock_that_cannot_be_opened_is_told_once(directory: Path, make: Make) -> None:
    make_dead(make, b"x")
    (path,) = directory.glob("*.lock")
    path.unlink()
    path.mkdir()
    spool = make()
    assert (spool.recover(), spool.recover()) == (0, 0)
    assert spool.causes() == ["spool_orphans"]


def test_damage_in_what_was_left_is_counted_once(directory: Path, make: Make) -> None:
    make_dead(make, b"one", b"two", b"three")
    (path,) = directory.glob("*.spool")
    flip(path, len(FILE_HEADER) + HEADER_BYTES)
    heir = make()
    assert heir.recover() == 2
    assert heir.bodies() == [b"two", b"three"]
    assert (heir.damaged, heir.dropped) == (1, {})
    assert heir.causes() == ["spool_damaged"]


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


# A disk that fails


def test_what_is_damaged_while_it_waits_is_skipped_and_counted(
    directory: Path, make: Make
) -> None:
    spool = make()
    frames = [spool.put(b"%d" % n, records=n + 1) for n in range(4)]
    (path,) = directory.glob("*.spool")
    flip(path, frames[1].offset)
    assert spool.bodies() == [b"0", b"2", b"3"]
    assert (spool.damaged, spool.unread_records) == (1, 0)
    assert (spool.dropped, spool.dropped_bytes) == (
        {"spool_damaged": 2},
        {"spool_damaged": 1},
    )
    assert spool.causes() == ["spool_damaged"]
    assert spool.size_bytes == len(FILE_HEADER)


def test_a_segment_that_is_gone_is_counted(directory: Path, make: Make) -> None:
    spool = make(1600)
    for number in range(3):
        spool.put(b"%d" % number * 200)
    min(directory.glob("*.spool")).unlink()
    assert [body[:1] for body in spool.bodies()] == [b"1", b"2"]
    assert spool.dropped == {"spool_damaged": 1}


def test_a_directory_that_is_deleted_is_made_again(directory: Path, make: Make) -> None:
    spool = make()
    held = spool.put(b"held", unread=False)
    spool.put(b"lost")
    shutil.rmtree(directory)
    spool.put(b"new")
    assert not held.there
    assert spool.dropped == {"spool_damaged": 1}
    assert spool.causes() == ["spool_damaged"]
    spool.crash()
    heir = make()
    assert heir.recover() == 1
    assert heir.bodies() == [b"new"]


def test_a_directory_that_became_unsafe_is_used_no_more(
    directory: Path, make: Make
) -> None:
    spool = make()
    directory.chmod(0o777)
    assert spool.append(b"", 1, 0.0, unread=True) is None
    assert spool.causes() == ["spool"]
    directory.chmod(0o700)
    assert spool.append(b"", 1, RETRY_SECONDS, unread=True) is not None


@contextlib.contextmanager
def no_more_files() -> Iterator[None]:
    """Let the process open no more files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_descriptors_nothing_is_lost(make: Make) -> None:
    make_dead(make, b"orphan")
    spool = make(1600)
    spool.put(b"a" * 200)
    spool.put(b"b" * 200)
    with no_more_files():
        assert spool.append(b"c" * 200, 1, 0.0, unread=True) is None  # a new segment
        assert spool.read(9, NO_LIMIT) == []
        assert spool.unread_records == 2
        assert spool.find_orphans() == []
    assert spool.causes() == ["spool"]
    assert spool.recover() == 1
    assert spool.bodies() == [b"a" * 200, b"b" * 200, b"orphan"]
    assert spool.dropped == {}


def test_what_cannot_be_marked_is_settled_all_the_same(
    make: Make,
) -> None:
    spool = make(1600)
    for number in range(2):
        spool.put(b"%d" % number * 200)
    (frame, _), _ = spool.read(9, NO_LIMIT)
    with no_more_files():
        spool.settle(frame)
    assert (frame.there, spool.causes()) == (False, ["spool"])


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """Be a user whom permissions bind; yields a directory of that user."""
    path = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    if root:
        os.chown(path, 65_534, 65_534)
        os.seteuid(65_534)
    try:
        yield path
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(path)


def test_where_it_may_not_write_it_says_so_once_and_tries_again(
    unprivileged: Path,
) -> None:
    unprivileged.chmod(0o500)
    spool = Watched(unprivileged / "spool")
    assert spool.causes() == ["spool"]
    assert "Permission denied" in spool.reports[0][1]
    assert spool.append(b"x", 1, 10.0, unread=True) is None
    unprivileged.chmod(0o700)
    assert spool.append(b"x", 1, 39.0, unread=True) is None
    assert spool.append(b"x", 1, 40.0, unread=True) is not None
    assert spool.causes() == ["spool"]
    spool.close()


def test_what_cannot_be_deleted_is_not_delivered_again(unprivileged: Path) -> None:
    directory = unprivileged / "spool"
    dead = Watched(directory)
    dead.put(b"x")
    dead.crash()
    directory.chmod(0o500)
    heir = Watched(directory)
    assert (heir.recover(), heir.bodies()) == (1, [b"x"])
    assert heir.causes() == ["spool"]
    assert heir.recover() == 0
    heir.close()
    directory.chmod(0o700)
    last = Watched(directory)
    assert last.recover() == 0
    assert files(directory) == []


def test_a_disk_that_fails_anew_is_told_anew(directory: Path, make: Make) -> None:
    spool = make(1600)
    for now in (0.0, 100.0):
        directory.chmod(0o777)
        assert spool.append(b"x" * 200, 1, now, unread=True) is None
        directory.chmod(0o700)
        assert spool.append(b"x" * 200, 1, now + 50.0, unread=True) is not None
    assert spool.causes() == ["spool", "spool"]


# fsync


@pytest.mark.parametrize("fsync", [False, True])
def test_sync_waits_for_each_file_once(
    make: Make, monkeypatch: pytest.MonkeyPatch, *, fsync: bool
) -> None:
    synced: list[str] = []
    # The kernel does not tell what it was asked for.
    monkeypatch.setattr(
        os,
        "fsync",
        lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink().name),
    )
    spool = make(1600, fsync=fsync)
    spool.sync()
    spool.put(b"a" * 200)
    spool.put(b"b" * 200)
    spool.sync()
    spool.sync()
    expected = [".spool", ".spool", ""] if fsync else []
    assert [Path(name).suffix for name in synced] == expected


def test_sync_bears_what_others_delete_meanwhile(directory: Path, make: Make) -> None:
    spool = make(1600, fsync=True)
    spool.put(b"a" * 200)
    spool.put(b"b" * 200)
    spool.bodies()
    spool.sync()
    assert spool.reports == []


def test_a_disk_that_cannot_sync_is_a_disk_that_fails(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int) -> None:  # no disk at hand does it when it is asked
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    spool = make(fsync=True)
    spool.put(b"a")
    monkeypatch.setattr(os, "fsync", fail)
    spool.sync()
    assert spool.causes() == ["spool"]
    assert spool.append(b"b", 1, RETRY_SECONDS - 1, unread=True) is None
    assert spool.append(b"b", 1, RETRY_SECONDS, unread=True) is not None


# All of it, against a list


class Entry(NamedTuple):
    body: bytes
    records: int
    path: Path


class Actor:
    """A process: its spool, and what it should hold."""

    def __init__(self, directory: Path) -> None:
        self.spool = Watched(directory, 4_000)
        self.unread: list[Entry] = []
        self.held: list[tuple[Frame, Entry]] = []
        self.dropped = 0

    def drop_oldest(self) -> None:
        """Forget what the spool dropped: all of the segments that are gone."""
        gone = [entry for entry in self.unread if not entry.path.exists()]
        self.unread = [entry for entry in self.unread if entry.path.exists()]
        assert gone == [] or all(e.records for e in gone)
        self.dropped += sum(entry.records for entry in gone)
        assert self.spool.dropped["spool_full"] == self.dropped


class Spools(RuleBasedStateMachine):
    """Three processes on one directory, which are killed, closed, and started."""

    actors = st.integers(0, 2)

    @initialize()
    def start(self) -> None:
        self.directory = Path(tempfile.mkdtemp()) / "spool"
        self.live = [Actor(self.directory) for _ in range(3)]
        self.left: list[Entry] = []  # by the dead
        self.dead = 0
        self.number = 0

    def teardown(self) -> None:
        if hasattr(self, "live"):
            for actor in self.live:
                actor.spool.close()
            shutil.rmtree(self.directory.parent)

    @rule(
        who=actors,
        size=st.integers(8, 700),
        records=st.integers(1, 9),
        hold=st.booleans(),
    )
    def append(self, who: int, size: int, records: int, *, hold: bool) -> None:
        actor = self.live[who]
        unread = bool(actor.unread) or not hold
        body = b"%07d" % self.number + b"." * size
        self.number += 1
        frame = actor.spool.append(body, records, 0.0, unread=unread)
        assert frame is not None
        entry = Entry(body, records, frame.segment.path)
        if unread:
            actor.unread.append(entry)
        else:
            actor.held.append((frame, entry))
        actor.drop_oldest()

    @rule(who=actors, records=st.integers(0, 20), size=st.integers(0, 1500))
    def read(self, who: int, records: int, size: int) -> None:
        actor = self.live[who]
        expected: list[Entry] = []
        for entry in actor.unread:
            expected.append(entry)
            over = sum(len(e.body) for e in expected) > size
            if over or sum(e.records for e in expected) > records:
                break
        if len(expected) > 1 and over_limits(expected, records, size):
            expected.pop()
        batches = actor.spool.read(records, size)
        assert [body for _, body in batches] == [e.body for e in expected]
        del actor.unread[: len(expected)]
        actor.held += zip([frame for frame, _ in batches], expected, strict=True)

    @rule(who=actors, which=st.integers(0, 99), again=st.booleans())
    def settle(self, who: int, which: int, *, again: bool) -> None:
        actor = self.live[who]
        if actor.held:
            frame, _ = actor.held.pop(which % len(actor.held))
            actor.spool.settle(frame)
            if again:
                actor.spool.settle(frame)

    @rule(who=actors, orderly=st.booleans())
    def end(self, who: int, *, orderly: bool) -> None:
        actor = self.live[who]
        kept = [entry for frame, entry in actor.held if frame.there]
        (actor.spool.close if orderly else actor.spool.crash)()
        self.left += kept + actor.unread
        self.dead += 1
        self.live[who] = Actor(self.directory)

    @rule(who=actors)
    def adopt(self, who: int) -> None:
        actor = self.live[who]
        orphans = actor.spool.find_orphans()
        order = {
            s.path: i for i, s in enumerate(s for o in orphans for s in o.segments)
        }
        found = actor.spool.adopt(orphans)
        taken = {segment.path for segment in actor.spool._log}
        mine = [entry for entry in self.left if entry.path in taken]
        self.left = [entry for entry in self.left if entry.path not in taken]
        assert found == sum(entry.records for entry in mine)
        assert {entry.path for entry in mine} <= set(order)
        assert self.left == []
        self.dead = 0
        actor.unread += sorted(mine, key=lambda e: (order[e.path], e.body))
        actor.drop_oldest()

    @precondition(lambda self: not self.dead)
    @rule()
    def nobody_is_dead(self) -> None:
        for actor in self.live:
            assert actor.spool.find_orphans() == []

    @invariant()
    def numbers_agree(self) -> None:
        for actor in getattr(self, "live", []):
            spool = actor.spool
            assert spool.unread_records == sum(e.records for e in actor.unread)
            assert spool.unread_bytes == sum(len(e.body) for e in actor.unread)
            assert sum(s.end for s in spool._log if spool._owners.wrote(s)) <= 4_000
            assert (spool.damaged, spool.dropped["spool_damaged"]) == (0, 0)
            assert {cause for cause, _ in spool.reports} <= {"spool_full"}

    @invariant()
    def sizes_agree(self) -> None:
        if not getattr(self, "dead", True):
            sizes = [p.stat().st_size for p in self.directory.glob("*.spool")]
            assert sum(actor.spool.size_bytes for actor in self.live) == sum(sizes)


def over_limits(entries: list[Entry], records: int, size: int) -> bool:
    return (
        sum(e.records for e in entries) > records
        or sum(len(e.body) for e in entries) > size
    )


TestSpools = Spools.TestCase
TestSpools.settings = settings(max_examples=100, stateful_step_count=40)
