"""What blocks an event loop is said in the log of the task that does, and only that."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from loops import FACTORIES, LOOPS

import otel_tasklog
from otel_tasklog import task
from otel_tasklog.live import _watchdog
from otel_tasklog.live._pulse import Blocked, Pulse
from otel_tasklog.live._running import running_in, stamp_of
from otel_tasklog.live._watchdog import WATCHDOG_LOGGER, Watchdog
from otel_tasklog.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from conftest import Harness
    from loops import Run

LIMIT = 0.25
WAIT_SECONDS = 10.0

run_in = pytest.mark.parametrize("run", LOOPS)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


class Gate:
    """Where a task blocks its loop, until a test opens it."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.opened = threading.Semaphore(0)

    def block(self) -> None:
        self.entered.release()
        assert self.opened.acquire(timeout=WAIT_SECONDS)

    def wait(self) -> None:
        assert self.entered.acquire(timeout=WAIT_SECONDS)

    def open(self) -> None:
        self.opened.release()


async def nothing() -> None:
    pass


class Driven:
    """A loop in a thread of its own, and its pulse, looked at when a test says so."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.clock = FakeClock()
        self.blocked: list[Blocked] = []
        self.lags: list[float] = []
        self.pulse = Pulse(
            loop, LIMIT, on_blocked=self.blocked.append, on_lag=self.lags.append,
            clock=self.clock.monotonic,
        )  # fmt: skip
        self.thread = threading.Thread(
            target=loop.run_forever, name="the loop's", daemon=True
        )
        self.thread.start()
        self.settle()
        self.beat(0.0)
        self.settle()
        self.beat(1.0)  # from here on it knows the loop's thread
        self.lags.clear()

    def start(self, coro: Coroutine[Any, Any, Any], name: str = "charger") -> None:
        """Have a task made in the loop, and its first step begun soon."""
        self.loop.call_soon_threadsafe(lambda: self.loop.create_task(coro, name=name))

    def settle(self) -> None:
        """Wait until all that was posted before has run, and the loop rests."""
        asyncio.run_coroutine_threadsafe(nothing(), self.loop).result(WAIT_SECONDS)
        thread, below = self.pulse._thread, self.pulse._below
        if below is not None:
            wait_until(lambda: running_in(self.loop, thread, below) is None)

    def beat(self, after: float) -> float | None:
        """Look, after some seconds have passed."""
        self.clock.advance(after)
        return self.pulse.beat(self.clock.now)

    def end(self) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(WAIT_SECONDS)
            self.loop.close()


@pytest.fixture(params=FACTORIES)
def driven(request: pytest.FixtureRequest) -> Iterator[Driven]:
    driven = Driven(request.param())
    yield driven
    driven.end()


async def charge(gate: Gate) -> None:
    gate.block()


def test_a_step_that_is_too_long_is_said_once_when_it_is_over(driven: Driven) -> None:
    gate = Gate()
    driven.start(charge(gate))
    gate.wait()
    for after in (0.1, 0.2, 0.1, 0.5):
        driven.beat(after)
    assert driven.blocked == []
    driven.clock.advance(0.1)
    gate.open()
    driven.settle()
    driven.beat(0.1)
    [said] = driven.blocked
    assert said.over
    assert said.seconds == pytest.approx(0.9)  # from the first look to the answer
    path, line, function = said.culprit.place
    code = Gate.block.__code__
    assert (path, function) == (__file__, "Gate.block")
    assert line > code.co_firstlineno
    assert said.culprit.thread == driven.thread.ident
    assert said.culprit.thread_name == "the loop's"
    assert [each.co_name for each in said.culprit.frames[:4:2]] == ["charge", "block"]  # type: ignore[union-attr]
    assert "gate.block()" in said.culprit.stack()
    assert driven.lags == [pytest.approx(0.9)]
    driven.beat(0.1)
    assert len(driven.blocked) == 1


def test_a_long_block_is_said_while_it_lasts_once_and_when_it_is_over(
    driven: Driven,
) -> None:
    gate = Gate()
    driven.start(charge(gate))
    gate.wait()
    for _ in range(50):
        driven.beat(0.1)
    [ongoing] = driven.blocked
    assert not ongoing.over
    assert ongoing.seconds == pytest.approx(8 * LIMIT, abs=0.2)
    gate.open()
    driven.settle()
    driven.beat(0.1)
    assert [each.over for each in driven.blocked] == [False, True]
    assert driven.blocked[1].seconds == pytest.approx(4.9)


def test_a_block_that_nobody_looks_at_to_its_end_is_said(driven: Driven) -> None:
    """As of the last step before `close`: the next look never comes."""
    gate = Gate()
    driven.start(charge(gate))
    gate.wait()
    for after in (0.1, 0.2, 0.1):
        driven.beat(after)
    driven.clock.advance(0.4)
    driven.pulse.end(driven.clock.now)
    gate.open()
    [said] = driven.blocked
    assert said.over
    assert said.seconds == pytest.approx(0.7)
    driven.pulse.end(driven.clock.now)
    assert len(driven.blocked) == 1


@run_in
def test_a_block_right_before_close_is_in_the_log(run: Run) -> None:
    tasklog = install(blocked_after_seconds=0.02)
    watchdog = watchdog_of(tasklog)

    async def main() -> None:
        logging.getLogger("shop").info("begins")
        while not any(pulse._culprit for pulse in watchdog._pulses):
            await asyncio.sleep(0.05)  # for the watchdog to know the loop
            ends = time.monotonic() + 0.1
            while time.monotonic() < ends:
                pass
        tasklog.close()

    run(main())
    assert tasklog.query(logger=WATCHDOG_LOGGER)


def test_a_step_that_is_short_enough_is_not_said(driven: Driven) -> None:
    gate = Gate()
    driven.start(charge(gate))
    gate.wait()
    driven.beat(0.0)
    driven.beat(0.24)
    gate.open()
    driven.settle()
    driven.beat(1.0)
    assert driven.blocked == []
    assert driven.lags == [pytest.approx(0.24)]


def test_many_short_steps_are_late_together_and_nobodys_fault(driven: Driven) -> None:
    gate = Gate()

    def make() -> None:
        # All before the ping, which has to wait for them.
        made.extend(driven.loop.create_task(charge(gate)) for _ in range(5))

    made: list[asyncio.Task[None]] = []
    driven.loop.call_soon_threadsafe(make)
    for _ in range(5):
        gate.wait()
        driven.beat(0.1)
        driven.beat(0.1)
        gate.open()
    driven.settle()
    driven.beat(0.1)
    assert driven.blocked == []
    assert driven.lags == [pytest.approx(0.9)]


def test_a_task_that_is_always_busy_but_gives_way_is_not_said(driven: Driven) -> None:
    gate = Gate()

    async def count() -> None:
        for _ in range(10):
            gate.block()
            await asyncio.sleep(0)

    driven.start(count())
    for _ in range(10):
        gate.wait()
        driven.beat(0.1)
        driven.beat(0.1)
        gate.open()
    driven.settle()
    driven.beat(0.1)
    assert driven.blocked == []


def test_a_callback_outside_of_tasks_is_said_too(driven: Driven) -> None:
    gate = Gate()
    driven.loop.call_soon_threadsafe(gate.block)
    gate.wait()
    for _ in range(5):
        driven.beat(0.1)
    gate.open()
    driven.settle()
    driven.beat(0.1)
    [said] = driven.blocked
    assert said.culprit.place[2] == "Gate.block"
    assert (said.culprit.stamp.name, said.culprit.stamp.number) == (None, None)
    frames = said.culprit.frames[::2]
    assert frames[0] is Gate.block.__code__  # without what runs the loop


def test_a_callback_made_in_c_is_said_of_asyncios_loop() -> None:
    driven, lock = Driven(asyncio.new_event_loop()), threading.Lock()
    lock.acquire()
    driven.loop.call_soon_threadsafe(lock.acquire)
    deadline = time.monotonic() + WAIT_SECONDS
    while not driven.blocked and time.monotonic() < deadline:
        driven.beat(0.3)
    lock.release()
    driven.settle()
    driven.end()
    assert driven.blocked[0].culprit.place[2] == "Handle._run"


def test_a_loop_that_rests_is_not_woken(driven: Driven) -> None:
    """And is looked at half as often as one at work."""
    for _ in range(10):
        assert driven.beat(0.1) == LIMIT / 2
    assert driven.pulse._pings == 1
    assert driven.lags == [0.0] * 10


def test_the_block_that_began_before_the_first_answer_is_found() -> None:
    """Its thread is not known yet: it is found by the task's coroutine."""
    loop, gate, said = asyncio.new_event_loop(), Gate(), list[Blocked]()
    clock = FakeClock()
    pulse = Pulse(loop, LIMIT, on_blocked=said.append, on_lag=lambda _: None)
    thread = threading.Thread(
        target=loop.run_until_complete, args=(charge(gate),), daemon=True
    )
    thread.start()
    gate.wait()
    for _ in range(4):
        pulse.beat(clock.now)
        clock.advance(0.1)
    gate.open()
    thread.join(WAIT_SECONDS)
    pulse.beat(clock.now)
    loop.close()
    [blocked] = said
    assert blocked.over
    assert blocked.culprit.thread == thread.ident


