"""Programs whose event loop is blocked: the record arrives, and names the line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.conftest import ReceiverProcess

    Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop"),
]

by_loop = pytest.mark.parametrize("package", ["asyncio", "uvloop"])

SLEEPS = """
import asyncio, logging, sys, time
import uvloop
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
import otel_tasklog

reader = InMemoryMetricReader()
tasklog = otel_tasklog.install(
    level="INFO", console=False, meter_provider=MeterProvider([reader]))
log = logging.getLogger("shop")

def charge():
    time.sleep(1)  # the line

async def order():
    with otel_tasklog.task("order-7", attributes={"tenant": "acme"}):
        log.info("begins")
        charge()
        log.info("ends")

async def main():
    log.info("starts")
    await asyncio.create_task(order(), name="shopper")
    await asyncio.sleep(0.5)  # so long it may take until it is said
    stats = tasklog.stats()
    [lag] = [
        point.max
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics if metric.name == "otel_tasklog.event_loop.lag"
        for point in metric.data.data_points
    ]
    print(stats.loop_lag_seconds, stats.live_tasks, lag)
    print(len(tasklog.query("logger:otel_tasklog.watchdog")))

{package}.run(main())
"""


@by_loop
def test_a_task_that_sleeps_has_the_line_in_its_log(
    receiver: ReceiverProcess, run: Run, package: str
) -> None:
    text = SLEEPS.replace("{package}", package)
    done = run(text, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=receiver.endpoint)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    lag, tasks, measured = map(float, first.split())
    assert 0.7 < lag < 10
    assert 0.7 < measured < 10
    assert (tasks, second) == (1.0, "1")
    records = {record["body"]: record for record in receiver.close()}
    [said] = [body for body in records if "blocked the event loop" in body]
    record, attributes = records[said], records[said]["attributes"]
    assert said.startswith("task order-7 blocked the event loop for ")
    assert record["severity_text"] == "WARNING"
    assert attributes["task_id"] == "order-7"
    assert attributes["tenant"] == "acme"
    begins = records["begins"]["attributes"]
    for same in ("asyncio.task.id", "asyncio.task.name", "asyncio.task.parent_id"):
        assert attributes.get(same) == begins.get(same)
    line = 1 + next(n for n, each in enumerate(text.splitlines()) if "the line" in each)
    assert attributes["code.file.path"].endswith("program.py")
    assert attributes["code.function.name"] == "charge"
    assert int(attributes["code.line.number"]) == line
    assert "in order\n" in attributes["code.stacktrace"]
    assert attributes["event.name"] == "event_loop.blocked"
    # A loop at rest is looked at eight times a second.
    assert 0.8 < float(attributes["duration_seconds"]) < 10


FOR_EVER = """
import asyncio, logging, time
import otel_tasklog
otel_tasklog.install(level="INFO", console=False, schedule_delay_seconds=0.05)

async def main():
    logging.getLogger("shop").info("starts")
    while True:
        time.sleep(60)

asyncio.run(main())
"""


def test_a_block_that_never_ends_is_said_before_the_process_is_killed(
    receiver: ReceiverProcess, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(FOR_EVER)
    environ = {**os.environ, "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": receiver.endpoint}
    process = subprocess.Popen([sys.executable, str(program)], env=environ)
    records = receiver.wait_for(2)
    process.kill()
    process.wait(10)
    assert records[0]["body"] == "starts"
    assert "has blocked the event loop for" in records[1]["body"]
    assert records[1]["attributes"]["event.name"] == "event_loop.blocking"


STOPPED = """
import asyncio, time
import otel_tasklog

async def main():
    tasklog = otel_tasklog.install(
        level="INFO", exporter=None, console=False, blocked_after_seconds=1.0)
    await asyncio.sleep(0.5)
    time.sleep(0.4)                # not for too long
    print("stop me", flush=True)
    time.sleep(0.2)
    await asyncio.sleep(0.5)
    print(len(tasklog.query()), tasklog.stats().loop_lag_seconds, flush=True)

asyncio.run(main())
"""


def test_a_process_that_is_stopped_for_a_while_blames_nobody(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(STOPPED)
    process = subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "stop me\n"
    process.send_signal(signal.SIGSTOP)
    threading.Event().wait(2.0)  # what is tested is that this counts for nothing
    process.send_signal(signal.SIGCONT)
    said, lag = process.stdout.readline().split()
    process.stdout.close()
    assert process.wait(10) == 0
    assert said == "0"
    assert 0.1 < float(lag) < 1.0


FORKS = """
import asyncio, logging, os, time
import otel_tasklog

tasklog = otel_tasklog.install(level="INFO", exporter=None, console=False)
log = logging.getLogger("forks")

async def main():
    log.info("parent")
    for number in range(10):
        await asyncio.sleep(0.01)
        while tasklog.stats().loop_lag_seconds is None:  # no loop is known yet
            await asyncio.sleep(0.01)
        tasklog.flush()
        pid = os.fork()             # a warning would be raised here
        if not pid:
            time.sleep(0.6)         # in the step of the parent's task
            log.info("child")
            assert [record.message for record in tasklog.query()] == ["child"]
            assert tasklog.stats().loop_lag_seconds is None
            os._exit(0)
        pids.append(pid)

pids = []
asyncio.run(main())
assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * len(pids)
tasklog.close()
"""


def test_a_fork_in_a_coroutine_gives_no_warning_and_its_child_no_record(
    run: Run,
) -> None:
    """The child is in a step of a task whose loop does not run there."""
    done = run(FORKS, flags=("-W", "error::DeprecationWarning"))
    assert (done.returncode, done.stderr) == (0, "")
