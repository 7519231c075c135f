"""What a record must be told where it is logged, if a queue takes it elsewhere.

Behind a ``QueueHandler`` another thread, or process, handles the record. The task,
the scope and the trace context are those of the logging thread, so they are taken
there and travel with the record.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, cast

from opentelemetry.context import get_current

from otel_tasklog.capture._exceptions import CapturedException, capture_exception
from otel_tasklog.capture._stamp import STAMP, Stamp, span_of
from otel_tasklog.capture._tasks import current_scope, number_task, running_cell
from otel_tasklog.capture._traces import render_exception
from otel_tasklog.capture._values import BODY_CHARACTERS, cut

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_tasklog.capture._values import Value

__all__ = ["TaskLogFilter", "take_stamp"]


class TaskLogFilter(logging.Filter):
    """Stamps each record with its task, scope, trace and exception; lets all pass.

    Put it on a ``QueueHandler``, or on a logger, so that a `TaskLogHandler` behind
    the queue knows what it would have known in the place of the ``QueueHandler``.
    The stamp is one attribute of plain values, so that it can be pickled for a queue
    between processes. A record that has one keeps it.

    It takes no lock and never raises. An exception is rendered in the log call, as
    ``QueueHandler`` does it, too.
    """

    def __init__(self) -> None:
        super().__init__()

    def filter(self, record: logging.LogRecord) -> bool:
        """Stamp a record.

        Returns:
            True.
        """
        if STAMP not in record.__dict__:
            with contextlib.suppress(Exception):
                _stamp(record)
        return True


def _stamp(record: logging.LogRecord) -> None:
    # Twice, so that an exception which cannot be rendered costs nothing else.
    stamp = take_stamp(asyncio.current_task() if running_cell() is not None else None)
    fields: dict[str, Any] = record.__dict__
    fields[STAMP] = stamp
    if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
        parts, _ = capture_exception(record.exc_info[1], record.exc_info[2])
        captured = CapturedException(*parts)
        rendered = captured.type_name, captured.text, render_exception(captured)
        fields[STAMP] = stamp._replace(
            exception=rendered, message=cut(record.getMessage(), BODY_CHARACTERS)
        )


def take_stamp(task: asyncio.Task[Any] | None) -> Stamp:
    """Return who would be logging: a task, in the context of this call.

    Args:
        task: The one that runs in this context, or ran in it.
    """
    scope = current_scope.get()
    cell = number_task(task) if task is not None else None
    span = span_of(get_current())
    return Stamp(
        task_id=scope.task_id if scope is not None else None,
        task_parent_id=scope.parent_id if scope is not None else None,
        bound=_copied(scope.attributes) if scope is not None else None,
        number=cell.number if cell is not None else None,
        name=task.get_name() if task is not None else None,
        parent_number=cell.parent if cell is not None else None,
        span=_as_numbers(*span) if span is not None else None,
        whole=True,
    )


def _copied(attributes: Mapping[str, object]) -> dict[str, Value]:
    # They are snapshots since their scope was entered.
    return cast("dict[str, Value]", dict(attributes))


def _as_numbers(trace_id: bytes, span_id: bytes, flags: int) -> tuple[int, int, int]:
    return int.from_bytes(trace_id, "big"), int.from_bytes(span_id, "big"), flags
