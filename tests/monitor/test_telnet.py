"""Sessions of a real telnet client with a monitor, and what must not hurt a program."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from telnet_client import IAC, IS, SB, SE, TTYPE, Telnet

from otel_tasklog import task

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Harness

    from otel_tasklog.monitor import Monitor

pytestmark = pytest.mark.e2e

T = TypeVar("T")


class Heard(logging.Handler):
    """A console: what it would print."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def heard(harness: Harness) -> Heard:
    """What the root logger's handlers get, of which the TaskLog's is one."""
    heard = Heard()
    root = logging.getLogger()
    root.handlers[:] = [heard, harness.tasklog.handler]
    root.setLevel(logging.DEBUG)
    return heard


async def observed(
    harness: Harness, client: Callable[[Monitor], T], *, order: str = "order-1"
) -> T:
    """Run two tasks, and *client* in a thread beside them."""

    async def worker() -> None:
        async with task(order):
            harness.log.info("charging %s", order)
            harness.log.warning("slow\x1b[2J\r\nfaked")
            await asyncio.sleep(60)

    async with harness.tasklog.monitor(port=0, web_port=0) as monitor:
        live = [
            asyncio.create_task(worker(), name="worker-1"),
            asyncio.create_task(asyncio.sleep(60), name="silent"),
        ]
        await asyncio.sleep(0)
        try:
            return await asyncio.to_thread(client, monitor)
        finally:
            for each in live:
                each.cancel()


def session(harness: Harness, *commands: str, columns: int = 120) -> list[list[str]]:
    """Return what each command of one session prints."""

    def client(monitor: Monitor) -> list[list[str]]:
        with Telnet(monitor.port, columns=columns) as telnet:
            return [telnet.command(command) for command in commands]

    return asyncio.run(observed(harness, client))


def without_times(lines: list[str]) -> list[str]:
    return [
        re.sub(r"\d\d:\d\d:\d\d\.\d{3}|\d+\.\ds( ago)?", "<time>", x) for x in lines
    ]


def test_tasks_lists_the_live_tasks_with_what_each_last_said(harness: Harness) -> None:
    [lines] = session(harness, "tasks", columns=160)
    header, worker, *others, summary = without_times(lines)
    assert re.split(r"\s{2,}", header) == [
        "#", "parent", "name", "task_id", "coroutine", "waits on", "age", "records",
        "worst", "last",
    ]  # fmt: skip
    assert re.split(r"\s{2,}", worker) == [
        str(harness.last().asyncio_task_number),
        "-",
        "worker-1",
        "order-1",
        "observed.<locals>.worker",
        "sleep(60)",
        "<time>",
        "2",
        "WARNING",
        r"<time>: slow\x1b[2J\r\nfaked",
    ]
    assert any(line.split()[:3] == ["-", "-", "silent"] for line in others)
    assert summary == "-- 3 live tasks, 2 records in the ring"


def test_logs_shows_a_task_by_number_job_name_and_ps_id(harness: Harness) -> None:
    def client(monitor: Monitor) -> list[list[str]]:
        with Telnet(monitor.port) as telnet:
            number = harness.last().asyncio_task_number
            [row] = [line for line in telnet.command("ps") if "worker-1" in line]
            names = [f"#{number}", str(number), "order-1", "worker-1", row.split()[1]]
            return [telnet.command(f"logs {name}") for name in names]

    for lines in asyncio.run(observed(harness, client)):
        number = harness.last().asyncio_task_number
        logger = harness.log.name
        text = "\n".join(without_times(lines))
        text = text.replace("\n  | ", "")  # long names of loggers are folded
        assert text.startswith(
            f"<time> INFO #{number} worker-1 {logger}: charging order-1\n"
            f"<time> WARNING #{number} worker-1 {logger}: slow\\x1b[2J"
        )
        assert lines[-1].startswith("-- 2 of 2 records of ")
        assert lines[-1].endswith(", 2 in the ring")


def test_logs_takes_a_number_of_records(harness: Harness) -> None:
    [lines] = session(harness, "logs order-1 -n 1")
    assert lines[-1] == "-- 1 of 2 records of job order-1, 2 in the ring"


