"""install(): what it attaches to, and that all of it is undone."""

from __future__ import annotations

import asyncio
import enum
import logging
import logging.config
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import otel_tasklog
from otel_tasklog import (
    AlreadyInstalledError,
    ClosedError,
    Config,
    ConfigError,
    NotInstalledError,
    TaskLog,
    TaskLogHandler,
)
from otel_tasklog.delivery._threads import Threads
from otel_tasklog.testing import MemorySender


def test_current_is_the_installed_one_until_it_is_closed() -> None:
    with pytest.raises(NotInstalledError, match=r"otel_tasklog\.install"):
        otel_tasklog.current()
    with otel_tasklog.install(exporter=None) as tasklog:
        assert otel_tasklog.current() is tasklog
    with pytest.raises(NotInstalledError):
        otel_tasklog.current()


def test_a_second_install_names_where_the_first_was_made() -> None:
    first = otel_tasklog.install(exporter=None)
    with pytest.raises(AlreadyInstalledError, match=r"test_install\.py:\d+"):
        otel_tasklog.install(exporter=None)
    second = otel_tasklog.install(exporter=None, replace=True)
    assert otel_tasklog.current() is second
    with pytest.raises(ClosedError, match="flush"):
        first.flush()
    second.close()


def test_a_refused_setting_leaves_everything_as_it_was() -> None:
    first = otel_tasklog.install(exporter=None)
    with pytest.raises(ConfigError):
        otel_tasklog.install(exporter=None, replace=True, level="LOUD")
    assert otel_tasklog.current() is first
    first.close()


def test_close_undoes_all_that_install_did() -> None:
    root = logging.getLogger()
    pool = logging.getLogger("urllib3.connectionpool")
    before = (root.level, root.handlers.copy(), pool.filters.copy())
    term = signal.getsignal(signal.SIGTERM)
    with otel_tasklog.install(exporter=None, level="DEBUG", console=True):
        assert root.level == logging.DEBUG
        assert len(root.handlers) == len(before[1]) + 2
        assert signal.getsignal(signal.SIGTERM) is not term
    assert (root.level, root.handlers, pool.filters) == before
    assert signal.getsignal(signal.SIGTERM) is term


def test_an_application_that_handles_sigterm_keeps_its_handler() -> None:
    def mine(number: int, frame: object) -> None:
        pass

    before = signal.signal(signal.SIGTERM, mine)
    try:
        with otel_tasklog.install(exporter=None):
            assert signal.getsignal(signal.SIGTERM) is mine
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_console_of_last_resort_is_kept_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logging.getLogger().handlers.clear()
    with otel_tasklog.install(exporter=None, level="INFO"):
        logging.getLogger("x").info("not shown")
        logging.getLogger("x").warning("shown as before")
    assert capsys.readouterr().err == "shown as before\n"


def test_a_console_that_was_there_gets_no_second_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logging.getLogger().handlers[:] = [logging.StreamHandler()]
    with otel_tasklog.install(exporter=None, level="INFO"):
        logging.getLogger("x").warning("once")
    assert capsys.readouterr().err == "once\n"


def test_loggers_that_do_not_propagate_are_reached_by_name() -> None:
    quiet = logging.getLogger("test.quiet")
    quiet.propagate = False
    with otel_tasklog.install(exporter=None, loggers=["test.quiet"]) as tasklog:
        quiet.warning("x")
        logging.getLogger("other").warning("y")
        assert [r.message for r in tasklog.query()] == ["x"]


def test_the_export_level_keeps_the_rest_in_the_ring_only() -> None:
    with otel_tasklog.install(
        level="DEBUG", export_level="ERROR", exit_timeout_seconds=0,
        endpoint="http://127.0.0.1:9",
    ) as tasklog:  # fmt: skip
        logging.getLogger("x").debug("low")
        logging.getLogger("x").error("high")
        stats = tasklog.stats()
        assert (stats.captured, stats.accepted, stats.kept) == (2, 1, 2)


def test_without_an_exporter_nothing_is_accepted_and_flush_is_true() -> None:
    with otel_tasklog.install(exporter=None) as tasklog:
        logging.getLogger("x").warning("x")
        assert tasklog.flush()
        stats = tasklog.stats()
        assert (stats.captured, stats.accepted, stats.pending) == (1, 0, 0)


