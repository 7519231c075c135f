"""The outbox with a spool: what is on disk, what is read back, what outlives a kill."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from delivery.test_outbox import bodies, sealed
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from otel_tasklog.delivery._encode import Encoder
from otel_tasklog.delivery._outbox import Outbox
from otel_tasklog.delivery._overflow import Overflow
from otel_tasklog.delivery._refused import Refused
from otel_tasklog.delivery._spool import Spool
from otel_tasklog.testing import (
    Accepted,
    Misconfigured,
    Outcome,
    Rejected,
    Retry,
    TooLarge,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tasklog.delivery._batch import Batch

FAR: float = 1_000.0


def complain(cause: str, text: str) -> None:
    raise AssertionError((cause, text))


def spooling(
    directory: Path,
    *,
    memory_records: int = 8,
    max_bytes: int = 10**7,
    report: Callable[[str, str], None] = complain,
) -> Outbox:
    """An outbox that takes over what dead ones left in a directory."""
    spool = Spool(directory, max_bytes=max_bytes, fsync=False, report=report)
    box = Outbox(
        encoder=Encoder({"service.name": "s"}, include=()),
        refused=Refused(None, complain),
        overflow=Overflow(spool, memory_records, 10**6),
        limits=(4, 10_000),
        delay_seconds=1.0,
        write_seconds=0.2,
    )
    box.entered += box.overflow.adopt(box.overflow.find_orphans(0.0))
    return box


def log(box: Outbox, *numbers: int, now: float = 0.0) -> None:
    box.add([sealed(number) for number in numbers], now)
    box.close_batch(now)


def drain(box: Outbox, now: float = FAR) -> list[int]:
    box.release(now)
    delivered: list[int] = []
    while batch := box.next_batch(now):
        delivered += bodies(batch)
        box.settle(Accepted(), now)
    return delivered


def content(directory: Path) -> int:
    return sum(each.stat().st_size for each in directory.glob("*.spool"))


def test_what_is_written_still_waits_for_others(tmp_path: Path) -> None:
    box = spooling(tmp_path)
    log(box, 0)
    assert box.next_batch(0.5) is None
    assert box.wait_seconds(0.5) is not None
    log(box, 1, now=0.5)
    assert bodies(box.next_batch(0.8)) == [0, 1]


def test_what_memory_has_no_room_for_is_on_disk_alone_and_leaves_in_order(
    tmp_path: Path,
) -> None:
    box = spooling(tmp_path, memory_records=8)
    for number in range(0, 40, 2):
        log(box, number, number + 1)
    assert box.records == 8
    assert box.spooled == 32
    assert box.dropped_count() == 0
    assert drain(box) == list(range(40))
    assert (box.records, box.spooled, box.delivered) == (0, 0, 40)
    assert content(tmp_path) < 100  # the head of a file


def test_a_kill_costs_nothing_that_was_written(tmp_path: Path) -> None:
    killed = spooling(tmp_path, memory_records=4)
    for number in range(10):
        log(killed, number)
    assert killed.next_batch(FAR) is not None
    killed.overflow.forget()  # what the kernel does with its files and locks
    box = spooling(tmp_path)
    assert box.overflow.recovered == 10
    assert drain(box) == list(range(10))
    assert content(tmp_path) < 100


def test_what_was_delivered_before_a_kill_is_not_sent_again(tmp_path: Path) -> None:
    killed = spooling(tmp_path)
    for number in range(8):
        log(killed, number)
    assert bodies(killed.next_batch(FAR)) == [0, 1, 2, 3]
    killed.settle(Accepted(), FAR)
    killed.overflow.forget()
    box = spooling(tmp_path)
    assert box.overflow.recovered == 4
    assert drain(box) == [4, 5, 6, 7]


def test_what_is_given_up_at_the_end_is_left_for_the_next(tmp_path: Path) -> None:
    box = spooling(tmp_path, memory_records=4)
    for number in range(10):
        log(box, number)
    assert box.give_up("closed", FAR) == 0
    assert (box.records, box.spooled) == (0, 10)
    box.overflow.close()
    successor = spooling(tmp_path)
    assert drain(successor) == list(range(10))
    successor.overflow.close()
    assert list(tmp_path.iterdir()) == []


def test_beyond_the_disks_bound_the_oldest_that_are_there_alone_are_counted(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    box = spooling(
        tmp_path,
        memory_records=4,
        max_bytes=10_000,
        report=lambda _, text: said.append(text),
    )
    for number in range(400):
        log(box, number)
    lost = box.dropped_count()
    assert lost > 0
    assert f"{lost} records lost so far" in said[-1]
    assert content(tmp_path) <= 10_000
    delivered = drain(box)
    assert len(delivered) == 400 - lost
    assert delivered[:4] == [0, 1, 2, 3]
    assert delivered[-1] == 399
    assert delivered == sorted(delivered)


def test_what_cannot_be_read_now_is_tried_again_later_and_not_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many open files, for example."""
    box = spooling(tmp_path, memory_records=0)
    log(box, 0)
    with monkeypatch.context() as patched:
        patched.setattr(Spool, "read", lambda *_: [])
        assert box.next_batch(FAR) is None
        assert box.wait_seconds(FAR) == 1.0
    assert drain(box) == [0]


