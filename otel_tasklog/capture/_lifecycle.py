"""The two records of a job: that it started, and how it ended."""

from __future__ import annotations

import contextlib
import logging
import sys
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeAlias

from otel_tasklog.capture._tasks import current_scope, current_task_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType, FrameType, TracebackType

    from otel_tasklog.capture._tasks import Scope

__all__ = ["NOWHERE", "TASK_LOGGER", "Lifecycle", "Place", "calling_place", "log"]

NOWHERE: Final = ("(unknown file)", 0, "(unknown function)")
TASK_LOGGER: Final = "otel_tasklog.task"
_BETWEEN: Final = ("otel_tasklog.capture.", "contextlib")
"""Modules whose frames stand between a scope and the line that opens it."""

Raised: TypeAlias = "tuple[type[BaseException], BaseException, TracebackType | None]"
Place: TypeAlias = tuple[str, int, str]
"""A file, a line and a function: where a record is said to be logged."""


class Lifecycle:
    """Logs the start and the end of each entry of a scope.

    From any thread and any context. Nothing is raised, whatever logging does, but
    what is no ``Exception``, such as ``KeyboardInterrupt``.

    Args:
        logger: What to log to; None is the logger ``otel_tasklog.task``.
        code: The decorated function, as the place of the records; None is the line
            that opens the scope, or leaves it.
    """

    def __init__(
        self, logger: logging.Logger | None, code: CodeType | None = None
    ) -> None:
        self.logger = logger
        self._code = code
        self._started: dict[Scope, float] = {}

    def start(self, scope: Scope) -> None:
        """Log that an entry began, which set *scope*."""
        self._say(logging.INFO, "started", {"event.name": "task.start"})
        self._started[scope] = monotonic()

    def end(self, scope: Scope | None, error: BaseException | None) -> None:
        """Log how an entry ended.

        Args:
            scope: What it set; None in another context than that of the entry,
                where the newest entry is meant.
            error: What was raised inside.
        """
        now = monotonic()
        token = None
        try:
            if scope is not None:
                started = self._started.pop(scope)
            else:
                scope, started = self._started.popitem()
                token = current_scope.set(scope)
        except KeyError:  # Ctrl-C during its start
            return
        level, outcome, verb = _outcome(error)
        attributes: dict[str, object] = {
            "event.name": "task.end",
            "outcome": outcome,
            "duration_seconds": now - started,
        }
        shown = error if level == logging.ERROR else None
        try:
            self._say(level, f"{verb} after {now - started:.3f} s", attributes, shown)
        finally:
            if token is not None:
                current_scope.reset(token)

    def _say(
        self,
        level: int,
        said: str,
        attributes: dict[str, object],
        error: BaseException | None = None,
    ) -> None:
        with contextlib.suppress(Exception):  # a filter's or a handler's
            # Looked up late: a configuration disables what loggers it finds.
            logger = self.logger or logging.getLogger(TASK_LOGGER)
            if not logger.isEnabledFor(level):
                return
            job = current_task_id()
            text = f"task {job} {said}" if job is not None else f"task {said}"
            raised: Raised | None = None
            if error is not None:
                raised = type(error), error, self._traceback(error)
            log(logger, level, text, attributes, self._place(), raised)

    def _traceback(self, error: BaseException) -> TracebackType | None:
        trace = error.__traceback__
        if self._code is not None and trace is not None:
            return trace.tb_next or trace  # without the frame that stands around it
        return trace

    def _place(self) -> Place:
        if self._code is not None:
            code = self._code
            return code.co_filename, code.co_firstlineno, code.co_name
        return calling_place(_BETWEEN)


def calling_place(between: tuple[str, ...]) -> Place:
    """Return where the nearest caller is that is in none of some modules.

    Args:
        between: What the names of those modules start with.
    """
    # The documented way to find a caller.
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        if not str(frame.f_globals.get("__name__")).startswith(between):
            return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name
        frame = frame.f_back
    return NOWHERE


def log(
    logger: logging.Logger, level: int, text: str, attributes: Mapping[str, object],
    place: Place, raised: Raised | None,
) -> None:  # fmt: skip
    """Log a record as from another place than that of the call.

    Raises what a filter or a handler raises.
    """
    path, line, function = place
    record = logger.makeRecord(
        logger.name, level, path, line, text, (), raised, function, attributes
    )
    logger.handle(record)


def _outcome(error: BaseException | None) -> tuple[int, str, str]:
    """Return level, ``outcome`` and verb. What is no ``Exception`` came from outside.

    That is a cancellation, Ctrl-C, the end of the program or of a generator.
    """
    if error is None:
        return logging.INFO, "ok", "ended"
    if isinstance(error, Exception):
        return logging.ERROR, "error", "failed"
    return logging.INFO, "cancelled", "was cancelled"
