"""Sessions with a program that is another process: a raw telnet client, aiomonitor's."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

import pytest
from telnet_client import PROMPT_BEGINS, SEQUENCES, Telnet

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.e2e


class Terminal(Telnet):
    """``python -m aiomonitor.cli`` on a pseudo-terminal."""

    def __init__(self, port: int, *, columns: int = 79) -> None:
        self._terminal, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._client = subprocess.Popen(
            [sys.executable, "-m", "aiomonitor.cli", "-p", str(port)],
            stdin=side, stdout=side, stderr=side, start_new_session=True,
        )  # fmt: skip
        os.close(side)
        self._received = b""
        self.raw = self.until(PROMPT_BEGINS)

    def receive(self) -> bytes:
        if not select.select([self._terminal], [], [], 20)[0]:
            raise TimeoutError(self._received)
        with contextlib.suppress(OSError):  # the client has gone
            return os.read(self._terminal, 65_536)
        return b""

    def send(self, data: bytes) -> None:
        os.write(self._terminal, data)

    def leave(self) -> int:
        """Type Ctrl-D; return how the client ends."""
        self.send(b"\x04")
        with contextlib.suppress(EOFError):
            self.until(b"never")
        return self._client.wait(20)

    def __exit__(self, *error: object) -> None:
        if self._client.poll() is None:
            self._client.kill()
        self._client.wait()
        os.close(self._terminal)


@pytest.fixture(scope="module")
def demo() -> Iterator[int]:
    """``otel-tasklog demo`` in another process; the port of its monitor."""
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith("OTEL")
    }
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "otel_tasklog", "demo", "--seconds", "50"],
        env=environ | {"OTEL_TASKLOG_ATTACH": "0"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    ) as program:  # fmt: skip
        assert program.stdout is not None
        said = ""
        while (found := re.search(r"telnet 127\.0\.0\.1 (\d+)", said)) is None:
            line = program.stdout.readline()
            assert line, said
            said += line
        yield int(found[1])
        program.send_signal(signal.SIGINT)
        rest = program.stdout.read()
        assert program.wait(20) == 0, rest
        assert "Everything that was captured arrived." in rest


@pytest.fixture(params=["telnet", "aiomonitor.cli"])
def session(demo: int, request: pytest.FixtureRequest) -> Iterator[Telnet]:
    """A session of a client that is told of 160 columns."""
    client = Telnet if request.param == "telnet" else Terminal
    with client(demo, columns=160) as session:
        yield session


def plain(raw: bytes) -> str:
    return SEQUENCES.sub("", raw.decode()).replace("\r", "")


def test_the_task_id_that_ps_prints_leads_to_the_log_of_that_task(
    session: Telnet,
) -> None:
    rows = [line.split() for line in session.command("ps")]
    [address] = [row[1] for row in rows if "teller-1" in row]
    *lines, summary = session.command(f"logs {address}")
    found = re.fullmatch(
        r"-- \d+ of \d+ records of task #(\d+) teller-1, \d+ in the ring", summary
    )
    assert found is not None
    records = [line for line in lines if not line.startswith("  | ")]
    assert records
    assert all(f" #{found[1]} teller-1 shop" in line for line in records)


def test_tasks_shows_what_each_waits_on_and_last_said(session: Telnet) -> None:
    header, *lines = session.command("tasks")
    assert re.split(r"\s{2,}", header) == [
        "#", "parent", "name", "task_id", "coroutine", "waits on", "age", "records",
        "worst", "last",
    ]  # fmt: skip
    assert {f"teller-{n}" for n in range(1, 7)} <= {*" ".join(lines).split()}
    [main] = [line for line in lines if re.search(r"TaskGroup\(6\)", line)]
    assert main


def test_tree_and_why_show_who_waits_for_whom(session: Telnet) -> None:
    lines = session.command("tree")
    root = next(at for at, line in enumerate(lines) if "TaskGroup(6)" in line)
    below = [line for line in lines[root + 1 :] if line.startswith("└ ")]
    assert {f"teller-{n}" for n in range(1, 7)} <= {*" ".join(below).split()}
    task, waits, *others = session.command("why teller-2")
    assert re.match(r"task #\d+ teller-2 \(Shop\._teller\)", task)
    assert re.match(r"(waits on|is) ", waits)
    assert "stack, the innermost last:" in others
    assert any(re.match(r"awaited by .*", line) for line in others)
    assert any(re.search(r" #\d+ teller-2 shop", line) for line in others)


def test_a_follow_shows_warnings_as_they_come_until_a_key(session: Telnet) -> None:
    session.begin("logs order-1 level>=warning -f")
    session.until(b"-- records of job order-1 with level>=warning; any key ends it")
    session.send(b"\x03")
    session.until(PROMPT_BEGINS)
    session.begin("logs level>=warning -f -n 1")
    shown = session.until(b" is nearly empty\r\n")
    shown += session.until(b" is nearly empty\r\n")
    session.send(b"q")
    session.until(PROMPT_BEGINS)
    lines = plain(shown).split("\n")
    records = [line for line in lines if re.match(r"\d\d:\d\d:\d\d", line)]
    assert records
    assert all(re.search(" (WARNING|ERROR) ", line) for line in records)
    assert session.command("log-level shop reset")[0].startswith("shop: ")


def test_ctrl_d_ends_aiomonitors_client(demo: int) -> None:
    with Terminal(demo) as session:
        session.command("stats")
        assert session.leave() == 0
