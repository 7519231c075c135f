"""The worker's turns, without its threads; then its threads."""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from otel_tasklog import Config, TaskLog
from otel_tasklog.delivery._buffer import Wake
from otel_tasklog.delivery._messages import Flush, Stop
from otel_tasklog.delivery._threads import Threads
from otel_tasklog.testing import (
    FakeClock,
    MemorySender,
    Misconfigured,
    Rejected,
    Retry,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Harness

    from otel_tasklog.delivery._senders import Outcome


class Turns:
    """Drives a worker by hand: its clock, its inbox, its sender's answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.clock = FakeClock()
        monkeypatch.setattr(Threads, "start", lambda _threads: True)
        self.tasklog = TaskLog(Config(**settings), sender=MemorySender())
        self.worker = self.tasklog._worker
        self.worker.clock = self.clock
        self.intake = self.tasklog._intake
        self.wait: float | None = None

    def log(self, count: int = 1, *, thread: object = 1) -> None:
        for number in range(count):
            record = logging.makeLogRecord(
                {"msg": f"m{number}", "levelno": 20, "levelname": "INFO"}
            )
            record.__dict__["thread"] = thread
            self.tasklog.handler.handle(record)

    def turn(self, *messages: object) -> None:
        """Let the worker read its inbox, or the given messages, or time out."""
        for message in messages:
            self.wait = self.worker.turn(message)
        while not self.intake.inbox.empty():
            self.wait = self.worker.turn(self.intake.inbox.get())
        if not messages:
            self.wait = self.worker.turn(None)

    def sent(self) -> int | None:
        """Take the batch that the worker gave to the sender; its records."""
        if self.worker.to_send.empty():
            return None
        batch = self.worker.to_send.get()
        assert batch is not None
        return batch.records

    def answer(self, outcome: Outcome) -> None:
        self.turn(outcome)


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    return Turns(monkeypatch, batch_records=600, schedule_delay_seconds=1.0)


def test_a_first_record_waits_for_others_and_then_goes(turns: Turns) -> None:
    turns.log(3)
    turns.turn()
    assert turns.wait == pytest.approx(1.0)
    assert turns.sent() is None
    turns.clock.advance(1.0)
    turns.turn()
    assert turns.sent() == 3


def test_an_idle_worker_hardly_ever_wakes(turns: Turns) -> None:
    turns.turn()
    assert turns.wait == 30.0
    assert turns.intake.parked


def test_many_records_are_taken_before_their_time(turns: Turns) -> None:
    turns.log(1_100)
    turns.turn()
    assert turns.sent() == 600
    assert turns.tasklog.stats().pending == 1_100


def test_a_backlog_does_not_keep_a_batch_from_leaving(turns: Turns) -> None:
    """A thread that logs in a tight loop must not starve delivery."""
    turns.log(5_000)
    turns.worker.turn(Wake.MANY)
    turns.worker.turn(None)
    assert len(turns.intake.waiting) > 3_000
    assert turns.sent() == 600


def test_many_records_wake_the_worker_once(turns: Turns) -> None:
    turns.log(10_000)
    assert turns.intake.inbox.qsize() <= 2


@pytest.fixture
def crowded(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> Turns:
    """Threads that log and keep the interpreter until it is taken from them."""

    def breathe() -> float:
        turns.clock.advance(sys.getswitchinterval())
        turns.log(600, thread=2)
        return turns.clock.now

    monkeypatch.setattr(turns.worker, "_breathe", breathe)
    turns.log()
    turns.log(thread=2)
    turns.turn()
    return turns


def test_a_burst_that_keeps_the_interpreter_goes_first(crowded: Turns) -> None:
    crowded.worker.turn(Wake.MANY)
    crowded.log(2_000)
    assert crowded.intake.inbox.empty()  # so nothing wakes the worker meanwhile
    assert len(crowded.intake.waiting) == 2_602
    crowded.clock.advance(0.11)
    crowded.worker.turn(None)
    assert crowded.worker.turn(Wake.MANY) == 0.0  # once it is at it, it stays at it
    assert crowded.tasklog.stats().pending > len(crowded.intake.waiting)


def test_a_single_thread_does_not_go_first(
    turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns.worker, "_breathe", lambda: turns.clock.now + 1.0)
    for _ in range(2):
        turns.log(600)
        assert turns.worker.turn(Wake.MANY) != pytest.approx(1.1)
    assert turns.tasklog.stats().pending == 1_200
    assert len(turns.intake.waiting) == 1_200 - 2 * 512


def test_what_a_record_calls_its_thread_is_not_asked(turns: Turns) -> None:
    """It may be anything: comparing it would run a program of the application's."""

    class Thread:
        __hash__ = object.__hash__

        def __eq__(self, other: object) -> bool:
            pytest.fail("it was asked")

    turns.log(600, thread=Thread())
    turns.turn()
    assert turns.tasklog.stats().pending == 600
    assert len(turns.intake.waiting) == 600 - 512


def test_a_burst_goes_first_until_the_records_are_due(crowded: Turns) -> None:
    crowded.clock.advance(0.95)
    assert crowded.worker.turn(Wake.MANY) == pytest.approx(0.05)
    assert len(crowded.intake.waiting) == 602


def test_a_burst_does_not_go_first_when_the_buffer_fills(
    crowded: Turns,
) -> None:
    crowded.worker.turn(Wake.MANY)
    crowded.log(crowded.intake.max_records // 2)
    assert not crowded.intake.inbox.empty()
    assert crowded.worker.turn(crowded.intake.inbox.get()) == 0.0
    assert crowded.tasklog.stats().pending > len(crowded.intake.waiting)


def test_a_flush_does_not_wait_for_a_burst(crowded: Turns) -> None:
    crowded.worker.turn(Wake.MANY)
    assert crowded.worker.turn(Flush(lambda _: None)) == 0.0
    assert crowded.tasklog.stats().pending > len(crowded.intake.waiting)


def test_an_end_that_comes_too_soon_counts_what_it_left(turns: Turns) -> None:
    turns.log(5_000)
    turns.worker.turn(Stop(turns.clock.now))
    stats = turns.tasklog.stats()
    assert turns.worker.stopped.is_set()
    assert stats.pending == 0
    assert stats.dropped_by == {"closed": 5_000}
    assert stats.pending_bytes == 0
    assert stats.dropped_bytes_by["closed"] == stats.dropped_bytes > 0
    assert stats.accepted == 5_000


def test_a_flush_has_each_pause_cut_short_for_as_long_as_it_waits(
    turns: Turns,
) -> None:
    outcomes: list[bool] = []
    turns.log(1)
    turns.tasklog._ask(Flush(outcomes.append, 2.0), "flush")
    turns.turn()
    for _ in range(3):
        assert turns.sent() == 1
        turns.answer(Misconfigured("no such token"))
        assert turns.wait == pytest.approx(0.5)
        turns.clock.advance(0.5)
        turns.turn()
    assert outcomes == []
    turns.clock.advance(1.0)
    assert turns.sent() == 1
    turns.answer(Misconfigured("no such token"))
    turns.clock.advance(0.5)
    turns.turn()
    assert outcomes == [False]
    assert turns.sent() == 1
    turns.answer(Misconfigured("no such token"))
    assert turns.wait is not None
    assert turns.wait > 25.0


def test_a_flush_is_false_for_what_was_dropped_before_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from otel_tasklog.testing import Accepted

    turns = Turns(monkeypatch, buffer_records=10, batch_records=10)
    outcomes: list[bool] = []
    turns.log(10)
    turns.tasklog._ask(Flush(outcomes.append), "flush")
    turns.log(10)  # pushes the first ten out before the worker gets its turn
    turns.turn()
    while turns.sent():
        turns.answer(Accepted())
    assert outcomes == [False]


def test_a_failed_batch_stays_and_is_tried_again(turns: Turns) -> None:
    from otel_tasklog.testing import Accepted

    turns.log(5)
    turns.turn()
    turns.clock.advance(1)
    turns.turn()
    assert turns.sent() == 5
    turns.answer(Retry("down"))
    assert turns.sent() is None
    assert turns.wait is not None
    turns.clock.advance(turns.wait)
    turns.turn()
    assert turns.sent() == 5
    turns.answer(Accepted())
    assert turns.tasklog.stats().delivered == 5
    assert turns.wait == 30.0


def test_a_flush_is_true_once_all_before_it_is_settled(turns: Turns) -> None:
    from otel_tasklog.testing import Accepted

    outcomes: list[bool] = []
    turns.log(5)
    turns.turn(Flush(outcomes.append))
    assert turns.sent() == 5
    turns.log(1)  # after the call: not waited for
    turns.turn()
    assert outcomes == []
    turns.answer(Accepted())
    assert outcomes == [True]


def test_a_refusal_for_good_settles_a_flush_too(turns: Turns) -> None:
    outcomes: list[bool] = []
    turns.log(5)
    turns.turn(Flush(outcomes.append))
    turns.answer(Rejected("http 400", "no"))
    assert outcomes == [True]


def test_a_flush_whose_records_were_dropped_is_false(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from otel_tasklog.testing import Accepted

    turns = Turns(monkeypatch, buffer_records=10, batch_records=5)
    outcomes: list[bool] = []
    turns.log(10)
    turns.turn(Flush(outcomes.append))
    turns.log(10)
    turns.turn(Flush(lambda _: None))
    turns.answer(Accepted())
    turns.answer(Accepted())
    turns.answer(Accepted())
    assert outcomes == [False]


def test_a_full_buffer_drops_the_oldest_and_counts_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = Turns(monkeypatch, buffer_records=20, batch_records=5)
    for _ in range(10):
        turns.log(10)
        turns.turn(Flush(lambda _: None))
    stats = turns.tasklog.stats()
    assert stats.pending <= 25  # the batch on its way cannot be taken back
    assert stats.accepted == 100 == stats.pending + stats.dropped
    assert stats.dropped_by == {"buffer_full": stats.dropped}


def test_nothing_to_flush_is_true_at_once(turns: Turns) -> None:
    outcomes: list[bool] = []
    turns.turn(Flush(outcomes.append))
    assert outcomes == [True]


def test_own_diagnostics_come_once_per_cause_and_interval(
    turns: Turns, capsys: pytest.CaptureFixture[str]
) -> None:
    turns.log(1)
    turns.turn(Flush(lambda _: None))
    for _ in range(20):
        turns.answer(Retry("the collector is down"))
        turns.clock.advance(1.0)
        turns.turn()
    assert capsys.readouterr().err.count("the collector is down") == 1
    turns.clock.advance(100)
    turns.turn()
    turns.answer(Retry("the collector is down"))
    assert capsys.readouterr().err.count("the collector is down") == 1


def test_every_moment_of_a_busy_life_adds_up(make: Callable[..., Harness]) -> None:
    """Four threads log while the counts are read over and over."""
    outcomes = [Retry("x"), Rejected("http 400", "no")] * 5
    harness = make(outcomes, buffer_records=2_000, batch_records=50)
    done = threading.Event()
    failures = []

    def count() -> None:
        while not done.is_set():
            s = harness.tasklog.stats()
            total = s.delivered + s.rejected + s.dropped + s.spooled + s.pending
            if s.accepted + s.recovered != total:
                failures.append(s)

    def write() -> None:
        for number in range(5_000):
            harness.log.info("%s", number)

    counter = threading.Thread(target=count)
    writers = [threading.Thread(target=write) for _ in range(4)]
    for thread in (counter, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    assert harness.tasklog.flush(30) in {True, False}
    done.set()
    counter.join()
    assert not failures, failures[0]
    stats = harness.tasklog.stats()
    assert stats.captured == stats.accepted == 20_000
    assert stats.pending == 0
    assert stats.delivered == len(harness.sender.records)


def test_close_delivers_and_ends_the_threads(make: Callable[..., Harness]) -> None:
    harness = make()
    harness.log.info("x")
    assert harness.tasklog.flush()
    assert len(harness.tasklog.port.own_threads) == 2
    harness.log.info("y")
    harness.tasklog.close()
    harness.tasklog.close()
    assert [r.body for r in harness.sender.records] == ["x", "y"]
    assert harness.sender.closed
    assert harness.tasklog.stats().pending == 0
    assert [r.message for r in harness.tasklog.query()] == ["y", "x"]


def test_close_gives_up_in_time_and_counts(
    make: Callable[..., Harness], capsys: pytest.CaptureFixture[str]
) -> None:
    harness = make([Retry("down")] * 1_000)
    for _ in range(3):
        harness.log.info("x")
    while harness.tasklog.stats().last_error is None:  # it was tried, and refused
        harness.tasklog.flush(0.1)
    harness.tasklog.close(0.1)
    stats = harness.tasklog.stats()
    assert stats.dropped_by == {"closed": 3}
    assert stats.pending == 0
    assert "closed with 3 records lost: down" in capsys.readouterr().err


def test_a_console_that_raises_does_not_end_the_worker(
    make: Callable[..., Harness],
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("console is gone")

    broken = Broken()
    ours = logging.getLogger("otel_tasklog")
    ours.addHandler(broken)
    try:
        harness = make([Retry("down")])
        harness.log.info("x")
        assert harness.tasklog.flush()
    finally:
        ours.removeHandler(broken)
    assert harness.tasklog.stats().delivered == 1


def test_a_console_that_asks_for_the_counts_is_answered(
    make: Callable[..., Harness],
) -> None:
    """It holds its lock, and wants what the worker holds while it counts."""
    asked: list[int] = []
    harness = make([Retry("down")])

    class Asking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            asked.append(harness.tasklog.stats().pending)

    asking = Asking()
    ours = logging.getLogger("otel_tasklog")
    ours.addHandler(asking)
    try:
        harness.log.info("x")
        assert harness.tasklog.flush()
    finally:
        ours.removeHandler(asking)
    assert asked == [1]


def test_times_may_be_endless(make: Callable[..., Harness]) -> None:
    harness = make(schedule_delay_seconds=1e12)
    harness.log.info("x")
    assert harness.tasklog.flush(float("inf"))
    harness.log.info("y")
    harness.tasklog.close(float("inf"))
    assert len(harness.sender.records) == 2


def test_a_sender_that_raises_is_a_retry(make: Callable[..., Harness]) -> None:
    harness = make()
    attempts = []

    def send(body: bytes) -> Outcome:
        attempts.append(body)
        if len(attempts) < 3:
            raise RuntimeError("bug in a sender")
        return MemorySender().send(body)

    harness.sender.send = send  # type: ignore[method-assign]
    harness.log.info("x")
    assert harness.tasklog.flush(10)
    assert harness.tasklog.stats().delivered == 1
    assert "bug in a sender" in str(harness.tasklog.stats().last_error)


def test_without_threads_to_be_had_close_delivers_itself(
    make: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the end of the interpreter, where no thread can be started."""
    import _thread

    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    harness = make([Retry("not yet")])
    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    for number in range(10):
        harness.log.info("%s", number)
    harness.tasklog.close()
    assert len(harness.sender.records) == 10


def test_a_signal_handler_that_flushes_within_the_counting_is_answered(
    make: Callable[..., Harness],
) -> None:
    """It has the lock that keeps the worker out, and must let go of it."""
    harness = make()
    harness.log.info("one")
    with harness.tasklog._worker.lock:  # as stats() does
        assert harness.tasklog.flush(30)
    assert harness.tasklog.stats().delivered == 1