def test_a_loop_that_is_stopped_for_a_while_is_not_late(driven: Driven) -> None:
    gate = Gate()
    driven.start(charge(gate))
    gate.wait()
    driven.beat(0.0)  # a ping that is answered before it stops, or when it goes on
    driven.loop.call_soon_threadsafe(driven.loop.stop)
    gate.open()
    driven.thread.join(WAIT_SECONDS)
    driven.beat(100.0)
    driven.beat(100.0)
    assert driven.pulse.lag_seconds(driven.clock.now) == 0.0
    driven.thread = threading.Thread(target=driven.loop.run_forever, daemon=True)
    driven.thread.start()
    driven.settle()
    driven.beat(1.0)
    driven.settle()
    driven.beat(1.0)
    assert driven.blocked == []
    assert max(driven.lags) < 2.0


def test_a_loop_that_has_ended_is_let_go(driven: Driven) -> None:
    driven.end()
    assert driven.beat(0.1) is None


def test_a_loop_is_not_kept_alive() -> None:
    loop = asyncio.new_event_loop()
    pulse = Pulse(loop, LIMIT, on_blocked=print, on_lag=print)
    loop.close()
    del loop
    gc.collect()
    assert pulse.loop() is None
    assert pulse.beat(0.0) is None


def test_a_loop_that_is_closed_in_a_block_has_it_said() -> None:
    driven, gate = Driven(asyncio.new_event_loop()), Gate()
    driven.start(charge(gate))
    gate.wait()
    for _ in range(4):
        driven.beat(0.1)
    gate.open()
    driven.end()
    driven.beat(0.1)
    assert [each.over for each in driven.blocked] == [True]


