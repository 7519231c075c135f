"""A program that logs on, whoever reads: with us, the official handler, or neither.

``python -m e2e.readers.program '{"rate": 20000, "settings": {"exporter": null}}'`` does one thing for each line of its input, and answers in a line of JSON; `Job` says
what it is told, `Look` what it tells:

* ``look``: what there was since the last look;
* ``log 1000``: logs so many records at once, then looks;
* the end of its input: delivers, looks for the last time, and ends.

Lag is measured as ``tests/benchmarks/lag.py`` does: one coroutine logs at the rate, a
few records each millisecond; another sleeps a millisecond again and again, and notes
how much later than that it ran.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import otel_tasklog

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["OURS", "Job", "Look"]

OURS: Final = "ours"
TICK_SECONDS: Final = 0.001
MOST_AT_ONCE: Final = 200
FLUSH_SECONDS: Final = 60.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What the program is to do.

    Attributes:
        pipeline: `OURS`, which is `otel_tasklog.install` as it comes, or one of
            ``tests/benchmarks/pipelines.py``.
        ports: Of the sink of that, for HTTP and gRPC.
        rate: Records a second; 0: it logs when it is told to.
        settings: For `otel_tasklog.install`.
    """

    pipeline: str = OURS
    ports: tuple[int, int] = (0, 0)
    rate: int = 0
    settings: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """What there was since the last look.

    Attributes:
        logged: Records since the start.
        rate: Records a second.
        p50_ms: How late the ticker was, in the middle.
        p99_ms: The 99th percentile of it.
        worst_call_ms: The longest log call.
        cpu_percent: Of one core, all threads of the process.
        stats: Ours, since the start.
    """

    logged: int
    rate: float
    p50_ms: float
    p99_ms: float
    worst_call_ms: float
    cpu_percent: float
    stats: dict[str, Any]


class _Program:
    """Logs, and looks at itself."""

    def __init__(
        self, log: logging.Logger, stats: Callable[[], dict[str, Any]]
    ) -> None:
        self._log = log
        self._stats = stats
        self._logged = 0
        self._begin()

    def _begin(self) -> None:
        self._late: list[float] = []
        self._worst = 0.0
        self._before = self._logged
        self._started, self._cpu = time.perf_counter(), time.process_time()

    def log(self, count: int) -> None:
        for number in range(self._logged, self._logged + count):
            before = time.perf_counter()
            self._log.info(
                "task %d step %s", number, "x", extra={"user": "u-17", "amount": number}
            )
            self._worst = max(self._worst, time.perf_counter() - before)
        self._logged += count

    async def log_at(self, rate: int) -> None:
        started, first = time.perf_counter(), self._logged
        while True:
            due = int((time.perf_counter() - started) * rate) - (self._logged - first)
            self.log(min(due, MOST_AT_ONCE))
            await asyncio.sleep(TICK_SECONDS)

    async def tick(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(TICK_SECONDS)
            self._late.append(time.perf_counter() - before - TICK_SECONDS)

    def look(self) -> Look:
        spent = time.perf_counter() - self._started
        late = self._late if len(self._late) > 1 else [0.0, 0.0]
        look = Look(
            logged=self._logged,
            rate=(self._logged - self._before) / spent,
            p50_ms=statistics.median(late) * 1e3,
            p99_ms=statistics.quantiles(late, n=100)[98] * 1e3,
            worst_call_ms=self._worst * 1e3,
            cpu_percent=(time.process_time() - self._cpu) / spent * 100,
            stats=self._stats(),
        )
        self._begin()
        return look


Opened = tuple[logging.Logger, "Callable[[], dict[str, Any]]", "Callable[[], object]"]


@contextlib.contextmanager
def _opened(job: Job) -> Generator[Opened]:
    """Yield a logger, what its books say, and what settles them."""
    if job.pipeline == OURS:
        with otel_tasklog.install(
            service_name="readers", level="INFO", **job.settings
        ) as tasklog:
            yield (
                logging.getLogger("readers"),
                lambda: dataclasses.asdict(tasklog.stats()),
                lambda: tasklog.flush(FLUSH_SECONDS),
            )
        return
    from pipelines import open_pipeline
    from sink import Sink

    with open_pipeline(job.pipeline, Sink(*job.ports)) as line:
        yield line.log, dict, line.settle


def _say(look: Look) -> None:
    print(json.dumps(dataclasses.asdict(look)), flush=True)  # noqa: T201


async def _obey(program: _Program, rate: int) -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    going = [
        asyncio.create_task(program.log_at(rate)),
        asyncio.create_task(program.tick()),
    ]
    if not rate:
        for each in going:
            each.cancel()
    async for line in lines:
        if line.startswith(b"log"):
            program.log(int(line.split()[1]))
        _say(program.look())
    for each in going:
        each.cancel()
    await asyncio.gather(*going, return_exceptions=True)


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    with _opened(job) as (log, stats, settle):
        program = _Program(log, stats)
        asyncio.run(_obey(program, job.rate))
        settle()
        _say(program.look())


if __name__ == "__main__":
    main()
