"""What an asyncio task costs with this library beside it, and what asking for all does.

A task's whole life: 100,000 tasks that do nothing, made by ``gather`` in batches of
1,000, on a loop of their own each time. Nothing else logs. CPU of the loop's thread, a
task; and of the process, where threads beside it count. Without anything, which is run
twice in each round, so that the difference between the two says what noise there is;
with `install` and its defaults; with the monitor started besides; with the records of
each task's begin and end; and with aiomonitor, which sees each task by its own hook, or
none, without it. Where a task is dear, a tenth of them is enough.

A list of them: 10,000 tasks that sleep, each of which has logged once. CPU of the thread
that asks, while the loop runs in another, and the longest time it went without a rest;
and how late a 1 ms ticker in the loop is while it is asked again and again, and while it
is asked once a second, as by somebody who watches.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import socket
import statistics
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any, Final

from peers import AIOMONITOR, AIOMONITOR_HOOK
from rounds import rounds_of
from rows import Result, Row, number, table

import otel_tasklog

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator
    from typing import Self

    from rounds import Scale

    from otel_tasklog import TaskLog

__all__ = ["run"]

NOTHING: Final = "nothing"
AGAIN: Final = "nothing, again"
OURS: Final = "ours"
MONITOR: Final = "ours, monitor started"
LIFECYCLE: Final = "ours, task_lifecycle"
NEWEST: Final = "live_tasks()"
ALL: Final = "live_tasks(limit=None)"
WATCHED: Final = "live_tasks(), each second"
BATCH: Final = 1_000
DEAR: Final = (LIFECYCLE, AIOMONITOR_HOOK)
DEAR_PART: Final = 10
"""They are given that part of the tasks; else they would take minutes."""

TICK_SECONDS: Final = 0.001

Opened = contextlib.AbstractAsyncContextManager[object]


async def _nothing() -> None:
    pass


async def _live_and_die(count: int) -> None:
    for _ in range(0, count, BATCH):
        await asyncio.gather(*[_nothing() for _ in range(BATCH)])


def _installed(**settings: Any) -> TaskLog:
    return otel_tasklog.install(
        exporter=None, level="INFO", console=False, attach=False, **settings
    )


@contextlib.asynccontextmanager
async def _monitored() -> AsyncGenerator[None]:
    async with _installed() as tasklog, tasklog.monitor():
        yield


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _aiomonitor(*, hook: bool) -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, and aiohttp's of it
        import aiomonitor  # type: ignore[import-untyped]

        with aiomonitor.start_monitor(
            asyncio.get_running_loop(), port=_free_port(), webui_port=_free_port(),
            console_enabled=False, hook_task_factory=hook,
        ) as monitor:  # fmt: skip
            yield monitor


@contextlib.asynccontextmanager
async def _beside_aiomonitor(*, hook: bool) -> AsyncGenerator[None]:
    with _aiomonitor(hook=hook):
        yield


_OPENED: Final[dict[str, Callable[[], Opened]]] = {
    NOTHING: contextlib.nullcontext,
    AGAIN: contextlib.nullcontext,
    OURS: _installed,
    MONITOR: _monitored,
    LIFECYCLE: lambda: _installed(task_lifecycle=True),
    AIOMONITOR: lambda: _beside_aiomonitor(hook=False),
    AIOMONITOR_HOOK: lambda: _beside_aiomonitor(hook=True),
}


async def _life(name: str, count: int) -> tuple[float, float]:
    """Return the microseconds of the thread and of the process for one task."""
    if name in DEAR:
        count = max(count // DEAR_PART, BATCH)
    async with _OPENED[name]():
        await _live_and_die(BATCH)
        gc.collect()
        thread, process = time.thread_time(), time.process_time()
        await _live_and_die(count)
        thread, process = time.thread_time() - thread, time.process_time() - process
    return thread / count * 1e6, process / count * 1e6


def _lives(count: int, rounds: int) -> Result:
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in _OPENED}
    for warm in (True, False):
        for name in rounds_of(_OPENED, 1 if warm else rounds):
            found = asyncio.run(_life(name, BATCH if warm else count))
            if not warm:
                runs[name].append(found)
    thread, process = (
        {
            name: statistics.median(each[of] for each in own)
            for name, own in runs.items()
        }
        for of in (0, 1)
    )

    def row(ours: str, peer: str) -> Row:
        return Row(
            what=f"a task's whole life, {ours}", peer=peer, unit="us",
            ours=thread[ours], theirs=thread[peer], share=True,
        )  # fmt: skip

    rows = [
        row(AGAIN, NOTHING), row(OURS, NOTHING), row(MONITOR, NOTHING),
        row(MONITOR, AIOMONITOR), row(LIFECYCLE, NOTHING),
        row(LIFECYCLE, AIOMONITOR_HOOK),
    ]  # fmt: skip
    lines = [
        (
            name, f"{number(thread[name])} us", f"{number(process[name])} us",
            f"{number(min(each[0] for each in runs[name]))} us",
            f"{number(max(each[0] for each in runs[name]))} us",
        )
        for name in _OPENED
    ]  # fmt: skip
    head = ("beside it", "loop's thread", "process", "least", "most")
    note = f"a task's whole life, {count:,} tasks that do nothing."
    return Result(rows=rows, detail=[note, table(head, lines)])


class _Rests:
    """Stands before ``time.sleep`` and notes how long a thread works between two."""

    def __init__(self) -> None:
        self.longest = self._last = 0.0
        self._asker: int | None = None
        self._sleep = time.sleep

    def __enter__(self) -> Self:
        time.sleep = self._rest  # type: ignore[assignment]
        return self

    def __exit__(self, *raised: object) -> None:
        time.sleep = self._sleep

    def measured(self, ask: Callable[[], object]) -> tuple[float, float]:
        """Return milliseconds of this thread: all that *ask* takes, and the longest."""
        self.longest, self._asker = 0.0, threading.get_ident()
        started = self._last = time.thread_time()
        ask()
        self._note()
        return (time.thread_time() - started) * 1e3, self.longest * 1e3

    def _note(self) -> None:
        self.longest = max(self.longest, time.thread_time() - self._last)

    def _rest(self, seconds: float) -> None:
        asks = threading.get_ident() == self._asker
        if asks:
            self._note()
        self._sleep(seconds)
        if asks:
            self._last = time.thread_time()


async def _worker(log: logging.Logger, forever: asyncio.Event) -> None:
    log.info("waiting for the end")
    await forever.wait()


async def _ticks(until: Callable[[], bool]) -> list[float]:
    late: list[float] = []
    while len(late) < 2 or not until():
        before = time.perf_counter()
        await asyncio.sleep(TICK_SECONDS)
        late.append((time.perf_counter() - before - TICK_SECONDS) * 1e3)
    return late


async def _in_thread(work: Callable[[], object]) -> list[float]:
    """Return how late the loop is, in milliseconds, while a thread works."""
    thread = threading.Thread(target=work)
    thread.start()
    late = await _ticks(lambda: not thread.is_alive())
    thread.join()
    return late


async def _lists(count: int, times: int) -> Result:
    log = logging.getLogger("benchmark.tasks")
    forever = asyncio.Event()
    asked: dict[str, list[tuple[float, float]]] = {}
    late: dict[str, list[float]] = {}
    async with _installed(ring_records=2 * count) as tasklog:
        tasks = [asyncio.create_task(_worker(log, forever)) for _ in range(count)]
        await asyncio.sleep(0)
        assert await tasklog.aflush()
        with _aiomonitor(hook=False) as monitor, _Rests() as rests:
            questions: dict[str, tuple[Callable[[], object], float]] = {
                NEWEST: (tasklog.live_tasks, 0.0),
                ALL: (lambda: tasklog.live_tasks(limit=None), 0.0),
                AIOMONITOR: (
                    lambda: monitor.format_running_task_list("", False),  # noqa: FBT003
                    0.0,
                ),
                WATCHED: (tasklog.live_tasks, 1.0),
            }
            for name, (ask, pause_seconds) in questions.items():
                found = asked[name] = []
                often = max(times // 6, 1) if pause_seconds else times
                work = functools.partial(_ask, rests, ask, often, found, pause_seconds)
                late[name] = await _in_thread(work)
        seconds = sum([each for each, _ in asked[ALL]]) / 1e3
        late[NOTHING] = await _in_thread(lambda: time.sleep(seconds))
        forever.set()
        await asyncio.wait(tasks)
    return _listed(asked, late, count)


def _ask(
    rests: _Rests,
    ask: Callable[[], object],
    times: int,
    found: list[tuple[float, float]],
    pause_seconds: float,
) -> None:
    for _ in range(times):
        found.append(rests.measured(ask))
        if pause_seconds:
            time.sleep(pause_seconds)


def _listed(
    asked: dict[str, list[tuple[float, float]]],
    late: dict[str, list[float]],
    count: int,
) -> Result:
    spent, longest = (
        {n: statistics.median(each[of] for each in own) for n, own in asked.items()}
        for of in (0, 1)
    )
    rows = [
        Row(
            what=f"{count:,} live tasks, {what}", peer=AIOMONITOR, unit="ms",
            ours=spent[name], theirs=spent[AIOMONITOR],
        )
        for name, what in ((NEWEST, "200 listed"), (ALL, "all listed"))
    ]  # fmt: skip
    lines: list[tuple[str, ...]] = []
    for name, own in late.items():
        cpu = "-" if name == NOTHING else f"{number(spent[name])} ms"
        piece = "-" if name == NOTHING else f"{number(longest[name])} ms"
        p99 = statistics.quantiles(own, n=100)[98]
        lags = (statistics.median(own), p99, max(own))
        lines.append((name, cpu, piece, *(f"{each:.2f} ms" for each in lags)))
    head = ("asked", "CPU", "longest slice", "lag p50", "lag p99", "most lag")
    note = f"{count:,} live tasks, asked for from another thread again and again."
    return Result(rows=rows, detail=[note, table(head, lines)])


def run(scale: Scale) -> Result:
    """Measure both."""
    lives = _lives(scale.pick(BATCH, 20_000, 100_000), scale.pick(1, 5, 15))
    lists = asyncio.run(_lists(scale.pick(100, 10_000, 10_000), scale.pick(3, 20, 60)))
    return Result(
        rows=[*lives.rows, *lists.rows], detail=[*lives.detail, *lists.detail]
    )
