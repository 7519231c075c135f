"""A secret is found nowhere: each shape of one, in each place that shows records."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from e2e.conftest import free_port
from otlp_peers import GrpcPeer, HttpPeer, Relay
from planted_secrets import NAMES, found
from telnet_client import Telnet

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = pytest.mark.e2e

TESTS = str(Path(__file__).parents[1])
SHAPES = set(NAMES)
OWN_KEY = "Sffff9999eeee8888"
"""What the receiver asks of us. It is sent, and not shown."""
HARMLESS = b"[redacted]"

# Plants all secrets twice: for queries before the worker has seen any record, and
# after it. Python's own words on an exception that nobody catches are not ours.
PROGRAM = """
import asyncio, logging, sys, threading
import otel_tasklog, planted_secrets
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor

class Planted(Exception):
    pass

threading.excepthook = lambda args: None
logging.getLogger("otel_tasklog").addHandler(logging.StreamHandler())
sys.excepthook = lambda kind, *more: kind is Planted or sys.__excepthook__(kind, *more)
exporter = InMemoryLogRecordExporter()
provider = LoggerProvider(shutdown_on_exit=False)
provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
settings = dict(
    level="DEBUG", loggers=["", "uvicorn"], uncaught=True, console=False,
    redact_patterns=otel_tasklog.SECRET_PATTERNS,
    include=["asyncio", "code", "thread", "process"], headers={"x-api-key": "OWN_KEY"},
    schedule_delay_seconds=60, spool_interval_seconds=60, exit_timeout_seconds=1,
)
tasklog = otel_tasklog.install(**settings | SETTINGS)
secret = planted_secrets.NAMES["exception"]

def show(when):
    for record in tasklog.query(limit=None):
        print(f"== {when}:", record, repr(record), record.to_dict(), flush=True)

