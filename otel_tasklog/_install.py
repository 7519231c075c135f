"""`install` and `current`: the one TaskLog that a process usually has.

Where nobody calls `install`, a `TaskLogHandler` of a logging configuration makes the
TaskLog itself, at its first record. That is a log call, in any thread, so it can
wait for nobody: what others log meanwhile is captured as ever, and waits here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from otel_tasklog._config import Config
from otel_tasklog._errors import AlreadyInstalledError, NotInstalledError
from otel_tasklog._hints import QUEUED, Hint, enable_diagnostics
from otel_tasklog._process import renew_after_fork
from otel_tasklog._tasklog import TaskLog
from otel_tasklog.capture._clean import Cleaner, Limits
from otel_tasklog.capture._names import AttributeNames
from otel_tasklog.capture._port import Port
from otel_tasklog.capture._redact import Redactor
from otel_tasklog.capture._stamp import STAMP
from otel_tasklog.delivery._counter import Counter

if TYPE_CHECKING:
    from typing import Unpack

    from otel_tasklog._config import HandlerSettings, Settings
    from otel_tasklog.capture._handler import TaskLogHandler
    from otel_tasklog.capture._record import Captured

__all__ = ["current", "find_port", "install"]

EARLY_RECORDS: Final = 8_192
"""So many records may wait for the TaskLog that is being made."""

_log = logging.getLogger("otel_tasklog")


class _Installed:
    """The TaskLog of this process, and who made it."""

    tasklog: TaskLog | None = None
    where: str = ""
    options: HandlerSettings | None = None  # of the handler that made it, if one did


class _Early:
    """Takes what handlers capture while a TaskLog is being made.

    Attributes:
        making: Held by who makes one. A log call only tries for it.
        port: Where handlers hand over meanwhile.
    """

    def __init__(self) -> None:
        names = AttributeNames()
        self.port = Port(names, Cleaner(names, Redactor(()), Limits()))
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Start over in a forked child, where nobody is at it."""
        self.making = threading.Lock()
        self._captured: deque[Captured] = deque()
        self._dropped = 0
        self.port.next_sequence = Counter().add
        self.port.accept = self._accept

    def _accept(self, captured: Captured) -> None:
        self._captured.append(captured)
        if len(self._captured) > EARLY_RECORDS:
            self._captured.popleft()
            self._dropped += 1
        self.hand_over()  # who made the TaskLog may have done so just before

    def hand_over(self) -> None:
        """Give what waits to the installed TaskLog, if any. From any thread."""
        port = _installed_port()
        while port is not None and self._captured:
            try:
                captured = self._captured.popleft()
            except IndexError:  # another thread took the last one
                return
            port.accept((port.next_sequence(), *captured[1:]))
        if port is not None and self._dropped:
            dropped, self._dropped = self._dropped, 0
            _log.warning("records dropped while a TaskLog was made: %d", dropped)


_early: Final = _Early()


def install(*, replace: bool = False, **settings: Unpack[Settings]) -> TaskLog:
    """Capture what the program logs, keep the newest records, and deliver them.

    Works before, inside and without an event loop. Nothing is connected to and no
    thread is started before the first record, or a configuration of ``logging``; but
    inside an event loop the thread that watches it is.

    It takes the place of a TaskLog that a `TaskLogHandler` without options made
    before, and says so.

    Args:
        replace: Close the TaskLog that is installed, if any, instead of raising.
        **settings: See `Config`, which lists each with its default. What is not
            given comes from the environment (``OTEL_EXPORTER_OTLP_*``,
            ``OTEL_BLRP_*``, ``OTEL_SDK_DISABLED``, ``OTEL_TASKLOG_*``), then from the
            default.

    Returns:
        The TaskLog, a context manager that closes itself: ``async with`` in a
        coroutine, ``with`` elsewhere. Without one, the program's normal end
        delivers what is there.

    Raises:
        ConfigError: A setting cannot have its value, or there is no such setting.
        AlreadyInstalledError: Another one is installed.
        MissingExtraError: ``monitor=True`` without aiomonitor, ``protocol="grpc"``
            without grpcio, or ``attach=True`` without Starlette and uvicorn.
        MonitorError: ``monitor=True``, and it could not start.
    """
    config = Config.from_env(os.environ, **settings)
    # The documented way to name a caller.
    caller = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    with _early.making:
        before = _Installed.tasklog
        stand_in = before is not None and _Installed.options == {}
        if before is not None:
            if not replace and not stand_in:
                raise AlreadyInstalledError(_Installed.where)
            before.close()
        tasklog = _set_up(config, f"{caller.f_code.co_filename}:{caller.f_lineno}")
    _early.hand_over()
    if stand_in:
        tasklog.hints.give(_TOOK_OVER)
    return tasklog


