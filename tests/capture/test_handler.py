"""The log call: what it takes, and what it leaves alone."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections import UserDict
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from otel_tasklog import Config, TaskLog, task
from otel_tasklog.capture._record import ORIGIN_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Harness


@pytest.fixture
def bare_port() -> Iterator[tuple[logging.Logger, list[tuple[Any, ...]]]]:
    """A logger, and the list that keeps what its calls take of their records."""
    tasklog = TaskLog(Config(exporter=None))
    waiting: list[tuple[Any, ...]] = []
    tasklog.port.accept = waiting.append
    log = logging.getLogger("test.bare")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.handlers[:] = [tasklog.handler]
    yield log, waiting
    log.handlers.clear()
    log.propagate = True
    log.setLevel(logging.NOTSET)  # a level that somebody set keeps hints away
    tasklog.close()


def test_a_record_can_be_queried_the_moment_the_call_returns(harness: Harness) -> None:
    harness.log.warning("task %d step %s", 3, "x", extra={"amount": 1.5})
    record = harness.last()
    assert record.message == "task 3 step x"
    assert (record.severity_text, record.severity_number) == ("WARNING", 13)
    assert record.attributes == {"amount": 1.5}
    assert record.logger == harness.log.name
    assert record.origin.function == (
        "test_a_record_can_be_queried_the_moment_the_call_returns"
    )


def test_a_record_reads_the_same_before_and_after_it_is_finished(
    harness: Harness,
) -> None:
    harness.log.error("%s", "x", extra={"a": [1, {"b": 2}]}, exc_info=ValueError("v"))
    before = harness.last()
    assert harness.tasklog.flush()
    assert harness.last() == before


def test_records_of_one_line_have_each_their_own_level_logger_and_thread(
    harness: Harness,
) -> None:
    """Though they share what is equal: the record before is only a guess."""
    other = harness.log.getChild("other")

    def say(log: logging.Logger, level: int) -> None:
        log.log(level, "said")

    for log, level in (
        *((harness.log, logging.INFO), (harness.log, logging.INFO)),
        *((harness.log, logging.ERROR), (other, logging.ERROR)),
        *((other, logging.ERROR), (harness.log, logging.INFO)),
    ):
        thread = threading.Thread(target=say, args=(log, level), name=f"at {level}")
        thread.start()
        thread.join()
        say(log, level)
    records = harness.tasklog.query(newest_first=False)
    own, below = harness.log.name, other.name
    assert [(r.logger, r.severity_text) for r in records[::2]] == [
        *((own, "INFO"), (own, "INFO"), (own, "ERROR")),
        *((below, "ERROR"), (below, "ERROR"), (own, "INFO")),
    ]
    threads = [record.origin.thread_name for record in records]
    assert threads[1::2] == ["MainThread"] * 6
    assert threads[::2] == [f"at {record.level}" for record in records[::2]]


class Incomparable(str):
    """A text that cannot be compared with another one."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        raise TypeError


@pytest.mark.parametrize("field", ["name", "levelname", "funcName", "threadName"])
def test_a_field_that_cannot_be_compared_costs_no_record_of_a_line(
    harness: Harness, field: str
) -> None:
    """Neither the one that has it, nor any other whose line has this number."""
    for number, (path, odd) in enumerate(
        [("a.py", True), ("a.py", False), ("b.py", False), ("b.py", True)] * 2
    ):
        record = logging.LogRecord("shop", 20, path, 7, "%s paid", ("u",), None, "pay")
        record.number = number
        if odd:
            setattr(record, field, Incomparable(f"odd {number}"))
        assert harness.tasklog.handler.handle(record)
        last = harness.last()
        assert (last.message, last.origin.path) == ("u paid", path)
        assert last.attributes == {"number": number}
        assert (f"odd {number}" in last.origin) is odd


@pytest.mark.parametrize("attributes", [{}, {"customer": 7, "plan": "free"}])
def test_the_garbage_collector_lets_go_of_a_record_that_waits(
    bare_port: tuple[logging.Logger, list[tuple[Any, ...]]],
    attributes: dict[str, Any],
) -> None:
    """Of a burst it would otherwise look at each of them, in each of its passes."""
    log, waiting = bare_port

    async def work() -> None:
        with task("job-1", attributes=attributes):
            for i in range(4):
                extra = {"user": "u", "amount": i * 1e6}
                log.info("step %d of %s", i, "x", extra=extra)
                if not i:  # what they share is of tuples in tuples, which takes longer
                    collected(3)
            collected(2)

    asyncio.run(work())
    assert len(waiting) == 4
    assert not any(map(gc.is_tracked, waiting))


