"""The table of live tasks on a terminal, from values."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tasklog import LiveTask, TaskRecord, TaskWait
from otel_tasklog._text import CONTINUED, cut, fold, visible, width_of
from otel_tasklog.capture._record import NO_REST
from otel_tasklog.live._task_lines import task_lines

SECOND = 1_000_000_000


def record(message: str = "x", *, at_ns: int = 0) -> TaskRecord:
    origin = ("shop", 20, 9, "INFO", "a.py", 1, "f", 1, "MainThread", 1)
    who = ("order-1", None, 1, "worker", None)
    return TaskRecord((1, at_ns, origin, who, None, message, None, (), (), NO_REST))


SILENT = LiveTask(
    number=None, parent=None, name="silent", task_id=None, coroutine="work",
    address=0x7F00, wait=None, numbered_ns=None, records=0, worst=None, last=None,
)  # fmt: skip
WAIT = TaskWait("lock", "Lock.acquire", (), "a.py", 1, "work", 1, "worker")


def live(message: str = "charging", *, number: int = 1, name: str = "w") -> LiveTask:
    return dataclasses.replace(
        SILENT, number=number, parent=3, name=name, task_id="order-1", wait=WAIT,
        numbered_ns=0, records=2, worst="WARNING", last=record(message),
    )  # fmt: skip


def test_a_task_that_never_logged_has_dashes() -> None:
    assert task_lines([SILENT], width=120, now_ns=0) == [
        "#  parent  name    task_id  coroutine  waits on  age  records  worst  last",
        "-       -  silent  -        work       -           -        0  -",
    ]


def test_on_a_wide_terminal_a_task_takes_one_line() -> None:
    header, line = task_lines([live()], width=120, now_ns=90 * SECOND)
    assert header == (
        "#  parent  name  task_id  coroutine  waits on      age  records  worst    last"
    )
    assert line == (
        "1       3  w     order-1  work       Lock.acquire   2m        2  WARNING  "
        "2m ago: charging"
    )


def test_on_a_narrow_terminal_the_last_message_has_its_own_line() -> None:
    lines = task_lines([live("charging the card")], width=79, now_ns=0)
    assert lines[1] == "  | last"
    assert lines[3] == "  | 0.0s ago: charging the card"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "0.0s"), (59.94, "59.9s"), (90, "2m"), (7_200, "2h"), (200_000, "2d")],
    ids=str,
)
def test_ages_are_short(seconds: float, shown: str) -> None:
    line = task_lines([live()], width=120, now_ns=int(seconds * SECOND))[1]
    assert f" {shown} ago" in line


@given(
    names=st.lists(st.text(max_size=60), max_size=4),
    message=st.text(max_size=200),
    width=st.integers(min_value=0, max_value=200),
)
def test_no_line_is_wider_than_the_terminal_or_starts_with_log_text(
    names: list[str], message: str, width: int
) -> None:
    tasks = [live(message, number=n, name=name) for n, name in enumerate(names, 1)]
    for line in task_lines(tasks, width=width, now_ns=0):
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
    ids=ascii,
)
def test_what_a_terminal_would_act_on_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown
