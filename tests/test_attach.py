"""The place among an application's loggers: kept, given back, and looked at once."""

from __future__ import annotations

import configparser
import contextlib
import io
import logging
import logging.config
import logging.handlers
import queue
import sys
import threading
from typing import TYPE_CHECKING, Literal

import pytest
import uvicorn.config
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    use_span,
)

import otel_tasklog
from otel_tasklog import Config, TaskLog, TaskLogFilter, TaskLogHandler, task
from otel_tasklog.testing import Accepted, MemorySender, captured_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from otel_tasklog.testing import Outcome

ROOT = logging.getLogger()
EMPTY = {"version": 1, "disable_existing_loggers": False}
OTHER_ROOT = {
    **EMPTY,
    "handlers": {"null": {"class": "logging.NullHandler"}},
    "root": {"handlers": ["null"]},
}
NAMED_IN_IT = {
    **EMPTY,
    "handlers": {"ours": {"class": "otel_tasklog.TaskLogHandler"}},
    "root": {"handlers": ["ours"]},
}
OTHER_ROOT_INI = """
[loggers]
keys=root
[handlers]
keys=null
[formatters]
keys=
[logger_root]
handlers=null
[handler_null]
class=NullHandler
"""


def dict_config() -> None:
    logging.config.dictConfig({**OTHER_ROOT})


def file_config() -> None:
    text = configparser.ConfigParser()
    text.read_string(OTHER_ROOT_INI)
    logging.config.fileConfig(text, disable_existing_loggers=False)


def basic_config() -> None:
    logging.basicConfig(force=True, handlers=[logging.NullHandler()])


CONFIGURATIONS = {
    "dictConfig": dict_config,
    "fileConfig": file_config,
    "basicConfig with force": basic_config,
}


@pytest.fixture
def logger() -> Iterator[Callable[[str], logging.Logger]]:
    """Return loggers that are afterwards as if nobody had ever configured them."""
    used: list[logging.Logger] = []

    def named(name: str) -> logging.Logger:
        used.append(logging.getLogger(name))
        return used[-1]

    yield named
    for each in used:
        each.handlers.clear()
        each.filters.clear()
        each.propagate, each.level, each.disabled = True, logging.NOTSET, False


def install(**settings: object) -> TaskLog:
    """Install a TaskLog that keeps records only, and gives no hint on the level."""
    settings = {"exporter": None, "level": "INFO", **settings}
    return otel_tasklog.install(**settings)  # type: ignore[arg-type]


def messages(tasklog: TaskLog) -> list[str]:
    return [record.message for record in tasklog.query(newest_first=False)]


# Configured anew, by anybody


@pytest.mark.parametrize("way", CONFIGURATIONS)
def test_delivery_goes_on_when_logging_is_configured_anew(
    way: str, said: list[str]
) -> None:
    tasklog = install()
    for turn in range(3):
        CONFIGURATIONS[way]()
        assert tasklog.flush()  # the worker has seen it, then
        ROOT.warning("turn %d", turn)
    assert messages(tasklog) == ["turn 0", "turn 1", "turn 2"]
    assert len(ROOT.handlers) == 2
    assert len(said) == 1
    assert "is attached to 'root' again" in said[0]


@pytest.mark.parametrize("way", CONFIGURATIONS)
def test_a_closed_tasklog_does_not_come_back(way: str) -> None:
    tasklog = install()
    tasklog.close()
    CONFIGURATIONS[way]()
    tasklog.handler.close()
    assert tasklog.handler not in ROOT.handlers


def test_a_tasklog_that_is_closed_while_it_comes_back_stays_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The order of the worker's steps, with the closing in between."""
    tasklog = install()
    placement = tasklog._attachment._placement

    def closes(logger: logging.Logger, handler: logging.Handler) -> None:
        if handler is tasklog.handler:
            tasklog.close()
        real(logger, handler)

    ROOT.removeHandler(tasklog.handler)
    real = logging.Logger.addHandler
    monkeypatch.setattr(logging.Logger, "addHandler", closes)
    placement._restore()
    assert tasklog.handler not in ROOT.handlers


