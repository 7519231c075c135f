"""What aiomonitor does to a program, and ours does not: both, in real processes.

Each trap is sprung on plain aiomonitor, too: a test whose plain half fails here is no
longer needed. Traps that plain aiomonitor has no counterpart of are elsewhere: Ctrl-C
in ``logs -f``, the address of a dead task and a terminal of 0 x 0 in
``test_telnet.py`` and ``test_commands.py``.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import pytest
from telnet_client import Telnet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.e2e

PROGRAM: Final = """
import asyncio, gc, json, os, sys, time

async def main(job, until):
    loop = asyncio.get_running_loop()
    if job["kind"] == "ours":
        import otel_tasklog
        tasklog = otel_tasklog.install(exporter=None, level="INFO", attach=False)
        monitor = tasklog.monitor(**job["ports"], hook_task_factory=job["hook"])
        try:
            await monitor.__aenter__()
        except otel_tasklog.MonitorError as error:
            print("refused", error, flush=True)
            return
        close, ports = monitor.stop, (monitor.port, monitor.web_port)
    else:
        import aiomonitor, click
        from aiomonitor.termui.commands import auto_command_done

        @aiomonitor.monitor_cli.command(name="mine")
        @auto_command_done
        def mine(context): pass

        ports = job["ports"]["port"], job["ports"]["web_port"]
        monitor = aiomonitor.start_monitor(
            loop, port=ports[0], webui_port=ports[1], hook_task_factory=job["hook"],
            console_enabled=False,
        )
        close = monitor.close
    print("started", *ports, flush=True)
    tasks = []
    names = {"escape": ["\\x1b[2Jevil"], "many": [f"{n:0>2000}" for n in range(500)]}
    while word := (await asyncio.to_thread(until.readline)).strip():
        if word in names:
            tasks += [asyncio.create_task(asyncio.sleep(600), name=name)
                      for name in names[word]]
        elif word == "unnamed":
            tasks.append(asyncio.create_task(asyncio.sleep(600)))
            print(tasks[-1].get_name(), flush=True)
            continue
        elif word == "crash":
            async def crash(): raise ValueError("lost")
            lost = asyncio.create_task(crash())
            await asyncio.wait([lost])
            del lost
            gc.collect()
        elif word == "factory":
            factory = lambda loop, *x, **y: asyncio.Task(*x, loop=loop, **y)
            loop.set_task_factory(factory)
            close()
            print("kept" if loop.get_task_factory() is factory else "gone", flush=True)
            continue
        elif word == "fork" and os.fork() == 0:
            parent = os.getppid()
            while os.getppid() == parent:
                time.sleep(0.05)
            os._exit(0)
        elif word == "close":
            close()
        print(f"{word} done", flush=True)

job = json.loads(sys.argv[1])
if job["uvloop"]:
    from uvloop import run
else:
    run = asyncio.run
