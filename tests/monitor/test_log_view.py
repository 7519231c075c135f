"""Which records `logs TASK` means, and their lines, from values."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tasklog import TaskRecord
from otel_tasklog._text import CONTINUED, width_of
from otel_tasklog.monitor._log_view import (
    RECORD_LINES,
    Found,
    NotFound,
    find,
    log_lines,
)
from otel_tasklog.monitor._tasks_view import LiveTask

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from otel_tasklog.store._query import Filters

NOON = datetime.datetime(2025, 3, 1, 12, tzinfo=datetime.UTC)
ADDRESS = 140193373066752


def record(
    message: str = "x",
    *,
    task_id: str | None = "order-1",
    number: int | None = 4,
    name: str | None = "worker-1",
    stacktrace: str | None = None,
    seconds: float = 0.0,
) -> TaskRecord:
    origin = ("shop", 30, 13, "WARNING", "a.py", 1, "f", 1, "MainThread", 1)
    at_ns = int(NOON.timestamp() * 1e9 + seconds * 1e9)
    rest = (None, None, None, stacktrace, None, None)
    who = (task_id, None, number, name, None)
    return TaskRecord((1, at_ns, origin, who, None, message, None, (), (), rest))


class Kept:
    """Records to ask for, the newest first."""

    def __init__(self, *newest_first: TaskRecord) -> None:
        self._records = newest_first

    def query(self, **filters: Unpack[Filters]) -> list[TaskRecord]:
        assert filters.get("limit", 0) is None
        task_id, number = filters.get("task_id"), filters.get("asyncio_task")
        return [
            each
            for each in self._records
            if task_id in (None, each.task_id)
            and number in (None, each.asyncio_task_number)
        ]


def live(number: int | None, name: str, address: int = ADDRESS) -> LiveTask:
    return LiveTask(number, None, name, "work", address, None)


def found(wanted: str, tasks: Sequence[LiveTask], kept: Kept) -> Found:
    answer = find(wanted, tasks, kept)
    assert isinstance(answer, Found), answer
    return answer


def refused(wanted: str, tasks: Sequence[LiveTask], kept: Kept) -> str:
    answer = find(wanted, tasks, kept)
    assert isinstance(answer, NotFound), answer
    return answer.why


@pytest.mark.parametrize(
    ("wanted", "what"),
    [
        ("#4", "task #4 worker-1"),
        ("4", "task #4 worker-1"),
        ("order-1", "job order-1"),
        ("worker-1", "task worker-1"),
        (str(ADDRESS), "task #4 worker-1"),
    ],
)
def test_a_task_can_be_named_in_five_ways(wanted: str, what: str) -> None:
    mine, other = record("mine"), record("other", task_id="b", number=5, name="c")
    answer = found(wanted, [live(4, "worker-1")], Kept(other, mine))
    assert answer == (what, [mine], "")


def test_a_job_that_is_called_like_a_number_comes_first_and_says_so() -> None:
    numbered, job = record("numbered"), record("job", task_id="4", number=9)
    kept = Kept(numbered, job)
    assert found("4", [live(4, "worker-1")], kept) == (
        "job 4",
        [job],
        "; the task of that number: logs #4",
    )
    assert found("#4", [live(4, "worker-1")], kept).newest_first == [numbered]


def test_an_ended_task_is_found_by_its_number() -> None:
    assert found("#4", [], Kept(record())).what == ("task #4 worker-1, which has ended")


def test_the_id_of_a_task_that_ended_is_refused() -> None:
    why = refused(str(ADDRESS), [], Kept(record()))
    assert why.startswith(f"No live task has the Task ID {ADDRESS}: its task has ended")


def test_a_live_task_that_never_logged_has_an_empty_log() -> None:
    answer = found(str(ADDRESS), [live(None, "silent")], Kept(record()))
    assert answer == ("task silent, which has not logged", [], "")
    assert found("silent", [live(None, "silent")], Kept(record())).newest_first == []


def test_a_renamed_task_is_found_by_its_new_and_its_old_name() -> None:
    mine = record(name="old")
    for name in ("old", "new"):
        assert found(name, [live(4, "new")], Kept(mine)).newest_first == [mine]


@pytest.mark.parametrize("wanted", ["#77", "#", "#x", "nope", "77", "9" * 5_000, "²"])
def test_what_is_not_there_is_answered_with_one_sentence(wanted: str) -> None:
    assert "'tasks'" in refused(wanted, [live(4, "worker-1")], Kept(record()))


def test_the_question_is_shown_harmlessly() -> None:
    assert "\\x1b" in refused("\x1b[2J", [], Kept())


def lines_of(*records: TaskRecord, count: int = 20, width: int = 79) -> list[str]:
    answer = Found("job order-1", records)
    return log_lines(answer, count=count, kept=40, width=width, now=NOON)


def test_the_newest_records_are_shown_oldest_first_with_a_summary() -> None:
    newest, middle, oldest = (record(str(n), seconds=n) for n in (3, 2, 1))
    assert lines_of(newest, middle, oldest, count=2) == [
        "12:00:02.000 WARNING #4 worker-1 shop: 2",
        "12:00:03.000 WARNING #4 worker-1 shop: 3",
        "-- 2 of 3 records of job order-1, 40 in the ring",
    ]


def test_a_record_of_another_day_shows_its_date() -> None:
    assert lines_of(record(seconds=-86_400))[0].startswith("02-28 12:00:00.000 ")


def test_a_record_outside_of_a_task_has_a_dash() -> None:
    assert lines_of(record(number=None, name=None))[0] == (
        "12:00:00.000 WARNING - shop: x"
    )


def test_a_traceback_and_the_further_lines_of_a_message_are_marked() -> None:
    stacktrace = "Traceback:\n  File\n\tTab\nValueError: no\n"
    assert lines_of(record("one\r\ntwo", stacktrace=stacktrace))[:-1] == [
        "12:00:00.000 WARNING #4 worker-1 shop: one",
        "  | two",
        "  | Traceback:",
        "  |   File",
        "  |     Tab",
        "  | ValueError: no",
    ]


def test_a_long_record_is_bounded_and_says_how_much_is_left_out() -> None:
    lines = lines_of(record("x\n" * 1_000))
    assert len(lines) == RECORD_LINES + 2
    assert lines[-2] == f"  | ({1_000 - RECORD_LINES} more lines)"


@given(message=st.text(), name=st.text(), width=st.integers(50, 200))
def test_one_record_cannot_look_like_two(message: str, name: str, width: int) -> None:
    forged = f"{message}\n12:00:00.000 INFO #1 root: forged{message}\n-- 9 of 9"
    first, *others, summary = lines_of(record(forged, name=name), width=width)
    assert first.startswith("12:00:00.000 WARNING #4")
    assert all(line.startswith(CONTINUED) for line in others)
    assert summary.startswith("-- 1 of 1 records")
    assert all(line.isprintable() for line in [first, *others])
    assert all(width_of(line) <= width for line in [first, *others])