_TOOK_OVER: Final = Hint(
    "took over",
    "records were logged before install(), to a TaskLogHandler without options: they "
    "went out with the environment's settings; call install() before logging is "
    "configured, or give the settings to the handler",
)


def current() -> TaskLog:
    """Return the installed TaskLog.

    Raises:
        NotInstalledError: `install` was not called, or its TaskLog is closed.
    """
    if _Installed.tasklog is None:
        raise NotInstalledError
    return _Installed.tasklog


def find_port(handler: TaskLogHandler, record: logging.LogRecord) -> Port | None:
    """Return where a handler made by hand hands its records over; connect it there.

    In a log call, the handler's first, or one while there is no TaskLog. Takes no
    lock.

    Args:
        handler: Its options make a TaskLog, if there is none and it has fed none.
        record: Its first.
    """
    options = handler.options
    port = _installed_port()
    if port is None:
        if options is None and not _early.making.locked():
            return None
        if not _early.making.acquire(blocking=False):
            return _early.port
        try:
            # Another thread may have made it between the look and the lock.
            port = _installed_port() or _make(handler)
        finally:
            _early.making.release()
        _early.hand_over()
    tasklog = _Installed.tasklog
    if port is None or tasklog is None:
        return None
    handler.connect(port)
    if options and options != _Installed.options:
        tasklog.hints.give(_ignored(options))
    if record.thread not in (None, threading.get_ident()) and not hasattr(
        record, STAMP
    ):
        tasklog.hints.give(QUEUED)
    return port


def _make(handler: TaskLogHandler) -> Port | None:
    """Make the TaskLog of a handler, as `install` would; at most once for each."""
    options = handler.options
    if options is None:
        return None
    try:
        # No monitor: a log call is no place to import and start one.
        config = Config.from_env(os.environ, **options, loggers=(), monitor=False)
        where = "a TaskLogHandler's first record, of a logging configuration perhaps"
        return _set_up(config, where, options).port
    except Exception as error:  # noqa: BLE001 - a log call raises nothing
        handler.options = None
        enable_diagnostics()
        _log.warning(
            "a TaskLogHandler could not make its TaskLog, and its records go "
            "nowhere: %r", error,
        )  # fmt: skip
        return None


def _set_up(
    config: Config, where: str, options: HandlerSettings | None = None
) -> TaskLog:
    tasklog = TaskLog(config)
    access = None
    if config.attach is not False:  # else nothing of it is imported
        from otel_tasklog.viewer._access_point import make_access_point

        access = make_access_point(tasklog, os.environ)
    tasklog.when_closed = lambda: _forget(tasklog)
    if config.monitor and _in_a_loop():
        tasklog.start_monitor()
    tasklog.attach(access)
    _Installed.tasklog = tasklog
    _Installed.where = where
    _Installed.options = options
    return tasklog


def _ignored(options: HandlerSettings) -> Hint:
    return Hint(
        "options",
        f"the options of a TaskLogHandler ({', '.join(options)}) are ignored: the "
        f"installed TaskLog (by {_Installed.where}) was there first; configure one "
        "of the two",
    )


def _installed_port() -> Port | None:
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
