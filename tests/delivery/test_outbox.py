"""Batches: their order, bounds, retries and outcomes, by a clock that is told."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from otel_tasklog.capture._record import NO_REST, Sealed
from otel_tasklog.delivery._decode import decode_request
from otel_tasklog.delivery._encode import Encoder
from otel_tasklog.delivery._outbox import Outbox
from otel_tasklog.delivery._overflow import Overflow
from otel_tasklog.delivery._refused import Refused
from otel_tasklog.testing import (
    Accepted,
    Misconfigured,
    Outcome,
    Rejected,
    Retry,
    TooLarge,
)

if TYPE_CHECKING:
    from otel_tasklog.delivery._batch import Batch


def sealed(number: int, logger: str = "log", size: int = 1) -> Sealed:
    origin = (logger, 20, 9, "INFO", "p", 1, "f", 1, "t", 1)
    who = ("job", None, None, None, None)
    body = f"{number:06}" + "x" * size
    return (number, number + 1, origin, who, None, body, None, (), (), NO_REST)


def outbox(
    *, batch_records: int = 4, batch_bytes: int = 10_000, drop_newest: bool = False
) -> Outbox:
    return Outbox(
        encoder=Encoder({"service.name": "s"}, include=()),
        refused=Refused(None, lambda *_: None),
        overflow=Overflow(None),
        limits=(batch_records, batch_bytes),
        delay_seconds=1.0,
        write_seconds=1.0,
        drop_newest=drop_newest,
    )


def bodies(batch: Batch | None) -> list[int]:
    assert batch is not None
    return [int(str(d.body)[:6]) for d in decode_request(batch.body)]


def test_a_batch_closes_by_records_bytes_and_age() -> None:
    box = outbox(batch_bytes=300)
    for number in range(5):
        box.add([sealed(number)], 0.0)
    assert bodies(box.next_batch(0.0)) == [0, 1, 2, 3]
    box.settle(Accepted(), 0.0)
    box.add([sealed(5, size=250)], 0.0)
    assert bodies(box.next_batch(0.0)) == [4]
    box.settle(Accepted(), 0.0)
    assert box.next_batch(0.9) is None
    assert box.wait_seconds(0.75) == 0.25
    assert bodies(box.next_batch(1.0)) == [5]
    box.settle(Accepted(), 1.0)
    assert box.wait_seconds(1.0) is None
    assert (box.records, box.size_bytes, box.delivered) == (0, 0, 6)


def test_one_batch_is_on_its_way_at_a_time_and_order_holds() -> None:
    box = outbox(batch_records=1)
    for number in range(3):
        box.add([sealed(number)], 0.0)
    seen = []
    while batch := box.next_batch(0.0):
        assert box.next_batch(0.0) is None
        seen += bodies(batch)
        box.settle(Accepted(), 0.0)
    assert seen == [0, 1, 2]


def test_a_retry_waits_longer_each_time_up_to_half_a_minute() -> None:
    box = outbox(batch_records=1)
    box.add([sealed(0)], 0.0)
    now, waits = 0.0, []
    for _ in range(12):
        assert bodies(box.next_batch(now)) == [0]
        box.settle(Retry("refused"), now)
        assert box.next_batch(now) is None
        wait = box.wait_seconds(now)
        assert wait is not None
        waits.append(wait)
        now += wait
    for wait, base in zip(waits, [0.5, 1, 2, 4, 8, 16, *[30] * 6], strict=True):
        assert base <= wait <= base * 1.2
    assert box.records == 1


def test_hurry_tries_at_once_but_never_in_a_storm() -> None:
    box = outbox(batch_records=1)
    box.add([sealed(0)], 0.0)
    for _ in range(8):
        assert box.next_batch(1_000.0)
        box.settle(Retry("refused"), 0.0)
    box.backoff.hurry()
    assert box.next_batch(0.4) is None
    assert box.next_batch(0.5) is not None


def test_hurry_respects_what_the_receiver_asked_for() -> None:
    box = outbox(batch_records=1)
    box.add([sealed(0)], 0.0)
    assert box.next_batch(0.0)
    box.settle(Retry("429", after_seconds=40.0, busy=True), 0.0)
    box.backoff.hurry()
    assert box.next_batch(39.9) is None
    assert box.next_batch(45.0) is not None


def test_what_is_misconfigured_is_kept_and_tried_twice_a_minute() -> None:
    box = outbox(batch_records=1)
    box.add([sealed(0)], 0.0)
    assert box.next_batch(0.0)
    box.settle(Misconfigured("401"), 0.0)
    wait = box.wait_seconds(0.0)
    assert wait is not None
    assert 30 <= wait <= 60
    assert box.records == 1
    assert box.last_error == "401"


def test_what_is_rejected_is_counted_and_not_tried_again() -> None:
    box = outbox(batch_records=2)
    for number in range(4):
        box.add([sealed(number)], 0.0)
    assert box.next_batch(0.0)
    box.settle(Rejected("http 400", "bad"), 0.0)
    assert bodies(box.next_batch(0.0)) == [2, 3]
    assert dict(box.rejected) == {"http 400": 2}


def test_a_partial_success_counts_both_sides() -> None:
    box = outbox(batch_records=4)
    for number in range(4):
        box.add([sealed(number)], 0.0)
    assert box.next_batch(0.0)
    box.settle(Accepted(3, "too old"), 0.0)
    assert (box.delivered, dict(box.rejected)) == (1, {"partial success": 3})
    assert "too old" in str(box.last_error)


def test_too_large_a_batch_is_halved_down_to_single_records() -> None:
    box = outbox(batch_records=4)
    for number in range(4):
        box.add([sealed(number)], 0.0)
    delivered = []
    while batch := box.next_batch(0.0):
        numbers = bodies(batch)
        if len(numbers) > 1 or numbers == [2]:
            box.settle(TooLarge("413"), 0.0)
        else:
            delivered += numbers
            box.settle(Accepted(), 0.0)
    assert delivered == [0, 1, 3]
    assert [each.reason for each in box.refused.batches()] == ["too large"]
    assert dict(box.rejected) == {"too large": 1}
    assert (box.records, box.size_bytes) == (0, 0)


def test_a_large_batch_that_is_busy_three_times_alike_is_halved() -> None:
    """Loki answers so for ever to a push that no attempt can make it take."""
    box = outbox(batch_records=4, batch_bytes=10**7)
    for number in range(4):
        box.add([sealed(number, size=100_000)], 0.0)
    now = 0.0
    for _ in range(3):
        assert len(bodies(box.next_batch(now))) == 4
        box.settle(Retry("503 too large for gRPC", 40.0, busy=True), now)
        now += 100
    assert box.next_batch(now - 61) is None  # what it asked for is granted
    assert len(bodies(box.next_batch(now))) == 2


def test_a_small_batch_that_is_busy_is_only_repeated() -> None:
    box = outbox(batch_records=4)
    for number in range(4):
        box.add([sealed(number)], 0.0)
    for attempt in range(10):
        assert len(bodies(box.next_batch(attempt * 1_000.0))) == 4
        box.settle(Retry("503", busy=True), attempt * 1_000.0)


def test_the_oldest_that_is_not_on_its_way_goes_first() -> None:
    box = outbox(batch_records=1)
    for number in range(5):
        box.add([sealed(number)], 0.0)
    assert bodies(box.next_batch(0.0)) == [0]
    box.make_room(3, 10**6)
    assert dict(box.dropped) == {"buffer_full": 2}
    box.settle(Accepted(), 0.0)
    assert bodies(box.next_batch(0.0)) == [3]


def test_the_newest_go_first_if_that_is_asked_for() -> None:
    box = outbox(batch_records=1, drop_newest=True)
    for number in range(5):
        box.add([sealed(number)], 0.0)
    assert bodies(box.next_batch(0.0)) == [0]
    box.make_room(3, 10**6)
    assert dict(box.dropped) == {"buffer_full": 2}
    assert box.dropped_bytes["buffer_full"] > 2 * 6
    delivered = []
    box.settle(Accepted(), 0.0)
    while batch := box.next_batch(0.0):
        delivered += bodies(batch)
        box.settle(Accepted(), 0.0)
    assert delivered == [1, 2]


def test_small_batches_that_wait_leave_as_one_request() -> None:
    box = outbox(batch_records=5)
    for number in range(7):
        box.add([sealed(number)], 0.0)
        box.close_batch(0.0)
    assert bodies(box.next_batch(0.0)) == [0, 1, 2, 3, 4]
    box.settle(Accepted(), 0.0)
    assert bodies(box.next_batch(0.0)) == [5, 6]


def test_a_batch_that_was_tried_stays_the_same_batch() -> None:
    """Else what a receiver says to it again would be said to another one."""
    box = outbox(batch_records=5)
    box.add([sealed(0)], 0.0)
    box.close_batch(0.0)
    first = box.next_batch(0.0)
    assert first is not None
    box.settle(Retry("busy"), 0.0)
    box.add([sealed(1)], 0.0)
    box.close_batch(0.0)
    again = box.next_batch(100.0)
    assert again is not None
    assert again.body is first.body


def test_a_refused_batch_can_be_looked_at() -> None:
    box = outbox(batch_records=2)
    box.add([sealed(0), sealed(1)], 0.0)
    assert box.next_batch(0.0)
    box.settle(Rejected("http 400", "no such field"), 0.0)
    [refused] = box.refused.batches()
    assert (refused.reason, refused.message) == ("http 400", "no such field")
    assert refused.record_count == 2


def test_a_batch_is_freed_when_it_is_settled() -> None:
    """Not when the garbage collector comes: it does not see how large bodies are."""
    box = outbox(batch_records=2)
    for number in range(4):
        box.add([sealed(number)], 0.0)
        box.close_batch(0.0)
    batch = box.next_batch(0.0)
    assert batch is not None
    assert len(batch.parts) == 2
    gone = [weakref.ref(each.refusals) for each in (batch, *batch.parts)]
    del batch
    gc.disable()
    try:
        box.settle(Accepted(), 0.0)
        assert [each() for each in gone] == [None] * 3
    finally:
        gc.enable()


class OutboxMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order, every record is somewhere once."""

    def __init__(self) -> None:
        super().__init__()
        self.box = outbox(batch_records=3)
        self.now = 0.0
        self.added = 0
        self.on_its_way: Batch | None = None
        self.delivered: list[int] = []

    @rule(count=st.integers(1, 8))
    def add(self, count: int) -> None:
        for _ in range(count):
            self.box.add([sealed(self.added)], self.now)
            self.added += 1

    @rule(seconds=st.sampled_from([0.1, 1.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def send(self) -> None:
        if self.on_its_way is None:
            self.on_its_way = self.box.next_batch(self.now)

    @rule(
        outcome=st.sampled_from(
            [Accepted(), Accepted(1, "one"), Retry("x"), Retry("b", busy=True),
             Misconfigured("m"), Rejected("r", "r"), TooLarge("t")]
        )
    )  # fmt: skip
    def answer(self, outcome: Outcome) -> None:
        if self.on_its_way is None:
            return
        if outcome == Accepted():
            self.delivered += bodies(self.on_its_way)
        self.box.settle(outcome, self.now)
        self.on_its_way = None

    @rule(records=st.integers(0, 10))
    def make_room(self, records: int) -> None:
        self.box.make_room(records, 10**9)

    @rule()
    def hurry(self) -> None:
        self.box.backoff.hurry()

    @invariant()
    def every_record_is_counted_once(self) -> None:
        box = self.box
        settled = box.delivered + box.rejected.total() + box.dropped.total()
        assert settled + box.records == self.added

    @invariant()
    def what_was_delivered_came_once_and_in_order(self) -> None:
        assert self.delivered == sorted(set(self.delivered))

    @invariant()
    def an_empty_box_takes_no_bytes(self) -> None:
        if not self.box.records:
            assert self.box.size_bytes == 0
        assert self.box.size_bytes >= 0


OutboxMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestOutbox = OutboxMachine.TestCase
