"""Programs that end by an exception which nobody catches: its record arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from e2e.conftest import ReceiverProcess

pytestmark = pytest.mark.e2e

INSTALL = """
import asyncio, logging, signal, threading
import otel_tasklog
otel_tasklog.install(level="INFO", console=False, uncaught=True,
                     schedule_delay_seconds=600.0)
logging.getLogger("shop").info("before")
"""
ENDS = {
    "in the main thread": ("1 / 0", "uncaught exception"),
    "in a coroutine": (
        "async def main(): 1 / 0\nasyncio.run(main())", "uncaught exception",
    ),
    "in a thread": (
        "threading.Thread(target=lambda: 1 / 0, name='packer').start()",
        "uncaught exception in the thread 'packer'",
    ),
    "by Ctrl-C": ("signal.raise_signal(signal.SIGINT)", None),
}  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_the_exception_that_ends_a_program_arrives(
    receiver: ReceiverProcess,
    run: Callable[..., subprocess.CompletedProcess[str]],
    end: str,
) -> None:
    code, body = ENDS[end]
    done = run(INSTALL + code, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=receiver.endpoint)
    records = receiver.close()
    assert records[0]["body"] == "before"
    assert [record["body"] for record in records[1:]] == ([body] if body else [])
    for record in records[1:]:
        assert record["severity_text"] == "CRITICAL"
        assert record["attributes"]["exception.type"] == "ZeroDivisionError"
        assert done.stderr.count("ZeroDivisionError") == 1  # by Python itself