Disk = Literal["fails", "works"]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[Disk], None]:
    """Let the disk fail, and work again."""
    works = Spool.append

    def fails(*_: object, **__: object) -> None:
        return None

    def change(to: Disk) -> None:
        monkeypatch.setattr(Spool, "append", fails if to == "fails" else works)

    return change


def test_what_is_in_memory_alone_gives_way_and_what_is_on_disk_stays(
    tmp_path: Path, disk: Callable[[Disk], None]
) -> None:
    """Else a buffer that is full would take nothing new, the oldest being safe."""
    box = spooling(tmp_path)
    log(box, 0)
    disk("fails")
    for number in range(1, 8):
        log(box, number)
    box.make_room(3, 10**6)
    assert dict(box.dropped) == {"buffer_full": 5}
    disk("works")
    assert drain(box) == [0, 6, 7]


def test_what_is_on_disk_and_what_is_not_are_no_request_and_no_count_together(
    tmp_path: Path, disk: Callable[[Disk], None]
) -> None:
    box = spooling(tmp_path)
    log(box, 0)
    disk("fails")
    log(box, 1, 2)
    box.release(FAR)
    assert bodies(box.next_batch(FAR)) == [0]
    box.settle(Retry("dead"), FAR)
    assert box.give_up("closed", FAR) == 2
    assert box.spooled == 1
    box.overflow.close()
    assert drain(spooling(tmp_path)) == [0]


def test_the_order_holds_though_the_disk_failed_for_a_while(
    tmp_path: Path, disk: Callable[[Disk], None]
) -> None:
    box = spooling(tmp_path, memory_records=2)
    for number in range(4):
        log(box, number)
    disk("fails")
    for number in range(4, 6):
        log(box, number)
    disk("works")
    for number in range(6, 9):
        log(box, number)
    assert box.records == 2
    assert box.spooled == 7
    assert drain(box) == list(range(9))


def test_what_comes_back_is_not_overtaken_by_what_is_on_disk(
    tmp_path: Path, disk: Callable[[Disk], None]
) -> None:
    box = spooling(tmp_path, memory_records=0)
    log(box, 0)
    disk("fails")
    log(box, 1)
    assert bodies(box.next_batch(FAR)) == [0]
    box.settle(Accepted(), FAR)
    box.release(FAR)
    assert bodies(box.next_batch(FAR)) == [1]
    disk("works")
    log(box, 2)
    box.settle(Retry("busy"), FAR)
    assert drain(box, FAR + 100) == [1, 2]


class SpoolingMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order, nothing that was written is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.box = spooling(self.directory)
        self.now = 0.0
        self.logged = 0
        self.here = 0  # by this process
        self.on_its_way: Batch | None = None
        self.delivered: list[int] = []
        self.refused: list[int] = []
        self.halved = False

    @rule(count=st.integers(1, 9))
    def add(self, count: int) -> None:
        numbers = range(self.logged, self.logged + count)
        log(self.box, *numbers, now=self.now)
        self.logged += count
        self.here += count

    @rule(seconds=st.sampled_from([0.1, 1.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def send(self) -> None:
        if self.on_its_way is None:
            self.on_its_way = self.box.next_batch(self.now)

    @precondition(lambda self: self.on_its_way is not None)
    @rule(
        outcome=st.sampled_from(
            [Accepted(), Retry("x"), Misconfigured("m"), Rejected("r", "r"),
             TooLarge("t")]
        )
    )  # fmt: skip
    def answer(self, outcome: Outcome) -> None:
        numbers = bodies(self.on_its_way)
        if outcome == Accepted():
            self.delivered += numbers
        elif isinstance(outcome, Rejected):
            self.refused += numbers
        elif isinstance(outcome, TooLarge):
            self.halved = True
            if len(numbers) == 1:
                self.refused += numbers
        self.box.settle(outcome, self.now)
        self.on_its_way = None

    @rule(killed=st.booleans())
    def restart(self, killed: bool) -> None:  # noqa: FBT001
        if not killed:
            self.box.give_up("closed", self.now)
            self.box.overflow.close()
        else:
            self.box.overflow.forget()
        self.box = spooling(self.directory)
        self.on_its_way, self.here = None, 0

    @rule(records=st.integers(0, 10))
    def make_room(self, records: int) -> None:
        self.box.make_room(records, 10**9)

    @invariant()
    def every_record_is_counted_once(self) -> None:
        box = self.box
        settled = box.delivered + box.rejected.total() + box.dropped_count()
        total = settled + box.records + box.spooled
        assert total == self.here + box.overflow.recovered
        assert box.entered - box.outstanding == settled

    @invariant()
    def nothing_comes_twice_but_what_was_sent_in_halves(self) -> None:
        if not self.halved:
            both = self.delivered + self.refused
            assert len(set(both)) == len(both)

    def teardown(self) -> None:
        if self.on_its_way is not None:
            self.box.settle(Retry("x"), self.now)
        found = {*self.delivered, *self.refused, *drain(self.box, self.now + 1_000)}
        assert found == set(range(self.logged))
        assert self.box.dropped_count() == 0
        self.box.overflow.close()
        assert list(self.directory.iterdir()) == []
        shutil.rmtree(self.directory)


SpoolingMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestSpooling = SpoolingMachine.TestCase
