"""What becomes of the keys and values of structlog's events."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from structlog.contextvars import bind_contextvars
from structlog.processors import CallsiteParameter, CallsiteParameterAdder, TimeStamper
from structlog_setups import (
    NAME,
    each_not_keywords,
    each_structured,
    either_way,
    rendered_by_logging,
    through_logging,
    way,
    wrap,
)

from otel_tasklog import task
from otel_tasklog.capture._stamp import STAMP, Stamp
from otel_tasklog.capture.structlog import add_task_context

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conftest import Harness
    from structlog_setups import Setup

pytestmark = pytest.mark.usefixtures("_same_structlog_afterwards")
tracer = TracerProvider().get_tracer("t")


def raised(error: Exception) -> Exception:
    try:
        raise error  # noqa: TRY301 - what is caught has a traceback
    except Exception as caught:  # noqa: BLE001 - any
        return caught


@each_structured
def test_a_bound_task_id_names_the_job(root: Harness, configure: Setup) -> None:
    log = configure(root)
    log.bind(task_id=7).info("charging")
    assert root.last().task_id == "7"
    assert root.last().attributes == {}


@each_not_keywords
def test_a_scope_names_the_job_before_a_bound_task_id(
    root: Harness, configure: Setup
) -> None:
    log = configure(root)
    with task("scope"):
        log.info("other", task_id="bound")
        log.info("same", task_id="scope")
        log.info("none", task_id=None)
    none, same, other = root.tasklog.query()
    assert {r.task_id for r in (none, same, other)} == {"scope"}
    assert other.attributes == {"extra.task_id": "bound"}
    assert same.attributes == none.attributes == {}


def test_an_extra_task_id_names_the_job_before_the_scope(root: Harness) -> None:
    log = rendered_by_logging(root)
    with task("scope"):
        log.info("charging", task_id="bound")
    assert root.last().task_id == "bound"
    assert root.last().task_parent_id == "scope"


@either_way
def test_context_variables_are_attributes(root: Harness, *, direct: bool) -> None:
    log = way(root, structlog.contextvars.merge_contextvars, direct=direct)

    async def request(number: int) -> None:
        bind_contextvars(task_id=f"request-{number}", peer="::1")
        await asyncio.sleep(0)
        log.info("served", number=number)

    async def main() -> None:
        await asyncio.gather(*map(request, range(3)))

    asyncio.run(main())
    for number in range(3):
        [record] = root.tasklog.query(task_id=f"request-{number}")
        assert record.attributes == {"number": number, "peer": "::1"}


EVERYTHING_TWICE: Sequence[Any] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_log_level_number,
    CallsiteParameterAdder(
        [
            CallsiteParameter.PATHNAME,
            CallsiteParameter.FILENAME,
            CallsiteParameter.MODULE,
            CallsiteParameter.FUNC_NAME,
            CallsiteParameter.LINENO,
            CallsiteParameter.THREAD,
            CallsiteParameter.THREAD_NAME,
            CallsiteParameter.PROCESS,
        ]
    ),
    add_task_context,
]
STAMPERS = [
    TimeStamper(),
    TimeStamper(fmt="iso"),
    TimeStamper(fmt="iso", utc=False),
    TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=True),
    TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
]


@pytest.mark.parametrize(
    "stamper", STAMPERS, ids=["unix", "iso", "iso local", "utc", "local"]
)
@either_way
def test_what_the_record_says_itself_is_no_attribute(
    root: Harness, stamper: Any, *, direct: bool
) -> None:
    names = [] if direct else [structlog.stdlib.add_logger_name]
    log = way(root, *names, *EVERYTHING_TWICE, stamper, direct=direct)
    with task("order-1"), tracer.start_as_current_span("order"):
        log.warning("charging", amount=1)
    record = root.last()
    assert record.attributes == {"amount": 1}
    assert record.logger == NAME
    assert record.trace_id is not None


@either_way
def test_a_key_that_says_something_else_is_an_attribute(
    root: Harness, *, direct: bool
) -> None:
    log = way(root, direct=direct)
    said = {
        "level": "gold", "level_number": 3, "timestamp": "2001-01-01", "lineno": 17,
        "thread": "the third", "process": 4.5, "module": "billing", "trace_id": "t-1",
        "span_id": 9, "name": "bob", "message": "hi", "args": [1], "created": None,
        "msg": "m", "exception": "none", "stack": "hay", "positional_args": [2],
        "stack_info": "x", "exc_info": "y", "pathname": "/shop", "_name": "z",
    }  # fmt: skip
    log.info("said", **said)
    record = root.last()
    for key, value in said.items():
        names = {key, f"extra.{key}", f"extra.{key}_2"}  # extra.name is there already
        kept = names & record.attributes.keys()
        assert len(kept) == 1, key
        expected = tuple(value) if isinstance(value, list) else value
        assert record.attributes[kept.pop()] == expected
    assert (record.message, record.exception_type, record.stack_info) == (
        "said", None, None,
    )  # fmt: skip


def test_positional_arguments_are_filled_in(root: Harness) -> None:
    log = through_logging(wrap)
    log.info("%s of %d", "one", 2)
    log.info("%(a)s", {"a": "named"})
    log.info("%d", "x")
    log.info("%s")
    messages = [r.message for r in root.tasklog.query(newest_first=False)]
    assert messages[:2] == ["one of 2", "named"]
    assert "%d" in messages[2]
    assert "TypeError" in messages[2]
    assert messages[3] == "%s"


def test_an_event_that_is_no_text_is_the_body_as_logging_would_have_it(
    root: Harness,
) -> None:
    log = through_logging(wrap)
    log.info({"paid": 2, "password": "p"}, amount=1)
    log.info(12, amount=1)
    log.info(amount=1)
    nothing, number, mapping = root.tasklog.query()
    assert mapping.body == {"paid": 2, "password": "[redacted]"}
    assert (number.body, nothing.body) == ("12", "")
    assert all(r.attributes == {"amount": 1} for r in (nothing, number, mapping))


def test_a_logged_mapping_that_structlog_has_not_wrapped_stays_the_body(
    root: Harness,
) -> None:
    logging.getLogger(NAME).info({"event": "paid", "amount": 1})
    assert root.last().body == {"event": "paid", "amount": 1}


class Hostile:
    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no attributes")

    __hash__ = object.__hash__


ODD_KEYS = (
    "event", "positional_args", "exc_info", "exception", "stack", "stack_info",
    "task_id", "level", "level_number", "timestamp", "trace_id", "span_id", "logger",
    "lineno", "name", "msg", "args", "levelno", "created", "_logger", "_name",
    "otel_tasklog_stamp", "anything",
)  # fmt: skip
ODD_VALUES: Sequence[Any] = (
    Hostile(), None, True, False, 0, 10**5000, float("nan"), "", "\ud800", b"b", (),
    (1,), (1, 2, 3), (None, None, None), (ValueError, ValueError("v"), 3), [], {},
    "Traceback (most recent call last):\n", "0001-01-01", "9999-12-31T23:59:59",
    object(), ValueError("v"), KeyboardInterrupt(), ValueError,
    "Stack (most recent call last):", "x" * 20_000,
)  # fmt: skip


@either_way
@pytest.mark.parametrize("key", ODD_KEYS)
def test_no_event_makes_the_call_raise_or_loses_its_record(
    root: Harness, key: str, *, direct: bool
) -> None:
    values = iter(ODD_VALUES)

    def meddle(_: Any, __: str, event: Any) -> Any:
        event[key] = next(values)
        return event

    log = way(root, meddle, direct=direct)
    for _ in ODD_VALUES:
        log.info("charging", amount=1)
    assert root.tasklog.flush()
    assert len(root.sender.records) == len(ODD_VALUES)
    if key != "task_id":  # of a huge number there is no text to name a job with
        assert all(r.attributes["amount"] == 1 for r in root.tasklog.query())


@either_way
def test_keys_that_are_no_texts_and_a_missing_event_harm_nothing(
    root: Harness, *, direct: bool
) -> None:
    def meddle(_: Any, __: str, ___: Any) -> Any:
        return {1: "a", None: "b", (2,): "c", Hostile(): "d", "amount": 1}

    log = way(root, meddle, direct=direct)
    log.info("charging")
    record = root.last()
    assert record.body == ""
    marker = "<Hostile: RuntimeError while reading>"
    assert record.attributes == {
        "1": "a", "None": "b", "(2,)": "c", marker: "d", "amount": 1,
    }  # fmt: skip


@either_way
def test_values_are_copied_and_large_ones_cut_in_the_call(
    root: Harness, *, direct: bool
) -> None:
    log = way(root, direct=direct)
    nested = {"deep": [1]}
    large = {f"k{i}": "y" * 100_000 for i in range(5)}
    log.info("x" * 300_000, nested=nested, **large)
    nested["deep"].append(2)
    assert root.tasklog.flush()
    record = root.last()
    assert record.attributes["nested"] == {"deep": (1,)}
    texts = [record.attributes[key] for key in large if key in record.attributes]
    assert record.dropped_attributes == len(large) - len(texts) > 0
    kept = len(record.message) + sum(len(str(text)) for text in texts)
    assert kept < 300_000
    # It counts what was there when the call returned.
    assert kept < root.tasklog.stats().kept_bytes < kept + 5_000


# --- exceptions and stacks -------------------------------------------------------------


@each_not_keywords
@pytest.mark.parametrize(
    "given",
    [lambda e: e, lambda e: (type(e), e, e.__traceback__)],
    ids=["exception", "tuple"],
)
def test_a_given_exception_is_the_records(
    root: Harness,
    configure: Setup,
    given: Callable[[Exception], object],
) -> None:
    log = configure(root)
    log.info("failed", exc_info=given(raised(json.JSONDecodeError("bad", "doc", 0))))
    record = root.last()
    assert record.exception_type == "json.decoder.JSONDecodeError"
    assert record.exception_message == "bad: line 1 column 1 (char 0)"
    assert "in raised" in str(record.exception_stacktrace)
    assert record.attributes == {}


@each_not_keywords
@pytest.mark.parametrize("flag", [True, 1], ids=["True", "1"])
def test_exc_info_true_is_the_exception_being_handled(
    root: Harness, configure: Setup, flag: object
) -> None:
    log = configure(root)
    try:
        int("x")
    except ValueError:
        log.error("failed", exc_info=flag)  # noqa: TRY400 - the flag is the test
    record = root.last()
    assert record.exception_type == "ValueError"
    assert record.exception_message == "invalid literal for int() with base 10: 'x'"
    assert 'int("x")' in str(record.exception_stacktrace)


@each_not_keywords
@pytest.mark.parametrize("flag", [True, False, None], ids=str)
def test_exc_info_without_an_exception_is_none(
    root: Harness, configure: Setup, flag: object
) -> None:
    log = configure(root)
    log.error("nothing", exc_info=flag)
    assert root.last().exception_type is None
    assert root.last().attributes == {}


def test_a_rendered_exception_is_the_records(root: Harness) -> None:
    log = through_logging(structlog.processors.format_exc_info, wrap)
    error = raised(json.JSONDecodeError("bad", "doc", 0))
    error.__cause__ = raised(KeyError("cause"))
    error.add_note("a note")
    log.error("failed", exc_info=error)
    assert root.tasklog.flush()
    [record] = root.sender.records
    assert record.attributes["exception.type"] == "json.decoder.JSONDecodeError"
    assert record.attributes["exception.message"] == (
        "bad: line 1 column 1 (char 0)\na note"
    )
    stacktrace = str(record.attributes["exception.stacktrace"])
    assert stacktrace.startswith("Traceback")
    assert "KeyError: 'cause'" in stacktrace
    assert "exception" not in record.attributes


def test_a_rendered_exception_that_the_record_has_is_not_said_twice(
    root: Harness,
) -> None:
    log = through_logging(structlog.processors.format_exc_info, wrap)
    try:
        int("x")
    except ValueError:
        log.exception("failed")
        log.exception("for another reason", exc_info=raised(KeyError("k")))
    other, own = root.tasklog.query()
    assert (own.exception_type, own.attributes) == ("ValueError", {})
    assert str(own.exception_stacktrace).startswith("Traceback")
    assert (other.exception_type, other.attributes) == ("KeyError", {})


def test_a_rendered_exception_leaves_the_rest_of_a_stamp(root: Harness) -> None:
    def stamped(record: logging.LogRecord) -> bool:
        record.__dict__[STAMP] = Stamp(task_id="order-1")
        return True

    root.tasklog.handler.addFilter(stamped)
    log = through_logging(structlog.processors.format_exc_info, wrap)
    log.error("failed", exc_info=raised(ValueError("v")))
    assert root.last().task_id == "order-1"
    assert root.last().exception_type == "ValueError"


def test_structured_tracebacks_are_an_attribute(root: Harness) -> None:
    log = through_logging(structlog.processors.dict_tracebacks, wrap)
    log.error("failed", exc_info=raised(ValueError("v")))
    shown: Any = root.last().attributes["exception"]
    assert shown[0]["exc_type"] == "ValueError"


def test_the_text_of_an_exception_group_is_an_attribute(root: Harness) -> None:
    log = through_logging(structlog.processors.format_exc_info, wrap)
    log.error("failed", exc_info=raised(ExceptionGroup("several", [ValueError("v")])))
    assert "several (1 sub-exception)" in str(root.last().attributes["exception"])
    assert root.last().exception_type is None


@each_structured
def test_stack_info_is_the_stack_of_the_call(root: Harness, configure: Setup) -> None:
    log = configure(root)
    log.info("here", stack_info=True)
    stack = str(root.last().stack_info)
    assert stack.startswith("Stack (most recent call last):")
    assert stack.rstrip().endswith('log.info("here", stack_info=True)')
    assert root.last().attributes == {}