def collected(times: int) -> None:
    """Let the collector look: it lets go of a tuple after those that are in it."""
    for _ in range(times):
        gc.collect()


def test_later_changes_to_arguments_and_extras_do_not_show(harness: Harness) -> None:
    args = [1]
    extra: dict[str, Any] = {"items": [1], "by_name": {"k": {"deep": 1}}}
    harness.log.info("got %s", args, extra=extra)
    args.append(2)
    extra["items"].append(2)
    extra["by_name"]["k"]["deep"] = 2
    record = harness.last()
    assert record.message == "got [1]"
    assert record.attributes == {"items": (1,), "by_name": {"k": {"deep": 1}}}


def test_what_a_later_handler_does_to_the_record_does_not_show(
    harness: Harness,
) -> None:
    class Colours(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            record.levelname = f"\x1b[31m{record.levelname}"
            record.msg = "changed"
            record.args = ()
            record.added_later = True

    harness.log.addHandler(Colours())
    harness.log.info("as %s", "logged", extra={"a": 1})
    record = harness.last()
    assert (record.message, record.severity_text) == ("as logged", "INFO")
    assert record.attributes == {"a": 1}


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (("%d", "x"), "%d"),
        (("no placeholder", 1), "no placeholder"),
        (("%(missing)s", {"other": 1}), "missing"),
    ],
    ids=["wrong type", "too many", "missing key"],
)
def test_arguments_that_do_not_fit_keep_template_and_arguments(
    harness: Harness, call: tuple[str, Any], expected: str
) -> None:
    harness.log.info(*call)
    message = harness.last().message
    assert expected in message
    assert "Error" in message


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def test_an_object_whose_text_raises_harms_nothing(harness: Harness) -> None:
    harness.log.info("before")
    harness.log.info("%s", Hostile(), extra={"bad": Hostile(), "good": 1})
    harness.log.info(Hostile())
    harness.log.info("after")
    messages = [r.message for r in harness.tasklog.query(newest_first=False)]
    assert len(messages) == 4
    assert harness.tasklog.query()[2].attributes["good"] == 1
    assert harness.tasklog.flush()
    assert len(harness.sender.records) == 4


def test_cycles_and_deep_nesting_end(harness: Harness) -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    harness.log.info("x", extra={"cycle": cycle})
    assert harness.last().attributes["cycle"] == ("<cycle>",)
    assert harness.tasklog.flush()
    assert len(harness.sender.records) == 1


def test_a_logged_mapping_becomes_a_structured_body(harness: Harness) -> None:
    harness.log.info({"event": "paid", "amount": 2, "password": "p"})
    record = harness.last()
    assert record.body == {"event": "paid", "amount": 2, "password": "[redacted]"}
    assert harness.tasklog.flush()
    assert harness.sender.records[0].body == record.body


def test_a_formatter_that_was_set_makes_the_body(harness: Harness) -> None:
    harness.tasklog.handler.setFormatter(logging.Formatter("<%(message)s>"))
    harness.log.info("a %s", "b")
    assert harness.last().message == "<a b>"


def test_level_and_filters_of_the_handler_hold(harness: Harness) -> None:
    harness.tasklog.handler.setLevel(logging.WARNING)
    harness.tasklog.handler.addFilter(lambda r: "secret" not in r.getMessage())
    harness.log.info("too low")
    harness.log.warning("a secret")
    harness.log.warning("seen")
    assert [r.message for r in harness.tasklog.query()] == ["seen"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="filters replace from 3.12")
def test_a_filter_may_replace_the_record(harness: Harness) -> None:
    def replace(record: logging.LogRecord) -> logging.LogRecord:
        other = logging.makeLogRecord(record.__dict__)
        other.msg = "replaced"
        return other

    harness.tasklog.handler.addFilter(replace)  # type: ignore[arg-type] # from 3.12
    harness.log.info("original")
    assert harness.last().message == "replaced"


def test_a_filter_that_logs_and_one_that_raises_are_survived(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)

    def noisy(record: logging.LogRecord) -> bool:
        if record.msg == "outer":
            harness.log.info("inner")
        if record.msg == "raise":
            raise ValueError
        return True

    harness.tasklog.handler.addFilter(noisy)
    harness.log.info("outer")
    harness.log.info("raise")
    assert {r.message for r in harness.tasklog.query()} == {"outer", "inner"}


