"""Real peers, in processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def runtime_directory(
    _clean_environment: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Programs have access points, as they would elsewhere, in a place of their own.

    Its path is short, as that of a socket has to be.
    """
    with tempfile.TemporaryDirectory(prefix="tasklog-") as directory:
        monkeypatch.delenv("OTEL_TASKLOG_ATTACH")
        monkeypatch.delenv("OTEL_TASKLOG_BLOCKED_AFTER_SECONDS")
        monkeypatch.setenv("OTEL_TASKLOG_RUNTIME_DIR", directory)
        yield Path(directory)


class ReceiverProcess:
    """``otel-tasklog receive --json`` in another process; what it printed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "otel_tasklog", "receive", "--json", "--port", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        assert "listening on " in line, line
        self.endpoint = line.split("listening on ")[1].strip()
        self.records: list[dict[str, Any]] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            record = json.loads(line)
            with self._more:
                self.records.append(record)
                self._more.notify_all()

    def wait_for(self, count: int, seconds: float = 30.0) -> list[dict[str, Any]]:
        """Return the records once there are *count*, or what there is by then."""
        with self._more:
            self._more.wait_for(lambda: len(self.records) >= count, seconds)
            return self.records.copy()

    def bodies(self, count: int) -> Counter[str]:
        return Counter(record["body"] for record in self.wait_for(count))

    def close(self) -> list[dict[str, Any]]:
        """End it; return all that it ever printed."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(10)
        self._reader.join()
        assert self._process.stderr is not None
        assert self._process.stdout is not None
        self._process.stderr.close()
        self._process.stdout.close()
        return self.records


@pytest.fixture
def receiver() -> Iterator[ReceiverProcess]:
    process = ReceiverProcess()
    yield process
    process.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@pytest.fixture
def rotel(receiver: ReceiverProcess, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A collector nobody here wrote, forwarding to the receiver; where, by protocol."""
    module = pytest.importorskip(
        "rotel", reason="rotel is not installed; to enable: pip install -e '.[test]'"
    )
    agent = Path(module.__file__).with_name("rotel-agent")
    if subprocess.run(
        [agent, "--version"], capture_output=True, check=False
    ).returncode:
        pytest.skip(
            "rotel-agent of this wheel needs libpython as a shared library, which "
            "this Python has not; to enable: run the tests on another build of Python"
        )
    port, grpc_port = free_port(), free_port()
    with (tmp_path / "rotel.log").open("w") as log:
        process = subprocess.Popen(
            [
                agent, "start",
                "--otlp-http-endpoint", f"127.0.0.1:{port}",
                "--otlp-grpc-endpoint", f"127.0.0.1:{grpc_port}",
                # Where it splits a batch of its own, this version loses the resource
                # of the second part, whoever sent it; so it never has to.
                "--logs-batch-max-size", "32768",
                "--exporter", "otlp",
                "--otlp-exporter-protocol", "http",
                "--otlp-exporter-endpoint", receiver.endpoint.removesuffix("/v1/logs"),
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
    started = threading.Event()
    for _ in range(500):
        if listens(port) and listens(grpc_port):
            break
        started.wait(0.02)
    else:
        pytest.fail(f"rotel did not start: {(tmp_path / 'rotel.log').read_text()}")
    yield {
        "http/protobuf": f"http://127.0.0.1:{port}",
        "grpc": f"http://127.0.0.1:{grpc_port}",
    }
    process.terminate()
    process.wait(10)


@pytest.fixture
def run(
    tmp_path: Path,
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program text in another process; its result."""

    def run(
        text: str, *, timeout: float = 30, flags: tuple[str, ...] = (), **environ: str
    ) -> subprocess.CompletedProcess[str]:
        program = tmp_path / "program.py"
        program.write_text(text)
        return subprocess.run(
            [sys.executable, *flags, str(program)],
            capture_output=True, text=True, check=False, timeout=timeout,
            env={**os.environ, **environ},
        )  # fmt: skip

    return run
