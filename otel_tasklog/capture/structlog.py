"""Processors for structlog.

Through ``logging`` structlog needs nothing from here, the handler knows its records.
`TaskLogSink` is for configurations that do without ``logging``; `add_task_context` is
for any: it tells the chain's own output which task and which trace an event is of.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from otel_tasklog._errors import MissingExtraError
from otel_tasklog.capture._events import fill, level_of_method, span_ids
from otel_tasklog.capture._handler import TaskLogHandler
from otel_tasklog.capture._tasks import current_task_id

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

__all__ = ["TaskLogSink", "add_task_context"]


def add_task_context(
    logger: WrappedLogger,  # noqa: ARG001 - what structlog calls a processor with
    method_name: str,  # noqa: ARG001
    event_dict: EventDict,
) -> EventDict:
    """Add ``task_id``, and ``trace_id`` and ``span_id`` of the active span.

    A structlog processor, for any chain and for ``foreign_pre_chain``. Keys that
    are there already stay as they are. What there is none of is not added.

    Returns:
        The same event dict.
    """
    task_id = current_task_id()
    if task_id is not None:
        event_dict.setdefault("task_id", task_id)
    for key, value in span_ids().items():
        event_dict.setdefault(key, value)
    return event_dict


class TaskLogSink:
    """A structlog processor that captures events without ``logging``.

    The event becomes the body; level, logger, code location, exception and stack
    their fields; the rest attributes. A bound ``task_id`` names the job. structlog's
    own filtering comes before it, and the level and filters of the handler apply.

    The record's logger is the event's ``logger``, else the ``name`` of the wrapped
    logger if it has one, else the calling module.

    Safe to call from any thread; never waits, and raises nothing but structlog's
    ``DropEvent``.

    Args:
        handler: Captures the records; a `TaskLogHandler` of its own by default, which
            feeds the installed TaskLog.
        pass_on: Whether the event goes on, unchanged, to the next processor, a
            ``ConsoleRenderer`` for example. Otherwise it ends here.

    Raises:
        MissingExtraError: structlog is not installed.
    """

    def __init__(
        self, handler: TaskLogHandler | None = None, *, pass_on: bool = False
    ) -> None:
        try:
            from structlog import DropEvent
            from structlog.processors import CallsiteParameter, CallsiteParameterAdder
        except ImportError as missing:
            raise MissingExtraError("TaskLogSink", "structlog") from missing
        self._handler = handler if handler is not None else TaskLogHandler()
        self._drop = None if pass_on else DropEvent
        # The full name of a module is known from structlog 26.1 on.
        module = getattr(CallsiteParameter, "QUAL_MODULE", CallsiteParameter.MODULE)
        self._module: str = module.value
        # It knows the frames of structlog's asynchronous methods, which run this in
        # another thread.
        self._call_site = CallsiteParameterAdder(
            [
                CallsiteParameter.PATHNAME,
                CallsiteParameter.LINENO,
                CallsiteParameter.FUNC_NAME,
                module,
            ],
            additional_ignores=["otel_tasklog.capture"],
        )

    def __call__(
        self, logger: WrappedLogger, method_name: str, event_dict: EventDict
    ) -> EventDict:
        """Capture an event.

        Returns:
            The same event dict, with ``pass_on=True``.

        Raises:
            DropEvent: Otherwise; it tells structlog to go no further.
        """
        level = level_of_method(method_name)
        if level >= self._handler.level:
            self._handler.handle(self._record(logger, method_name, level, event_dict))
        if self._drop is not None:
            raise self._drop
        return event_dict

    def _record(
        self, logger: WrappedLogger, method_name: str, level: int, event_dict: EventDict
    ) -> logging.LogRecord:
        site = self._call_site(logger, method_name, {})
        names = (event_dict.get("logger"), getattr(logger, "name", None))
        record = logging.getLogRecordFactory()(
            next((n for n in names if type(n) is str), site[self._module]),
            level,
            site["pathname"],
            site["lineno"],
            "",
            (),
            None,
            site["func_name"],
        )
        fill(record.__dict__, event_dict)
        return record