def test_a_keyboard_interrupt_during_the_call_passes(harness: Harness) -> None:
    class Interrupting:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        harness.log.info("%s", Interrupting())
    harness.log.info("after")
    assert harness.last().message == "after"


def test_records_of_a_log_record_subclass_keep_their_extras(harness: Harness) -> None:
    class Odd(logging.LogRecord):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.first = ["set before the standard fields"]
            super().__init__(*args, **kwargs)

    record = Odd("n", 20, "p", 1, "m", (), None)
    harness.tasklog.handler.handle(record)
    record.first.append("later")
    assert harness.last().attributes == {"first": ("set before the standard fields",)}


HUGE = 10**5000  # has no decimal text under sys.get_int_max_str_digits()
HOSTILE: list[tuple[object, tuple[object, ...], dict[Any, object]]] = [
    ("%d", (HUGE,), {}),
    ("%d %s", (HUGE, "y" * 9_000), {}),
    ({"n": HUGE}, (), {}),
    ("x", (), {"n": HUGE, "m": [HUGE]}),
    ("x", (), {"task_id": HUGE}),
    ("x", (), {"event.name": HUGE}),
    ("x", (), {1: 2}),
    ("x", (), {"levelname": ["odd"]}),
    ("x", (), {"pathname": ["odd"]}),
    ("x", (), {"name": {"odd": 1}}),
]


@pytest.mark.parametrize(("message", "args", "fields"), HOSTILE, ids=list("abcdefghij"))
def test_a_hostile_record_costs_neither_its_neighbours_nor_a_query(
    harness: Harness, message: object, args: tuple[object, ...], fields: dict[Any, Any]
) -> None:
    harness.log.info("before")
    record = logging.LogRecord("n", 20, "p", 1, message, args, None)
    record.__dict__.update(fields)
    harness.tasklog.handler.handle(record)
    harness.log.info("after")
    assert len(harness.tasklog.query()) == 3
    assert harness.tasklog.flush()
    assert len(harness.sender.records) == 3
    assert len(harness.tasklog.query()) == 3


def test_keys_that_become_alike_are_told_apart(harness: Harness) -> None:
    harness.log.info("x", extra={"level": 1, "extra.level": 2, "_": 3, "__": 4})
    assert sorted(map(repr, harness.last().attributes.values())) == list("1234")
    assert harness.tasklog.flush()
    keys = [pair.key for pair in harness.sender.records[0].record.attributes]
    assert len(keys) == len(set(keys))


def test_shared_containers_end_too(harness: Harness) -> None:
    laughs: list[object] = ["ha"]
    for _ in range(10):
        laughs = [laughs] * 10
    harness.log.info("x", extra={"laughs": laughs})
    assert "too many items" in repr(harness.last().attributes)
    assert len(repr(harness.last().attributes)) < 60_000


def test_what_is_freed_on_the_worker_is_heard_and_our_own_words_are_not(
    harness: Harness,
) -> None:
    assert harness.tasklog.flush()
    worker = harness.tasklog.port.worker_thread
    for name in ("asyncio", "otel_tasklog", "otel_tasklog.monitor"):
        record = logging.makeLogRecord({"name": name, "msg": "x", "thread": worker})
        harness.tasklog.handler.handle(record)
    assert [r.logger for r in harness.tasklog.query()] == ["asyncio"]


@pytest.mark.parametrize("field", [None, *ORIGIN_FIELDS])
def test_words_of_our_own_threads_are_not_heard_whatever_field_is_deleted(
    harness: Harness, field: str | None
) -> None:
    """Or each request would be followed by another one that tells of it."""
    record = logging.makeLogRecord({"name": "urllib3"})
    record.thread, record.process = threading.get_ident(), os.getpid()
    if field is not None:
        delattr(record, field)
    own = harness.tasklog.port.own_threads
    own.add(threading.get_ident())
    try:
        harness.tasklog.handler.handle(record)
    finally:
        own.discard(threading.get_ident())
    assert harness.tasklog.query() == []


def test_a_record_without_fields_is_kept_as_well_as_can_be(harness: Harness) -> None:
    record = logging.makeLogRecord({"msg": "torn", "name": "n"})
    del record.created
    harness.tasklog.handler.handle(record)
    assert "torn" in harness.last().message
    assert harness.last().logger == "n"