def test_a_disabled_sdk_exports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with otel_tasklog.install() as tasklog:
        logging.getLogger("x").warning("x")
        assert tasklog.stats().accepted == 0
        assert len(tasklog.query()) == 1


def test_async_with_closes_and_a_sync_exit_in_a_loop_hints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def main() -> None:
        async with otel_tasklog.install(exporter=None) as tasklog:
            logging.getLogger("x").warning("x")
            assert await tasklog.aflush()
        with otel_tasklog.install(exporter=None):
            pass

    asyncio.run(main())
    assert "use 'async with'" in capsys.readouterr().err
    with pytest.raises(NotInstalledError):
        otel_tasklog.current()


def test_aflush_that_takes_too_long_is_false() -> None:
    async def main() -> bool:
        async with otel_tasklog.install(
            endpoint="http://127.0.0.1:9", exit_timeout_seconds=0
        ) as tasklog:
            logging.getLogger("x").warning("x")
            return await tasklog.aflush(timeout_seconds=0.05)

    assert asyncio.run(main()) is False


def test_a_handler_made_by_hand_feeds_the_installed_one() -> None:
    log = logging.getLogger("test.by_hand")
    log.propagate = False
    log.handlers[:] = [TaskLogHandler(level="WARNING")]
    with otel_tasklog.install(exporter=None) as tasklog:
        log.error("x")
        log.info("too low")
        assert [r.message for r in tasklog.query()] == ["x"]


def test_reconfigured_logging_neither_waits_nor_closes() -> None:
    with otel_tasklog.install(exporter=None) as tasklog:
        logging.getLogger("x").warning("before")
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
        tasklog.handler.close()
        logging.getLogger("x").warning("after")
        assert [r.message for r in tasklog.query()] == ["after", "before"]


def test_ctrl_c_in_close_leaves_nothing_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(_threads: Threads, _seconds: float) -> None:
        raise KeyboardInterrupt

    tasklog = otel_tasklog.install(exporter=None)
    monkeypatch.setattr(Threads, "stop", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tasklog.close()
    monkeypatch.undo()
    otel_tasklog.install(exporter=None).close()


def test_a_busy_executor_does_not_hold_up_the_end() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        free = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            loop.set_default_executor(pool)
            busy = loop.run_in_executor(None, free.wait)
            async with otel_tasklog.install(exporter=None):
                pass
            free.set()
            await busy

    asyncio.run(main())


def test_a_closing_tasklog_takes_no_new_handlers() -> None:
    log = logging.getLogger("test.closing")
    log.propagate = False
    log.handlers[:] = [TaskLogHandler()]
    first = otel_tasklog.install(exporter=None)
    log.warning("first")
    first.port.close()  # as close() begins
    log.warning("nobody's")
    first.close()
    with otel_tasklog.install(exporter=None) as second:
        log.warning("second")
        assert [r.message for r in second.query()] == ["second"]
    assert [r.message for r in first.query()] == ["first"]


def test_a_service_name_may_be_anything() -> None:
    class Name(enum.StrEnum):
        SHOP = "shop"

    for name in ("sh\udc80op", Name.SHOP):
        sender = MemorySender()
        config = Config(service_name=name, resource_attributes={"k\udc80": "v\udc80"})
        tasklog = TaskLog(config, sender=sender)
        tasklog.handler.handle(logging.makeLogRecord({"msg": "x", "levelno": 20}))
        tasklog.close()
        resource = sender.records[0].resource
        assert resource["service.name"] in {"sh\\udc80op", "SHOP", "shop"}
        assert resource["k\\udc80"] == "v\\udc80"


def test_monitor_needs_a_running_loop() -> None:
    with (
        pytest.raises(ConfigError, match="async with"),
        otel_tasklog.install(exporter=None, monitor=True),
    ):
        pass


def test_a_handlers_log_call_starts_no_monitor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_TASKLOG_MONITOR", "1")
    handler = otel_tasklog.TaskLogHandler(exporter=None)

    async def main() -> None:
        handler.handle(logging.makeLogRecord({"msg": "x", "levelno": 20}))

    asyncio.run(main())
    assert not otel_tasklog.current().config.monitor
    assert otel_tasklog.current().monitors == []


def test_nothing_is_pending_where_nothing_is_exported() -> None:
    with otel_tasklog.install(exporter=None, level="INFO") as tasklog:
        logging.info("kept")
        stats = tasklog.stats()
    assert (stats.pending, stats.pending_bytes, stats.kept) == (0, 0, 1)
