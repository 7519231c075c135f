"""Starting and stopping the monitor: ports, what it needs, what it leaves alone."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

import otel_tasklog
from otel_tasklog import ConfigError, MissingExtraError, MonitorError
from otel_tasklog.monitor import Monitor, _start

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator
    from types import ModuleType

    from conftest import Harness


def run(
    harness: Harness,
    *,
    port: int | None = 0,
    web_port: int | None = 0,
    host: str = "127.0.0.1",
) -> tuple[int, int]:
    """Start a monitor, stop it, and return its ports."""

    async def main() -> tuple[int, int]:
        monitor = harness.tasklog.monitor(host=host, port=port, web_port=web_port)
        async with monitor:
            return monitor.port, monitor.web_port

    return asyncio.run(main())


def loaded() -> ModuleType:
    """Return the module that aiomonitor must be importable for, warnings or not."""
    _start._load()
    from otel_tasklog.monitor import _guarded

    return _guarded


def taken_port(*, reuse_port: bool = False) -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), reuse_port=reuse_port)


def ui_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if "_ui_main" in t.name]


def test_without_aiomonitor_the_error_names_the_extra(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aiomonitor", None)
    with pytest.raises(MissingExtraError, match=r"otel-tasklog\[monitor\]"):
        Monitor(harness.tasklog)


def test_an_aiomonitor_of_another_series_is_refused(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.8.0")
    with pytest.raises(MonitorError, match=r"aiomonitor 0\.8\.0 is installed, 0\.7\.x"):
        run(harness)


def test_an_aiomonitor_that_cannot_be_imported_is_named(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "otel_tasklog.monitor._commands", None)
    with pytest.raises(MonitorError, match=r"cannot be imported.*pip install"):
        run(harness)


@pytest.mark.parametrize("setting", ["port", "web_port"])
@pytest.mark.parametrize("value", [-1, 65_536])
def test_a_port_has_a_range(harness: Harness, setting: str, value: int) -> None:
    ports: dict[str, Any] = {setting: value}
    with pytest.raises(ConfigError, match=f"{setting}={value}: expected 0 to 65535"):
        Monitor(harness.tasklog, **ports)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"host": "localhost"},
            "host='localhost': expected an IP address; '127.0.0.1'",
        ),
        ({"host": None}, "host=None: expected an IP address"),
        ({"web": 1}, "web=1: expected True or False"),
        ({"hook_task_factory": "no"}, "hook_task_factory='no': expected True or"),
        ({"web": False, "web_port": 80}, "web_port=80: expected None: with web=False"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(
    harness: Harness, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Monitor(harness.tasklog, **settings)


def test_it_needs_a_running_loop(harness: Harness) -> None:
    with pytest.raises(MonitorError, match="running loop"):
        harness.tasklog.monitor().start()


@pytest.mark.e2e
def test_zero_picks_free_ports(harness: Harness) -> None:
    port, web_port = run(harness)
    assert port != web_port
    assert 0 not in (port, web_port)


@pytest.mark.e2e
@pytest.mark.parametrize("setting", ["port", "web_port"])
@pytest.mark.parametrize("reuse_port", [False, True])
def test_a_taken_port_is_an_error_that_says_what_to_do(
    harness: Harness, setting: str, *, reuse_port: bool
) -> None:
    """A foreign program on the web port makes aiomonitor's own start hang."""
    with taken_port(reuse_port=reuse_port) as foreign:
        port = foreign.getsockname()[1]
        ports: dict[str, Any] = {setting: port}
        with pytest.raises(
            MonitorError,
            match=f"port {port} on 127.0.0.1 is taken by another program.*"
            f"{setting}=None for the next free one",
        ):
            run(harness, **ports)
    assert ui_threads() == []


