"""A program that forks while it sends over gRPC: its children live, and send too."""

from __future__ import annotations

import os
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from otlp_peers import GrpcPeer

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    import grpc
    from otlp_peers import Request

    Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
]

FORKS = 20

# gRPC says on stderr when a fork comes in the middle of a call, and does not prepare
# for it. Some of the children end by the interpreter, and some as those of
# multiprocessing do.
PROGRAM = """
import logging, os, sys, threading
import otel_tasklog

tasklog = otel_tasklog.install(
    level="INFO", console=False, schedule_delay_seconds=0.0, exit_timeout_seconds=10.0
)
log = logging.getLogger("forks")
log.info("first")
tasklog.flush()
stop = threading.Event()
logged = 0

def chatter():
    global logged
    while not stop.wait(0.0005):
        log.info("parent %d", logged)
        logged += 1

thread = threading.Thread(target=chatter)
thread.start()
statuses = []
for number in range(FORKS):
    pid = os.fork()
    if not pid:
        log.info("child %d", number)
        if number % 2:
            tasklog.flush(10)
            os._exit(0)
        sys.exit(0)
    statuses.append(os.waitpid(pid, 0)[1])
stop.set()
thread.join()
log.info("last")
tasklog.close()
print(statuses.count(0), logged, tasklog.stats().delivered)
""".replace("FORKS", str(FORKS))


def test_children_of_a_busy_program_deliver_theirs_and_nothing_twice(run: Run) -> None:
    with GrpcPeer() as peer:
        done = run(
            PROGRAM,
            OTEL_EXPORTER_OTLP_ENDPOINT=peer.endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        )
        assert done.returncode == 0, done.stderr
        seen = Counter(peer.requests.bodies)
    assert "skipping fork()" not in done.stderr
    lived, logged, delivered = map(int, done.stdout.split())
    assert lived == FORKS
    assert delivered == logged + 2
    expected = {"first", "last"} | {f"parent {n}" for n in range(logged)}
    assert seen == dict.fromkeys(expected | {f"child {n}" for n in range(FORKS)}, 1)


HELD = """
import logging, os, time
import otel_tasklog

tasklog = otel_tasklog.install(
    level="INFO", console=False, schedule_delay_seconds=0.0, exit_timeout_seconds=10.0
)
log = logging.getLogger("forks")
log.info("parent")
while not os.path.exists(os.environ["ARRIVED"]):
    time.sleep(0.001)
before = time.monotonic()
pid = os.fork()
if not pid:
    log.info("child")
    tasklog.close()
    os._exit(0)
print(os.waitpid(pid, 0)[1], time.monotonic() - before < 5.0)
tasklog.close()
"""


def test_a_fork_does_not_wait_for_a_receiver_that_does_not_answer(
    run: Run, tmp_path: Path
) -> None:
    arrived = tmp_path / "arrived"
    cancelled = threading.Event()

    def decide(_: Request, call: grpc.ServicerContext) -> bytes:
        if not arrived.exists():
            call.add_callback(cancelled.set)
            arrived.touch()
            cancelled.wait(20)
        return b""

    with GrpcPeer() as peer:
        peer.decide = decide
        done = run(
            HELD,
            ARRIVED=str(arrived),
            OTEL_EXPORTER_OTLP_ENDPOINT=peer.endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        )
        assert done.returncode == 0, done.stderr
        assert cancelled.is_set()
        seen = Counter(peer.requests.bodies)
    assert "skipping fork()" not in done.stderr
    assert done.stdout.split() == ["0", "True"]
    assert seen == {"parent": 2, "child": 1}  # it was cancelled, and sent again


# What a failure leaves behind, a connection and a channel, is given up in gRPC's own
# threads.
FAILING = """
import os, sys, threading
from otel_tasklog import Config
from otel_tasklog.delivery._grpc import GrpcSender
from otel_tasklog.delivery._senders import Accepted

def sender_to(endpoint):
    return GrpcSender(Config(protocol="grpc", endpoint=endpoint, timeout_seconds=5.0))

failing = sender_to("http://127.0.0.1:1")
stop = threading.Event()

def chatter():
    while not stop.wait(0.0005):
        failing.send(b"")

thread = threading.Thread(target=chatter)
thread.start()
statuses = []
for number in range(FORKS):
    pid = os.fork()
    if not pid:
        child = sender_to(os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"])
        outcome = child.send(b"")
        child.close()
        os._exit(outcome != Accepted())
    statuses.append(os.waitpid(pid, 0)[1])
stop.set()
thread.join()
failing.close()
print(statuses.count(0))
""".replace("FORKS", str(FORKS))


def test_children_of_a_program_whose_receiver_is_down_can_send(run: Run) -> None:
    with GrpcPeer() as peer:
        done = run(FAILING, OTEL_EXPORTER_OTLP_ENDPOINT=peer.endpoint)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(FORKS)]
    assert len(peer.requests) == FORKS