run(main(job, os.fdopen(int(sys.argv[2]))))
os._exit(0)
"""

QUIET_SECONDS: Final = 2.5
"""What is to come never, has not come so long."""

both = pytest.mark.parametrize("kind", ["plain", "ours"])
ON_3_13: Final = sys.version_info[:2] == (3, 13)


class Program:
    """A program with a monitor, without a stdin; what it prints, on both streams."""

    def __init__(
        self, kind: str, *, ports: dict[str, int | None], hook: bool, uvloop: bool
    ) -> None:
        until, self._told = os.pipe()
        job = {"kind": kind, "ports": ports, "hook": hook, "uvloop": uvloop}
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(job), str(until)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            pass_fds=[until], text=True, errors="replace",
        )  # fmt: skip
        os.close(until)
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._more:
                self.lines.append(line.strip())
                self._more.notify_all()

    def wait_for(self, condition: Callable[[], Any], seconds: float = 20.0) -> Any:
        with self._more:
            return self._more.wait_for(condition, seconds)

    def printed(self, start: str, seconds: float = 20.0) -> str:
        """Return the first line that begins like that, "" if none comes in time."""
        found: str = self.wait_for(
            lambda: next((x for x in self.lines if x.startswith(start)), ""), seconds
        )
        return found

    def tell(self, word: str) -> None:
        os.write(self._told, f"{word}\n".encode())

    @property
    def ports(self) -> tuple[int, int]:
        _, port, web_port = self.printed("started").split()
        return int(port), int(web_port)

    def end(self) -> None:
        os.close(self._told)
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """Start a program of a kind; ports are any free ones unless they are given."""
    started: list[Program] = []

    def start(
        kind: str, *, hook: bool = False, uvloop: bool = False, **ports: int | None
    ) -> Program:
        free = {"port": free_port(), "web_port": free_port()}
        started.append(Program(kind, ports={**free, **ports}, hook=hook, uvloop=uvloop))
        return started[-1]

    yield start
    for each in started:
        each.end()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def answers(port: int) -> bool:
    """Return whether it says anything to another client."""
    with socket.create_connection(("127.0.0.1", port), 20) as probe:
        probe.settimeout(0.7)
        try:
            return probe.recv(1) != b""
        except TimeoutError:
            return False


@both
def test_a_reset_without_a_stdin(start: Callable[..., Program], kind: str) -> None:
    """It asks nobody to press Enter, 1700 times a second."""
    program = start(kind)
    # It takes a reset that comes while the prompt is drawn.
    for _ in range(60 if kind == "plain" else 10):
        Telnet(program.ports[0]).reset()
        if program.wait_for(lambda: len(program.lines) > 500, seconds=0.5):
            break
    if kind == "plain":
        assert len(program.lines) > 500
        return
    with Telnet(program.ports[0]) as telnet:
        assert telnet.command("ps")
    program.tell("close")
    assert program.printed("close done")
    assert len(program.lines) == 2


@both
def test_a_client_that_stops_reading_and_the_end(
    start: Callable[..., Program], kind: str
) -> None:
    program = start(kind)
    program.tell("many")
    assert program.printed("many done")
    stalled = Telnet(program.ports[0], receive_bytes=4_096)
    stalled.send(b"ps\r" * 10)
    stalled.until(b"tasks running")
    while kind == "plain" and answers(program.ports[0]):
        pass
    program.tell("close")
    closed = program.printed("close done", QUIET_SECONDS if kind == "plain" else 8.0)
    assert bool(closed) is (kind == "ours")
    stalled.abort()
    assert program.printed("close done")


@both
def test_two_workers_on_one_port(start: Callable[..., Program], kind: str) -> None:
    """The second is told so, or finds another one."""
    first = start(kind)
    port, web_port = first.ports
    second = start(kind, port=port, web_port=web_port)
    if kind == "plain":
        assert second.ports == first.ports  # it believes
        assert len(second.lines) == 1
        return
    assert f"port {port} on 127.0.0.1 is taken" in second.printed("refused")
    third = start(kind, port=None, web_port=None)
    assert not set(third.ports) & set(first.ports)
    with Telnet(third.ports[0]) as telnet:
        assert telnet.command("ps")


@both
def test_a_foreign_program_on_the_web_port(
    start: Callable[..., Program], kind: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        program = start(kind, web_port=foreign.getsockname()[1])
        if kind == "plain":
            assert not program.printed("started", QUIET_SECONDS)  # and never will
        else:
            assert "web_port=None for the next free one" in program.printed("refused")


def test_the_help_of_a_command_by_plain_aiomonitors_way(
    start: Callable[..., Program],
) -> None:
    """It ends the session."""
    with Telnet(start("plain").ports[0]) as telnet:
        telnet.socket.settimeout(QUIET_SECONDS)
        with pytest.raises(TimeoutError):
            telnet.command("mine --help")


def test_the_help_of_our_commands(start: Callable[..., Program]) -> None:
    with Telnet(start("ours").ports[0], columns=120) as telnet:
        listed = [line.split() for line in telnet.command("help")]
        names = {words[0] for words in listed if words}
        ours = names & {"tasks", "logs", "tree", "why", "log-level", "stats", "flush"}
        assert {"tasks", "logs"} <= ours
        for name in ours:
            assert telnet.command(f"{name} --help")[0].startswith(f"Usage: {name}")


@both
def test_an_escape_sequence_in_a_tasks_name(
    start: Callable[..., Program], kind: str
) -> None:
    program = start(kind)
    program.tell("escape")
    assert program.printed("escape done")
    with Telnet(program.ports[0]) as telnet:
        telnet.command("ps")
    assert (b"\x1b[2Jevil" in telnet.raw) is (kind == "plain")
    assert (rb"\x1b[2Jevil" in telnet.raw) is (kind == "ours")


@both
def test_a_child_keeps_the_port(start: Callable[..., Program], kind: str) -> None:
    """After its parent's monitor has ended, with nobody there who answers."""
    program = start(kind)
    port, _ = program.ports
    program.tell("fork")
    assert program.printed("fork done")
    program.tell("close")
    assert program.printed("close done")
    # The child lets go of it when it gets to run.
    assert program.wait_for(lambda: is_free(port), QUIET_SECONDS) is (kind == "ours")


