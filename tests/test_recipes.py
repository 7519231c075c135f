"""The web servers' loggers by one name, their access logs with attributes."""

from __future__ import annotations

import datetime
import logging
import logging.config
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import gunicorn.config  # type: ignore[import-untyped]
import gunicorn.glogging  # type: ignore[import-untyped]
import pytest
import uvicorn
import uvicorn.config

import otel_tasklog
from otel_tasklog._recipes import RECIPES, UVICORN_ENDS
from otel_tasklog.testing import FakeClock, MemorySender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_tasklog import TaskLog, TaskRecord

NAMES = [name for names in RECIPES.values() for name in names]
ERROR = logging.getLogger("uvicorn.error")
ACCESS = logging.getLogger("uvicorn.access")
UVICORN_ACCESS = '%s - "%s %s HTTP/%s" %d'
OF_A_REQUEST = {
    "client.address": "127.0.0.1",
    "client.port": 5000,
    "http.request.method": "GET",
    "url.path": "/orders/1",
    "url.query": "full=yes",
    "network.protocol.version": "1.1",
    "http.response.status_code": 200,
}


class Kept(logging.Handler):
    """What another handler sees."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(autouse=True)
def _servers_loggers_afterwards_as_new() -> Iterator[None]:
    yield
    for name in NAMES:
        logger = logging.getLogger(name)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.close()
        logger.handlers, logger.propagate, logger.level = [], True, logging.NOTSET
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})


def install(*loggers: str | logging.Logger, **settings: Any) -> TaskLog:
    settings = {"exporter": None, "level": "INFO", "console": False, **settings}
    return otel_tasklog.install(loggers=loggers, **settings)


def uvicorn_configures(**settings: Any) -> None:
    """Configure logging as uvicorn does at its start, printing nothing."""
    uvicorn.Config("app", **settings)
    for name in NAMES:
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setLevel(logging.CRITICAL)


def log_access(
    client: object = "127.0.0.1:5000",
    method: object = "GET",
    target: object = "/orders/1?full=yes",
    version: object = "1.1",
    status: object = 200,
) -> None:
    ACCESS.info(UVICORN_ACCESS, client, method, target, version, status)


def seen(tasklog: TaskLog) -> list[TaskRecord]:
    return tasklog.query(newest_first=False)


# uvicorn


def before() -> TaskLog:
    uvicorn_configures()
    return install("", "uvicorn")


def after() -> TaskLog:
    tasklog = install("", "uvicorn")
    uvicorn_configures()
    assert tasklog.flush()  # the worker has seen it, then
    return tasklog


def twice() -> TaskLog:
    uvicorn_configures()
    tasklog = install("", "uvicorn")
    uvicorn_configures()
    assert tasklog.flush()
    return tasklog


def without_a_configuration() -> TaskLog:
    tasklog = install("", "uvicorn")
    uvicorn_configures(log_config=None)
    return tasklog


def by_a_handler_of_the_configuration() -> TaskLog:
    """Then there is no other at the root logger, but one that feeds the same."""
    uvicorn_configures(log_config=None)
    tasklog = install("uvicorn")
    logging.getLogger().addHandler(handler := otel_tasklog.TaskLogHandler())
    handler.connect(tasklog.port)
    return tasklog


def named_twice() -> TaskLog:
    uvicorn_configures()
    return install("", "uvicorn", "uvicorn", ACCESS)


def access_propagating_to_uvicorn() -> TaskLog:
    uvicorn_configures()
    ACCESS.propagate = True
    return install("", "uvicorn")


@pytest.mark.parametrize(
    "way",
    [
        before, after, twice, without_a_configuration,
        by_a_handler_of_the_configuration, named_twice, access_propagating_to_uvicorn,
    ],
)  # fmt: skip
def test_uvicorns_records_come_once_however_it_is_configured(
    way: Callable[[], TaskLog], capsys: pytest.CaptureFixture[str]
) -> None:
    tasklog = way()
    ERROR.info("Started server process [%d]", 7, extra={"color_message": "\x1b[36m"})
    log_access()
    started, access = seen(tasklog)
    assert started.message == "Started server process [7]"
    assert access.message == '127.0.0.1:5000 - "GET /orders/1?full=yes HTTP/1.1" 200'
    assert access.logger == "uvicorn.access"
    assert access.attributes == OF_A_REQUEST
    assert tasklog.flush()
    tasklog.close()
    assert "twice" not in capsys.readouterr().err


def test_colours_are_no_attribute() -> None:
    uvicorn_configures()
    tasklog = install("uvicorn")
    ERROR.info("Started", extra={"color_message": "\x1b[36mStarted\x1b[0m", "mine": 1})
    assert seen(tasklog)[0].attributes == {"mine": 1}


def test_what_others_see_of_a_record_is_what_uvicorn_logged() -> None:
    uvicorn_configures()
    kept = Kept()
    ACCESS.addHandler(kept)
    install("", "uvicorn")
    log_access()
    plain = logging.makeLogRecord({}).__dict__.keys()
    assert all(record.__dict__.keys() <= plain | {"message"} for record in kept.records)
    assert kept.records


@pytest.mark.parametrize(
    ("logged", "attributes"),
    [
        pytest.param(
            {"client": "::1:5000"},
            {"client.address": "::1", "client.port": 5000},
            id="IPv6",
        ),
        pytest.param(
            {"client": ""},
            {"client.address": None, "client.port": None},
            id="a socket of the file system",
        ),
        pytest.param(
            {"target": "/orders/1"}, {"url.query": None}, id="without a query"
        ),
        pytest.param(
            {"target": "/a?b=c?d"},
            {"url.path": "/a", "url.query": "b=c?d"},
            id="a second question mark",
        ),
        pytest.param(
            {"method": "BREW"},
            {"http.request.method": "_OTHER", "http.request.method_original": "BREW"},
            id="a method nobody knows",
        ),
    ],
)
def test_a_request_is_described_by_the_semantic_conventions(
    logged: dict[str, object], attributes: dict[str, object]
) -> None:
    uvicorn_configures()
    tasklog = install("uvicorn")
    log_access(**logged)
    expected: dict[str, object] = {
        "client.address": "127.0.0.1", "client.port": 5000,
        "http.request.method": "GET", "url.path": "/orders/1",
        "url.query": "full=yes", "network.protocol.version": "1.1",
        "http.response.status_code": 200, **attributes,
    }  # fmt: skip
    expected = {name: value for name, value in expected.items() if value is not None}
    assert seen(tasklog)[0].attributes == expected


@pytest.mark.parametrize("name", ["uvicorn.access", "gunicorn.access"])
@pytest.mark.parametrize(
    ("message", "args"),
    [
        ("no arguments", ()),
        ("%s", ("one",)),
        ("%s %s %s %s %s", (1, 2, 3, 4, 5)),
        ("%s %s %s %s %s", ("a:1", "GET", "/", "1.1", "no number")),
        ("%s %s %s %s %s", (None,) * 5),
        ("%(h)s", ({"h": "127.0.0.1"},)),
        ("%s", ([],)),
        ("%d %d", ("does", "not", "fit")),
    ],
    ids=str,
)
def test_a_record_of_any_shape_is_captured(
    name: str, message: str, args: tuple[object, ...]
) -> None:
    tasklog = install("uvicorn", "gunicorn", level=None)
    logging.getLogger(name).warning(message, *args)
    [record] = seen(tasklog)
    assert record.attributes == {}


def test_a_record_of_another_name_is_captured() -> None:
    """As one that a queue brings, which is given to the logger as it is."""
    uvicorn_configures()
    tasklog = install("", "uvicorn")
    record = logging.LogRecord("no logger", logging.INFO, "", 0, "x", None, None)
    logging.getLogger("uvicorn").handle(record)
    assert [record.message for record in seen(tasklog)] == ["x"]


def test_the_recipes_loggers_are_uvicorns() -> None:
    assert set(uvicorn.config.LOGGING_CONFIG["loggers"]) == set(RECIPES["uvicorn"])


def test_an_access_log_that_is_off_stays_off() -> None:
    tasklog = install("", "uvicorn")
    uvicorn_configures(access_log=False)
    assert tasklog.flush()
    assert not ACCESS.hasHandlers()  # how uvicorn decides whether to log a request
    tasklog.close()
    with install("", "uvicorn"):
        assert not ACCESS.hasHandlers()


def test_an_access_log_that_is_turned_off_at_the_last_moment_stays_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Uvicorn does so once it has configured logging, beside the worker's look."""
    tasklog = install("", "uvicorn")
    add = ACCESS.addHandler

    def late(handler: logging.Handler) -> None:
        ACCESS.handlers = []
        add(handler)

    monkeypatch.setattr(ACCESS, "addHandler", late)
    uvicorn_configures()
    assert tasklog.flush()
    assert not ACCESS.hasHandlers()