async def watched():
    asyncio.current_task().set_name(f"charge?token={secret}")
    with otel_tasklog.task(f"order?token={secret}"):
        planted_secrets.plant()
    async with tasklog.monitor(port=0, web_port=0) as monitor:
        print(f"== port: {monitor.port}", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

planted_secrets.plant()
assert tasklog.stats().kept_bytes == 0, "the worker was there already"
show("at once")
before = tasklog.stats().captured
with tasklog.follow() as follower:
    planted_secrets.plant()
    tasklog.flush(WAIT_SECONDS)
    show("later")
    for _ in range(before, tasklog.stats().captured):
        print("== followed:", next(follower).to_dict())
for record in exporter.get_finished_logs():
    print("== exported:", record, record.log_record, record.to_json())
for batch in tasklog.refused():
    print("== refused:", batch, batch.to_json(), *batch.records())
print("== stats:", tasklog.stats(), tasklog.config)
if MONITORED:
    asyncio.run(watched())
raise Planted(f"password={secret}")
"""


def environment(**variables: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [TESTS, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **variables}


def program(
    settings: str, *, wait_seconds: float = 10, monitored: bool = False
) -> list[str]:
    names = {
        "OWN_KEY": OWN_KEY,
        "SETTINGS": settings,
        "WAIT_SECONDS": str(wait_seconds),
        "MONITORED": str(monitored),
    }
    text = re.sub("|".join(names), lambda name: names[name[0]], PROGRAM)
    return [sys.executable, "-c", text]


def printed(folder: Path, settings: str, *, wait_seconds: float = 10) -> str:
    """Return what the program prints to stdout and to stderr."""
    done = subprocess.run(
        program(settings, wait_seconds=wait_seconds),
        capture_output=True, check=False, timeout=60, cwd=folder, env=environment(),
    )  # fmt: skip
    assert done.returncode == 1
    stdout, stderr = done.stdout.decode(), done.stderr.decode()
    for place in ("at once", "later", "followed"):
        assert f"== {place}:" in stdout, stderr
    assert OWN_KEY not in stdout + stderr
    return stdout + stderr


def files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_each_shape_would_be_seen_if_nothing_were_redacted(tmp_path: Path) -> None:
    """Otherwise that nothing is found would say nothing."""
    with HttpPeer() as peer:
        settings = "dict(endpoint={!r}, redact_keys=(), redact_patterns=())"
        shown = printed(tmp_path, settings.format(peer.endpoint))
        peer.requests.wait_for(1)
    assert found(shown) == SHAPES
    sent = b"".join(request.body for request in peer.requests)
    # Bytes are base64 in what is shown, and themselves on the wire.
    assert found(sent) == SHAPES


@pytest.mark.parametrize("kind", [HttpPeer, GrpcPeer], ids=["http", "grpc"])
def test_none_is_sent_or_shown(kind: type[HttpPeer | GrpcPeer], tmp_path: Path) -> None:
    with kind() as peer:
        shown = printed(
            tmp_path,
            f"dict(endpoint={peer.endpoint!r}, protocol={peer.protocol!r}, "
            "spool_dir='spool')",
        )
    sent = b"".join(request.body for request in peer.requests)
    assert sent.count(HARMLESS) > 2 * len(SHAPES)
    assert (found(shown), found(sent)) == (set(), set())
    assert found(files(tmp_path / "spool")) == set()


def test_none_is_in_what_a_receiver_refuses(tmp_path: Path) -> None:
    with HttpPeer() as peer:
        peer.answer = (400, {}, b"no")
        shown = printed(
            tmp_path, f"dict(endpoint={peer.endpoint!r}, spool_dir='spool')"
        )
    assert "refused for good" in shown
    assert "== refused:" in shown
    kept = files(tmp_path / "spool" / "refused")
    assert kept.count(HARMLESS) > 2 * len(SHAPES)
    assert (found(shown), found(kept)) == (set(), set())


def test_none_is_in_what_waits_for_a_receiver(tmp_path: Path) -> None:
    shown = printed(
        tmp_path,
        f"dict(endpoint='http://127.0.0.1:{free_port()}', spool_dir='spool')",
        wait_seconds=0.1,
    )
    waits = files(tmp_path / "spool")
    assert waits.count(HARMLESS) > 2 * len(SHAPES)
    assert (found(shown), found(waits)) == (set(), set())


@pytest.mark.parametrize(
    "settings",
    ["dict(exporter='console')", "dict(exporter=exporter)",
     "dict(logger_provider=provider)"],
    ids=["console", "exporter", "provider"],
)  # fmt: skip
def test_none_is_exported(settings: str, tmp_path: Path) -> None:
    shown = printed(tmp_path, settings)
    assert ("== exported:" in shown) == ("console" not in settings)
    assert shown.encode().count(HARMLESS) > 8 * len(SHAPES)
    assert found(shown) == set()


@pytest.mark.parametrize("console", ["True", "'auto'"])
def test_none_is_on_the_console(console: str, tmp_path: Path) -> None:
    shown = printed(tmp_path, f"dict(exporter=None, console={console})")
    assert re.findall("^password=\\[redacted\\]$", shown, re.MULTILINE)
    assert found(shown) == set()


OUTSIDERS = """
import logging, sys
import otel_tasklog, planted_secrets

class Raises(Exception):
    def __init__(self, *text):
        super().__init__(f"password={planted_secrets.NAMES['attribute']}")

class Exporter:
    def export(self, batch):
        raise Raises
    def shutdown(self):
        raise Raises

class Filter(str):
    def __eq__(self, other):
        raise Raises
    __hash__ = str.__hash__

def refuse(record):
    raise Raises

with otel_tasklog.install(
    exporter=Exporter(), redact_patterns=otel_tasklog.SECRET_PATTERNS, level="WARNING"
) as tasklog:
    logging.warning("x")
    tasklog.flush(0.1)
    print(tasklog.stats().last_error)
    tasklog.follow(logger=Filter("x"))
    logging.warning("x")
    tasklog.handler.addFilter(refuse)
    logging.warning("x")
    tasklog.flush(0.1)
"""


def test_none_is_in_what_others_raise(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDERS],
        capture_output=True, check=True, timeout=60, cwd=tmp_path, env=environment(),
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert said.count(HARMLESS) >= 5, said
    assert found(said) == set()


@contextlib.contextmanager
def receiving(*options: str, stdout: int) -> Generator[int]:
    """Run ``receive``; its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "otel_tasklog", "receive", "--port", "0", *options],
        stdout=stdout, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    line = process.stderr.readline()
    try:
        found = re.search(r":(\d+)/v1/logs", line)
        assert found is not None, line
        yield int(found[1])
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        assert process.stderr.read() == ""
        process.stderr.close()


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["lines", "json"])
def test_none_is_in_what_receive_prints(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    with tempfile.TemporaryFile() as file:
        with (
            receiving(*options, stdout=file.fileno()) as port,
            Relay(port) as relay,
        ):
            printed(tmp_path, f"dict(endpoint='http://127.0.0.1:{relay.port}')")
        file.seek(0)
        received = file.read()
    assert received.count(HARMLESS) > 2 * len(SHAPES)
    assert OWN_KEY.encode() in relay.sent
    assert (found(received), found(bytes(relay.sent))) == (set(), set())


def test_none_is_in_what_the_monitor_prints(tmp_path: Path) -> None:
    process = subprocess.Popen(
        program("dict(exporter=None)", monitored=True),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(), cwd=tmp_path, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    port = next(line for line in process.stdout if line.startswith("== port:"))
    with Telnet(int(port.rpartition(" ")[2]), columns=400) as telnet:
        tasks = telnet.command("tasks")
        [number] = [line.split()[0] for line in tasks if " watched " in line]
        logs = telnet.command(f"logs -n 1000 #{number}")
    _, errors = process.communicate("\n", timeout=30)
    assert (process.returncode, errors) == (1, "")
    shown = "\n".join([*tasks, *logs])
    assert shown.encode().count(HARMLESS) > len(SHAPES)
    assert found(shown) == set()