@pytest.mark.parametrize("way", CONFIGURATIONS)
def test_what_the_application_takes_away_stays_away(
    way: str, logger: Callable[[str], logging.Logger], said: list[str]
) -> None:
    quiet = logger("test.quiet")
    quiet.propagate = False
    tasklog = install(loggers=["test.quiet"])
    quiet.removeHandler(tasklog.handler)
    CONFIGURATIONS[way]()
    assert tasklog.flush()
    assert quiet.handlers == []
    assert said == []


def test_a_framework_that_configures_its_own_loggers_takes_nothing(
    logger: Callable[[str], logging.Logger], said: list[str]
) -> None:
    """A framework such as uvicorn closes every handler there is, and names no root logger."""
    for name in ("uvicorn", "uvicorn.access", "uvicorn.error"):
        logger(name)
    tasklog = install()
    for turn in range(2):
        logging.config.dictConfig(uvicorn.config.LOGGING_CONFIG)
        logging.getLogger("shop").info("turn %d", turn)
    assert tasklog.flush()
    assert messages(tasklog) == ["turn 0", "turn 1"]
    assert said == []


def test_a_framework_that_takes_its_loggers_gives_them_back(
    logger: Callable[[str], logging.Logger], said: list[str]
) -> None:
    main, access, error = map(
        logger, ("uvicorn", "uvicorn.access", "uvicorn.error")
    )  # fmt: skip
    tasklog = install(loggers=["", main, access])
    logging.config.dictConfig(uvicorn.config.LOGGING_CONFIG)
    assert tasklog.flush()
    for handler in (main.handlers[0], access.handlers[0]):
        handler.setLevel(logging.CRITICAL)  # its own output
    logging.getLogger("shop").info("shop")
    error.info("started")
    access.info("GET /")
    assert messages(tasklog) == ["shop", "started", "GET /"]
    assert len(said) == 1
    assert "'uvicorn', 'uvicorn.access'" in said[0]


def test_a_configuration_that_names_our_handler_decides(said: list[str]) -> None:
    tasklog = install()
    logging.config.dictConfig(NAMED_IN_IT)
    ROOT.warning("at once")
    assert tasklog.flush()
    ROOT.warning("later")
    assert messages(tasklog) == ["at once", "later"]
    assert tasklog.handler not in ROOT.handlers
    assert said == []


def test_a_test_that_captures_meanwhile_changes_nothing() -> None:
    tasklog = install()
    with captured_records():
        ROOT.removeHandler(tasklog.handler)  # as basicConfig does
        tasklog.handler.close()
        assert tasklog.flush()
        ROOT.warning("x")
    assert messages(tasklog) == ["x"]


def test_an_idle_child_of_a_fork_goes_on_where_its_parent_was(
    said: list[str],
) -> None:
    tasklog = install()
    basic_config()
    assert tasklog.flush()
    ROOT.removeHandler(tasklog.handler)
    tasklog._attachment._placement._closings += 1  # its worker had not come to it
    tasklog.renew()
    ROOT.warning("child")
    assert messages(tasklog) == ["child"]


def test_the_level_that_a_configuration_sets_is_left_and_mentioned(
    said: list[str],
) -> None:
    tasklog = install(level="DEBUG")
    logging.basicConfig(force=True, level="WARNING", handlers=[logging.NullHandler()])
    assert tasklog.flush()
    assert ROOT.level == logging.WARNING
    assert "the root logger's level is WARNING now, no longer DEBUG" in said[0]
    tasklog.close()
    assert ROOT.level == logging.WARNING


def test_the_level_that_a_configuration_leaves_stays() -> None:
    tasklog = install(level="DEBUG")
    dict_config()
    assert tasklog.flush()
    ROOT.debug("x")
    assert messages(tasklog) == ["x"]


def test_our_own_logger_is_heard_whatever_a_configuration_disables(
    said: list[str],
) -> None:
    log = logging.getLogger("otel_tasklog")
    log.disabled = True  # as disable_existing_loggers does, before and after
    tasklog = install()
    assert not log.disabled
    log.disabled = True
    basic_config()
    assert tasklog.flush()
    assert not log.disabled
    assert len(said) == 1