def test_level_filters_and_formatter_are_those_of_the_tasklogs_handler() -> None:
    uvicorn_configures()
    tasklog = install("uvicorn")
    tasklog.handler.setFormatter(logging.Formatter("[%(name)s] %(message)s"))
    tasklog.handler.addFilter(lambda record: "health" not in record.getMessage())
    log_access(target="/health")
    log_access(target="/")
    tasklog.handler.setLevel("ERROR")
    log_access()
    [record] = seen(tasklog)
    assert record.message.startswith("[uvicorn.access] 127.0.0.1:5000")
    assert record.attributes["url.path"] == "/"


def test_a_filter_of_the_logger_holds_back() -> None:
    uvicorn_configures()
    tasklog = install("uvicorn")

    def no_health(record: logging.LogRecord) -> bool:
        return "health" not in record.getMessage()

    ACCESS.addFilter(no_health)
    try:
        log_access(target="/health")
    finally:
        ACCESS.removeFilter(no_health)
    assert seen(tasklog) == []


def test_close_leaves_the_servers_loggers_as_they_were() -> None:
    uvicorn_configures()
    handlers = {name: logging.getLogger(name).handlers.copy() for name in NAMES}
    install("", "uvicorn", "gunicorn").close()
    assert handlers == {name: logging.getLogger(name).handlers.copy() for name in NAMES}


