"""`install` and `current`: the one TaskLog that a process usually has."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

from otel_tasklog._config import Config
from otel_tasklog._errors import AlreadyInstalledError, NotInstalledError
from otel_tasklog._tasklog import TaskLog

if TYPE_CHECKING:
    from typing import Unpack

    from otel_tasklog._config import Settings
    from otel_tasklog.capture._port import Port

__all__ = ["current", "install", "installed_port"]


class _Installed:
    """All that this module remembers."""

    tasklog: TaskLog | None = None
    where: str = ""


def install(*, replace: bool = False, **settings: Unpack[Settings]) -> TaskLog:
    """Capture what the program logs, keep the newest records, and deliver them.

    Works before, inside and without an event loop. Nothing is connected to and no
    thread is started before the first record.

    Args:
        replace: Close the TaskLog that is installed, if any, instead of raising.
        **settings: See `Config`, which lists each with its default. What is not
            given comes from the environment (``OTEL_EXPORTER_OTLP_*``,
            ``OTEL_BLRP_*``, ``OTEL_SDK_DISABLED``), then from the default.

    Returns:
        The TaskLog, a context manager that closes itself: ``async with`` in a
        coroutine, ``with`` elsewhere. Without one, the program's normal end
        delivers what is there.

    Raises:
        ConfigError: A setting cannot have its value, or there is no such setting.
        AlreadyInstalledError: Another one is installed.
        MissingExtraError: ``monitor=True`` without aiomonitor.
        MonitorError: ``monitor=True``, and it could not start.
    """
    config = Config.from_env(os.environ, **settings)
    if _Installed.tasklog is not None:
        if not replace:
            raise AlreadyInstalledError(_Installed.where)
        _Installed.tasklog.close()
    # The documented way to name a caller.
    caller = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    tasklog = TaskLog(config)
    tasklog.when_closed = lambda: _forget(tasklog)
    if config.monitor and _in_a_loop():
        tasklog.start_monitor()
    tasklog.attach()
    _Installed.tasklog = tasklog
    _Installed.where = f"{caller.f_code.co_filename}:{caller.f_lineno}"
    return tasklog


def current() -> TaskLog:
    """Return the installed TaskLog.

    Raises:
        NotInstalledError: `install` was not called, or its TaskLog is closed.
    """
    if _Installed.tasklog is None:
        raise NotInstalledError
    return _Installed.tasklog


def installed_port() -> Port | None:
    """Return where a handler made by hand finds the installed TaskLog, if any."""
    port = _Installed.tasklog.port if _Installed.tasklog is not None else None
    return None if port is None or port.closed else port


def _forget(tasklog: TaskLog) -> None:
    if _Installed.tasklog is tasklog:
        _Installed.tasklog = None


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