def test_threads_that_configure_and_log_end_with_the_handler_in_place() -> None:
    tasklog = install()
    done = threading.Event()

    def log() -> None:
        while not done.is_set():
            ROOT.warning("x")

    def configure() -> None:
        for turn in range(60):
            [*CONFIGURATIONS.values()][turn % 3]()

    loggers = [threading.Thread(target=log) for _ in range(2)]
    configurers = [threading.Thread(target=configure) for _ in range(2)]
    for each in (*loggers, *configurers):
        each.start()
    for each in configurers:
        each.join(30)
    done.set()
    for each in loggers:
        each.join(30)
    assert tasklog.flush(30)
    assert ROOT.handlers.count(tasklog.handler) == 1
    ROOT.error("last")
    assert tasklog.query(limit=1)[0].message == "last"


# Under logging's lock


class StuckSender:
    """A receiver that does not answer until it is let."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.free = threading.Event()

    def send(self, body: bytes) -> Outcome:
        self.asked.set()
        self.free.wait()
        return Accepted()

    def close(self) -> None:
        pass


def test_a_configuration_waits_neither_for_the_worker_nor_for_a_receiver() -> None:
    """It would wait for ever: nobody lets the receiver answer before it is done."""
    sender = StuckSender()
    tasklog = TaskLog(
        Config(level="INFO", buffer_records=2_000, exit_timeout_seconds=5),
        sender=sender,
    )
    tasklog.attach()
    for number in range(5_000):
        ROOT.info("record %d", number)
    assert sender.asked.wait(10)

    def under_the_lock() -> logging.Handler:
        tasklog.handler.flush()
        tasklog.handler.close()
        return logging.NullHandler()

    logging.config.dictConfig({
        **OTHER_ROOT, "handlers": {"null": {"()": under_the_lock}},
    })  # fmt: skip
    assert not sender.free.is_set()
    sender.free.set()
    assert tasklog.flush() in {True, False}  # what was too much was dropped
    assert tasklog.handler in ROOT.handlers
    tasklog.close()


# Hints


def test_the_root_loggers_level_is_mentioned_if_nobody_set_it(
    said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ROOT.setLevel(logging.WARNING)
    with install(level=None) as tasklog:
        ROOT.warning("first")
        assert tasklog.flush()
        ROOT.warning("second")
        assert tasklog.flush()
    assert len(said) == 1
    assert "pass level='INFO' to install()" in said[0]


def test_it_is_mentioned_at_the_end_if_nothing_came(said: list[str]) -> None:
    ROOT.setLevel(logging.WARNING)
    with install(level=None) as tasklog:
        ROOT.info("lost")
    assert ["pass level='INFO'" in line for line in said] == [True]
    assert tasklog.query() == []


LEVELS: Mapping[str, Callable[[], object]] = {
    "the root logger's, after install()": lambda: ROOT.setLevel("INFO"),
    "with force": lambda: logging.basicConfig(level="DEBUG", force=True),
    "another than Python's": lambda: ROOT.setLevel("ERROR"),
    "a logger's": lambda: logging.getLogger("test.level").setLevel("INFO"),
}


@pytest.mark.parametrize("way", LEVELS)
def test_no_hint_on_the_level_once_somebody_has_set_one(
    way: str, logger: Callable[[str], logging.Logger], said: list[str]
) -> None:
    logger("test.level")
    ROOT.setLevel(logging.WARNING)
    with install(level=None) as tasklog:
        LEVELS[way]()
        assert tasklog.flush()
        ROOT.error("x")
    assert not [line for line in said if "level=" in line]


def test_no_hint_on_the_level_of_a_root_logger_that_is_not_ours(
    said: list[str],
) -> None:
    ROOT.setLevel(logging.WARNING)
    with install(level=None, loggers=["test.other"]):
        pass
    assert said == []


def test_two_handlers_on_one_path_are_mentioned(
    logger: Callable[[str], logging.Logger], said: list[str]
) -> None:
    logger("test.twice").addHandler(TaskLogHandler())
    with install():
        assert len(said) == 1
        logging.getLogger("test.twice.deep").info("x")
    assert len(said) == 1
    assert "logger 'test.twice' are captured twice" in said[0]
    assert "on 'test.twice' and on 'root'" in said[0]


def test_handlers_on_two_paths_are_not(
    logger: Callable[[str], logging.Logger], said: list[str]
) -> None:
    apart = logger("test.apart")
    apart.propagate = False
    apart.addHandler(TaskLogHandler())
    with install() as tasklog:
        apart.warning("x")
        ROOT.warning("y")
        assert messages(tasklog) == ["x", "y"]
    assert said == []


def test_one_handler_twice_on_a_path_is_mentioned_once_that_is_final(
    logger: Callable[[str], logging.Logger], said: list[str]
) -> None:
    """A framework that is started after install() may still stop propagating."""
    inner = logger("test.inner")
    with install(loggers=["", "test.inner"]):
        assert said == []
        inner.propagate = False
        inner.warning("x")
    assert said == []
    inner.propagate = True
    with install(loggers=["", "test.inner"]):
        inner.warning("x")
    assert len(said) == 1
    assert "captured twice" in said[0]


def test_the_official_handler_on_the_path_is_mentioned(
    logger: Callable[[str], logging.Logger], said: list[str]
) -> None:
    logger("test.official").addHandler(LoggingHandler(logger_provider=LoggerProvider()))
    tasklog = TaskLog(Config(level="INFO"), sender=MemorySender())
    tasklog.attach()
    tasklog.close()
    assert len(said) == 1
    assert "by OpenTelemetry's LoggingHandler on 'test.official'" in said[0]


def test_the_official_handler_beside_a_tasklog_that_only_keeps_is_fine(
    said: list[str],
) -> None:
    ROOT.addHandler(LoggingHandler(logger_provider=LoggerProvider()))
    with install():
        ROOT.warning("x")
    assert said == []


def test_a_second_tasklog_on_the_path_is_mentioned(said: list[str]) -> None:
    first = TaskLog(Config(level="INFO"), sender=MemorySender())
    second = TaskLog(Config(level="INFO"), sender=MemorySender())
    first.attach()
    with captured_records():  # which exports nothing
        assert said == []
    second.attach()
    assert len(said) == 1
    assert "a second TaskLog has a handler on 'root'" in said[0]
    second.close()
    first.close()


# Behind a queue


@pytest.fixture
def listener() -> Iterator[Callable[..., logging.handlers.QueueHandler]]:
    """Return a QueueHandler, and have a started listener hand its records on."""
    with contextlib.ExitStack() as stack:

        def make(*handlers: logging.Handler) -> logging.handlers.QueueHandler:
            records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
            started = logging.handlers.QueueListener(records, *handlers)
            started.start()
            stack.callback(started.stop)
            return logging.handlers.QueueHandler(records)

        yield make


def test_the_handler_stands_beside_a_queue_and_knows_task_and_trace(
    listener: Callable[..., logging.handlers.QueueHandler], said: list[str]
) -> None:
    ROOT.handlers[:] = [listener(logging.NullHandler())]
    span = SpanContext(7, 8, is_remote=False, trace_flags=TraceFlags(1))
    with install() as tasklog, task("order-1"), use_span(NonRecordingSpan(span)):
        ROOT.warning("x")
    [record] = tasklog.query()
    assert (record.task_id, record.trace_id) == ("order-1", f"{7:032x}")
    assert said == []


class Behind(TaskLogHandler):
    """Says when a record has come through the queue."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()

    def handle(self, record: logging.LogRecord) -> bool:
        handled = super().handle(record)
        self.reached.set()
        return handled


