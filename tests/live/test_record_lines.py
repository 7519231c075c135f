"""The lines of a record on a terminal, from values."""

from __future__ import annotations

import datetime

from hypothesis import given
from hypothesis import strategies as st

from otel_tasklog import TaskRecord
from otel_tasklog._text import CONTINUED, width_of
from otel_tasklog.live._record_lines import RECORD_LINES, folded, record_lines

NOON = datetime.datetime(2025, 3, 1, 12, tzinfo=datetime.UTC)


def record(
    message: str = "x",
    *,
    number: int | None = 4,
    name: str | None = "worker-1",
    stacktrace: str | None = None,
    seconds: float = 0.0,
) -> TaskRecord:
    origin = ("shop", 30, 13, "WARNING", "a.py", 1, "f", 1, "MainThread", 1)
    at_ns = int(NOON.timestamp() * 1e9 + seconds * 1e9)
    rest = (None, None, None, stacktrace, None, None)
    who = ("order-1", None, number, name, None)
    return TaskRecord((1, at_ns, origin, who, None, message, None, (), (), rest))


def lines_of(record: TaskRecord, width: int = 79) -> list[str]:
    return [*record_lines(record, width=width, now=NOON)]


def test_a_record_has_its_time_level_task_logger_and_message() -> None:
    assert lines_of(record("charging")) == [
        "12:00:00.000 WARNING #4 worker-1 shop: charging"
    ]


def test_a_record_of_another_day_shows_its_date() -> None:
    assert lines_of(record(seconds=-86_400))[0].startswith("02-28 12:00:00.000 ")


def test_a_record_outside_of_a_task_has_a_dash() -> None:
    assert lines_of(record(number=None, name=None)) == [
        "12:00:00.000 WARNING - shop: x"
    ]


def test_a_traceback_and_the_further_lines_of_a_message_are_marked() -> None:
    stacktrace = "Traceback:\n  File\n\tTab\nValueError: no\n"
    assert lines_of(record("one\r\ntwo", stacktrace=stacktrace)) == [
        "12:00:00.000 WARNING #4 worker-1 shop: one",
        "  | two",
        "  | Traceback:",
        "  |   File",
        "  |     Tab",
        "  | ValueError: no",
    ]


def test_a_long_record_is_bounded_and_says_how_much_is_left_out() -> None:
    lines = lines_of(record("x\n" * 1_000))
    assert len(lines) == RECORD_LINES + 1
    assert lines[-1] == f"  | ({1_000 - RECORD_LINES} more lines)"


def test_a_line_that_does_not_fit_goes_on_below_with_a_mark() -> None:
    assert [*folded("abcdefghij", 6)] == ["abcdef", "  | gh", "  | ij"]
    assert [*folded("", 6)] == [""]


@given(message=st.text(), name=st.text(), width=st.integers(50, 200))
def test_one_record_cannot_look_like_two(message: str, name: str, width: int) -> None:
    forged = f"{message}\n12:00:00.000 INFO #1 root: forged{message}\n-- 9 of 9"
    first, *others = lines_of(record(forged, name=name), width)
    assert first.startswith("12:00:00.000 WARNING #4")
    assert all(line.startswith(CONTINUED) for line in others)
    assert all(line.isprintable() for line in [first, *others])
    assert all(width_of(line) <= width for line in [first, *others])
