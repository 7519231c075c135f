"""Another process's live tasks: who waits for whom, and who holds up the loop."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.e2e

COMMAND = [sys.executable, "-m", "otel_tasklog"]
PROGRAM = """
import asyncio, logging, sys
import otel_tasklog

log = logging.getLogger("shop")


async def hold(lock):
    async with lock:
        log.info("has the lock")
        await asyncio.sleep(3_600)


async def want(lock):
    with otel_tasklog.task("order-7"):
        log.warning("wants the lock")
        async with lock:
            pass


async def wait_for(other):
    await other[0]


async def hog():
    log.info("begins")
    read_a_line()


def read_a_line():
    print("blocked", flush=True)
    sys.stdin.readline()


async def main():
    with otel_tasklog.install(service_name="shop", exporter=None, console=False):
        lock, other = asyncio.Lock(), []
        tasks = [
            asyncio.create_task(hold(lock), name="holder"),
            asyncio.create_task(want(lock), name="wanter"),
            one := asyncio.create_task(wait_for(other), name="one"),
            two := asyncio.create_task(wait_for([one]), name="two"),
        ]
        other.append(two)
        while True:
            line = await asyncio.to_thread(sys.stdin.readline)
            if not line:
                break
            await asyncio.create_task(hog(), name="hog")
        for task in tasks[:2]:
            task.cancel()


if sys.argv[1] == "uvloop":
    import uvloop
    loop = uvloop.new_event_loop()
else:
    loop = asyncio.new_event_loop()
loop.run_until_complete(main())
"""


class Program:
    """A process with two tasks that wait for each other, and two for one lock."""

    def __init__(self, loop: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, loop],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def send(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def block(self) -> None:
        """Have a task block the event loop, until a line is sent."""
        self.send("block\n")
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "blocked\n"

    def end(self) -> None:
        self._process.communicate(timeout=30)


@pytest.fixture(
    params=[
        "asyncio",
        pytest.param(
            "uvloop",
            marks=pytest.mark.skipif(sys.platform == "win32", reason="no uvloop there"),
        ),
    ]
)
def program(request: pytest.FixtureRequest) -> Iterator[Program]:
    program = Program(request.param)
    for _ in range(100):  # whoever logs does not wait for the access point
        if run("live", "task:order-7").returncode == 0:
            break
    yield program
    program.end()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=30
    )


def shown(*arguments: str) -> str:
    ran = run(*arguments)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


def test_who_waits_for_whom_is_seen_from_outside(program: Program) -> None:
    [task] = map(json.loads, shown("live", "--json", "level:warning").splitlines())
    assert (task["name"], task["task_id"]) == ("wanter", "order-7")
    assert task["wait"]["text"] == "Lock.acquire"
    lines = shown("tree").splitlines()
    [first] = [line for line in lines if "(cycle)" in line]
    assert first.lstrip(" └").startswith(("- one ", "- two "))
    report = shown("why", "order-7")
    assert "waits on Lock.acquire, at <string>:" in report
    assert "in want" in report
    assert report.rstrip().endswith("wants the lock")


def test_who_holds_up_the_loop_is_seen_while_it_does(program: Program) -> None:
    program.block()
    report = shown("why", "hog")
    program.send("go on\n")
    assert "is running" in report
    stack = report.partition("stack")[2].partition("the newest")[0]
    functions = [
        line.rpartition(" in ")[2] for line in stack.splitlines() if " in " in line
    ]
    assert functions[-2:] == ["hog", "read_a_line"]
    [task] = map(json.loads, shown("live", "--json", "task:order-7").splitlines())
    assert task["wait"]["kind"] == "lock"
