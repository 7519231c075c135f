"""A TaskLogHandler of a logging configuration: it finds a TaskLog, or makes it, once."""

from __future__ import annotations

import asyncio
import configparser
import contextlib
import logging
import logging.config
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter

import otel_tasklog
from otel_tasklog import (
    AlreadyInstalledError,
    ConfigError,
    NotInstalledError,
    TaskLogHandler,
    _install,
)
from otel_tasklog._assemble import Shared, make_shared
from otel_tasklog._install import EARLY_RECORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_tasklog import Config

LOG = logging.getLogger("test.options")


@pytest.fixture(autouse=True)
def _same_logger_afterwards() -> Iterator[None]:
    yield
    with contextlib.suppress(NotInstalledError):
        otel_tasklog.current().close(0)
    LOG.handlers.clear()
    LOG.setLevel(logging.NOTSET)
    LOG.propagate = True


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """Return the lines on stderr, where Python prints what finds no handler."""
    logging.getLogger().handlers.clear()

    def lines() -> list[str]:
        return capsys.readouterr().err.splitlines()

    return lines


def configure(key: str = "class", **options: Any) -> None:
    """Let a logging configuration make the handler of LOG."""
    name = "otel_tasklog.TaskLogHandler"
    logging.config.dictConfig({
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"tasklog": {key: name, "level": "INFO", **options}},
        "loggers": {
            LOG.name: {"handlers": ["tasklog"], "level": "DEBUG", "propagate": False}
        },
    })  # fmt: skip


def messages() -> list[str]:
    records = otel_tasklog.current().query(newest_first=False, limit=10_000)
    return [record.message for record in records if record.logger == LOG.name]


@pytest.mark.parametrize("key", ["class", "()"])
def test_a_configuration_is_all_it_takes(key: str) -> None:
    exporter = InMemoryLogRecordExporter()
    configure(key, service_name="shop", exporter=exporter)
    with pytest.raises(NotInstalledError):
        otel_tasklog.current()  # before the first record
    LOG.debug("below the handler's level")
    LOG.info("captured")
    assert messages() == ["captured"]
    assert otel_tasklog.current().flush()
    [exported] = exporter.get_finished_logs()
    assert exported.resource.attributes["service.name"] == "shop"


def test_an_ini_file_can_say_the_same() -> None:
    text = configparser.ConfigParser()
    text.read_string(f"""
        [loggers]
        keys=root,options
        [handlers]
        keys=tasklog
        [formatters]
        keys=
        [logger_root]
        handlers=
        [logger_options]
        qualname={LOG.name}
        handlers=tasklog
        propagate=0
        [handler_tasklog]
        class=otel_tasklog.TaskLogHandler
        level=INFO
        kwargs={{"service_name": "shop", "exporter": None}}
    """)
    logging.config.fileConfig(text, disable_existing_loggers=False)
    LOG.warning("captured")
    assert messages() == ["captured"]
    assert otel_tasklog.current().config.service_name == "shop"


def test_what_is_not_given_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configure()
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "none")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    LOG.warning("captured")
    assert otel_tasklog.current().config.exporter is None


def test_it_attaches_nothing_else(said: Callable[[], list[str]]) -> None:
    configure(exporter=None)
    LOG.warning("captured")
    on_root = logging.getLogger().handlers
    assert not any(isinstance(each, TaskLogHandler) for each in on_root)
    otel_tasklog.current().close()
    assert said() == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("service_nam", "shop"),
        ("ring_records", 0),
        ("endpoint", "nowhere"),
        ("loggers", ["shop"]),
        ("monitor", True),
    ],
)
def test_a_wrong_option_fails_the_configuration(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match="Unable to configure handler") as raised:
        configure(**{option: value})
    assert isinstance(raised.value.__cause__, ConfigError)
    assert option in str(raised.value.__cause__)


def test_a_second_configuration_goes_on_with_the_same(
    said: Callable[[], list[str]],
) -> None:
    configure(exporter=None, service_name="shop")
    LOG.warning("first")
    tasklog = otel_tasklog.current()
    configure(exporter=None, service_name="shop")
    LOG.warning("second")
    configure()
    LOG.warning("third")
    assert otel_tasklog.current() is tasklog
    assert messages() == ["first", "second", "third"]
    assert said() == []


def test_options_beside_an_installed_tasklog_are_ignored_and_that_is_said(
    said: Callable[[], list[str]],
) -> None:
    with otel_tasklog.install(exporter=None, loggers=[]) as tasklog:
        for _ in range(2):
            configure(service_name="shop", endpoint="http://there:4318")
            LOG.warning("captured")
        assert tasklog.config.service_name is None
        assert messages() == ["captured", "captured"]
    [line] = said()
    assert "(service_name, endpoint) are ignored" in line
    assert "test_handler_options.py:" in line


def test_a_bare_handler_beside_an_installed_tasklog_is_nothing_to_mention(
    said: Callable[[], list[str]],
) -> None:
    with otel_tasklog.install(exporter=None, loggers=[]):
        configure()
        LOG.warning("captured")
        assert messages() == ["captured"]
    assert said() == []


def test_install_after_a_handler_with_options_names_it() -> None:
    configure(exporter=None)
    LOG.warning("captured")
    with pytest.raises(AlreadyInstalledError, match="of a logging configuration"):
        otel_tasklog.install(exporter=None)
    before = otel_tasklog.current()
    with otel_tasklog.install(exporter=None, replace=True, loggers=[]) as tasklog:
        assert tasklog is not before
        LOG.warning("captured there")
        assert messages() == ["captured there"]