def test_the_worst_of_a_minute_is_remembered_and_no_longer(driven: Driven) -> None:
    for late in (0.1, 0.2, 0.05):
        gate = Gate()
        driven.start(charge(gate))
        gate.wait()
        driven.beat(0.0)
        driven.clock.advance(late)
        gate.open()
        driven.settle()
        driven.beat(10.0)
    now = driven.clock.now
    assert driven.pulse.lag_seconds(now) == pytest.approx(0.2)
    assert driven.pulse.lag_seconds(now + 55.0) == pytest.approx(0.05)
    assert driven.pulse.lag_seconds(now + 61.0) == 0.0


def test_who_waits_now_counts_for_the_lag(driven: Driven) -> None:
    gate = Gate()
    driven.start(charge(gate))
    gate.wait()
    driven.beat(0.0)
    assert driven.pulse.lag_seconds(driven.clock.now + 3.0) == pytest.approx(3.0)
    gate.open()
    driven.settle()


@pytest.mark.parametrize(
    ("used", "seconds"), [(0.0, 0.3), (0.9, 1.3)], ids=["stopped", "computing"]
)
def test_a_time_in_which_the_process_was_stopped_does_not_count(
    driven: Driven, used: float, seconds: float
) -> None:
    """As by SIGSTOP. A late thread whose process computed was kept out by the block."""
    watchdog = Watchdog(logging.NullHandler(), LIMIT, lambda _: None)
    watchdog._pulses.append(driven.pulse)
    gate = Gate()
    driven.start(charge(gate))
    gate.wait()
    driven.beat(0.0)
    driven.beat(0.3)
    driven.clock.advance(1.0)
    watchdog._leave_out(late=1.0, used=used, waited=0.03)
    gate.open()
    driven.settle()
    driven.beat(0.0)
    [said] = driven.blocked
    assert said.seconds == pytest.approx(seconds)
    watchdog._pulses.clear()


# What is said.


@pytest.fixture
def say(harness: Harness) -> Callable[[Blocked], None]:
    """Have a block said to a harness, as its watchdog would."""
    handler = harness.tasklog.handler
    logging.getLogger(WATCHDOG_LOGGER).addHandler(handler)
    return Watchdog(handler, LIMIT, lambda _: None)._try_to_say


def block(driven: Driven, gate: Gate, *, beats: int = 5) -> None:
    gate.wait()
    for _ in range(beats):
        driven.beat(0.1)
    gate.open()
    driven.settle()
    driven.beat(0.1)


