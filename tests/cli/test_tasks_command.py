"""``otel-tasklog tasks``: the jobs of processes, once and as they go on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hostile_texts import EVERYTHING, HOSTILE, unprintable
from hypothesis import given
from hypothesis import strategies as st
from served import listen, serve

import otel_tasklog
from otel_tasklog._text import CONTINUED, width_of
from otel_tasklog.cli import _tasks_command
from otel_tasklog.cli._choose import Chosen
from otel_tasklog.cli._client import Peer
from otel_tasklog.cli._console import make_console
from otel_tasklog.cli._task_table import NARROWEST, Job, read_job, task_lines
from otel_tasklog.viewer._places import DIRECTORY_VARIABLE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Generator

    from cli.conftest import Ran
    from served import Served

SECOND = 1_000_000_000


@contextlib.contextmanager
def working(served: Served, job: str = "import-7") -> Generator[None]:
    """Have a job wait for a queue, in a loop of its own, until the block ends."""
    ready, over = threading.Event(), threading.Event()

    async def fetch() -> None:
        served.log.warning("nothing to fetch yet")
        await asyncio.Queue[int]().get()

    async def work() -> None:
        with otel_tasklog.task("nightly"), otel_tasklog.task(job):
            fetching = asyncio.create_task(fetch())
            await asyncio.sleep(0)
            ready.set()
            await asyncio.to_thread(over.wait)
            fetching.cancel()

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        over.set()
        thread.join()


def log_jobs(served: Served) -> None:
    """Log in three jobs, each with more and less severe records than the one before."""
    for name, levels in (("b", "EE"), ("c", "IWI"), ("a", "D")):
        for level in levels:
            number = {"D": 10, "I": 20, "W": 30, "E": 40}[level]
            served.log.log(number, "of %s", name, extra={"task_id": name})


def test_a_table_says_what_each_job_waits_on(
    served: Served, command: Callable[..., Ran]
) -> None:
    served.log.error("no money", extra={"task_id": "order-1"})
    with working(served):
        ran = command("tasks")
    assert (ran.status, ran.errors) == (0, "")
    header, first, second = ran.output.splitlines()
    assert header.split() == [
        "TASK", "PARENT", "WAITS", "ON", "RECORDS", "WORST", "LAST"
    ]  # fmt: skip
    line = f"{Path(__file__).name}:"
    assert first.startswith(f"import-7  nightly  Queue.get {line}")
    assert "  1  WARNING  0." in first
    assert first.endswith("s ago: nothing to fetch yet")
    assert second.split()[:5] == ["order-1", "-", "-", "1", "ERROR"]


def test_a_job_that_is_over_is_done_and_may_be_left_out(
    served: Served, command: Callable[..., Ran]
) -> None:
    with working(served, "first"):
        pass
    with working(served, "second"):
        everything = command("tasks", "under:nightly").output
        alive = command("tasks", "--alive").output
    assert [each.split()[2] for each in everything.splitlines()[1:]] == [
        "Queue.get", "done"
    ]  # fmt: skip
    assert [each.split()[0] for each in alive.splitlines()[1:]] == ["second"]
    ran = command("tasks", "--alive")
    assert (ran.status, ran.output.count("\n"), ran.errors) == (1, 1, "")


@pytest.mark.parametrize(
    ("order", "expected"),
    [("last", "acb"), ("records", "cba"), ("worst", "bca"), ("task", "abc")],
)
def test_what_comes_first_can_be_chosen(
    served: Served, command: Callable[..., Ran], order: str, expected: str
) -> None:
    log_jobs(served)
    lines = command("tasks", "--sort", order).output.splitlines()
    assert "".join(line[0] for line in lines[1:]) == expected
    lines = command("tasks", "--sort", order, "-n", "2").output.splitlines()
    assert "".join(line[0] for line in lines[1:]) == expected[:2]


def test_json_is_what_the_api_has_and_whose_it_is(
    served: Served, command: Callable[..., Ran]
) -> None:
    with working(served):
        ran = command("tasks", "--json", "task:import-*")
    [job] = map(json.loads, ran.output.splitlines())
    assert (job["service_name"], job["pid"]) == ("shop", os.getpid())
    assert job["waits_on"]["kind"] == "queue"
    assert job["waits_on"]["path"] == __file__
    assert job["levels"] == {"WARNING": 1}
    ran = command("tasks", "--json", "task:nothing")
    assert (ran.status, ran.output, ran.errors) == (1, "", "")


def test_of_several_processes_each_line_says_which(
    served: Served, runtime: dict[str, str], command: Callable[..., Ran]
) -> None:
    log_jobs(served)
    with serve(runtime, number=1, service_name="till") as other:
        log_jobs(other)
        ran = command("tasks", "--sort", "task", "-n", "4")
        alone = command("tasks", "--service", "till")
    assert (ran.status, ran.errors) == (0, "")
    rows = [line.split()[:2] for line in ran.output.splitlines()]
    assert rows == [
        ["PROCESS", "TASK"],
        [served.name, "a"], [other.name, "a"], [served.name, "b"], [other.name, "b"],
    ]  # fmt: skip
    assert alone.output.startswith("TASK ")


def test_a_process_that_ends_meanwhile_gets_a_line_and_the_others_a_table(
    served: Served, runtime: dict[str, str], command: Callable[..., Ran]
) -> None:
    log_jobs(served)
    path = Path(runtime[DIRECTORY_VARIABLE], f"{os.getpid()}-9.sock")
    who = dict.fromkeys(("kept", "captured"), 0) | {
        "api": 1, "pid": 7, "service_name": "gone", "version": "1",
        "uptime_seconds": 1, "lag_seconds": None,
    }  # fmt: skip
    body = json.dumps(who).encode()

    def talk(connection: socket.socket) -> None:
        connection.recv(10_000)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        connection.recv(10_000)

    with listen(path, talk):
        ran = command("tasks")
    path.unlink()
    assert ran.status == 1
    assert len(ran.output.splitlines()) == 4
    assert ran.errors.startswith("otel-tasklog: gone/7 ")
    assert ran.errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["levle:error"], 2),
        (["--sort", "age"], 2),
        (["--limit", "0"], 2),
        (["--interval", "0"], 2),
        (["--interval", "nan"], 2),
        (["--service", "no-such"], 3),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_refused_in_words(
    served: Served, command: Callable[..., Ran], arguments: list[str], status: int
) -> None:
    ran = command("tasks", *arguments)
    assert (ran.status, ran.output) == (status, "")
    assert ran.errors.startswith("otel-tasklog: ")


@pytest.mark.parametrize(
    "answer",
    [None, [], {}, {"tasks": [{}], "complete": True}, {"tasks": 1, "complete": True},
     {"tasks": [{"task_id": "x"}], "complete": True}],
    ids=str,
)  # fmt: skip
def test_what_is_no_answer_is_from_another_program(
    served: Served,
    command: Callable[..., Ran],
    answer: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Peer, "get", lambda *_, **__: answer)
    ran = command("tasks")
    assert (ran.status, ran.output) == (3, "")
    assert ran.errors.count("\n") == 1


def test_no_time_for_all_of_memory_is_said(
    served: Served, command: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"tasks": [], "complete": False}
    monkeypatch.setattr(Peer, "get", lambda *_, **__: answer)
    ran = command("tasks")
    assert ran.status == 1
    assert f"{served.name} had no time to look at all of its memory" in ran.errors


def job(name: str = "order-1", **fields: Any) -> Job:
    values: dict[str, Any] = {
        "process": "shop/1", "task_id": name, "parent_id": None, "waits_on": None,
        "alive": None, "records": 1, "worst": "INFO", "rank": 20, "last_ns": 0,
        "last_message": "x",
    }  # fmt: skip
    return Job(**values | fields)


def plain(jobs: list[Job], width: int | None, *, several: bool = False) -> list[str]:
    lines = task_lines(jobs, several=several, now_ns=SECOND, width=width)
    return ["".join(text for text, _ in line) for line in lines]


def test_on_a_narrow_terminal_the_last_message_has_a_line_of_its_own() -> None:
    jobs = [job(waits_on="Queue.get shop.py:30", last_message="charging a customer")]
    assert plain(jobs, 60) == [
        "TASK     PARENT  WAITS ON              RECORDS  WORST  ",
        "  | LAST",
        "order-1  -       Queue.get shop.py:30        1  INFO   ",
        "  | 1.0s ago: charging a customer",
    ]
    assert plain(jobs, 120)[1].endswith("INFO   1.0s ago: charging a customer")


@given(
    texts=st.lists(st.text(max_size=80), min_size=6, max_size=6),
    several=st.booleans(),
    width=st.integers(0, 200),
)
def test_no_line_is_wider_than_the_terminal(
    *,
    texts: list[str],
    several: bool,
    width: int,
) -> None:
    names = ("process", "task_id", "parent_id", "waits_on", "worst", "last_message")
    fields: dict[str, Any] = dict(zip(names, texts, strict=True))
    for line in plain([job(**fields)], width, several=several):
        assert line.isprintable()
        assert width_of(line.rstrip()) <= max(width, NARROWEST)


def test_nothing_that_a_terminal_obeys_is_printed(
    served: Served, command: Callable[..., Ran]
) -> None:
    for text in (*HOSTILE.values(), EVERYTHING):
        served.log.info("%s", text, extra={"task_id": f"x{text}"})
    ran = command("tasks")
    assert unprintable(ran.output) == set()
    lines = ran.output.splitlines()
    assert len(lines) == 2 + len(HOSTILE)
    assert all(line.startswith("x") for line in lines[1:])
    assert unprintable(command("tasks", "--json").output) == set()


@pytest.mark.parametrize(
    ("wait", "shown"),
    [
        (None, None),
        ({"text": "sleep(1)", "path": None, "line": None}, "sleep(1)"),
        ({"text": "ready", "path": "/srv/shop/a.py", "line": 3}, "ready a.py:3"),
        ({"text": "ready", "path": r"C:\shop\a.py", "line": 3}, "ready a.py:3"),
    ],
    ids=str,
)
def test_what_a_job_waits_on_is_shown_with_its_line(
    wait: Any, shown: str | None
) -> None:
    answer = {
        "task_id": "x", "task_parent_id": None, "alive": True, "records": 1,
        "worst_level": "NOTICE", "levels": {"NOTICE": 1, "INFO": 2}, "last_ns": "1",
        "last_message": "x", "waits_on": wait,
    }  # fmt: skip
    read = read_job("shop/1", answer)
    assert (read.waits_on, read.rank) == (shown, 20)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Pretend a terminal; do a step in each pause, then Ctrl-C; return the frames."""
    console = make_console()
    console._force_terminal, console._color_system = True, None
    console.size = (100, 12)
    frames: list[str] = []
    frame_of = _tasks_command._frame

    def frame(*arguments: Any) -> Any:
        made = frame_of(*arguments)
        frames.append(made.plain)
        return made

    def watched(*steps: Callable[[], object]) -> list[str]:
        left = iter(steps)

        def pause(_: float) -> None:
            step = next(left, None)
            if step is None:
                raise KeyboardInterrupt
            step()

        monkeypatch.setattr(_tasks_command, "sleep", pause)
        return frames

    monkeypatch.setattr(_tasks_command, "make_console", lambda: console)
    monkeypatch.setattr(_tasks_command, "_frame", frame)
    return watched


