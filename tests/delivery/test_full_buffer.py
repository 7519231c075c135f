"""What a full buffer costs: the oldest, the newest, or the time of who can wait."""

from __future__ import annotations

import asyncio
import threading
from logging import makeLogRecord
from typing import TYPE_CHECKING, Any

import pytest

from otel_tasklog import Config, TaskLog
from otel_tasklog.testing import MemorySender, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Make = Callable[..., "Gated"]


class Gate(MemorySender):
    """Takes nothing until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()

    def send(self, body: bytes) -> Outcome:
        self.opened.wait(60)
        return super().send(body)


class Gated:
    """A TaskLog with a small buffer in front of a gate."""

    def __init__(self, **settings: Any) -> None:
        self.gate = Gate()
        config = Config(
            **{"batch_records": 8, "schedule_delay_seconds": 0.01, **settings},
            buffer_records=64,
        )
        self.tasklog = TaskLog(config, sender=self.gate)

    def log(self, count: int) -> None:
        for number in range(count):
            fields = {"msg": str(number), "levelno": 20, "levelname": "INFO"}
            self.tasklog.handler.handle(makeLogRecord(fields))

    def delivered(self) -> list[int]:
        self.gate.opened.set()
        assert self.tasklog.flush(30) is not None
        return [int(str(record.body)) for record in self.gate.records]


@pytest.fixture
def gated() -> Iterator[Make]:
    made: list[Gated] = []

    def make(**settings: Any) -> Gated:
        made.append(Gated(**settings))
        return made[-1]

    yield make
    for each in made:
        each.gate.opened.set()
        each.tasklog.close(5)


def adds_up(tasklog: TaskLog) -> bool:
    stats = tasklog.stats()
    settled = stats.delivered + stats.rejected + stats.dropped
    return stats.accepted == settled + stats.pending


def test_by_default_the_oldest_go_and_are_counted(gated: Make) -> None:
    box = gated()
    box.log(500)
    delivered = box.delivered()
    stats = box.tasklog.stats()
    assert delivered[-1] == 499
    assert len(delivered) + stats.dropped == 500
    assert stats.dropped_by == {"buffer_full": stats.dropped}
    assert stats.dropped_bytes_by == {"buffer_full": stats.dropped_bytes}
    assert stats.dropped_bytes > 10 * stats.dropped


def test_a_small_buffer_is_no_loss_while_the_receiver_takes_all(gated: Make) -> None:
    """Neither do batches as large as it drop each other, nor does the worker sleep."""
    box = gated(batch_records=64, schedule_delay_seconds=3_600.0)
    box.gate.opened.set()
    looked = threading.Event()
    for logged in range(48, 480, 48):
        box.log(48)
        while box.tasklog.stats().pending >= 16:
            looked.wait(0.001)
        assert box.tasklog.stats().delivered > logged - 16
    assert box.tasklog.stats().dropped == 0


def test_the_newest_go_if_that_is_asked_for(gated: Make) -> None:
    box = gated(drop_policy="newest")
    box.log(500)
    delivered = box.delivered()
    assert delivered[:8] == list(range(8))
    assert delivered == sorted(delivered)
    assert 499 not in delivered
    assert len(delivered) + box.tasklog.stats().dropped == 500


def test_a_thread_that_can_wait_loses_nothing(gated: Make) -> None:
    box = gated(block_seconds=60.0)
    thread = threading.Thread(target=box.log, args=(500,))
    thread.start()
    looked = threading.Event()
    while box.tasklog.stats().pending < 24:  # it stands at the gate from here on
        looked.wait(0.001)
    assert box.tasklog.stats().dropped == 0
    box.gate.opened.set()
    thread.join(60)
    assert box.delivered() == list(range(500))
    assert box.tasklog.stats().dropped == 0


def test_who_waits_for_too_long_drops_and_goes_on(gated: Make) -> None:
    box = gated(block_seconds=0.001)
    box.log(200)
    delivered = box.delivered()
    assert delivered[-1] == 199
    assert len(delivered) + box.tasklog.stats().dropped == 200
    assert adds_up(box.tasklog)


def test_an_event_loop_never_waits(gated: Make) -> None:
    """The gate stays closed until the loop has logged all; it would be a deadlock."""
    box = gated(block_seconds=3_600.0)

    async def main() -> None:
        box.log(500)

    asyncio.run(main())
    assert len(box.delivered()) < 500
    assert adds_up(box.tasklog)