def test_install_after_a_handler_without_options_takes_its_place(
    said: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    configure()
    LOG.warning("at import")
    before = otel_tasklog.current()
    with otel_tasklog.install(loggers=[]) as tasklog:
        assert otel_tasklog.current() is tasklog
        LOG.warning("in main")
        assert messages() == ["in main"]
    assert [record.message for record in before.query()] == ["at import"]
    [line] = said()
    assert "call install() before" in line


def test_a_closed_tasklog_is_not_made_again() -> None:
    """What is logged at the program's end, after it, would go nowhere."""
    configure(exporter=None)
    LOG.warning("captured")
    otel_tasklog.current().close()
    LOG.warning("too late")
    with pytest.raises(NotInstalledError):
        otel_tasklog.current()
    configure(exporter=None)
    LOG.warning("a new configuration")
    assert messages() == ["a new configuration"]


def test_one_that_cannot_be_made_is_said_once_and_no_log_call_fails(
    said: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure()
    monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "soon")
    LOG.warning("lost")
    LOG.warning("lost")
    with pytest.raises(NotInstalledError):
        otel_tasklog.current()
    [line] = said()
    assert "OTEL_BLRP_SCHEDULE_DELAY" in line


def test_ctrl_c_while_it_is_made_leaves_it_to_the_next_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(_config: Config) -> Shared:
        raise KeyboardInterrupt

    configure(exporter=None)
    monkeypatch.setattr("otel_tasklog._tasklog.make_shared", interrupted)
    with pytest.raises(KeyboardInterrupt):
        LOG.warning("lost")
    monkeypatch.undo()
    LOG.warning("captured")
    assert messages() == ["captured"]


class SlowResource:
    """Stands for detectors that take their time, and log meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = 0
        self.begun = threading.Event()
        self.go_on = threading.Event()
        monkeypatch.setattr("otel_tasklog._tasklog.make_shared", self)

    def __call__(self, config: Config) -> Shared:
        self.made += 1
        LOG.warning("while it is made")
        self.begun.set()
        assert self.go_on.wait(30)
        return make_shared(config)


def test_threads_that_log_first_together_make_one_and_none_of_them_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All others have returned from their log calls before it is made."""
    resource = SlowResource(monkeypatch)
    configure(exporter=None)

    def log(number: int) -> None:
        async def main() -> None:
            LOG.warning("thread %d", number)

        with otel_tasklog.task(f"job-{number}"):
            asyncio.run(main())

    first = threading.Thread(target=log, args=(0,))
    first.start()
    assert resource.begun.wait(30)
    others = [threading.Thread(target=log, args=(number,)) for number in range(1, 8)]
    for each in others:
        each.start()
    for each in others:
        each.join(30)
        assert not each.is_alive()
    with pytest.raises(NotInstalledError):
        otel_tasklog.current()
    resource.go_on.set()
    first.join(30)
    assert resource.made == 1
    expected = ["while it is made", *(f"thread {n}" for n in range(8))]
    assert sorted(messages()) == sorted(expected)
    for number in range(8):
        [record] = otel_tasklog.current().query(task_id=f"job-{number}", text="thread")
        assert record.message == f"thread {number}"
    sequences = [record.sequence for record in otel_tasklog.current().query()]
    assert len({*sequences}) == len(sequences)


def test_what_waits_for_a_tasklog_is_bounded_and_counted(
    monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    resource = SlowResource(monkeypatch)
    configure(exporter=None)
    first = threading.Thread(target=LOG.warning, args=("first",))
    first.start()
    assert resource.begun.wait(30)
    for number in range(EARLY_RECORDS):
        LOG.warning("early %d", number)
    resource.go_on.set()
    first.join(30)
    found = messages()
    assert len(found) == EARLY_RECORDS + 1
    assert "while it is made" not in found  # the oldest
    assert said() == ["records dropped while a TaskLog was made: 1"]


def test_a_record_that_comes_just_after_the_others_were_handed_over_follows() -> None:
    """Between a look for the TaskLog and the next, it may have been made."""
    configure(exporter=None)
    LOG.warning("first")
    [handler] = LOG.handlers
    assert isinstance(handler, TaskLogHandler)
    handler.connect(_install._early.port)  # what it was told then
    LOG.warning("second")
    assert messages() == ["first", "second"]


def test_a_child_that_is_forked_while_its_parent_makes_one_makes_its_own() -> None:
    early: Any = _install._early
    assert early.making.acquire(blocking=False)  # by a thread it does not have
    early.renew()
    configure(exporter=None)
    LOG.warning("captured")
    assert messages() == ["captured"]


def test_what_is_logged_while_one_takes_the_place_of_another_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    otel_tasklog.install(exporter=None, loggers=[])
    configure()
    LOG.warning("first")
    resource = SlowResource(monkeypatch)
    resource.go_on.set()
    with otel_tasklog.install(exporter=None, loggers=[], replace=True):
        assert messages() == ["while it is made"]


def test_sigterm_is_taken_over_on_the_main_thread_only() -> None:
    before = signal.getsignal(signal.SIGTERM)
    configure(exporter=None)
    thread = threading.Thread(target=LOG.warning, args=("captured",))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before
    otel_tasklog.current().close()
    configure(exporter=None)
    LOG.warning("captured")
    assert signal.getsignal(signal.SIGTERM) is not before
    otel_tasklog.current().close()
    assert signal.getsignal(signal.SIGTERM) is before