@both
def test_a_child_keeps_a_session_open(start: Callable[..., Program], kind: str) -> None:
    """The client that leaves waits for the end of its connection."""
    program = start(kind)
    with Telnet(program.ports[0]) as telnet:
        program.tell("fork")
        assert program.printed("fork done")
        telnet.socket.settimeout(QUIET_SECONDS)
        telnet.send(b"quit\r")
        with pytest.raises(TimeoutError if kind == "plain" else EOFError):
            telnet.until(b"never")


@both
def test_the_hook_and_the_name_of_a_task(
    start: Callable[..., Program], kind: str
) -> None:
    """Python 3.13.0 to 3.13.2 call it ``None``."""
    program = start(kind, hook=True)
    assert program.ports
    program.tell("unnamed")
    assert program.wait_for(lambda: len(program.lines) > 1)
    named_none = (3, 13) <= sys.version_info[:3] <= (3, 13, 2) and kind == "plain"
    assert program.lines[1].startswith("None" if named_none else "Task-")


@both
def test_the_hook_under_uvloop(start: Callable[..., Program], kind: str) -> None:
    """Uvloop 0.23 gives ``eager_start`` on 3.13, which plain aiomonitor refuses."""
    uvloop = pytest.importorskip("uvloop")
    program = start(kind, hook=True, uvloop=True)
    assert program.ports
    program.tell("unnamed")
    assert program.wait_for(lambda: len(program.lines) > 1)
    gives = ON_3_13 and tuple(map(int, uvloop.__version__.split(".")[:2])) >= (0, 23)
    refused = any("unexpected keyword argument" in line for line in program.lines)
    if kind == "plain" and gives:
        refused = program.wait_for(
            lambda: any("unexpected keyword" in line for line in program.lines)
        )
    assert bool(refused) is (kind == "plain" and gives)


@both
def test_the_hook_and_an_exception_that_nobody_retrieves(
    start: Callable[..., Program], kind: str
) -> None:
    program = start(kind, hook=True)
    assert program.ports
    program.tell("crash")
    assert program.printed("crash done")
    said = any("exception was never retrieved" in line for line in program.lines)
    assert said is (kind == "ours")


@both
def test_the_end_and_a_task_factory_that_came_later(
    start: Callable[..., Program], kind: str
) -> None:
    program = start(kind)
    assert program.ports
    program.tell("factory")
    assert program.wait_for(lambda: len(program.lines) > 1)
    assert program.lines[1] == ("gone" if kind == "plain" else "kept")


@both
def test_a_page_from_elsewhere(start: Callable[..., Program], kind: str) -> None:
    """Its name may lead here (DNS rebinding), and it could cancel tasks."""
    _, web_port = start(kind).ports
    page = http.client.HTTPConnection("127.0.0.1", web_port, timeout=20)
    with contextlib.closing(page):
        page.request("POST", "/api/live-tasks", headers={"Host": "evil.example"})
        assert page.getresponse().status == (200 if kind == "plain" else 403)
