"""A tree of tasks on a terminal, from values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from otel_tasklog import TaskPlace, TaskWait
from otel_tasklog._text import width_of
from otel_tasklog.live._tree_lines import tree_lines

if TYPE_CHECKING:
    from otel_tasklog.live._tree import Again


def place(
    depth: int, name: str, *, text: str | None = None, again: Again | None = None,
    number: int | None = 1,
) -> TaskPlace:  # fmt: skip
    wait = TaskWait("task", text, (), None, None, None, number, name) if text else None
    return TaskPlace(
        depth=depth, again=again, number=number, name=name, coroutine="work",
        address=7, wait=wait,
    )  # fmt: skip


def test_those_below_are_indented_and_a_cycle_is_marked() -> None:
    places = [
        place(0, "main", text="task #2 a", number=None),
        place(1, "a", text="Lock.acquire", number=2),
        place(2, "b", number=3),
        place(3, "a", again="cycle", number=2),
        place(1, "b", again="above", number=3),
    ]
    assert [*tree_lines(places, width=79)] == [
        "- main (work): task #2 a",
        "└ #2 a (work): Lock.acquire",
        "  └ #3 b (work)",
        "    └ #2 a (cycle) (work)",
        "└ #3 b (see above) (work)",
    ]


def test_what_is_very_deep_has_its_depth_as_a_number() -> None:
    lines = [*tree_lines([place(depth, "t") for depth in range(10)], width=24)]
    assert lines[4:7] == [
        "      └ #1 t (work)",
        "      └5 #1 t (work)",
        "      └6 #1 t (work)",
    ]


@given(name=st.text(), depth=st.integers(0, 10_000), width=st.integers(40, 200))
def test_no_line_is_wider_than_the_terminal_or_holds_what_it_obeys(
    name: str, depth: int, width: int
) -> None:
    [line] = tree_lines([place(depth, name, text=name)], width=width)
    assert line.isprintable()
    assert width_of(line) <= width
