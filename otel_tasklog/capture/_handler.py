"""The handler: every ``logging.LogRecord`` that reaches it becomes a `Captured`.

Guarantees, whatever the record holds and wherever the call comes from (a signal
handler, ``__del__``, a filter that logs, a loop callback, any thread):

* It takes no lock. ``Handler.handle`` does, so it is overridden. Under four threads
  the stock lock costs three times what all of the capture does.
* It does no I/O and never waits.
* It never raises, but lets a ``BaseException`` such as ``KeyboardInterrupt`` pass.

What is done for each record is in ``_call.py``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from typing import TYPE_CHECKING

from otel_tasklog._config import INCLUDED, Config, HandlerSettings, check_names
from otel_tasklog._text import marked
from otel_tasklog.capture._call import take

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from otel_tasklog._settings import Include
    from otel_tasklog.capture._port import Port

__all__ = ["TaskLogHandler"]


class TaskLogHandler(logging.Handler):
    """Captures every record that reaches it, for a `TaskLog`.

    `install` makes and attaches one. One made by hand, or by a logging configuration,
    feeds the installed TaskLog. If there is none at its first record, it makes one of
    its options and the environment, as `install` would, and installs it; a handler
    that has fed a TaskLog makes none.

    Levels, filters and a formatter work as on any handler; the text of a
    formatter that was set becomes the record's body. ``flush()`` asks for delivery
    and returns at once, and ``close()`` only strikes the handler off ``logging``'s
    books: ``logging.config`` calls both under its lock.

    Args:
        level: Records below it are not captured.
        log_code_attributes: Whether ``include`` has ``"code"``, in the words of
            OpenTelemetry's ``LoggingHandler``, whose place this class can take.
        **options: The settings of `install`, but for ``level``, ``loggers`` and
            ``monitor``. They are ignored, which is said, if another TaskLog is there.

    Attributes:
        options: Those, until the handler has found a TaskLog or tried to make one.
        when_closed: Called by ``close()``, under ``logging``'s lock.

    Raises:
        ConfigError: An option, or a variable of the environment beside it, cannot
            have its value, or there is no such option.
    """

    def __init__(
        self,
        level: int | str = logging.NOTSET,
        *,
        log_code_attributes: bool | None = None,
        **options: Unpack[HandlerSettings],
    ) -> None:
        if log_code_attributes is not None:
            include: list[Include] = [*options.get("include", INCLUDED)]
            if "code" in include:
                include.remove("code")
            if log_code_attributes:
                include.append("code")
            options["include"] = include
        if options:  # now, so that a configuration fails rather than a record
            check_names(options, HandlerSettings.__annotations__)
            Config.from_env(os.environ, **options)
        self.options: HandlerSettings | None = options
        self.when_closed: Callable[[], None] = lambda: None
        self._port: Port | None = None
        super().__init__(level)  # last: from here on, another thread may close it

    def connect(self, port: Port | None) -> None:
        """Feed another TaskLog from now on, or none."""
        self._port = port
        if port is not None:
            self.options = None
            port.handlers.add(self)

    def _find_port(self, record: logging.LogRecord) -> Port | None:
        # Upwards, against the layers: DESIGN allows it for exactly this.
        from otel_tasklog._install import find_port

        return find_port(self, record)

    def handle(self, record: logging.LogRecord) -> bool:
        """Capture a record, if the filters let it pass. Never raises or waits.

        Returns:
            Whether it passed the filters.
        """
        try:
            if self.filters:
                passed: object = self.filter(record)
                if not passed:
                    return False
                # From Python 3.12, where a filter may return another record.
                if isinstance(passed, logging.LogRecord):  # pyright: ignore[reportUnnecessaryIsInstance]
                    record = passed
            port = self._port or self._find_port(record)
            if port is not None:
                take(record, port, self.format if self.formatter is not None else None)
        except Exception:  # noqa: BLE001 - a filter's, or none that is known
            self.handleError(record)
        return True

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - its name
        """Show what an application's filter raised, as ``logging`` does, but harmless."""
        del record  # of which logging would print the arguments
        if logging.raiseExceptions:
            with contextlib.suppress(Exception):  # there may be no stderr
                clean = self._port.clean if self._port is not None else str
                text = clean(
                    f"--- Logging error ---\n{traceback.format_exc()}"
                ).rstrip()
                sys.stderr.write(f"{marked(text)}\n")

    def emit(self, record: logging.LogRecord) -> None:
        """Do as `handle`, for callers that call the older of the two."""
        self.handle(record)

    def flush(self) -> None:
        """Wake the delivery. Returns at once; `TaskLog.flush` waits."""
        if self._port is not None:
            self._port.wake()

    def close(self) -> None:
        """Strike it off ``logging``'s books. The TaskLog stays open."""
        super().close()
        self.when_closed()