def test_a_logger_instead_of_its_name_is_no_recipe() -> None:
    tasklog = install(logging.getLogger("uvicorn"))
    assert tasklog.handler in logging.getLogger("uvicorn").handlers
    assert ACCESS.handlers == []


# The end


@pytest.mark.parametrize("handle_sigterm", [True, False])
@pytest.mark.parametrize("where", ["main thread", "another thread"])
def test_uvicorns_last_word_on_the_main_thread_delivers(
    where: str, handle_sigterm: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For what comes next may be the default action of a signal, that is the end."""
    uvicorn_configures()
    sender = MemorySender()
    monkeypatch.setattr("otel_tasklog._tasklog.make_sender", lambda _: sender)
    tasklog = install(
        "", "uvicorn", exporter="otlp", handle_sigterm=handle_sigterm,
        schedule_delay_seconds=100.0,
    )  # fmt: skip
    logging.getLogger("shop").info("before")

    def end() -> None:
        ERROR.info(UVICORN_ENDS, 7)

    if where == "main thread":
        end()
    else:
        thread = threading.Thread(target=end)
        thread.start()
        thread.join()
    delivers = handle_sigterm and where == "main thread"
    bodies = ["before", "Finished server process [7]"] if delivers else []
    assert [record.body for record in sender.records] == bodies
    tasklog.close()


def test_the_end_is_waited_for_once_however_often_it_is_announced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = FakeClock()
    monkeypatch.setattr("otel_tasklog._attach.time", clock)
    attachment = install(exit_timeout_seconds=5.0)._attachment
    assert attachment.seconds_left() == 5.0  # uvicorn's last word
    clock.advance(3.0)
    assert attachment.seconds_left() == 2.0  # the signal that it raises again
    clock.advance(4.0)
    assert attachment.seconds_left() == 0.0  # atexit
    clock.advance(60.0)
    assert attachment.seconds_left() == 5.0  # that was not the end


# gunicorn


def gunicorn_logger(**settings: object) -> Any:
    """Return the logger of a gunicorn that prints nothing."""
    configuration = gunicorn.config.Config()
    for name, value in {
        "accesslog": "/dev/null",
        "errorlog": "/dev/null",
        **settings,
    }.items():
        configuration.set(name, value)
    return gunicorn.glogging.Logger(configuration)


def log_gunicorn_access(logger: Any, **environ: object) -> None:
    response = SimpleNamespace(status="200 OK", sent=12, headers=[])
    request = SimpleNamespace(headers=[("HOST", "x")])
    everything = {
        "REQUEST_METHOD": "GET", "RAW_URI": "/orders/1?full=yes",
        "PATH_INFO": "/orders/1", "QUERY_STRING": "full=yes",
        "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "5000", "HTTP_USER_AGENT": "curl/8", **environ,
    }  # fmt: skip
    logger.access(response, request, everything, datetime.timedelta(microseconds=2_500))


def test_gunicorns_records_come_once_and_described() -> None:
    logger = gunicorn_logger()
    tasklog = install("", "gunicorn")
    logger.info("Booting worker with pid: %s", 7)
    log_gunicorn_access(logger)
    booting, access = seen(tasklog)
    assert booting.message == "Booting worker with pid: 7"
    assert '"GET /orders/1?full=yes HTTP/1.1" 200 12 "-" "curl/8"' in access.message
    assert access.attributes == {
        **OF_A_REQUEST,
        "user_agent.original": "curl/8",
        "http.server.request.duration": 0.0025,
        "http.response.body.size": 12,
    }


def test_what_gunicorn_does_not_know_is_no_attribute() -> None:
    """As behind a socket of the file system, or with its own worker for ASGI."""
    logger = gunicorn_logger()
    tasklog = install("gunicorn")
    log_gunicorn_access(logger, REMOTE_ADDR="", REMOTE_PORT=None, HTTP_USER_AGENT="-")
    names = seen(tasklog)[0].attributes.keys()
    assert not names & {"client.address", "client.port", "user_agent.original"}


def test_gunicorn_that_propagates_is_captured_once_and_described() -> None:
    """As with a logconfig_dict of its own."""
    logger = gunicorn_logger()
    logger.access_log.propagate = True
    tasklog = install("", "gunicorn")
    log_gunicorn_access(logger)
    [record] = seen(tasklog)
    assert record.attributes["http.server.request.duration"] == 0.0025


@pytest.mark.parametrize(
    ("loggers", "first"),
    [
        (("", "gunicorn"), "the worker"),
        (("", "uvicorn"), "the worker"),
        (("", "uvicorn", "gunicorn"), "the worker"),
        (("", "gunicorn"), "install"),  # as with preload_app
        (("", "uvicorn", "gunicorn"), "install"),
    ],
    ids=str,
)
def test_gunicorns_worker_for_uvicorn(loggers: tuple[str, ...], first: str) -> None:
    """It has uvicorn's loggers share the lists of handlers of gunicorn's."""
    logger = gunicorn_logger()
    if first == "install":
        install(*loggers)
    ERROR.handlers, ERROR.propagate = logger.error_log.handlers, False
    ACCESS.handlers, ACCESS.propagate = logger.access_log.handlers, False
    if first == "the worker":
        install(*loggers)
    tasklog = otel_tasklog.current()
    ERROR.info("Started server process")
    log_access()
    started, access = seen(tasklog)
    assert started.message == "Started server process"
    assert access.attributes == OF_A_REQUEST
    tasklog.close()
    for name in NAMES:
        handlers = logging.getLogger(name).handlers
        assert not any(isinstance(h, otel_tasklog.TaskLogHandler) for h in handlers)
