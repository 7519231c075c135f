"""Programs that end, fork, idle and misbehave, each a process of its own."""

from __future__ import annotations

import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from e2e.conftest import ReceiverProcess

    Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.e2e

HUNDRED = """
import logging, os, signal, sys
import otel_tasklog
tasklog = otel_tasklog.install(level="INFO", console=False)
for number in range(100):
    logging.getLogger("ends").info("record %d", number)
"""
BUSY_LOOP = """
signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
signal.setitimer(signal.ITIMER_REAL, 0.05)
while True: pass
"""
ENDINGS = {
    "normal": ("", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "uncaught exception": ("1 / 0", 1),
    "keyboard interrupt": ("signal.raise_signal(signal.SIGINT)", -signal.SIGINT),
    "sigterm": ("signal.raise_signal(signal.SIGTERM)", -signal.SIGTERM),
    "sigterm of a busy loop": (BUSY_LOOP, -signal.SIGTERM),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_program_that_ends_delivers_what_it_logged(
    receiver: ReceiverProcess, run: Run, ending: str
) -> None:
    code, status = ENDINGS[ending]
    done = run(HUNDRED + code, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=receiver.endpoint)
    assert done.returncode == status, done.stderr
    assert receiver.bodies(100) == {f"record {n}": 1 for n in range(100)}


FULL = """
import logging, time
import otel_tasklog
otel_tasklog.install(level="INFO", console=False, exit_timeout_seconds=1.0,
                     buffer_records=3000)
for number in range(5000):
    logging.getLogger("ends").info("record %d", number)
"""


@pytest.mark.parametrize("peer", ["refuses", "never answers"])
def test_a_dead_endpoint_and_a_full_buffer_cost_the_budget_at_most(
    run: Run, peer: str
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if peer == "never answers":
            listener.listen()
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        before = time.monotonic()
        done = run(FULL, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
        took = time.monotonic() - before
    assert done.returncode == 0, done.stderr
    assert took < 4.0  # one second of budget, and the program itself


FORKING = """
import logging, os, sys
import otel_tasklog
tasklog = otel_tasklog.install(level="INFO", console=False)
log = logging.getLogger("forks")
log.info("parent before")
assert tasklog.flush()
log.info("parent pending")
children = []
for number in range(4):
    pid = os.fork()
    if pid == 0:
        assert tasklog.query() == []
        log.info("child %d", number)
        sys.exit(0)
    children.append(pid)
for pid in children:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
log.info("parent after")
"""


def test_forked_children_deliver_their_own_and_nothing_twice(
    receiver: ReceiverProcess, run: Run
) -> None:
    done = run(FORKING, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=receiver.endpoint)
    assert done.returncode == 0, done.stderr
    receiver.wait_for(7)
    assert receiver.bodies(7) == {
        "parent before": 1, "parent pending": 1, "parent after": 1,
        **{f"child {n}": 1 for n in range(4)},
    }  # fmt: skip


CHATTY = """
import logging, sys
logging.basicConfig(level=sys.argv[1] if len(sys.argv) > 1 else "INFO",
                    format="%(name)s %(message)s")
import otel_tasklog
with otel_tasklog.install(level="DEBUG", batch_records=10) as tasklog:
    for number in range(1000):
        logging.getLogger("app").info("record %d", number)
    assert tasklog.flush(20)
    assert tasklog.stats().delivered == 1000, tasklog.stats()
"""


def test_a_hundred_batches_print_no_line_of_ours(
    receiver: ReceiverProcess, run: Run
) -> None:
    """The root logger at DEBUG, where the HTTP client has a line for each request."""
    done = run(CHATTY, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=receiver.endpoint)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines == [f"app record {n}" for n in range(1000)]


IDLE = """
import logging, sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
requests = []
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        requests.append(1)
        self.send_response(200); self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args): pass
server = HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
import otel_tasklog
tasklog = otel_tasklog.install(
    level="DEBUG", console=False, schedule_delay_seconds=0.02,
    endpoint=f"http://127.0.0.1:{server.server_port}")
logging.getLogger("app").debug("the only record")
assert tasklog.flush()
assert requests == [1]
threading.Event().wait(1.0)   # fifty schedule delays
assert requests == [1], requests
assert tasklog.stats().captured == 1, tasklog.stats()
"""


def test_an_idle_program_at_debug_makes_no_request(run: Run) -> None:
    done = run(IDLE)
    assert done.returncode == 0, done.stderr


def test_nothing_warns_under_w_error(receiver: ReceiverProcess, run: Run) -> None:
    done = run(
        HUNDRED, flags=("-W", "error", "-X", "dev"),
        OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=receiver.endpoint,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert receiver.bodies(100).total() == 100
