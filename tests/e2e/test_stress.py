"""Everything at once: threads, a loop, signals, readers; the books must balance."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

import otel_tasklog

if TYPE_CHECKING:
    from conftest import ReceiverProcess

pytestmark = pytest.mark.e2e

log = logging.getLogger("e2e.stress")
THREADS, EACH = 8, 2_000


class Chatter:
    """Logs when it is freed, and when its text is asked for."""

    logged: Counter[str] = Counter()

    def __del__(self) -> None:
        Chatter.logged["del"] += 1
        log.info("del %d", Chatter.logged["del"])

    def __str__(self) -> str:
        Chatter.logged["str"] += 1
        log.info("str %d", Chatter.logged["str"])
        return "chatter"


def _write(thread: int) -> None:
    with otel_tasklog.task(f"thread-{thread}"):
        for number in range(EACH):
            log.info("thread %d %d", thread, number)


async def _write_in_loop() -> None:
    async def one(task: int) -> None:
        for number in range(EACH // 4):
            log.info("task %d %d", task, number)
            if number % 50 == 0:
                log.info("%s", Chatter())
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for task in range(4):
            group.create_task(one(task))


def test_no_deadlock_no_loss_no_doubling_and_the_books_balance(
    receiver: ReceiverProcess,
) -> None:
    signals = 0

    def on_signal(number: int, frame: object) -> None:
        nonlocal signals
        signals += 1
        log.info("signal %d", signals)

    log.setLevel(logging.INFO)
    log.propagate = False
    Chatter.logged.clear()
    tasklog = otel_tasklog.install(
        endpoint=receiver.endpoint, loggers=[log], schedule_delay_seconds=0.02,
        ring_records=1_000,
    )  # fmt: skip
    writers = [threading.Thread(target=_write, args=(n,)) for n in range(THREADS)]
    done = threading.Event()
    unbalanced: list[otel_tasklog.Stats] = []
    disordered: list[list[int]] = []

    def read() -> None:
        while not done.is_set():
            found = tasklog.query(text="thread", limit=100)
            order = [record.sequence for record in found]
            if sorted(set(order), reverse=True) != order:
                disordered.append(order)
            s = tasklog.stats()
            if s.accepted != s.delivered + s.rejected + s.dropped + s.pending:
                unbalanced.append(s)

    readers = [threading.Thread(target=read) for _ in range(4)]
    before = signal.signal(signal.SIGALRM, on_signal)
    try:
        for thread in (*readers, *writers):
            thread.start()
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        asyncio.run(_write_in_loop())
        for thread in writers:
            thread.join()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        done.set()
        for thread in readers:
            thread.join()
    tasklog.close(30)

    chatter = Chatter.logged["del"] + Chatter.logged["str"] + 4 * EACH // 4 // 50
    produced = THREADS * EACH + 4 * (EACH // 4) + chatter + signals
    stats = tasklog.stats()
    assert not unbalanced, unbalanced[0]
    assert not disordered, disordered[0]
    assert stats.captured == stats.accepted == produced
    assert stats.delivered == produced
    assert (stats.rejected, stats.dropped, stats.pending) == (0, 0, 0)
    assert stats.kept == 1_000
    bodies = receiver.bodies(produced)
    assert bodies.total() == produced
    assert max(bodies.values()) == 4 * EACH // 4 // 50  # the texts "chatter"
    for thread in range(THREADS):
        for number in range(EACH):
            assert bodies[f"thread {thread} {number}"] == 1