def test_an_escape_sequence_in_a_message_does_not_reach_the_terminal(
    harness: Harness,
) -> None:
    def client(monitor: Monitor) -> list[bytes]:
        with Telnet(monitor.port) as telnet:
            return [telnet.raw for c in ("tasks", "logs order-1") if telnet.command(c)]

    for raw in asyncio.run(observed(harness, client)):
        assert b"\x1b[2J" not in raw
        assert rb"slow\x1b[2J" in raw
        assert b"\nfaked" not in raw


def test_the_id_of_a_task_that_ended_is_refused_in_one_line(harness: Harness) -> None:
    async def nothing() -> None:
        harness.log.info("never to be shown under this id")

    async def main() -> list[str]:
        ended = asyncio.create_task(nothing())
        await ended

        def client(monitor: Monitor) -> list[str]:
            with Telnet(monitor.port, columns=200) as telnet:
                return telnet.command(f"logs {id(ended)}")

        return await observed(harness, client)

    [line] = asyncio.run(main())
    assert line.startswith("✗ no live task has the Task ID")


@pytest.mark.parametrize("command", ["tasks", "logs"])
def test_help_is_printed_and_the_prompt_comes_back(
    harness: Harness, command: str
) -> None:
    usage, tasks = session(harness, f"{command} --help", "tasks")
    assert usage[0].startswith(f"Usage: {command}")
    assert tasks[0].startswith("#")


def test_a_wrong_option_and_an_unknown_task_are_answered(harness: Harness) -> None:
    wrong, missing, unknown = session(harness, "logs x -n 0", "why", "logs nope")
    assert "0 is not in the range 1<=x<=1000" in wrong[0]
    assert "Missing" in missing[0]
    assert unknown[0].startswith("✗ nothing is called nope: tried jobs")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("logs it's", "✗ No closing quotation: what has ' \" or \\ in it must be"),
        ("logs a\\", "✗ No escaped character: what has ' \" or \\ in it must be"),
    ],
    ids=["quotation", "escape"],
)
def test_a_quotation_that_does_not_end_is_answered_in_one_line(
    harness: Harness, line: str, said: str
) -> None:
    [[answer], tasks] = session(harness, line, "tasks")
    assert answer.startswith(said)
    assert tasks[0].startswith("#")


@pytest.mark.parametrize("columns", [0, 1, 79])
def test_no_line_is_wider_than_the_terminal(harness: Harness, columns: int) -> None:
    for lines in session(harness, "tasks", "logs order-1", columns=columns):
        assert max(map(len, lines)) <= {0: 79, 1: 40}.get(columns, columns)


def test_tab_completes_the_name_of_a_live_task(harness: Harness) -> None:
    def client(monitor: Monitor) -> list[str]:
        with Telnet(monitor.port) as telnet:
            telnet.socket.sendall(b"logs sil\t")
            telnet.until(b"ent")
            return telnet.command("")

    [line] = asyncio.run(observed(harness, client))
    assert line == "-- 0 of 0 records of task silent, 2 in the ring"


def test_two_monitors_of_one_process_show_each_its_own_records(
    make: Callable[..., Harness],
) -> None:
    first, second = make(), make()

    async def main() -> list[list[str]]:
        async with (
            first.tasklog.monitor(port=0, web_port=0) as a,
            second.tasklog.monitor(port=0, web_port=0) as b,
        ):
            with task("job-a"):
                first.log.info("in a")
            with task("job-b"):
                second.log.info("in b")
            return await asyncio.to_thread(client, a, b)

    def client(a: Monitor, b: Monitor) -> list[list[str]]:
        answers = []
        for monitor in (a, b):
            with Telnet(monitor.port) as telnet:
                answers += [telnet.command(f"logs job-{x}") for x in "ab"]
        return answers

    own_a, not_a, not_b, own_b = asyncio.run(main())
    assert own_a[-1] == "-- 1 of 1 records of job job-a, 1 in the ring"
    assert own_b[-1] == "-- 1 of 1 records of job job-b, 1 in the ring"
    assert not_a[0].startswith("✗ nothing is called job-b")
    assert not_b[0].startswith("✗ nothing is called job-a")


