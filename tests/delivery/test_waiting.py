"""Waiting for the worker on top of code that holds what the worker needs."""

from __future__ import annotations

import logging
import os
import signal
import threading

import pytest

from otel_tasklog.delivery._waiting import Latch, lent

FAR: float = 30.0


def can_take(lock: threading.Condition) -> bool:
    """Return whether another thread gets a lock just now."""
    got: list[bool] = []

    def look() -> None:
        taken = lock.acquire(blocking=False)
        got.append(taken)
        if taken:
            lock.release()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return got[0]


def can_configure() -> bool:
    """Return whether another thread gets logging's lock."""
    got = threading.Event()

    def look() -> None:
        logging.getLogger("otel_tasklog").setLevel(logging.NOTSET)
        got.set()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    return got.wait(5.0)


def test_a_lock_is_lent_as_often_as_it_is_held_and_taken_back() -> None:
    lock = threading.Condition()
    with lock, lock:
        with lent(lock):
            assert can_take(lock)
        assert not can_take(lock)
        lock.release()
        assert not can_take(lock)
        lock.acquire()
    assert can_take(lock)


def test_a_lock_that_is_nobodys_stays_so() -> None:
    lock = threading.Condition()
    with lent(lock):
        assert can_take(lock)
    assert can_take(lock)


def test_a_lock_that_is_another_threads_stays_its_own() -> None:
    lock, held, done = threading.Condition(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait(FAR)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(FAR)
    with lent(lock):
        assert not can_take(lock)
    done.set()
    holder.join()


def test_loggings_own_lock_is_lent_under_the_name_that_this_python_has_for_it() -> None:
    with logging._lock, lent():  # type: ignore[attr-defined]
        assert can_configure()


def test_a_lock_is_taken_back_whatever_happens_meanwhile() -> None:
    lock = threading.Condition()
    with lock:
        with pytest.raises(KeyError), lent(lock):
            raise KeyError
        assert not can_take(lock)


def test_a_latch_tells_whether_it_was_set_in_time() -> None:
    latch = Latch()
    assert not latch.is_set()
    assert not latch.wait(0.0)
    assert not latch.wait(-1.0)
    threading.Thread(target=latch.set).start()
    assert latch.wait(FAR)
    assert latch.is_set()
    assert latch.wait(0.0)
    latch.set()
    assert latch.wait(1e300)


def test_any_number_of_threads_wait_for_a_latch() -> None:
    latch, results = Latch(), list[bool]()
    threads = [
        threading.Thread(target=lambda: results.append(latch.wait(FAR)))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    latch.set()
    for thread in threads:
        thread.join()
    assert results == [True] * 20


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers")
def test_a_handler_waits_for_the_latch_that_the_interrupted_code_waits_for() -> None:
    latch, below = Latch(), list[bool]()
    waiting = threading.Event()

    def handle(*_: object) -> None:
        waiting.set()
        below.append(latch.wait(FAR))

    before = signal.signal(signal.SIGUSR1, handle)

    def open_it_then() -> None:
        assert waiting.wait(FAR)
        latch.set()

    try:
        kill = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGUSR1))
        open_it = threading.Thread(target=open_it_then)
        open_it.start()
        kill.start()
        assert latch.wait(FAR)
        kill.join()
        open_it.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert below == [True]
