"""``otel-tasklog receive`` as a process: who leaves does not take it along."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from otel_tasklog import Config, TaskLog

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.e2e


@contextlib.contextmanager
def receiver() -> Generator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "otel_tasklog", "receive", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            yield process, process.stderr.readline().split("listening on ")[1].strip()
        finally:
            process.kill()


def log_once(endpoint: str, message: str) -> bool:
    tasklog = TaskLog(Config(endpoint=endpoint))
    record = logging.makeLogRecord({"name": "app", "msg": message})
    tasklog.handler.handle(record)
    delivered = tasklog.flush(10)
    tasklog.close(0)
    return delivered


def test_clients_that_hang_up_before_their_answer_do_not_end_it() -> None:
    request = (
        b"POST /v1/logs HTTP/1.1\r\nHost: a\r\n"
        b"Content-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
    )
    with receiver() as (process, endpoint):
        port = int(endpoint.rsplit(":", 1)[1].partition("/")[0])
        for _ in range(100):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(request * 40)
                gone = struct.pack("ii", 1, 0)  # a reset, at once
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, gone)
        assert log_once(endpoint, "still there")
        assert process.stdout is not None
        assert "still there" in process.stdout.readline()
        process.terminate()
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_a_closed_pipe_ends_it_quietly() -> None:
    with receiver() as (process, endpoint):
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # as `| head -1` does
        log_once(endpoint, "to nobody")
        assert process.wait(10) == 0
        assert process.stderr.read() == ""