@pytest.mark.e2e
def test_none_takes_the_next_free_port_and_says_so(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    root.addHandler(harness.tasklog.handler)
    root.setLevel(logging.INFO)
    with taken_port() as foreign:
        taken = foreign.getsockname()[1]
        monkeypatch.setattr(_start, "PORT", taken)
        port, web_port = run(harness, port=None)
    assert taken < port < taken + _start.PORTS_TRIED
    [said] = harness.tasklog.query(logger="otel_tasklog")
    assert said.message == (
        f"port {taken} is taken: the monitor is at {port}, its web page at port "
        f"{web_port}"
    )


@pytest.mark.e2e
def test_the_search_for_a_free_port_ends(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    with taken_port() as foreign:
        monkeypatch.setattr(_start, "WEB_PORT", foreign.getsockname()[1])
        monkeypatch.setattr(_start, "PORTS_TRIED", 1)
        with pytest.raises(MonitorError, match="is free; pass web_port=0 for any"):
            run(harness, web_port=None)


@pytest.mark.e2e
def test_a_start_that_fails_inside_is_an_error_and_leaves_nothing(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = loaded()

    async def broken(monitor: object) -> None:
        raise OSError("no page")

    monkeypatch.setattr(guarded, "init_webui", broken)
    with pytest.raises(MonitorError, match=r"did not start: OSError\('no page'\)"):
        run(harness)
    assert ui_threads() == []


@pytest.mark.e2e
def test_a_start_that_takes_too_long_is_an_error_and_leaves_nothing(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = loaded()

    async def endless(monitor: object) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(guarded, "init_webui", endless)
    monkeypatch.setattr(guarded, "START_SECONDS", 0.2)
    with pytest.raises(MonitorError, match=r"did not start: 0\.2 s passed"):
        run(harness)
    assert ui_threads() == []


@pytest.mark.e2e
def test_a_monitor_runs_once_at_a_time_and_can_run_again(harness: Harness) -> None:
    async def main() -> None:
        monitor = harness.tasklog.monitor(port=0, web_port=0)
        monitor.stop()
        for _ in range(2):
            async with monitor:
                with pytest.raises(MonitorError, match="runs already"):
                    monitor.start()
            monitor.stop()

    asyncio.run(main())
    assert ui_threads() == []


@pytest.mark.e2e
def test_the_programs_task_factory_is_left_alone(harness: Harness) -> None:
    """Closing, aiomonitor resets it to the one that it found at the start."""

    def factory(
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        **options: object,
    ) -> asyncio.Future[Any]:
        raise NotImplementedError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with harness.tasklog.monitor(port=0, web_port=0):
            assert loop.get_task_factory() is None
            loop.set_task_factory(factory)
        assert loop.get_task_factory() is factory
        loop.set_task_factory(None)

    asyncio.run(main())


@pytest.mark.e2e
def test_another_address_lets_others_in_and_says_so(
    harness: Harness, said: list[str]
) -> None:
    port, web_port = run(harness, host="0.0.0.0")  # noqa: S104 - that is the case
    [line] = said
    assert line == (
        f"the monitor listens on 0.0.0.0 at port {port}, its web page at port "
        f"{web_port}: whoever reaches that can read the records, and end tasks and "
        "this program; there is no password"
    )


@pytest.mark.e2e
@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_an_address_may_be_of_ipv6(harness: Harness, said: list[str]) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no ::1; to enable: switch IPv6 on")

    async def main() -> None:
        async with harness.tasklog.monitor(host="::1", port=0, web=False) as monitor:
            with socket.create_connection(("::1", monitor.port), 20) as client:
                assert client.recv(1)  # a session has begun

    asyncio.run(main())
    assert said == []


@pytest.mark.e2e
def test_an_address_of_another_machine_is_refused(harness: Harness) -> None:
    for port in (0, None):
        with pytest.raises(MonitorError, match=r"192\.0\.2\.1 is no address of this"):
            run(harness, host="192.0.2.1", port=port)


@pytest.mark.e2e
def test_without_a_page_one_port_is_enough(harness: Harness) -> None:
    async def main() -> None:
        async with harness.tasklog.monitor(port=0, web=False) as monitor:
            running: Any = monitor._running
            assert [x and x.getsockname()[1] for x in running._sockets] == [
                monitor.port, None,
            ]  # fmt: skip
            assert monitor.web_port == 0

    asyncio.run(main())


@pytest.mark.e2e
def test_a_variable_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TASKLOG_MONITOR", "1")

    async def main() -> None:
        async with otel_tasklog.install(exporter=None) as tasklog:
            [monitor] = tasklog.monitors
            assert monitor.port >= _start.PORT

    asyncio.run(main())
    assert ui_threads() == []


@pytest.mark.e2e
def test_the_tasklogs_end_ends_its_monitors(harness: Harness) -> None:
    async def main() -> None:
        monitor = harness.tasklog.monitor(port=0, web_port=0)
        monitor.start()
        assert harness.tasklog.monitors == [monitor]
        await harness.tasklog.aclose()
        assert harness.tasklog.monitors == []

    asyncio.run(main())
    assert ui_threads() == []