def test_the_record_is_in_the_log_of_the_task(
    driven: Driven, harness: Harness, say: Callable[[Blocked], None]
) -> None:
    gate = Gate()

    async def order() -> None:
        with task("order-7", attributes={"tenant": "acme"}):
            harness.log.info("charging")
            gate.block()

    driven.start(order())
    block(driven, gate)
    say(driven.blocked[0])
    said, first = harness.tasklog.query(task_id="order-7")
    assert (said.severity_text, said.logger) == ("WARNING", WATCHDOG_LOGGER)
    assert "task order-7 blocked the event loop for 0.400 s, in " in said.message
    assert said.asyncio_task_number == first.asyncio_task_number
    assert said.asyncio_task_name == "charger"
    assert said.attributes["tenant"] == "acme"
    assert said.attributes["event.name"] == "event_loop.blocked"
    assert said.attributes["duration_seconds"] == pytest.approx(0.4)
    assert (said.origin.path, said.origin.function) == (__file__, "Gate.block")
    assert said.stack_info is not None
    assert "gate.block()" in said.stack_info
    assert said.origin.thread_id == driven.thread.ident


def test_a_task_that_never_logged_has_its_name(
    driven: Driven, harness: Harness, say: Callable[[Blocked], None]
) -> None:
    gate = Gate()
    driven.start(charge(gate))
    block(driven, gate)
    say(driven.blocked[0])
    said = harness.last()
    assert (said.task_id, said.asyncio_task_name) == ("charger", "charger")
    assert said.asyncio_task_number is not None


def test_a_callback_has_a_record_of_no_task(
    driven: Driven, harness: Harness, say: Callable[[Blocked], None]
) -> None:
    gate = Gate()
    driven.loop.call_soon_threadsafe(gate.block)
    block(driven, gate)
    say(driven.blocked[0])
    said = harness.last()
    assert said.task_id is None
    assert said.message.startswith("a callback blocked the event loop for 0.400 s")


