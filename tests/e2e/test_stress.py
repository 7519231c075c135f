"""Everything at once: threads, a loop, signals, readers; the books must balance."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING, ClassVar

import pytest

import otel_tasklog

if TYPE_CHECKING:
    from e2e.conftest import ReceiverProcess

pytestmark = pytest.mark.e2e

log = logging.getLogger("e2e.stress")
THREADS, EACH = 8, 2_000


class Chatter:
    """Logs when it is freed, and when its text is asked for."""

    logged: ClassVar[Counter[str]] = Counter()

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


class Readers:
    """Four threads that query and count for as long as the block runs."""

    def __init__(self, tasklog: otel_tasklog.TaskLog) -> None:
        self._tasklog = tasklog
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._read) for _ in range(4)]
        self.unbalanced: list[otel_tasklog.Stats] = []
        self.disordered: list[list[int]] = []

    def _read(self) -> None:
        while not self._done.is_set():
            found = self._tasklog.query(text="thread", limit=100)
            order = [record.sequence for record in found]
            if sorted(set(order), reverse=True) != order:
                self.disordered.append(order)
            s = self._tasklog.stats()
            if s.accepted != s.delivered + s.rejected + s.dropped + s.pending:
                self.unbalanced.append(s)

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *raised: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()


class Signals:
    """A thousand signals a second, whose handler logs, while the block runs."""

    arrived = 0

    def _on_signal(self, number: int, frame: object) -> None:
        self.arrived += 1
        log.info("signal %d", self.arrived)

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGALRM, self._on_signal)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)

    def __exit__(self, *raised: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)


def test_no_deadlock_no_loss_no_doubling_and_the_books_balance(
    receiver: ReceiverProcess,
) -> None:
    log.setLevel(logging.INFO)
    log.propagate = False
    Chatter.logged.clear()
    tasklog = otel_tasklog.install(
        endpoint=receiver.endpoint, loggers=[log], schedule_delay_seconds=0.02,
        ring_records=1_000,
    )  # fmt: skip
    readers, signals = Readers(tasklog), Signals()
    writers = [threading.Thread(target=_write, args=(n,)) for n in range(THREADS)]
    with readers, signals:
        for thread in writers:
            thread.start()
        asyncio.run(_write_in_loop())
        for thread in writers:
            thread.join()
    tasklog.close(30)

    texts = 4 * (EACH // 4) // 50
    chatter = Chatter.logged["del"] + Chatter.logged["str"] + texts
    produced = THREADS * EACH + 4 * (EACH // 4) + chatter + signals.arrived
    stats = tasklog.stats()
    assert not readers.unbalanced, readers.unbalanced[0]
    assert not readers.disordered, readers.disordered[0]
    assert stats.captured == stats.accepted == stats.delivered == produced
    assert (stats.rejected, stats.dropped, stats.pending) == (0, 0, 0)
    assert stats.kept == 1_000
    bodies = receiver.bodies(produced)
    assert bodies.total() == produced
    assert bodies["chatter"] == texts
    for writer in range(THREADS):
        for number in range(EACH):
            assert bodies[f"thread {writer} {number}"] == 1
