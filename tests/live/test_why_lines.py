"""What keeps a task from going on, on a terminal, from values."""

from __future__ import annotations

import dataclasses
import datetime

from hypothesis import given
from hypothesis import strategies as st

from otel_tasklog import (
    AwaitedTask,
    LiveTask,
    StackFrame,
    TaskRecord,
    TaskReport,
    TaskWait,
)
from otel_tasklog._text import width_of
from otel_tasklog.capture._record import NO_REST
from otel_tasklog.live._why_lines import why_lines

NOON = datetime.datetime(2025, 3, 1, 12, tzinfo=datetime.UTC)


def record(message: str) -> TaskRecord:
    origin = ("shop", 20, 9, "INFO", "a.py", 1, "f", 1, "MainThread", 1)
    who = ("order-1", None, 4, "worker-1", None)
    at_ns = int(NOON.timestamp() * 1e9)
    return TaskRecord((1, at_ns, origin, who, None, message, None, (), (), NO_REST))


WAIT = TaskWait(
    "tasks", "gather(2)", (AwaitedTask(7, "pay-2"), AwaitedTask(None, "audit")),
    "shop.py", 41, "order", 4, "worker-1",
)  # fmt: skip
TASK = LiveTask(
    number=4, parent=None, name="worker-1", task_id="order-1", coroutine="order",
    address=7, wait=WAIT, numbered_ns=1, records=3, worst="INFO", last=record("b"),
)  # fmt: skip
REPORT = TaskReport(
    task=TASK,
    stack=(StackFrame("shop.py", 12, "main"), StackFrame("shop.py", None, "order")),
    awaited_by=(AwaitedTask(1, "main"),),
    records=(record("a"), record("b")),
    trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
    span_id="00f067aa0ba902b7",
    lost_waker=False,
    others=(),
)


def lines_of(report: TaskReport, width: int = 120) -> list[str]:
    return [*why_lines(report, width=width, now=NOON)]


def test_it_tells_what_the_task_waits_on_where_who_waits_and_what_it_said() -> None:
    assert lines_of(REPORT) == [
        "task #4 worker-1 (order), at job order-1",
        "waits on gather(2), at shop.py:41 in order",
        "for #7 pay-2, audit",
        "awaited by #1 main",
        "trace 4bf92f3577b34da6a3ce929d0e0e4736, span 00f067aa0ba902b7",
        "stack, the innermost last:",
        "  | shop.py:12 in main",
        "  | shop.py in order",
        "the newest of 3 records:",
        "12:00:00.000 INFO #4 worker-1 shop: a",
        "12:00:00.000 INFO #4 worker-1 shop: b",
    ]


def test_of_a_silent_task_whose_waker_is_lost_it_gives_a_hint() -> None:
    silent = dataclasses.replace(
        TASK, number=None, task_id=None, records=0, last=None,
        wait=WAIT._replace(kind="future", text="Future", awaited=(), path=None),
    )  # fmt: skip
    report = dataclasses.replace(
        REPORT, task=silent, stack=(), awaited_by=(), records=(), trace_id=None,
        lost_waker=True, others=(AwaitedTask(9, "worker-1"),),
    )  # fmt: skip
    lines = lines_of(report, 200)
    assert lines[:2] == ["task worker-1 (order)", "waits on Future"]
    assert lines[2].startswith("hint: nothing else seems to have the future")
    assert lines[3:] == [
        "no record of it is in memory",
        "the same word also means #9 worker-1",
    ]


def test_a_task_that_runs_is_said_to_be_running() -> None:
    task = dataclasses.replace(TASK, wait=WAIT._replace(kind="running", text="running"))
    assert lines_of(dataclasses.replace(REPORT, task=task))[1].startswith("is running")


@given(name=st.text(), width=st.integers(40, 200))
def test_no_line_is_wider_than_the_terminal_or_holds_what_it_obeys(
    name: str, width: int
) -> None:
    hostile = dataclasses.replace(
        REPORT,
        task=dataclasses.replace(TASK, name=name, task_id=name, coroutine=name),
        stack=(StackFrame(name, 1, name),),
        awaited_by=(AwaitedTask(1, name),),
        records=(record(name),),
    )
    for line in lines_of(hostile, width):
        assert line.isprintable()
        assert width_of(line) <= width