def test_its_logger_can_be_silenced(
    driven: Driven, harness: Harness, say: Callable[[Blocked], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(logging.getLogger(WATCHDOG_LOGGER), "level", logging.ERROR)
    logging.getLogger(WATCHDOG_LOGGER).manager._clear_cache()  # type: ignore[attr-defined]
    gate = Gate()
    driven.start(charge(gate))
    block(driven, gate)
    say(driven.blocked[0])
    assert harness.tasklog.query() == []
    monkeypatch.undo()
    logging.getLogger(WATCHDOG_LOGGER).manager._clear_cache()  # type: ignore[attr-defined]


def test_a_handler_that_raises_harms_nobody(
    driven: Driven, say: Callable[[Blocked], None]
) -> None:
    class Broken(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise ZeroDivisionError

    gate, broken = Gate(), Broken()
    driven.start(charge(gate))
    block(driven, gate)
    logging.getLogger(WATCHDOG_LOGGER).addFilter(broken)
    say(driven.blocked[0])
    logging.getLogger(WATCHDOG_LOGGER).removeFilter(broken)


def test_a_log_call_that_blocks_is_said_while_it_holds_its_handlers_lock(
    driven: Driven, harness: Harness, say: Callable[[Blocked], None]
) -> None:
    """As on a console that nobody reads. Others would wait for that lock, too."""
    gate = Gate()

    class Stalled(io.StringIO):
        def write(self, text: str) -> int:
            gate.block()
            return len(text)

    console = logging.StreamHandler(Stalled())
    log = logging.getLogger(WATCHDOG_LOGGER)
    log.addHandler(console)

    async def order() -> None:
        console.handle(logging.makeLogRecord({"msg": "x"}))

    driven.start(order())
    gate.wait()
    for _ in range(30):
        driven.beat(0.1)
    say(driven.blocked[0])  # would not return
    assert "has blocked" in harness.last().message
    gate.open()
    gate.open()
    driven.settle()
    log.removeHandler(console)


@run_in
def test_what_is_known_of_a_task_in_another_thread(run: Run) -> None:
    async def main() -> None:
        with task("order-7"), otel_tasklog.bind(step=2):
            otel_tasklog.current_task_id()
            logging.getLogger("x").info("numbered")
            me = asyncio.current_task()
            assert me is not None
            stamp = await asyncio.to_thread(stamp_of, me)
        assert stamp.name == me.get_name()
        assert stamp.whole
        if sys.version_info >= (3, 12):
            assert (stamp.task_id, stamp.bound) == ("order-7", {"step": 2})

    run(main())


# The thread.


@pytest.fixture
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take its time to end a thread."""
    monkeypatch.setattr(_watchdog, "PARK_SECONDS", WAIT_SECONDS)


def install(**settings: Any) -> otel_tasklog.TaskLog:
    settings = {"exporter": None, "blocked_after_seconds": LIMIT, **settings}
    return otel_tasklog.install(level="INFO", console=False, attach=False, **settings)


def watchdog_of(tasklog: otel_tasklog.TaskLog) -> Watchdog:
    watchdog = tasklog._attachment.loops._watchdog
    assert watchdog is not None
    return watchdog


@run_in
@pytest.mark.usefixtures("_patience")
def test_it_begins_with_the_loop_and_ends_with_close(run: Run) -> None:
    async def main() -> None:
        tasklog = install()
        watchdog = watchdog_of(tasklog)
        thread = watchdog._thread
        assert thread is not None
        assert len(watchdog._pulses) == 1
        assert tasklog.stats().loop_lag_seconds is not None
        tasklog.close()
        assert not thread.is_there()
        assert tasklog.stats().loop_lag_seconds is None

    run(main())


@run_in
@pytest.mark.usefixtures("_patience")
def test_a_loop_is_known_from_the_first_record_in_it(run: Run) -> None:
    tasklog = install()
    watchdog = watchdog_of(tasklog)
    assert watchdog._thread is None

    async def main() -> None:
        logging.getLogger("shop").info("hello")
        await asyncio.to_thread(wait_until, lambda: len(watchdog._pulses) == 1)
        assert tasklog.stats().live_tasks == 1

    run(main())
    wait_until(lambda: watchdog._thread is None)  # there is no loop any more


def test_switched_off_there_is_no_thread_and_no_lag() -> None:
    async def main() -> None:
        tasklog = install(blocked_after_seconds=None)
        assert tasklog._attachment.loops._watchdog is None
        assert tasklog.stats().loop_lag_seconds is None

    asyncio.run(main())


@pytest.mark.usefixtures("_patience")
def test_it_leaves_before_a_fork_and_comes_back_behind_it() -> None:
    async def main() -> None:
        watchdog = watchdog_of(install())
        before = watchdog._thread
        assert before is not None
        await asyncio.to_thread(wait_until, lambda: before.ident is not None)
        assert before.ident is not None
        watchdog.park()
        assert watchdog._thread is None
        assert not before.is_there()
        watchdog.park()  # there is none
        watchdog.resume()
        assert watchdog._thread is not None

    asyncio.run(main())


def test_a_closed_one_does_not_come_back() -> None:
    async def main() -> None:
        tasklog = install()
        watchdog = watchdog_of(tasklog)
        tasklog.close()
        watchdog.resume()
        watchdog.watch(asyncio.get_running_loop())
        assert watchdog._thread is None

    asyncio.run(main())


def test_a_forked_child_has_none_of_its_parents_loops() -> None:
    async def main() -> None:
        tasklog = install()
        logging.getLogger("shop").info("hello")
        assert tasklog.stats().live_tasks == 1
        watchdog = watchdog_of(tasklog)
        watchdog.park()
        tasklog._attachment.loops.renew()
        assert (watchdog._pulses, watchdog._thread) == ([], None)
        assert tasklog.stats().live_tasks == 0

    asyncio.run(main())


def test_without_a_thread_to_be_had_nothing_is_watched_and_nothing_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr("_thread.start_new_thread", refuse)
            watchdog = watchdog_of(install())
            assert watchdog._thread is None
        watchdog.resume()
        assert watchdog._thread is not None

    asyncio.run(main())


@run_in
def test_a_task_that_blocks_has_its_record_and_nobody_else_has(run: Run) -> None:
    tasklog = install(blocked_after_seconds=0.02)
    said = threading.Event()

    class Ears(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.set()

    ears = Ears()
    logging.getLogger(WATCHDOG_LOGGER).addHandler(ears)

    async def charge() -> None:
        with task("order-7"):
            logging.getLogger("shop").info("charging")
            assert said.wait(WAIT_SECONDS)  # for the record of this very block

    async def main() -> None:
        await asyncio.gather(asyncio.sleep(0), charge())

    run(main())
    logging.getLogger(WATCHDOG_LOGGER).removeHandler(ears)
    records = tasklog.query(logger=WATCHDOG_LOGGER)
    assert "order-7" in {record.task_id for record in records}
    assert "event_loop.blocking" in {
        record.attributes["event.name"] for record in records
    }
