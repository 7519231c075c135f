"""The two threads leave before a fork if they are idle, and come back when needed."""

from __future__ import annotations

import _thread
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otel_tasklog.delivery import _threads
from otel_tasklog.testing import Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Harness

    from otel_tasklog.delivery._senders import Outcome


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take its time to end a thread."""
    monkeypatch.setattr(_threads, "PARK_SECONDS", 10.0)


@pytest.fixture
def idle(make: Callable[..., Harness]) -> Harness:
    """A harness whose threads are there, and have nothing to do."""
    harness = make()
    harness.log.info("first")
    assert harness.tasklog.flush(10)
    return harness


def owned(harness: Harness) -> set[int | None]:
    return harness.tasklog.port.own_threads


def test_idle_threads_leave_and_the_next_record_starts_others(idle: Harness) -> None:
    native_ids = list(idle.tasklog._threads._native_ids)
    assert len(native_ids) == 2
    idle.tasklog._threads.park()
    assert owned(idle) == set()
    assert not any(Path(f"/proc/self/task/{each}").exists() for each in native_ids)
    idle.log.info("second")
    assert idle.tasklog.flush(10)
    assert len(owned(idle)) == 2
    assert [record.body for record in idle.sender.records] == ["first", "second"]


def test_a_record_alone_brings_them_back(make: Callable[..., Harness]) -> None:
    """Not only a flush: the intake knows that nobody waits at its inbox."""
    harness = make(schedule_delay_seconds=0.0)
    arrived = threading.Event()
    send = harness.sender.send

    def tell(body: bytes) -> Outcome:
        outcome = send(body)
        arrived.set()
        return outcome

    harness.sender.send = tell  # type: ignore[method-assign]
    for _ in range(3):
        arrived.clear()
        harness.log.info("x")
        assert arrived.wait(10)
        assert harness.tasklog.flush(10)
        harness.tasklog._threads.park()
        assert owned(harness) == set()


def test_close_after_it_delivers_and_ends(idle: Harness) -> None:
    idle.tasklog._threads.park()
    idle.log.info("second")
    idle.tasklog.close(10)
    assert len(idle.sender.records) == 2
    idle.tasklog._threads.park()  # there is nobody to be asked


def test_parking_again_does_nothing(idle: Harness) -> None:
    idle.tasklog._threads.park()
    idle.tasklog._threads.park()
    assert idle.tasklog._intake.inbox.empty()


@pytest.mark.parametrize("waits", ["for the delay", "for the receiver"])
def test_busy_threads_stay_and_nobody_waits_for_them(
    make: Callable[..., Harness], waits: str
) -> None:
    harness = make([Retry("down")] * 1_000)
    harness.log.info("x")
    if waits == "for the receiver":
        assert not harness.tasklog.flush(0.01)
    before = time.monotonic()
    harness.tasklog._threads.park()
    assert time.monotonic() - before < 5.0  # of ten
    assert harness.tasklog._threads._turning
    harness.tasklog.close(0)


def test_the_worker_itself_may_fork(idle: Harness) -> None:
    """As a handler of our diagnostics might."""
    parked = threading.Event()

    def park() -> None:
        idle.tasklog._threads.park()
        parked.set()

    idle.tasklog._run(park)
    assert parked.wait(10)
    assert idle.tasklog._threads._turning


def test_a_worker_that_cannot_answer_is_not_waited_for_long(
    idle: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal handler that forks may have interrupted who holds the lock."""
    monkeypatch.setattr(_threads, "PARK_SECONDS", 0.01)
    with idle.tasklog._worker.lock:
        idle.tasklog._intake.inbox.put(None)  # a turn, which wants the lock
        before = time.monotonic()
        idle.tasklog._threads.park()
        assert time.monotonic() - before < 5.0
    idle.log.info("second")
    assert idle.tasklog.flush(10)


@pytest.fixture
def hectic() -> Iterator[None]:
    """The interpreter changes threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hectic")
def test_no_record_is_forgotten_between_leaving_and_coming_back(
    make: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_threads, "PARK_SECONDS", 0.01)
    harness = make(schedule_delay_seconds=0.0)
    stop = threading.Event()

    def park() -> None:
        while not stop.is_set():
            harness.tasklog._threads.park()

    def log() -> None:
        for number in range(100):
            harness.log.info("%d", number)
            if number % 3 == 0:
                assert harness.tasklog.flush(10)

    parkers = [threading.Thread(target=park) for _ in range(2)]
    loggers = [threading.Thread(target=log) for _ in range(2)]
    for thread in parkers + loggers:
        thread.start()
    for thread in loggers:
        thread.join()
    stop.set()
    for thread in parkers:
        thread.join()
    assert harness.tasklog.flush(10)
    assert len(harness.sender.records) == 200


def test_a_sender_without_a_worker_is_not_doubled(
    make: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at a limit of threads: one could be started, the other not."""
    start, started = _thread.start_new_thread, list[object]()

    def once(run: Callable[..., object], arguments: tuple[object, ...]) -> int:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(run)
        return start(run, arguments)

    harness = make()
    monkeypatch.setattr(_thread, "start_new_thread", once)
    for number in range(10):
        harness.log.info("%d", number)
    harness.tasklog.close(10)
    assert len(started) == 1
    assert len(harness.sender.records) == 10
