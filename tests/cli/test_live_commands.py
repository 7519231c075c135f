"""``otel-tasklog live``, ``tree`` and ``why``: live tasks of other processes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import live_jobs
import pytest
from hostile_texts import EVERYTHING, HOSTILE, unprintable
from live_jobs import shop_at_work
from served import listen, serve

from otel_tasklog._text import width_of
from otel_tasklog.cli import _live_answers
from otel_tasklog.cli._client import Peer
from otel_tasklog.cli._console import make_console
from otel_tasklog.viewer._places import DIRECTORY_VARIABLE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from cli.conftest import Ran
    from served import Served

JOB = "task:order-1"
COMMANDS = ["live", "tree", "why"]


@pytest.fixture
def shop(served: Served) -> Iterator[Served]:
    """A process that can be asked, with two tasks at work."""
    with shop_at_work(served.log):
        yield served


def test_live_tasks_are_a_table(shop: Served, command: Callable[..., Ran]) -> None:
    ran = command("live", JOB)
    assert (ran.status, ran.errors) == (0, "")
    header, till, charge = ran.output.splitlines()
    assert header.split()[:5] == ["#", "parent", "name", "task_id", "coroutine"]
    number, *known = till.split()
    assert known[:4] == ["-", "till-1", "order-1", "_till"]
    assert charge.split()[1:5] == [number, "charge-1", "order-1", "_charge"]
    assert f"task #{charge.split()[0]} charge-1" in till
    assert "Event.wait" in charge
    assert charge.endswith("s ago: the bank is slow")


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["level>=warning"], ["charge-1"]),
        ([JOB, "--sort", "worst"], ["charge-1", "till-1"]),
        ([JOB, "--waiting"], ["till-1", "charge-1"]),
        ([JOB, "--silent", "1h"], []),
        ([JOB, "--silent", "0.001s"], ["till-1", "charge-1"]),
        ([JOB, "--silent", "0.001"], ["till-1", "charge-1"]),
        (["task:order-2"], []),
    ],
    ids=str,
)
def test_which_of_them_can_be_said(
    shop: Served, command: Callable[..., Ran], arguments: list[str], names: list[str]
) -> None:
    ran = command("live", "--json", *arguments)
    shown = [json.loads(line)["name"] for line in ran.output.splitlines()]
    assert (shown, ran.status) == (names, 0 if names else 1)


def test_with_a_limit_it_is_said_how_many_there_are(
    shop: Served, command: Callable[..., Ran]
) -> None:
    ran = command("live", JOB, "-n", "1")
    assert (ran.status, len(ran.output.splitlines())) == (0, 2)
    assert ran.errors == (
        f"otel-tasklog: {shop.name}: shown are 1 of 2 tasks; -n says how many at most\n"
    )


@pytest.mark.parametrize(
    ("name", "advice"),
    [("live", ": a QUERY, --waiting or --silent says which"), ("tree", "")],
)
def test_at_the_highest_limit_it_is_not_said_to_raise_it(
    shop: Served,
    command: Callable[..., Ran],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    advice: str,
) -> None:
    monkeypatch.setattr(_live_answers, "RECORDS", 1)
    ran = command(name, "-n", "1")
    assert ran.status == 0
    assert ran.errors.endswith(f"; no more can be{advice}\n")


@pytest.mark.parametrize("by", ["waits", "parents"])
def test_a_tree_has_below_a_task_what_it_waits_for_or_made(
    shop: Served, command: Callable[..., Ran], by: str
) -> None:
    ran = command("tree", "--by", by)
    assert (ran.status, ran.errors) == (0, "")
    lines = ran.output.splitlines()
    [at] = [n for n, line in enumerate(lines) if " till-1 (" in line]
    assert "charge-1 (_charge): Event.wait" in lines[at + 1]
    assert lines[at + 1].index("└") == lines[at].index("#")


def test_why_shows_where_a_task_waits_and_who_waits_for_it(
    shop: Served, command: Callable[..., Ran]
) -> None:
    ran = command("why", "charge-1")
    assert (ran.status, ran.errors) == (0, "")
    assert "waits on Event.wait, at " in ran.output
    assert f"{live_jobs.__file__}:" in ran.output
    assert "awaited by #" in ran.output
    assert ran.output.rstrip().endswith("the bank is slow")
    assert "the bank is slow" not in command("why", "charge-1", "-n", "0").output


@pytest.mark.parametrize("arguments", [["live", JOB], ["tree"], ["why", "till-1"]])
def test_json_is_what_the_api_has_and_whose_it_is(
    shop: Served, command: Callable[..., Ran], arguments: list[str]
) -> None:
    ran = command(*arguments, "--json")
    values = [json.loads(line) for line in ran.output.splitlines()]
    assert all(
        (value["service_name"], value["pid"]) == ("shop", os.getpid())
        for value in values
    )
    tasks = [value.get("task", value) for value in values]
    [till] = [task for task in tasks if task["name"] == "till-1"]
    assert till["wait"]["awaited"][0]["name"] == "charge-1"


@pytest.mark.parametrize("arguments", [["live", JOB], ["tree"], ["why", "till-1"]])
def test_of_several_processes_each_has_its_name_above(
    shop: Served,
    runtime: dict[str, str],
    command: Callable[..., Ran],
    arguments: list[str],
) -> None:
    with serve(runtime, number=1, service_name="bank") as bank:
        with shop_at_work(bank.log):
            ran = command(*arguments)
        lines = ran.output.splitlines()
        assert {f"{bank.name}:", f"{shop.name}:"} <= {*lines}
        assert lines.count("") == 1


def test_of_several_processes_those_say_why_that_have_the_task(
    shop: Served, runtime: dict[str, str], command: Callable[..., Ran]
) -> None:
    with serve(runtime, number=1, service_name="bank"):
        # The two are one process here, with the same loops; their records are not.
        known = command("why", "bank-1")
        unknown = command("why", "no-such")
    assert (known.status, known.errors) == (0, "")
    assert known.output.startswith("task #")
    assert (unknown.status, unknown.output) == (1, "")
    assert unknown.errors.count("nothing is called no-such") == 2


def test_a_process_that_cannot_be_asked_so_gets_a_line_and_the_others_a_table(
    shop: Served, runtime: dict[str, str], command: Callable[..., Ran]
) -> None:
    """It has an older version, say, which does not have this route."""
    path = Path(runtime[DIRECTORY_VARIABLE], f"{os.getpid()}-9.sock")
    who = dict.fromkeys(("kept", "captured"), 0) | {
        "api": 1, "pid": 7, "service_name": "old", "version": "1",
        "uptime_seconds": 1, "lag_seconds": None,
    }  # fmt: skip
    replies = [("200 OK", who), ("404 Not Found", {"error": "nothing is served here"})]

    def talk(connection: socket.socket) -> None:
        for status, answer in replies:
            if not connection.recv(10_000):
                return
            body = json.dumps(answer)
            head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(f"{head}{body}".encode())

    with listen(path, talk):
        ran = command("live", JOB)
    path.unlink()
    assert (ran.status, len(ran.output.splitlines())) == (1, 3)
    assert ran.errors == "otel-tasklog: old/7: nothing is served here\n"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["live", "levle:error"], 2),
        (["live", "--sort", "age"], 2),
        (["live", "--silent", "soon"], 2),
        (["live", "--silent", "12:30"], 2),
        (["live", "--silent", "2026-01-31T12:30Z"], 2),
        (["live", "--silent", "-5m"], 2),
        (["live", "--silent", f"{10**399}d"], 2),
        (["live", "--silent", "0"], 2),
        (["live", "-n", "1001"], 2),
        (["tree", "--by", "names"], 2),
        (["why"], 2),
        (["why", "#no-such"], 1),
        (["why", ""], 1),
        (["why", "x" * 3_000], 2),
        (["why", "till-1", "--service", "no-such"], 3),
        (["live", "--service", "no-such"], 3),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_asked_is_refused_in_a_line(
    shop: Served, command: Callable[..., Ran], arguments: list[str], status: int
) -> None:
    ran = command(*arguments)
    assert (ran.status, ran.output) == (status, "")
    assert ran.errors.startswith("otel-tasklog: ")
    assert ran.errors.count("\n") == (3 if "levle:error" in arguments else 1)


@pytest.mark.parametrize(
    "answer",
    [None, [], {}, {"tasks": [{}], "places": [{}], "total": 1, "complete": True},
     {"tasks": 1, "places": 1, "total": 1, "complete": True}, {"task": {}}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_no_answer_is_from_another_program(
    served: Served,
    command: Callable[..., Ran],
    name: str,
    answer: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Peer, "get", lambda *_, **__: answer)
    ran = command(name, *(["x"] if name == "why" else []))
    assert (ran.status, ran.output) == (3, "")
    assert ran.errors.count("\n") == 1


def test_no_time_to_look_at_all_is_said(
    served: Served, command: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"tasks": [], "total": 0, "complete": False}
    monkeypatch.setattr(Peer, "get", lambda *_, **__: answer)
    ran = command("live")
    assert (ran.status, ran.output) == (1, "")
    assert f"{served.name} had no time to look at all" in ran.errors


@pytest.mark.parametrize("arguments", [["live", JOB], ["tree"], ["why", "till-1"]])
@pytest.mark.parametrize("width", [48, 60, 200])
def test_on_a_terminal_no_line_is_wider(
    shop: Served,
    command: Callable[..., Ran],
    arguments: list[str],
    width: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    console = make_console()
    console._force_terminal = True
    console.size = (width, 24)
    monkeypatch.setattr(_live_answers, "make_console", lambda: console)
    lines = command(*arguments).output.splitlines()
    assert lines
    assert max(map(width_of, lines)) <= width


def test_nothing_that_a_terminal_obeys_is_printed(
    served: Served, command: Callable[..., Ran]
) -> None:
    with shop_at_work(served.log, mark="".join(HOSTILE.values())):
        number = served.tasklog.live_tasks("level:warning")[0].number
        for arguments in (
            ["live"],
            ["tree"],
            ["why", f"#{number}"],
            ["why", EVERYTHING],
        ):
            for form in ([], ["--json"]):
                ran = command(*arguments, *form)
                assert ran.output or ran.errors
                assert unprintable(ran.output + ran.errors) == set()
