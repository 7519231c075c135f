"""Runs the official Collector with the configuration that we ship."""

from __future__ import annotations

import contextlib
import os
import random
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from e2e.faults.producer import Job
from e2e.faults.running import start

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

__all__ = [
    "BOTH",
    "CONFIG",
    "GRPC",
    "HTTP",
    "QUEUE",
    "REFUSED",
    "ROOT",
    "SENT",
    "SIGNALS",
    "Collector",
    "needs_collector",
    "running_collector",
    "running_producer",
    "validate",
]

# Read now: while a test runs, the environment is clean of OTEL_ variables.
BINARY: Final = os.environ.get("OTEL_TASKLOG_COLLECTOR", "")

needs_collector: Final = pytest.mark.skipif(
    not BINARY,
    reason="OTEL_TASKLOG_COLLECTOR is not set; to enable, where there is Go: "
    "export OTEL_TASKLOG_COLLECTOR=$(.ci/collector/build)",
)

ROOT: Final = Path(__file__).parents[3]
CONFIG: Final = ROOT / "collector-config.yaml"
SIGNALS: Final = ROOT / "docs/deploy/collector-signals.yaml"
HTTP: Final = "http/protobuf"
GRPC: Final = "grpc"
BOTH: Final = (HTTP, GRPC)
START_SECONDS: Final = 20.0
END_SECONDS: Final = 20.0
PORTS: Final = range(20_000, 32_000)
"""Below those that a system gives to clients: one of them could take the port of a
Collector that was killed and is to come back."""

QUEUE: Final = "otelcol_exporter_queue_size"
"""What is not delivered yet, whether it waits or is on its way."""

REFUSED: Final = "otelcol_receiver_refused_log_records"
SENT: Final = "otelcol_exporter_sent_log_records"
SAMPLE: Final = re.compile(r"^(otelcol_\w+)(?:\{.*\})? (\S+)", re.MULTILINE)


def _command(*verb: str, configs: Sequence[Path]) -> list[str]:
    """Return the command that has a Collector merge these files."""
    return [BINARY, *verb, *(f"--config={path}" for path in configs)]


def _environ(variables: dict[str, str]) -> dict[str, str]:
    """Return the environment for a Collector that has these variables of ours alone."""
    others = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OTEL") and not name.upper().endswith("_PROXY")
    }
    return others | variables


def validate(
    configs: Sequence[Path] = (CONFIG,), /, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Have a Collector look at these files, with these variables."""
    return subprocess.run(
        _command("validate", configs=configs),
        capture_output=True, text=True, check=False, env=_environ(variables),
    )  # fmt: skip


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            probe = held.enter_context(socket.socket())
            port = random.choice(PORTS)  # noqa: S311 - two runs are not to meet
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                ports.append(port)
        return ports


class Collector:
    """A Collector in another process; it can be killed and started again.

    What makes it differ from the one that a user runs are variables that the
    configuration names.

    Args:
        directory: For its queue and what it says.
        loki: Where it finds a Loki.
        configs: What it reads.

    Attributes:
        endpoints: Where it listens, by protocol.
    """

    def __init__(self, directory: Path, loki: str, configs: Sequence[Path]) -> None:
        self._command = _command(configs=configs)
        self._said = directory / "collector.log"
        http, grpc, self._health, self._metrics = _free_ports(4)
        self.endpoints = {
            HTTP: f"http://127.0.0.1:{http}",
            GRPC: f"http://127.0.0.1:{grpc}",
        }
        self._variables = {
            "OTELCOL_LOKI_ENDPOINT": f"{loki}/otlp",
            "OTELCOL_QUEUE_DIRECTORY": str(directory / "queue"),
            "OTELCOL_HTTP_PORT": str(http),
            "OTELCOL_GRPC_PORT": str(grpc),
            "OTELCOL_HEALTH_PORT": str(self._health),
            "OTELCOL_METRICS_PORT": str(self._metrics),
        }

    def start(self, **variables: str) -> None:
        """Start it, with more variables; return when it says that it is healthy."""
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                self._command,
                stdout=said, stderr=said, env=_environ(self._variables | variables),
            )  # fmt: skip
        self._wait("it is healthy", lambda: self.health() == 200, START_SECONDS)

    def kill(self) -> None:
        """Kill it in the middle of whatever it does."""
        self._process.kill()
        self._process.wait()

    def close(self) -> int:
        """End it in good order; return how it ended."""
        self._process.terminate()
        return self._process.wait(END_SECONDS)

    def health(self) -> int | None:
        """Return the status of its health check; None if nobody answers."""
        try:
            return _get(self._health, "/")[0]
        except OSError:
            return None

    def metrics(self) -> dict[str, float]:
        """Return its own metrics by name, each the sum of all that have this name."""
        found: dict[str, float] = {}
        for name, value in SAMPLE.findall(_get(self._metrics, "/metrics")[1]):
            found[name] = found.get(name, 0.0) + float(value)
        return found

    def wait_for(
        self, name: str, holds: Callable[[float], bool], seconds: float = 30.0
    ) -> None:
        """Wait until the value of a metric, 0 as long as there is none, is so.

        Raises:
            TimeoutError: It was not.
        """
        self._wait(name, lambda: holds(self.metrics().get(name, 0.0)), seconds)

    def _wait(self, what: str, holds: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() >= deadline or self._process.poll() is not None:
                said = self._said.read_text()
                raise TimeoutError(f"not within {seconds} s: {what}\n{said}")
            time.sleep(0.02)


def _get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as got:
            return got.status, got.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


@contextlib.contextmanager
def running_collector(
    directory: Path, loki: str, configs: Sequence[Path] = (CONFIG,), /, **variables: str
) -> Generator[Collector]:
    """Run a Collector for the length of the block, or until it is closed before."""
    collector = Collector(directory, loki, configs)
    try:
        collector.start(**variables)
        yield collector
    finally:
        collector.kill()


@contextlib.contextmanager
def running_producer(
    collector: Collector, protocol: str, *, records: int, rate: float = 0.0
) -> Generator[subprocess.Popen[str]]:
    """Run a producer for the length of the block, or until it is finished before."""
    job = Job(
        name="producer", endpoint=collector.endpoints[protocol], protocol=protocol,
        records=records, rate=rate, flush_seconds=40.0,
    )  # fmt: skip
    with start(job) as producer:
        try:
            yield producer
        finally:
            producer.kill()