def test_it_works_beside_uvloop(harness: Harness) -> None:
    uvloop = pytest.importorskip("uvloop")

    def client(monitor: Monitor) -> list[str]:
        with Telnet(monitor.port) as telnet:
            return telnet.command("logs order-1")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        lines = runner.run(observed(harness, client))
    assert lines[-1].startswith("-- 2 of 2 records")


def test_what_a_web_page_posts_to_the_telnet_port_runs_nothing(
    harness: Harness,
) -> None:
    def client(monitor: Monitor) -> bytes:
        post = b"POST / HTTP/1.1\r\n\r\n" + IAC + SB + TTYPE + IS + b"dumb" + IAC + SE
        with socket.create_connection(("127.0.0.1", monitor.port), 20) as page:
            page.sendall(post + b"\rtasks\r")
            return b"".join(iter(lambda: page.recv(65_536), b""))

    assert b"monitor" not in asyncio.run(observed(harness, client))


def test_the_monitors_own_records_go_nowhere(harness: Harness, heard: Heard) -> None:
    """Neither into the ring at DEBUG nor onto a console at INFO."""

    def client(monitor: Monitor) -> set[int]:
        with Telnet(monitor.port) as telnet:
            telnet.command("tasks")
        page = http.client.HTTPConnection(monitor.host, monitor.web_port, timeout=20)
        page.request("GET", "/")
        assert page.getresponse().read()
        page.close()
        own = {t.ident or 0 for t in threading.enumerate() if "_ui_main" in t.name}
        assert own
        assert all(ident in harness.tasklog.port.own_threads for ident in own)
        return own

    own = asyncio.run(observed(harness, client))
    said = {record.name for record in heard.records if record.levelno >= logging.INFO}
    kept = {record.logger for record in harness.tasklog.query(limit=None)}
    assert said == set()
    assert kept - {"asyncio"} == {harness.log.name}
    assert all(r.origin.thread_id not in own for r in harness.tasklog.query(limit=None))
    assert not any(ident in harness.tasklog.port.own_threads for ident in own)


def test_an_error_in_the_ui_thread_is_logged_and_asks_nobody_to_press_enter(
    harness: Harness, heard: Heard, capsys: pytest.CaptureFixture[str]
) -> None:
    """While a prompt is shown prompt_toolkit would take over the loop's handler."""

    def client(monitor: Monitor) -> list[str]:
        running: Any = monitor._running
        with Telnet(monitor.port) as telnet:
            running._ui_loop.call_soon_threadsafe(lambda: 1 / 0)
            return telnet.command("tasks")

    assert asyncio.run(observed(harness, client))[0].startswith("#")
    [said] = [record for record in heard.records if record.levelno >= logging.ERROR]
    assert said.getMessage().startswith("Exception in callback")
    assert capsys.readouterr() == ("", "")
    assert harness.tasklog.query(min_level="ERROR") == []


