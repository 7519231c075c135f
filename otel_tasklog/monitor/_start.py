"""Starting aiomonitor beside a running loop, and stopping it, both bounded."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib.metadata
import importlib.util
import ipaddress
import logging
import os
import socket
import warnings
from typing import TYPE_CHECKING, Final

from otel_tasklog._errors import ConfigError, MissingExtraError, MonitorError
from otel_tasklog._loop import run_in_own_thread
from otel_tasklog._process import renew_after_fork

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Self

    from otel_tasklog._tasklog import TaskLog
    from otel_tasklog.monitor._guarded import GuardedMonitor

__all__ = ["Monitor"]

HOST: Final = "127.0.0.1"
PORT: Final = 20101
WEB_PORT: Final = 20102
PORTS_TRIED: Final = 100
"""How far the search for a free port goes."""

VERSION: Final = "0.7."
"""The aiomonitor whose inside `GuardedMonitor` knows."""

_HIGHEST_PORT: Final = 65_535
_LISTEN_BACKLOG: Final = 16
_ANOTHER_MAY_DO: Final = frozenset({errno.EADDRINUSE, errno.EACCES})

_log = logging.getLogger("otel_tasklog")


class Monitor:
    """Telnet into the live tasks of the running loop. An async context manager.

    ``telnet 127.0.0.1 20101``, or ``python -m aiomonitor.cli``, gives a prompt with
    aiomonitor's commands (``help`` lists them) and those of ours. It runs in a thread
    of its own and has no Python console. Records of its thread are kept nowhere.

    There is no password: whoever reaches a port can read the records and, with
    aiomonitor's ``cancel`` and ``signal`` and on its web page, end tasks and the
    program. By default that is every user of this machine, and nobody else. The web
    page answers to ``localhost`` and to addresses, and to no page from elsewhere.

    Args:
        tasklog: Whose records are shown.
        host: The address to listen on. Any but one of the loopback lets others in,
            which is said.
        port: The telnet port; None takes 20101 or the next that is free, 0 any.
        web_port: The port of aiomonitor's web page; None likewise, from 20102.
        hook_task_factory: Whether ``ps`` and ``where`` know where each task was made,
            and ``ps-terminated`` how it ended, by a task factory. The one that is
            there makes the tasks as before.
        web: Whether there is a web page.

    Attributes:
        host: See above.
        port: The telnet port, once started.
        web_port: The port of the web page, once started; 0 without one.

    Raises:
        MissingExtraError: aiomonitor is not installed.
        ConfigError: A port or the host cannot be one, a switch is none, or there is
            a port for no page.
    """

    def __init__(
        self,
        tasklog: TaskLog,
        *,
        host: str = HOST,
        port: int | None = None,
        web_port: int | None = None,
        hook_task_factory: bool = False,
        web: bool = True,
    ) -> None:
        if not all(map(importlib.util.find_spec, ("aiomonitor", "click"))):
            raise MissingExtraError("the live-task monitor", "monitor")
        self._address = _address(host)
        ports: dict[str, object] = {"port": port, "web_port": web_port}
        for setting, given in ports.items():
            if given is not None and not (
                isinstance(given, int) and 0 <= given <= _HIGHEST_PORT
            ):
                raise ConfigError(
                    setting, given, f"0 to {_HIGHEST_PORT}, or None for a free one"
                )
        for setting, value in (("hook_task_factory", hook_task_factory), ("web", web)):
            if not isinstance(value, bool):
                raise ConfigError(setting, value, "True or False")
        if web_port is not None and not web:
            raise ConfigError(
                "web_port", web_port, "None: with web=False there is none"
            )
        self._tasklog = tasklog
        self._asked = (port, web_port)
        self._hooks = hook_task_factory
        self._has_web = web
        self._running: GuardedMonitor | None = None
        self.host: Final = host
        self.port: int = port or 0
        self.web_port: int = web_port or 0
        renew_after_fork(self)

    def start(self) -> None:
        """Start it. In a coroutine or callback of the loop to look at.

        The first start of a process imports aiomonitor, half a second of work;
        ``async with`` does that in another thread.

        Raises:
            MonitorError: A port is taken, no loop runs, or this monitor does
                already; the message says what to change.
        """
        if self._running is not None:
            raise MonitorError(f"this monitor runs already, at port {self.port}")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise MonitorError(
                "the monitor shows the tasks of a running loop: start it in a "
                "coroutine, or use 'async with tasklog.monitor():'"
            ) from None
        _load()
        from otel_tasklog.monitor._guarded import (
            GuardedMonitor,
        )

        port, web_port = self._asked
        with contextlib.ExitStack() as at_failure:
            telnet = at_failure.enter_context(self._listen("port", port, PORT))
            web = None
            if self._has_web:
                listener = self._listen("web_port", web_port, WEB_PORT)
                web = at_failure.enter_context(listener)
            guarded = GuardedMonitor(
                self._tasklog, loop, telnet=telnet, web=web,
                hook_task_factory=self._hooks,
            )  # fmt: skip
            self.port = telnet.getsockname()[1]
            self.web_port = 0 if web is None else web.getsockname()[1]
            with _without_warnings():
                guarded.start()
            at_failure.pop_all()
        self._running = guarded
        self._tasklog.monitors.append(self)
        self._say()

    def stop(self) -> None:
        """End the sessions and the thread, within seconds. From any thread.

        Stopping again, or without a start, does nothing.
        """
        running = self._forgotten()
        if running is not None:
            running.close()

    def renew(self) -> None:
        """Give up in a forked child what is the parent's: its ports, its clients."""
        running = self._forgotten()
        if running is not None:
            running.forget()

    def _forgotten(self) -> GuardedMonitor | None:
        running, self._running = self._running, None
        if running is not None:
            self._tasklog.monitors.remove(self)
        return running

    def _say(self) -> None:
        page = f", its web page at port {self.web_port}" if self._has_web else ""
        if not self._address.is_loopback:
            _log.warning(
                "the monitor listens on %s at port %d%s: whoever reaches that can read "
                "the records, and end tasks and this program; there is no password",
                self.host, self.port, page,
            )  # fmt: skip
        elif self._asked[0] is None and self.port != PORT:
            _log.info("port %d is taken: the monitor is at %d%s", PORT, self.port, page)

    def _listen(self, setting: str, port: int | None, default: int) -> socket.socket:
        """Return a socket that listens on *port*, or on the first free one.

        It listens before anything else is started: whoever connects from now on is
        ours to answer, and nobody else can share the port.
        """
        if port is not None:
            try:
                return self._bound(port)
            except OSError as error:
                raise MonitorError(self._refusal(setting, port, error)) from error
        for candidate in range(default, default + PORTS_TRIED):
            try:
                return self._bound(candidate)
            except OSError as error:
                if error.errno not in _ANOTHER_MAY_DO:
                    refusal = self._refusal(setting, candidate, error)
                    raise MonitorError(refusal) from error
        raise MonitorError(
            f"no port from {default} to {default + PORTS_TRIED - 1} on {self.host} is "
            f"free; pass {setting}=0 for any"
        )

    def _bound(self, port: int) -> socket.socket:
        family = socket.AF_INET if self._address.version == 4 else socket.AF_INET6
        return socket.create_server(
            (self.host, port), family=family, backlog=_LISTEN_BACKLOG
        )

    def _refusal(self, setting: str, port: int, error: OSError) -> str:
        if error.errno == errno.EADDRNOTAVAIL:
            return f"{self.host} is no address of this machine; pass another host"
        if error.errno == errno.EADDRINUSE:
            problem = "is taken by another program, or by another monitor of this one"
        else:
            problem = f"cannot be used: {os.strerror(error.errno or 0)}"
        return (
            f"port {port} on {self.host} {problem}; pass another {setting}, or "
            f"{setting}=None for the next free one"
        )

    async def __aenter__(self) -> Self:
        """Start it without blocking the event loop for the import."""
        await asyncio.to_thread(_load)
        self.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Stop it without blocking the event loop."""
        await run_in_own_thread(self.stop)


def _address(host: object) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(str(host))
    except ValueError:
        expected = f"an IP address; {HOST!r} is for this machine alone"
        raise ConfigError("host", host, expected) from None


def _load() -> None:
    """Import aiomonitor and add our commands to it.

    Raises:
        MonitorError: What is installed is not what this was made for.
    """
    version = importlib.metadata.version("aiomonitor")
    hint = "pip install 'otel-tasklog[monitor]' brings versions that fit"
    if not version.startswith(VERSION):
        raise MonitorError(
            f"aiomonitor {version} is installed, {VERSION}x is needed; {hint}"
        )
    try:
        with _without_warnings():
            from otel_tasklog.monitor._commands import (
                register,
            )
    except ImportError as error:
        raise MonitorError(
            f"aiomonitor {version} cannot be imported: {error}; {hint}"
        ) from error
    register()


@contextlib.contextmanager
def _without_warnings() -> Generator[None]:
    """Silence what aiomonitor does that click and aiohttp advise against.

    It cannot be helped by a program that runs with ``-W error``.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"aiomonitor(\.|$)")
        yield
