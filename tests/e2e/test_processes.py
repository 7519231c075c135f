"""Programs that chatter, idle and are strict, each a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from e2e.conftest import ReceiverProcess

    Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.e2e

HUNDRED = """
import logging
import otel_tasklog
tasklog = otel_tasklog.install(level="INFO", console=False)
for number in range(100):
    logging.getLogger("app").info("record %d", number)
"""
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
