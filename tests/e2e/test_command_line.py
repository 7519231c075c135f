"""The commands that show records, as processes, against processes that log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import IO, TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.e2e

COMMAND = [sys.executable, "-m", "otel_tasklog"]
PROGRAM = """
import logging, sys
import otel_tasklog

log = logging.getLogger("app")
with otel_tasklog.install(
    service_name=sys.argv[1], level="INFO", exporter=None, console=False
):
    for line in sys.stdin:
        level, _, message = line.strip().partition(" ")
        with otel_tasklog.task("job"):
            log.log(int(level), message)
        print(message, flush=True)
"""


class Program:
    """A process that logs what it is told to."""

    def __init__(self, service: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, service],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.name = f"{service}/{self.process.pid}"

    def log(self, message: str, level: int = 20) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{level} {message}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == f"{message}\n"


@pytest.fixture
def program() -> Iterator[Callable[[str], Program]]:
    """Start a program that has an access point."""
    started: list[Program] = []

    def start(service: str) -> Program:
        started.append(Program(service))
        started[-1].log("open")
        # Whoever logs does not wait for the access point.
        pid = str(started[-1].process.pid)
        for _ in range(100):
            if run("ps", "--pid", pid).returncode == 0:
                return started[-1]
        pytest.fail("no access point")

    yield start
    for each in started:
        with each.process:  # it ends with its input
            pass


@pytest.fixture
def command() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **settings: Any) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
        started.append(subprocess.Popen([*COMMAND, *arguments], text=True, **pipes))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.communicate()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=30
    )


def lines_of(stream: IO[str] | None, count: int) -> list[str]:
    """Return the next lines; blocks until they are there."""
    assert stream is not None
    return [stream.readline().rstrip("\n") for _ in range(count)]


def messages(lines: list[str]) -> list[str]:
    return [line.rpartition("app: ")[2] for line in lines]


def test_tail_follows_through_kills_and_restarts(
    program: Callable[[str], Program], command: Callable[..., subprocess.Popen[str]]
) -> None:
    first = program("shop")
    first.log("zero", 30)
    tail = command("tail", "--pid", str(first.process.pid), "level>=warning")
    assert messages(lines_of(tail.stdout, 1)) == ["zero"]
    first.log("not this")
    first.log("one", 30)
    assert messages(lines_of(tail.stdout, 1)) == ["one"]
    first.process.kill()
    first.process.wait()
    assert lines_of(tail.stderr, 1) == [f"otel-tasklog: {first.name} has ended"]
    other, second = program("bank"), program("shop")
    other.log("not this, either", 40)
    second.log("two", 40)
    [line] = lines_of(tail.stdout, 1)
    assert line.startswith(f"{second.name} ")
    assert messages([line]) == ["two"]
    tail.send_signal(signal.SIGINT)
    output, errors = tail.communicate(timeout=10)
    assert tail.returncode == 130
    assert output == ""
    assert "Traceback" not in errors


def test_tail_merges_processes_by_time(
    program: Callable[[str], Program], command: Callable[..., subprocess.Popen[str]]
) -> None:
    shop, bank = program("shop"), program("bank")
    tail = command("tail", "-n", "2", "--json")
    lines_of(tail.stdout, 2)
    for number in range(10):
        shop.log(f"s{number}")
        bank.log(f"b{number}")
    values = [json.loads(line) for line in lines_of(tail.stdout, 20)]
    expected = [f"{each}{number}" for number in range(10) for each in "sb"]
    assert [value["message"] for value in values] == expected
    assert {value["source"] for value in values} == {shop.name, bank.name}


def test_a_reader_that_leaves_ends_the_commands_quietly(
    program: Callable[[str], Program], command: Callable[..., subprocess.Popen[str]]
) -> None:
    shop = program("shop")
    tail = command("tail")
    lines_of(tail.stdout, 1)
    assert tail.stdout is not None
    tail.stdout.close()
    for number in range(3):
        shop.log(f"{number}")
    assert tail.wait(10) == 0
    assert tail.stderr is not None
    assert tail.stderr.read() == ""
    for name in ("query", "export"):
        reading, writing = os.pipe()
        os.close(reading)
        ended = command(name, stdout=writing)
        os.close(writing)
        assert ended.wait(10) == 0
        assert ended.stderr is not None
        assert ended.stderr.read() == ""


def test_standard_input_is_shown_as_it_comes(
    program: Callable[[str], Program], command: Callable[..., subprocess.Popen[str]]
) -> None:
    program("shop").log("one", 30)
    exported = run("export").stdout.splitlines(keepends=True)
    tail = command("tail", "-", "level>=warning", stdin=subprocess.PIPE)
    assert tail.stdin is not None
    for line in exported:
        tail.stdin.write(line)
    tail.stdin.flush()
    assert messages(lines_of(tail.stdout, 1)) == ["one"]
    tail.send_signal(signal.SIGINT)
    assert tail.wait(10) == 130
