"""Starting aiomonitor beside a running loop, and stopping it, both bounded."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib.metadata
import importlib.util
import logging
import os
import socket
import warnings
from typing import TYPE_CHECKING, Final

from otel_tasklog._errors import ConfigError, MissingExtraError, MonitorError

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

_log = logging.getLogger("otel_tasklog")


class Monitor:
    """Telnet into the live tasks of the running loop. An async context manager.

    ``telnet 127.0.0.1 20101``, or ``python -m aiomonitor.cli``, gives a prompt with
    aiomonitor's commands (``help`` lists them) and two of ours: ``tasks`` and
    ``logs``. It runs in a thread of its own, does not change the program's task
    factory, and has no Python console. Records of its thread are kept nowhere.

    There is no password, and both ports are on the loopback interface: every user
    of this machine can read the records and, with aiomonitor's ``cancel`` and
    ``signal`` and on its web page, end tasks and the program. The web page answers
    to ``localhost`` and ``127.0.0.1`` alone, and to no page from elsewhere.

    Args:
        tasklog: Whose records ``logs`` shows.
        port: The telnet port; None takes 20101 or the next that is free, 0 any.
        web_port: The port of aiomonitor's web page; None likewise, from 20102.

    Attributes:
        host: ``127.0.0.1``.
        port: The telnet port, once started.
        web_port: The port of the web page, once started.

    Raises:
        MissingExtraError: aiomonitor is not installed.
        ConfigError: A port cannot be one.
    """

    def __init__(
        self,
        tasklog: TaskLog,
        *,
        port: int | None = None,
        web_port: int | None = None,
    ) -> None:
        if not all(map(importlib.util.find_spec, ("aiomonitor", "click"))):
            raise MissingExtraError("the live-task monitor", "monitor")
        for setting, value in (("port", port), ("web_port", web_port)):
            if value is not None and not 0 <= value <= _HIGHEST_PORT:
                raise ConfigError(
                    setting, value, f"0 to {_HIGHEST_PORT}, or None for a free one"
                )
        self._tasklog = tasklog
        self._asked = (port, web_port)
        self._running: GuardedMonitor | None = None
        self.host: Final = HOST
        self.port: int = port or 0
        self.web_port: int = web_port or 0

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
            telnet = at_failure.enter_context(_listen("port", port, PORT))
            web = at_failure.enter_context(_listen("web_port", web_port, WEB_PORT))
            guarded = GuardedMonitor(self._tasklog, loop, telnet=telnet, web=web)
            self.port = telnet.getsockname()[1]
            self.web_port = web.getsockname()[1]
            with _without_warnings():
                guarded.start()
            at_failure.pop_all()
        self._running = guarded
        if port is None and self.port != PORT:
            _log.info("port %d is taken: the monitor is at %d", PORT, self.port)

    def stop(self) -> None:
        """End the sessions and the thread, within seconds. From any thread.

        Stopping again, or without a start, does nothing.
        """
        running, self._running = self._running, None
        if running is not None:
            running.close()

    async def __aenter__(self) -> Self:
        """Start it without blocking the event loop for the import."""
        await asyncio.to_thread(_load)
        self.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Stop it without blocking the event loop."""
        await asyncio.to_thread(self.stop)


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


def _listen(setting: str, port: int | None, default: int) -> socket.socket:
    """Return a socket that listens on *port*, or on the first free one.

    It listens before anything else is started: whoever connects from now on is
    ours to answer, and nobody else can share the port.
    """
    if port is not None:
        try:
            return _bound(port)
        except OSError as error:
            raise MonitorError(_refusal(setting, port, error)) from error
    for candidate in range(default, default + PORTS_TRIED):
        with contextlib.suppress(OSError):
            return _bound(candidate)
    raise MonitorError(
        f"no port from {default} to {default + PORTS_TRIED - 1} on {HOST} is free; "
        f"pass {setting}=0 for any"
    )


def _bound(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(_LISTEN_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _refusal(setting: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        problem = (
            f"port {port} on {HOST} is taken by another program, or by another "
            "monitor of this one"
        )
    else:
        problem = f"port {port} on {HOST} cannot be used: {error.strerror}"
    return f"{problem}; pass another {setting}, or {setting}=None for the next free one"