def without_ages(table: str) -> str:
    return re.sub(r"[0-9.]+s ago", "… ago", table)


def test_on_a_terminal_the_table_is_renewed_until_ctrl_c(
    served: Served,
    runtime: dict[str, str],
    command: Callable[..., Ran],
    watched: Callable[..., list[str]],
) -> None:
    """What it says of processes that go, come back, and are all gone."""
    place = served.place.path
    away = Path(f"{place}.away")
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(serve(runtime, number=1, service_name="till"))
        log_jobs(other)
        log_jobs(served)
        frames = watched(
            lambda: served.log.critical("fire", extra={"task_id": "alarm"}),
            stack.close,
            lambda: place.rename(away),
            lambda: away.rename(place),
        )
        ran = command("tasks", "--sort", "worst", "--interval", "1")
    assert (ran.status, ran.errors) == (130, "")
    first, alarmed, without, alone, again = frames
    assert first.startswith("PROCESS ")
    assert first.endswith("-- jobs: 6, alive: 0, processes: 2")
    assert "alarm" in alarmed.splitlines()[1]
    assert without.startswith("TASK ")
    gone = f"{other.name} does not answer any more"
    assert without.splitlines()[-2:] == ["-- jobs: 4, alive: 0, processes: 1", gone]
    assert alone.splitlines()[-3:] == [
        "-- jobs: 0, alive: 0, processes: 0",
        f"{served.name} does not answer any more",
        gone,
    ]
    assert without_ages(again) == without_ages(without)
    assert ran.output.rstrip().endswith(again.splitlines()[-1])


def test_on_a_terminal_that_cannot_be_redrawn_the_table_is_printed_once(
    served: Served,
    command: Callable[..., Ran],
    watched: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    log_jobs(served)
    frames = watched()
    ran = command("tasks")
    assert (ran.status, ran.errors, frames) == (0, "", [])
    assert ran.output.startswith("TASK ")


def test_a_frame_is_no_higher_than_the_terminal(served: Served) -> None:
    for number in range(30):
        served.log.info("x", extra={"task_id": f"job-{number}"})
    console = make_console()
    console.size = (100, 12)
    found = _tasks_command._look(Chosen(), "", alive=False)
    show = _tasks_command._Show("last", None)
    frame = _tasks_command._frame(console, show, found, set())
    assert frame.plain.count("\n") == 11
    assert CONTINUED not in frame.plain