def test_a_client_that_stops_reading_stops_neither_the_others_nor_the_end(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    from otel_tasklog.monitor import _telnet

    monkeypatch.setattr(_telnet, "SEND_SECONDS", 1.0)

    def stall(monitor: Monitor) -> Telnet:
        telnet = Telnet(monitor.port, columns=8_000, receive_bytes=4_096)
        telnet.socket.sendall(b"logs big -n 1000\r" * 3)
        telnet.until(b"INFO")  # the rest is more than the system's buffers take
        return telnet

    def other(monitor: Monitor) -> list[str]:
        with Telnet(monitor.port) as telnet:
            return telnet.command("logs big -n 1")

    async def main() -> tuple[list[str], float]:
        loop = asyncio.get_running_loop()
        with task("big"):
            for _ in range(1_000):
                harness.log.info("x" * 8_000)
        stalled = []
        async with harness.tasklog.monitor(port=0, web_port=0) as monitor:
            stalled.append(await asyncio.to_thread(stall, monitor))
            lines = await asyncio.to_thread(other, monitor)
            stalled.append(await asyncio.to_thread(stall, monitor))
            stopping = loop.time()
        took = loop.time() - stopping
        for telnet in stalled:
            telnet.socket.close()
        return lines, took

    lines, took = asyncio.run(main())
    assert lines[-1] == "-- 1 of 1000 records of job big, 1000 in the ring"
    assert took < 5


def test_a_client_that_sends_more_than_is_read_is_hung_up_on_and_stops_nobody(
    harness: Harness, heard: Heard
) -> None:
    """It fills the pipe in which what it types waits; the UI thread would wait, too."""

    def flood(monitor: Monitor) -> list[str]:
        terminal = IAC + b"\xfb" + TTYPE + IAC + SB + TTYPE + IS + b"xterm" + IAC + SE
        with socket.create_connection((monitor.host, monitor.port), 20) as flooding:
            with contextlib.suppress(ConnectionError):  # it hangs up in the middle
                flooding.sendall(terminal + b"x" * 5_000_000)
            with contextlib.suppress(ConnectionError):
                while flooding.recv(65_536):
                    pass
        with Telnet(monitor.port) as telnet:
            return telnet.command("tasks")

    assert asyncio.run(observed(harness, flood))[0].startswith("#")
    assert [r for r in heard.records if r.name == "otel_tasklog"] == []


def test_a_client_that_never_negotiates_is_let_go_and_others_are_not(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    from otel_tasklog.monitor import _telnet

    monkeypatch.setattr(_telnet, "NEGOTIATION_SECONDS", 0.2)

    def client(monitor: Monitor) -> list[str]:
        with socket.create_connection((monitor.host, monitor.port), 20) as silent:
            assert b"".join(iter(lambda: silent.recv(65_536), b"")).startswith(IAC)
        with Telnet(monitor.port) as telnet:  # its first prompt takes 0.3 s
            return telnet.command("tasks")

    assert asyncio.run(observed(harness, client))[0].startswith("#")


def test_a_client_that_leaves_while_it_negotiates_gives_its_place_back(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    from otel_tasklog.monitor import _telnet

    monkeypatch.setattr(_telnet, "SESSIONS", 2)  # one may just be ending

    def client(monitor: Monitor) -> list[str]:
        for began in (b"", IAC + SB + TTYPE + IS, b"GET / HTTP/1.1"):
            with socket.create_connection((monitor.host, monitor.port), 20) as leaving:
                assert leaving.recv(1) == IAC
                leaving.sendall(began)
                leaving.shutdown(socket.SHUT_WR)
                while leaving.recv(65_536):
                    pass
        with Telnet(monitor.port) as telnet:
            return telnet.command("tasks")

    assert asyncio.run(observed(harness, client))[0].startswith("#")


def test_there_are_so_many_sessions_and_no_more(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    from otel_tasklog.monitor import _telnet

    monkeypatch.setattr(_telnet, "SESSIONS", 1)

    def client(monitor: Monitor) -> bytes:
        address = (monitor.host, monitor.port)
        with Telnet(monitor.port), socket.create_connection(address, 20) as second:
            return second.recv(1)

    assert asyncio.run(observed(harness, client)) == b""


PROGRAM = """
import asyncio, os, sys
import otel_tasklog

async def main():
    async with otel_tasklog.install(exporter=None, level="INFO") as tasklog:
        async with tasklog.monitor(port=0, web_port=0) as monitor:
            print(monitor.port, flush=True)
            await asyncio.to_thread(os.read, int(sys.argv[1]), 1)

asyncio.run(main())
"""


def test_clients_that_reset_cause_no_storm_in_a_program_without_a_stdin() -> None:
    """With stdin at /dev/null prompt_toolkit would print 1700 lines a second.

    The program also runs with -W error, which aiomonitor alone does not.
    """
    until, end = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(until)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[until],
        text=True,
    ) as program:
        os.close(until)
        assert program.stdout is not None
        port = int(program.stdout.readline())
        for _ in range(3):
            Telnet(port).reset()
        unread = Telnet(port)
        unread.socket.sendall(b"help\r" * 20)
        unread.abort()
        with Telnet(port) as telnet:
            assert telnet.command("tasks")[0].startswith("#")
        os.close(end)
        printed, complained = program.communicate(timeout=20)
    assert (program.returncode, printed, complained) == (0, "", "")