def test_timestamps_are_distinct_and_a_wrong_clock_poisons_nothing(
    harness: Harness,
) -> None:
    base = float(int(time.time()))
    for after in (0.0, 0.0, 0.0, 200.0, 1.0, 0.9995):
        harness.tasklog.handler.handle(
            logging.makeLogRecord({"msg": "x", "created": base + after})
        )
    times = [r.timestamp_ns for r in harness.tasklog.query(newest_first=False)]
    second = 1_000_000_000
    assert [time_ns - int(base) * second for time_ns in times] == [
        0, 1, 2, 200 * second, second, second + 1,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("created", "said"),
    [
        (4_000_000_000.0, "2096-10-02T07:06:40+00:00"),
        (100.0, "1970-01-01T00:01:40+00:00"),
        (-1.0, "1969-12-31T23:59:59+00:00"),
        (1e300, "1e+300"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ("yesterday", "'yesterday'"),
        (None, "None"),
    ],
    ids=str,
)
def test_a_time_that_loki_would_refuse_becomes_the_clocks_and_is_said(
    harness: Harness, created: object, said: str
) -> None:
    before = time.time_ns()
    harness.tasklog.handler.handle(
        logging.makeLogRecord({"msg": "x", "created": created, "user": "u-1"})
    )
    harness.log.info("the next")
    (following, record) = harness.tasklog.query(limit=2)
    assert record.attributes == {"user": "u-1", "otel_tasklog.created": said}
    assert before <= record.timestamp_ns < following.timestamp_ns <= time.time_ns()
    assert following.attributes == {}


def test_ten_megabytes_of_text_are_cut_in_the_call(harness: Harness) -> None:
    harness.log.info("%s", "x" * 10_000_000, extra={"big": "y" * 10_000_000})
    assert harness.tasklog.stats().pending_bytes < 300_000
    record = harness.last()
    assert "characters cut]" in record.message
    assert "characters cut]" in str(record.attributes["big"])


def test_the_span_is_read_from_the_context_of_the_call(harness: Harness) -> None:
    tracer = TracerProvider().get_tracer("t")
    with tracer.start_as_current_span("outer") as outer:
        harness.log.info("in outer")
        with tracer.start_as_current_span("inner") as inner:
            harness.log.info("in inner")
    harness.log.info("outside")
    outside, in_inner, in_outer = harness.tasklog.query()
    context = inner.get_span_context()
    assert in_inner.trace_id == trace.format_trace_id(context.trace_id)
    assert in_inner.span_id == trace.format_span_id(context.span_id)
    assert in_outer.span_id == trace.format_span_id(outer.get_span_context().span_id)
    assert in_outer.trace_id == in_inner.trace_id
    assert in_inner.trace_flags & 1  # sampled
    assert (outside.trace_id, outside.span_id, outside.trace_flags) == (None, None, 0)


def test_keys_that_loki_would_take_for_its_own_are_renamed(harness: Harness) -> None:
    harness.log.info("x", extra={"level": "weird", "": 1, "日本": 2, "task.id": 3})
    names = set(harness.last().attributes)
    assert "extra.level" in names
    assert "extra.task.id" in names
    assert all(any(c.isascii() and c.isalnum() for c in name) for name in names)


@pytest.mark.parametrize(
    "key",
    ["password", "db_passwd", "API-Key", "authorization", "refresh_token", "Cookie",
     "client_secret", "session_id", "privateKey"],
)  # fmt: skip
def test_values_of_keys_that_name_a_secret_are_redacted(
    harness: Harness, key: str
) -> None:
    harness.log.info("x", extra={key: "hunter2", "deep": {"more": [{key: "hunter2"}]}})
    assert "hunter2" not in repr(harness.last().to_dict())
    assert harness.tasklog.flush()
    assert b"hunter2" not in harness.sender.bodies[0]


def test_a_secret_is_known_by_either_end_of_a_long_key_and_if_it_is_numbered(
    harness: Harness,
) -> None:
    class Headers(UserDict[str, str]):
        def items(self) -> Any:
            return [("auth", "s3cret"), ("auth", "s3cret"), ("session", "s3cret")] * 2

    keys = {"k" * 1_000 + ".password": "s3cret", "password." + "k" * 1_000: "s3cret"}
    harness.log.info("text", extra={**keys, "inner": keys, "headers": Headers()})
    assert "s3cret" not in str(harness.last().to_dict())
    assert len(cast("dict[str, object]", harness.last().attributes["headers"])) == 6


def test_a_key_of_an_enum_is_its_text_and_renames_no_other(harness: Harness) -> None:
    class Key(StrEnum):
        USER = "user"

    extra: dict[Any, object] = {Key.USER: 1}
    for each in (extra, {"user": 1}):
        harness.log.info("text", extra=each)
        assert harness.last().attributes == {"user": 1}


def test_a_logger_named_by_an_enum_has_a_plain_name(harness: Harness) -> None:
    class Name(StrEnum):
        APP = "the.app"

    for args in ((), ("bad",)):
        record = logging.LogRecord(Name.APP, 20, "f.py", 1, "text", args, None)
        assert harness.tasklog.handler.handle(record)
        assert harness.last().logger == "the.app"
        assert type(harness.last().logger) is str


def test_counts_of_tokens_are_no_secret(harness: Harness) -> None:
    harness.log.info("x", extra={"prompt_tokens": 5, "token_count": 6})
    assert harness.last().attributes == {"prompt_tokens": 5, "token_count": 6}


def test_lone_surrogates_are_shown_and_reach_the_wire(harness: Harness) -> None:
    harness.log.info("a\udc80b", extra={"k\udc80": "v\udc80"})
    assert harness.last().message == "a\\udc80b"
    assert harness.tasklog.flush()
    assert harness.sender.records[0].body == "a\\udc80b"


def test_the_event_name_is_found(harness: Harness) -> None:
    harness.log.info("x", extra={"event.name": "paid"})
    assert harness.last().event_name == "paid"
    assert harness.last().attributes == {"event.name": "paid"}


def test_trace_instrumentations_fields_are_not_sent_again(harness: Harness) -> None:
    harness.log.info("x", extra={"otelTraceID": "0", "otelSpanID": "0", "mine": 1})
    assert harness.last().attributes == {"mine": 1}


def test_a_signal_handler_that_logs_while_the_log_call_runs(harness: Harness) -> None:
    """4,000 interruptions of a logging loop: no deadlock, nothing lost."""
    arrived = 0

    def on_signal(number: int, frame: object) -> None:
        nonlocal arrived
        arrived += 1
        harness.log.info("from the handler")

    before = signal.signal(signal.SIGALRM, on_signal)
    logged = 0
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        while arrived < 1_000:
            harness.log.info("from the loop %s", logged)
            logged += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert harness.tasklog.stats().captured == logged + arrived
    assert harness.tasklog.flush(20)
    stats = harness.tasklog.stats()
    assert stats.delivered + stats.dropped == stats.accepted == logged + arrived


def test_a_del_that_logs_while_its_record_is_dropped(
    make: Callable[..., Harness],
) -> None:
    """A context value's ``__del__`` logs when the overflow frees its record."""
    from opentelemetry.context import attach, detach, set_value

    harness = make(buffer_records=8, batch_records=8)

    class Loud:
        def __del__(self) -> None:
            harness.log.info("freed")

    with harness.tasklog._worker.lock:  # the worker takes nothing meanwhile
        for _ in range(100):
            token = attach(set_value("loud", Loud()))
            harness.log.info("x")
            detach(token)
        assert len(harness.tasklog._intake.waiting) <= 10
    harness.tasklog.flush()  # false, for some were dropped
    stats = harness.tasklog.stats()
    assert stats.accepted == stats.captured
    assert stats.accepted == stats.delivered + stats.dropped + stats.pending


def test_threads_share_the_handler_without_a_lock(harness: Harness) -> None:
    harness.tasklog.handler.acquire()  # the stock lock, held by somebody
    try:
        thread = threading.Thread(target=harness.log.info, args=("x",))
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
    finally:
        harness.tasklog.handler.release()
    assert harness.last().message == "x"


@pytest.mark.parametrize("levelno", [None, "20", 20.5, float("nan"), True], ids=str)
def test_a_level_that_is_no_number_costs_neither_the_record_nor_the_books(
    harness: Harness, levelno: object
) -> None:
    fields = {"msg": "m", "levelno": levelno, "levelname": "INFO", "k": 1}
    harness.tasklog.handler.handle(logging.makeLogRecord(fields))
    assert harness.tasklog.stats().accepted == 1
    assert harness.tasklog.flush()
    [record] = harness.tasklog.query()
    assert (record.message, record.attributes) == ("m", {"k": 1})
    assert harness.tasklog.stats().delivered == 1


@pytest.mark.parametrize(
    "gone",
    [
        "thread",
        "process",
        "threadName",
        "funcName",
        "stack_info",
        "exc_info",
        "created",
    ],
)
def test_a_record_without_a_standard_field_keeps_all_the_others(
    harness: Harness, gone: str
) -> None:
    record = logging.makeLogRecord({"msg": "hi", "name": "q", "levelno": 20, "k": 1})
    del record.__dict__[gone]
    with task("job"):
        harness.tasklog.handler.handle(record)
    found = harness.last()
    assert (found.message, found.attributes, found.task_id) == ("hi", {"k": 1}, "job")


def test_the_text_of_a_record_class_of_the_applications_counts(
    harness: Harness,
) -> None:
    class Discreet(logging.LogRecord):
        def getMessage(self) -> str:  # noqa: N802 - logging's name
            return super().getMessage().replace("hunter2", "***")

    for message, args in (("it is %s", ("hunter2",)), ("it is hunter2", None)):
        record = Discreet("q", 20, "f", 1, message, args, None)
        harness.tasklog.handler.handle(record)
        assert harness.last().message == "it is ***"


class Marked(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("returned", "body"),
    [
        (Marked("marked"), "marked"),
        (
            {"items": [1], "password": "hunter2"},
            {"items": (1,), "password": "[redacted]"},
        ),
        (b"by", "b'by'"),
        (None, "None"),
    ],
    ids=["text", "mapping", "bytes", "nothing"],
)
def test_what_a_formatter_returns_becomes_a_text_or_a_mapping_of_ours(
    harness: Harness, returned: Any, body: object
) -> None:
    class Odd(logging.Formatter):
        def format(self, record: logging.LogRecord) -> Any:
            return returned

    harness.tasklog.handler.setFormatter(Odd())
    harness.log.info("x")
    if isinstance(returned, dict):
        returned["items"].append(2)
    assert harness.tasklog.flush()
    assert harness.last().body == body
    assert type(harness.last().message) is str
    assert harness.sender.records[0].body == body


def test_a_job_s_name_shows_no_secret_that_its_attribute_would_hide(
    harness: Harness,
) -> None:
    harness.log.info("x", extra={"task_id": {"password": "hunter2"}})
    assert "hunter2" not in str(harness.last().to_dict())


def test_records_of_one_line_have_their_own_attributes(harness: Harness) -> None:
    """Where the shape is guessed by the line: as many keys, other keys, none."""
    extras: list[dict[str, object]] = [
        {"a": 1}, {"b": 2}, {}, {"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": None},
        {"task_id": "t", "a": 3}, {"message_": "x", "a": 1}, {"task_id": "t"},
        {"otelTraceID": "0", "a": 4}, {"otelTraceID": "0", "task_id": "t"},
        {"event.name": "n", "a": 5}, {"b": 6, "task_id": "u"}, {"job_id": "j"},
    ]  # fmt: skip
    for extra in (*extras, *extras, *reversed(extras)):
        harness.log.info("x", extra=extra)
        hidden = {"task_id", "otelTraceID"}
        expected = {k: v for k, v in extra.items() if k not in hidden}
        record = harness.last()
        assert record.attributes == expected
        assert record.task_id == extra.get("task_id", extra.get("job_id"))
        assert record.event_name == extra.get("event.name")


def test_an_exception_s_size_counts_all_of_its_texts(harness: Harness) -> None:
    error = ValueError("x" * 1_000)
    for number in range(50):
        error.add_note(f"{number}" + "n" * 1_000)
    try:
        raise error
    except ValueError as caught:
        caught.__cause__ = KeyError("k" * 1_000)
        harness.log.exception("failed")
    assert harness.tasklog.stats().pending_bytes > 52_000


def test_a_thread_of_another_process_is_none_of_ours(harness: Harness) -> None:
    """Records come through a queue between processes, where idents may be equal."""
    harness.log.info("starts the threads")
    assert harness.tasklog.flush()
    idents = [each for each in harness.tasklog.port.own_threads if each is not None]
    assert len(idents) == 2
    for process, captured in ((os.getpid() + 1, 2), (os.getpid(), 0)):
        harness.tasklog.clear()
        for ident in idents:
            fields = {"name": "otel_tasklog", "msg": "x", "levelno": 20}
            fields |= {"thread": ident, "process": process}
            harness.tasklog.handler.handle(logging.makeLogRecord(fields))
        assert len(harness.tasklog.query()) == captured