def test_a_handler_behind_a_queue_is_mentioned(
    listener: Callable[..., logging.handlers.QueueHandler], said: list[str]
) -> None:
    behind = Behind()
    ROOT.handlers[:] = [listener(behind)]
    with install(loggers=[]):
        ROOT.warning("x")
        assert behind.reached.wait(10)
    assert len(said) == 1
    assert "add an otel_tasklog.TaskLogFilter" in said[0]


def test_a_handler_behind_a_queue_that_stamps_is_not(
    listener: Callable[..., logging.handlers.QueueHandler], said: list[str]
) -> None:
    behind = Behind()
    ROOT.handlers[:] = [listener(behind)]
    ROOT.handlers[0].addFilter(TaskLogFilter())
    with install(loggers=[]) as tasklog:
        with task("order-1"):
            ROOT.warning("x")
        assert behind.reached.wait(10)
        assert tasklog.query()[0].task_id == "order-1"
    assert said == []


@pytest.mark.skipif(
    sys.version_info < (3, 12),
    reason="a QueueHandler knows its listener from Python 3.12; to enable: run on it",
)
@pytest.mark.parametrize("stamped", [False, True], ids=["plain", "stamped"])
def test_a_listener_that_feeds_our_own_handler_is_mentioned(
    said: list[str],
    *,
    stamped: bool,
) -> None:
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(records)
    if stamped:
        handler.addFilter(TaskLogFilter())
    ROOT.handlers[:] = [handler]
    with install(loggers=[]) as tasklog:
        listener = logging.handlers.QueueListener(records, tasklog.handler)
        vars(handler)["listener"] = listener
        ROOT.warning("x")
        listener.handle(records.get())
    assert len(said) == (0 if stamped else 1)


