"""Flushes of every kind, with nobody there to take anything, and all that log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from e2e.conftest import free_port

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.e2e

FLUSHING = """
import asyncio, json, logging, sys, time
import otel_tasklog
from opentelemetry.sdk._logs import LoggerProvider

logging.basicConfig(level="DEBUG", stream=sys.stdout)  # what others say, too
protocol, endpoint = sys.argv[1:]
tasklog = otel_tasklog.install(
    level="DEBUG", protocol=protocol, endpoint=endpoint, exit_timeout_seconds=0.5
)
processor = otel_tasklog.TaskLogProcessor(tasklog)
provider = LoggerProvider(shutdown_on_exit=False)
provider.add_log_record_processor(processor)
log = logging.getLogger("app")
ways = {
    "flush": lambda: tasklog.flush(1.0),
    "aflush": lambda: asyncio.run(tasklog.aflush(1.0)),
    "force_flush": lambda: provider.force_flush(1000),
}
found = {}
for name, flush in ways.items():
    for number in range(1000):
        log.debug("%s %d", name, number)
    before = time.monotonic()
    found[name] = flush(), time.monotonic() - before
stats = tasklog.stats()
print(json.dumps([found, stats.accepted, stats.pending]), file=sys.stderr)
tasklog.close()
"""


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_flush_of_any_kind_returns_in_time_and_says_no(
    run: Run, protocol: str
) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    program = FLUSHING.replace("sys.argv[1:]", repr([protocol, endpoint]))
    done = run(program, timeout=60)
    assert done.returncode == 0, done.stderr
    [line] = [each for each in done.stderr.splitlines() if each.startswith("[{")]
    found, accepted, pending = json.loads(line)
    assert set(found) == {"flush", "aflush", "force_flush"}
    for whole, took in found.values():
        assert whole is False
        assert took < 5.0
    # asyncio has a line of its own; what the attempts make others say is not there.
    assert accepted == pending
    assert 3_000 <= accepted < 3_005
