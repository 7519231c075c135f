"""Programs that fork: nothing is lost, doubled or shared, and no child hangs."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from e2e.conftest import ReceiverProcess

    Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
]

FORKS = 300
RECORDS = 5

# The parent exports all the time, in batches of what three threads log meanwhile.
# A child that hung would be killed by its alarm.
LOADED = f"""
import gc, logging, os, signal, sys, threading
import otel_tasklog

gc.freeze()  # so that the end of a child is cheap
tasklog = otel_tasklog.install(
    level="INFO", schedule_delay_seconds=0.01, exit_timeout_seconds=20.0)
log = logging.getLogger("forks")
stop = threading.Event()
logged = [0, 0, 0]

def chatter(number):
    while not stop.wait(0.005):
        log.info("thread %d %d", number, logged[number])
        logged[number] += 1

threads = [threading.Thread(target=chatter, args=(n,)) for n in range(3)]
for thread in threads:
    thread.start()
statuses, children = [], []
for number in range({FORKS}):
    pid = os.fork()
    if not pid:
        signal.alarm(30)
        for k in range({RECORDS}):
            log.info("child %d %d", number, k)
        sys.exit(0)
    children.append(pid)
    if len(children) >= 4:
        statuses.append(os.waitpid(children.pop(0), 0)[1])
statuses += [os.waitpid(pid, 0)[1] for pid in children]
stop.set()
for thread in threads:
    thread.join()
tasklog.close()
stats = tasklog.stats()
print(statuses.count(0), *logged, stats.delivered, stats.dropped + stats.rejected)
"""


@pytest.mark.timeout(120)
def test_forks_under_load_lose_and_double_nothing_and_hang_no_child(
    receiver: ReceiverProcess, run: Run
) -> None:
    done = run(
        LOADED, timeout=100, flags=("-W", "ignore::DeprecationWarning"),
        OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=receiver.endpoint,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    lived, *logged, delivered, lost = map(int, done.stdout.split())
    assert lived == FORKS
    assert (delivered, lost) == (sum(logged), 0)
    expected = Counter(
        f"thread {number} {n}" for number in range(3) for n in range(logged[number])
    )
    expected.update(f"child {n} {k}" for n in range(FORKS) for k in range(RECORDS))
    assert Counter(record["body"] for record in receiver.close()) == expected


IDLE = """
import logging, os, sys, threading
import otel_tasklog

tasklog = otel_tasklog.install(level="INFO")
log = logging.getLogger("forks")
for number in range(20):
    log.info("parent %d", number)
    assert tasklog.flush()
    for again in range(3):          # the first parks the worker, the others find none
        pid = os.fork()             # a warning would be raised here
        if not pid:
            assert tasklog.query() == []
            log.info("child %d %d", number, again)
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
if sys.platform == "linux":
    assert len(os.listdir("/proc/self/task")) == 1
"""


def test_a_fork_beside_an_idle_worker_gives_no_warning(
    receiver: ReceiverProcess, run: Run
) -> None:
    """From Python 3.12 on it warns of threads, and here a warning is an error."""
    done = run(
        IDLE, flags=("-W", "error::DeprecationWarning"),
        OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=receiver.endpoint,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    expected = {f"parent {n}": 1 for n in range(20)}
    expected |= {f"child {n} {k}": 1 for n in range(20) for k in range(3)}
    assert Counter(record["body"] for record in receiver.close()) == expected


IMPORTS = """
import logging, sys
import otel_tasklog
tasklog = otel_tasklog.install(level="INFO")
before = set(sys.modules)
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("forks").exception("bad", extra={"a": [1, {"b": 2.0}]})
assert tasklog.flush()
print(*(set(sys.modules) - before))
"""


def test_our_threads_import_nothing(receiver: ReceiverProcess, run: Run) -> None:
    """A fork in the middle of an import leaves half of a module to the child."""
    done = run(IMPORTS, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=receiver.endpoint)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


PENDING = """
import logging, os, sys
import otel_tasklog
tasklog = otel_tasklog.install(level="INFO", schedule_delay_seconds=60.0)
log = logging.getLogger("forks")
log.info("parent pending")
pid = os.fork()
if not pid:
    assert tasklog.query() == []
    assert tasklog.stats().captured == 0
    log.info("child")
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
log.info("parent after")
"""


def test_what_the_parent_has_to_send_the_parent_sends(
    receiver: ReceiverProcess, run: Run
) -> None:
    done = run(
        PENDING, flags=("-W", "ignore::DeprecationWarning"),
        OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=receiver.endpoint,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    bodies = [record["body"] for record in receiver.close()]
    assert sorted(bodies) == ["child", "parent after", "parent pending"]


IN_A_HANDLER = """
import logging, os, signal, sys
import otel_tasklog
tasklog = otel_tasklog.install(level="INFO", schedule_delay_seconds=0.0)
log = logging.getLogger("forks")
children = []

def fork(*_):
    pid = os.fork()
    if not pid:
        log.info("child %d", len(children))
        tasklog.close()
        os._exit(0)
    children.append(pid)
    if len(children) < 20:
        signal.setitimer(signal.ITIMER_REAL, 0.005)

signal.signal(signal.SIGALRM, fork)
signal.setitimer(signal.ITIMER_REAL, 0.005)
logged = 0
while len(children) < 20:           # wherever it is interrupted: in a log call, in a
    log.info("parent %d", logged)   # count that holds the worker's lock
    tasklog.stats()
    logged += 1
statuses = [os.waitpid(pid, 0)[1] for pid in children]
print(statuses.count(0), logged)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer")
def test_a_signal_handler_may_fork_wherever_it_interrupts(
    receiver: ReceiverProcess, run: Run
) -> None:
    done = run(
        IN_A_HANDLER, flags=("-W", "ignore::DeprecationWarning"),
        OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=receiver.endpoint,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lived, logged = map(int, done.stdout.split())
    assert lived == 20
    found = Counter(record["body"] for record in receiver.close())
    children = {body for body in found if body.startswith("child")}
    assert (len(children), max(found.values())) == (20, 1), done.stderr
    assert found.total() <= logged + 20  # a loop that never waits may fill the buffer
