"""What has no end in what is logged: the log call ends, in a time in proportion."""

from __future__ import annotations

import os
import time
import weakref
from typing import TYPE_CHECKING
from unittest.mock import MagicMock, Mock

import pytest

from otel_tasklog import bind, task
from otel_tasklog.capture._exceptions import (
    MAX_CHAIN,
    CapturedException,
    capture_exception,
)
from otel_tasklog.capture._tasks import current_scope

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Harness


@pytest.mark.parametrize("kind", [Mock, MagicMock], ids=["Mock", "MagicMock"])
def test_a_mock_of_an_exception_is_none(harness: Harness, kind: type[Mock]) -> None:
    mock = kind(spec=Exception)
    assert isinstance(mock, Exception)
    harness.log.error("failed", exc_info=mock)
    harness.log.error("failed", exc_info=(ValueError, ValueError("real"), mock))
    assert [r.exception_type for r in harness.tasklog.query()] == ["ValueError", None]


class Itself(ExceptionGroup[Exception]):
    """Its only member is itself."""

    @property
    def exceptions(self) -> tuple[Exception, ...]:
        return (self,)


def test_groups_end_that_are_in_each_other_without_end(harness: Harness) -> None:
    deep: Exception = ValueError("the innermost")
    for _ in range(1_000):
        deep = ExceptionGroup("around", [deep])
    parts, _ = capture_exception(deep, None)
    depth = 1
    while members := CapturedException(*parts).members:
        (parts,), depth = members, depth + 1
    assert depth == MAX_CHAIN
    for each in (deep, Itself("again", [ValueError("x")])):
        harness.log.error("failed", exc_info=each)
        assert "sub-exception)" in (harness.last().exception_stacktrace or "")


@pytest.mark.parametrize("place", ["msg", "args", "extra"])
def test_what_logs_itself_and_raises_is_asked_few_times(
    harness: Harness, place: str
) -> None:
    asked = 0

    class Talkative:
        def __str__(self) -> str:
            nonlocal asked
            asked += 1
            if asked > 100_000:
                os._exit(3)  # nothing else would end it
            say(self)
            raise ValueError(place)

    def say(value: object) -> None:
        if place == "msg":
            harness.log.info(value)
        elif place == "args":
            harness.log.info("%s of all", value)
        else:
            harness.log.info("text", extra={"value": value})

    say(Talkative())
    assert "while" in str(harness.last().to_dict())
    harness.log.info("%d", "no number")  # asked again as ever
    assert harness.last().message == "'%d' ('no number',) [TypeError while formatting]"


def test_an_argument_that_cannot_be_shown_costs_no_other(harness: Harness) -> None:
    harness.log.info("%s has %d", "bob", 10**5_000)
    assert harness.last().message == (
        "'%s has %d' ('bob', <int: ValueError while reading>) "
        "[ValueError while formatting]"
    )


def test_thousands_of_keys_that_become_alike_take_no_time(harness: Harness) -> None:
    marks = ".-_ /:"
    alike = {
        f"a{x}{y}{z}{w}b": 1 for x in marks for y in marks for z in marks for w in marks
    }
    began = time.thread_time()
    harness.log.info("text", extra=alike)
    with bind(**alike):
        harness.log.info("text", extra={"nested": alike})
    assert len(harness.tasklog.query()) == 2
    assert time.thread_time() - began < 1.0  # it was 4 seconds
    names = [*harness.tasklog.query()[-1].attributes]
    assert names[:2] == ["a....b", "a...-b_2"]


def test_a_loop_that_binds_for_ever_keeps_nothing_of_it() -> None:
    with task("job"):
        kept = bind(first=1)
        for number in range(100):
            bind(number=number)
        scope, depth = current_scope.get(), 0
        while scope is not None:
            scope, depth = scope.outer, depth + 1
        assert depth < 6
        with bind(inner=True):
            bind(innermost=True)
        scope = current_scope.get()
        assert scope is not None
        assert scope.attributes == {"first": 1, "number": 99}
        kept.__exit__()
        scope = current_scope.get()
        assert scope is not None
        assert (scope.task_id, scope.attributes) == ("job", {})
    assert current_scope.get() is None


def test_the_source_of_an_exception_may_be_a_pipe(
    harness: Harness, tmp_path: Path
) -> None:
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    with pytest.raises(ZeroDivisionError) as caught:
        exec(compile("1 / 0", pipe, "exec"))  # noqa: S102 - to have a file of that name
    harness.log.error("failed", exc_info=caught.value)
    assert f'File "{pipe}", line 1' in (harness.last().exception_stacktrace or "")


def test_the_text_of_an_exception_is_nothing_of_the_applications(
    harness: Harness,
) -> None:
    class Text(str):
        __slots__ = ("__weakref__",)

    class RefusedError(Exception):
        def __str__(self) -> str:
            text = Text("refused")
            made.append(weakref.ref(text))
            return text

    made: list[weakref.ref[Text]] = []
    harness.log.error("failed", exc_info=RefusedError())
    assert type(harness.last().exception_message) is str
    assert [each() for each in made] == [None] * len(made)