# The console


def test_the_console_stays_away_where_a_configuration_brings_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ROOT.handlers.clear()
    tasklog = install()
    ROOT.warning("ours")
    logging.basicConfig(force=True, format="%(message)s, theirs")
    assert tasklog.flush()
    capsys.readouterr()
    ROOT.warning("x")
    assert capsys.readouterr().err == "x, theirs\n"


def test_the_console_comes_back_where_a_configuration_leaves_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ROOT.handlers.clear()
    tasklog = install()
    logging.config.dictConfig({**EMPTY, "root": {"handlers": [], "level": "INFO"}})
    assert tasklog.flush()
    capsys.readouterr()
    ROOT.info("not shown")
    ROOT.warning("x")
    assert capsys.readouterr().err == "x\n"
    tasklog.close()
    assert ROOT.handlers == []


def test_the_console_prints_what_python_would_and_no_more(
    capsys: pytest.CaptureFixture[str],
    logger: Callable[[str], logging.Logger],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ROOT.handlers.clear()
    logger("test.own").addHandler(logging.NullHandler())
    with install():
        logging.getLogger("test.own").warning("it has a handler")
        logging.getLogger("test.none").warning("it has none")
        ROOT.handle(logging.makeLogRecord({
            "name": "test.made", "msg": "nobody's", "levelno": logging.ERROR,
        }))  # fmt: skip
        assert capsys.readouterr().err == "it has none\nnobody's\n"
        monkeypatch.setattr(logging, "lastResort", None)
        logging.getLogger("test.none").warning("nobody wants it")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("console", ["auto", True], ids=str)
def test_further_lines_of_a_record_on_the_console_are_marked(
    capsys: pytest.CaptureFixture[str], *, console: Literal["auto"] | bool
) -> None:
    ROOT.handlers.clear()
    with install(console=console):
        error = ValueError("a\nERROR \x1b[2J")
        ROOT.error("one\n\ttwo", exc_info=error, stack_info=True)
        ROOT.warning("%d", "x")
        ROOT.handle(logging.makeLogRecord({
            "msg": "no exception", "levelno": logging.ERROR, "exc_info": "x",
        }))  # fmt: skip
    lines = capsys.readouterr().err.splitlines()
    assert lines[:5] == [
        "one", "  | \ttwo", "  | ValueError: a", r"  | ERROR \x1b[2J",
        "  | Stack (most recent call last):",
    ]  # fmt: skip
    one, bad, wrong = [line for line in lines if not line.startswith("  | ")]
    assert one == "one"
    assert "%d" in bad
    assert "TypeError" in bad
    assert wrong == "no exception [IndexError while formatting]"


@pytest.mark.parametrize("console", ["auto", True], ids=str)
def test_a_closed_stderr_costs_no_log_call_its_return(
    monkeypatch: pytest.MonkeyPatch, *, console: Literal["auto"] | bool
) -> None:
    ROOT.handlers.clear()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with install(console=console) as tasklog:
        sys.stderr.close()
        ROOT.warning("x")
        assert len(tasklog.query()) == 1


def test_a_record_whose_name_is_none_costs_no_log_call_its_return(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ROOT.handlers.clear()
    with install() as tasklog:
        ROOT.handle(logging.makeLogRecord({"name": [], "levelno": logging.ERROR}))
        assert len(tasklog.query()) == 1
    assert "unhashable" in capsys.readouterr().err  # as handleError says it
