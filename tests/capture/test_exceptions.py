"""Exceptions: the text is the standard library's, the objects are let go."""

from __future__ import annotations

import gc
import traceback
import weakref
from typing import TYPE_CHECKING

import pytest

from otel_tasklog.capture._exceptions import CapturedException, capture_exception
from otel_tasklog.capture._traces import render_exception

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Harness


class DomainError(Exception):
    """An exception of a module."""


def _simple() -> None:
    raise DomainError("x = 1")


def _empty() -> None:
    raise KeyError


def _cause() -> None:
    try:
        _simple()
    except DomainError as error:
        raise OSError(2, "No such file or directory", "f") from error


def _context() -> None:
    try:
        _simple()
    except DomainError:
        1 / 0  # noqa: B018


def _suppressed() -> None:
    try:
        _simple()
    except DomainError:
        raise ValueError("hidden") from None


def _notes() -> None:
    error = ValueError("with notes\nand a line")
    error.add_note("first\nsecond line")
    raise error


def _group() -> None:
    caught: list[Exception] = []
    for function in (_simple, _cause, _notes):
        try:
            function()
        except Exception as error:  # noqa: BLE001
            caught.append(error)
    inner = ExceptionGroup("inner", [ValueError(i) for i in range(20)])
    raise ExceptionGroup("outer", [*caught, inner])


def _group_cause() -> None:
    try:
        _group()
    except ExceptionGroup as error:
        raise DomainError("around") from error


def _same_member_thrice() -> None:
    lost = ConnectionError("lost")
    raise ExceptionGroup("all", [lost, lost, lost])


def _reached_twice() -> None:
    shared = ValueError("shared")
    outer = ExceptionGroup("g", [shared, TypeError("t")])
    outer.__cause__ = shared
    raise outer


def _syntax() -> None:
    compile("a = (1,\nb = =", "file.py", "exec")


def _recursive(depth: int = 60) -> None:
    if not depth:
        raise RecursionError("deep")
    _recursive(depth - 1)


def _bad_text() -> None:
    class BadError(Exception):
        def __str__(self) -> str:
            raise ValueError

    raise BadError


def _unicode_columns() -> None:
    raise ValueError("größe 日本", {"ä": "ü"}["ä"] + str(1 + 1))


CASES = [
    _simple, _empty, _cause, _context, _suppressed, _notes, _group, _group_cause,
    _same_member_thrice, _reached_twice, _syntax, _recursive, _bad_text, _unicode_columns,
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_text_equals_the_standard_librarys(case: Callable[[], None]) -> None:
    try:
        case()
    except Exception as error:  # noqa: BLE001
        parts, _ = capture_exception(error, error.__traceback__)
        expected = "".join(traceback.format_exception(error))
    else:
        pytest.fail("it raised nothing")
    assert render_exception(CapturedException(*parts)) == expected


def test_cycles_of_causes_end() -> None:
    first, second = ValueError("1"), ValueError("2")
    first.__cause__, second.__cause__ = second, first
    parts, _ = capture_exception(first, None)
    text = render_exception(CapturedException(*parts))
    assert text == "".join(traceback.format_exception(first))


def test_neither_exception_nor_frames_are_kept(harness: Harness) -> None:
    class Local:
        pass

    def fail() -> weakref.ref[Local]:
        local = Local()
        seen = weakref.ref(local)
        try:
            raise ValueError(local)  # noqa: TRY301 - from the frame with the local
        except ValueError:
            harness.log.exception("failed")
        return seen

    with harness.tasklog._worker.lock:  # nothing but the call has run
        seen = fail()
        gc.collect()
        assert seen() is None
    assert "raise ValueError(local)" in str(harness.last().exception_stacktrace)


@pytest.mark.parametrize(
    ("exc_info", "type_name"),
    [
        (ValueError("v"), "ValueError"),
        ((ValueError, ValueError("v"), None), "ValueError"),
        ((None, None, None), None),
        (None, None),
    ],
    ids=["instance", "tuple", "empty tuple", "none"],
)
def test_every_form_of_exc_info(
    harness: Harness, exc_info: object, type_name: str | None
) -> None:
    harness.log.error("x", exc_info=exc_info)  # type: ignore[arg-type]
    assert harness.last().exception_type == type_name


def test_the_type_is_fully_qualified_and_the_message_is_the_text(
    harness: Harness,
) -> None:
    try:
        _cause()
    except OSError:
        harness.log.exception("failed")
    record = harness.last()
    assert record.exception_type == "FileNotFoundError"
    assert record.exception_message == "[Errno 2] No such file or directory: 'f'"
    harness.log.error("x", exc_info=DomainError("d"))
    assert str(harness.last().exception_type).endswith("test_exceptions.DomainError")


def test_stack_info_is_kept(harness: Harness) -> None:
    harness.log.info("x", stack_info=True)
    assert str(harness.last().stack_info).startswith("Stack (most recent call last):")
    assert harness.tasklog.flush()
    attributes = harness.sender.records[0].attributes
    assert attributes["code.stacktrace"] == harness.last().stack_info


def test_a_class_without_a_module_is_named() -> None:
    """One that code without a ``__name__`` makes, as with ``eval(text, {})``."""
    kind: type[Exception] = eval("type('Odd', (Exception,), {})", {})  # noqa: S307
    assert not hasattr(kind, "__module__")
    parts, _ = capture_exception(kind("why"), None)
    captured = CapturedException(*parts)
    assert captured.type_name == "Odd"
    assert render_exception(captured) == "Odd: why\n"
