"""The lines of the `tasks` command, from values."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tasklog import TaskRecord, task
from otel_tasklog._text import CONTINUED, cut, fold, visible, width_of
from otel_tasklog.capture._record import NO_REST
from otel_tasklog.monitor._tasks_view import LiveTask, live_tasks, table, task_rows

SECOND = 1_000_000_000


def record(
    message: str = "x",
    *,
    number: int = 1,
    level: tuple[int, str] = (20, "INFO"),
    task_id: str = "order-1",
    at_ns: int = 0,
) -> TaskRecord:
    origin = ("shop", level[0], 9, level[1], "a.py", 1, "f", 1, "MainThread", 1)
    who = (task_id, None, number, "worker", None)
    return TaskRecord((1, at_ns, origin, who, None, message, None, (), (), NO_REST))


def live(number: int | None = 1, name: str = "worker") -> LiveTask:
    return LiveTask(number, None, name, "work", 0x7F00, "Lock.acquire")


def test_a_row_tells_the_newest_record_the_worst_level_and_how_many() -> None:
    records = [
        record("third", at_ns=3, task_id="order-2"),
        record("of another task", number=7, level=(50, "CRITICAL")),
        record("second", level=(30, "WARNING"), at_ns=2),
        record("first", at_ns=1),
    ]
    [row] = task_rows([live()], records)
    assert (row.task_id, row.records, row.worst) == ("order-2", 3, "WARNING")
    assert row.last is records[0]


def test_a_task_that_never_logged_has_a_row_with_dashes() -> None:
    rows = task_rows([live(None, "silent")], [record()])
    assert table(rows, width=120, now_ns=0) == [
        "#  parent  name    task_id  coroutine  waits on      records  worst  last",
        "-       -  silent  -        work       Lock.acquire        0  -",
    ]


def test_on_a_wide_terminal_a_task_takes_one_line() -> None:
    rows = task_rows([live()], [record("charging", at_ns=0)])
    assert table(rows, width=120, now_ns=int(0.2 * SECOND)) == [
        "#  parent  name    task_id  coroutine  waits on      records  worst  last",
        (
            "1       -  worker  order-1  work       Lock.acquire        1  INFO   "
            "0.2s ago: charging"
        ),
    ]


def test_on_a_narrow_terminal_the_last_message_has_its_own_line() -> None:
    rows = task_rows([live()], [record("charging the card of a customer")])
    assert table(rows, width=72, now_ns=0) == [
        "#  parent  name    task_id  coroutine  waits on      records  worst",
        "  | last",
        "1       -  worker  order-1  work       Lock.acquire        1  INFO",
        "  | 0.0s ago: charging the card of a customer",
    ]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "0.0s"), (59.94, "59.9s"), (90, "2m"), (7_200, "2h"), (200_000, "2d")],
)
def test_ages_are_short(seconds: float, shown: str) -> None:
    rows = task_rows([live()], [record(at_ns=0)])
    assert f" {shown} ago" in table(rows, width=120, now_ns=int(seconds * SECOND))[1]


@given(
    names=st.lists(st.text(max_size=60), max_size=4),
    message=st.text(max_size=200),
    width=st.integers(min_value=0, max_value=200),
)
def test_no_line_is_wider_than_the_terminal_or_starts_with_log_text(
    names: list[str], message: str, width: int
) -> None:
    tasks = [live(number, name) for number, name in enumerate(names, 1)]
    records = [record(message, number=each.number or 0) for each in tasks]
    lines = table(task_rows(tasks, records), width=width, now_ns=0)
    for line in lines:
        assert line.isprintable()
        assert width_of(line) <= max(width, 40)
        assert line.startswith((CONTINUED, "#", "1", "2", "3", "4"))


@given(st.text(), st.integers(min_value=2, max_value=20))
def test_folding_loses_nothing(text: str, width: int) -> None:
    pieces = list(fold(text, width, width))
    assert "".join(pieces) == text
    assert all(width_of(piece) <= width for piece in pieces)
    assert width_of(cut(text, width)) <= width


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", r"\x1b[31m"),
        ("a\rb\nc", r"a\rb\nc"),
        ("\x9b1m", r"\x9b1m"),
        ("\u202eevil\u2028", r"\u202eevil\u2028"),
        ("\ud800", r"\ud800"),
        ("naïve 日本", "naïve 日本"),
    ],
)
def test_what_a_terminal_would_act_on_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_live_tasks_are_sorted_by_number_and_never_numbered_by_looking() -> None:
    async def child() -> None:
        with task("job"):
            await asyncio.sleep(60)

    async def main() -> list[LiveTask]:
        silent = asyncio.create_task(asyncio.sleep(60), name="silent")
        children = [asyncio.create_task(child(), name=f"child-{n}") for n in (1, 2)]
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        found = await asyncio.to_thread(live_tasks, loop, str)
        assert await asyncio.to_thread(live_tasks, loop, str) == found
        for each in (silent, *children):
            each.cancel()
        return found

    found = asyncio.run(main())
    assert [each.name for each in found][:2] == ["child-1", "child-2"]
    assert {each.name for each in found if each.number is None} >= {"silent"}
    assert found[0].coroutine.endswith("<locals>.child")


def test_of_the_first_tasks_it_is_told_what_they_wait_on() -> None:
    async def main() -> list[LiveTask]:
        queue: asyncio.Queue[int] = asyncio.Queue()
        tasks = [asyncio.create_task(queue.get(), name=name) for name in "ab"]
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        found = await asyncio.to_thread(live_tasks, loop, str, waits=2)
        for each in tasks:
            each.cancel()
        return found

    first, second, third = asyncio.run(main())
    assert first.waits_on in {"running", "to_thread"}  # the thread has just begun
    assert (second.name, second.waits_on) == ("a", "Queue.get")
    assert (third.name, third.waits_on) == ("b", None)
