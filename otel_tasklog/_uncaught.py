"""Exceptions that nobody catches become records.

Three hooks are everybody's: ``sys.excepthook``, ``threading.excepthook`` and the
exception handler of an event loop. Each is wrapped: what was there is called as
before, so that Python prints what it always printed. At the end it is put back;
where somebody has wrapped ours meanwhile, ours only calls what was there.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from asyncio import AbstractEventLoop, Task
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeAlias

from otel_tasklog.capture._filter import take_stamp
from otel_tasklog.capture._stamp import STAMP

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from otel_tasklog.capture._stamp import Stamp

    LoopHook: TypeAlias = Callable[[AbstractEventLoop, dict[str, Any]], object]

__all__ = ["UncaughtHooks"]


class _Report:
    """What asyncio reports, while it is reported.

    Attributes:
        stamp: Whom it is about; None if nobody knows.
        logged: Whether a record of it has been seen.
    """

    def __init__(self, stamp: Stamp | None) -> None:
        self.stamp = stamp
        self.logged = False


class UncaughtHooks:
    """Hooks that hand uncaught exceptions to a handler.

    To that one alone: others would print a second time what Python prints itself.

    What asyncio reports of a task is often found out when the collector runs, in
    another task or on another thread. The record gets the identity of the task that
    it is about. It is the record that asyncio itself logs, or a handler that the
    application set; one is made here only where they log none.

    Args:
        handler: Captures the records.
    """

    def __init__(self, handler: logging.Handler) -> None:
        self._handler = handler
        self._attached = False
        self._excepthook_before = sys.excepthook
        self._thread_hook_before = threading.excepthook
        # Kept, for each look at a method makes another object.
        self._excepthook = self._on_uncaught
        self._thread_hook = self._on_uncaught_in_thread
        self._loops: list[tuple[AbstractEventLoop, LoopHook | None, LoopHook]] = []
        self._reports: dict[int, _Report] = {}  # by the thread that they are made on

    def attach(self) -> None:
        """Wrap the hooks of the process."""
        self._begin()
        self._excepthook_before = sys.excepthook
        sys.excepthook = self._excepthook
        self._thread_hook_before = threading.excepthook
        threading.excepthook = self._thread_hook

    def attach_to(self, loop: AbstractEventLoop) -> None:
        """Wrap the exception handler of an event loop, and nothing of the process."""
        self._begin()
        self.watch(loop)

    def _begin(self) -> None:
        self._attached = True
        self._handler.addFilter(self._stamp)

    def watch(self, loop: AbstractEventLoop) -> None:
        """Wrap the exception handler of an event loop, once."""
        if any(loop is each for each, _, _ in self._loops):
            return
        before = loop.get_exception_handler()

        def hook(loop: AbstractEventLoop, context: dict[str, Any]) -> None:
            self._on_loop_exception(before, loop, context)

        loop.set_exception_handler(hook)
        self._loops.append((loop, before, hook))

    def detach(self) -> None:
        """Put back what was there, unless somebody else has put something since."""
        self._attached = False
        self._handler.removeFilter(self._stamp)
        if sys.excepthook == self._excepthook:
            sys.excepthook = self._excepthook_before
        if threading.excepthook == self._thread_hook:
            threading.excepthook = self._thread_hook_before
        for loop, before, hook in self._loops:
            if loop.get_exception_handler() is hook:
                loop.set_exception_handler(before)
        self._loops.clear()

    def _on_uncaught(
        self,
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType | None,
    ) -> None:
        # Ctrl-C is a wish, no fault.
        if self._attached and not issubclass(kind, KeyboardInterrupt):
            self._capture(_fatal("uncaught exception", error, trace))
        self._excepthook_before(kind, error, trace)

    def _on_uncaught_in_thread(self, args: threading.ExceptHookArgs) -> None:
        # SystemExit ends a thread quietly.
        quiet = issubclass(args.exc_type, SystemExit | KeyboardInterrupt)
        if self._attached and not quiet:
            name = args.thread.name if args.thread is not None else "?"
            text = f"uncaught exception in the thread {name!r}"
            self._capture(_fatal(text, args.exc_value, args.exc_traceback))
        self._thread_hook_before(args)

    def _on_loop_exception(
        self,
        before: LoopHook | None,
        loop: AbstractEventLoop,
        context: dict[str, Any],
    ) -> None:
        def go_on() -> None:
            if before is None:
                loop.default_exception_handler(context)
            else:
                before(loop, context)

        about = context.get("task") or context.get("future")
        if not self._attached:
            go_on()
        elif isinstance(about, Task):
            task: Task[Any] = about  # pyright: ignore[reportUnknownVariableType]
            # In the task's context, as Python itself does from 3.12 on; before, it
            # cannot be known. In a copy, for it may be that of the running code.
            known: Context = getattr(task, "get_context", Context)()
            known.copy().run(self._report, go_on, context, task)
        else:
            self._report(go_on, context, None)

    def _report(
        self,
        go_on: Callable[[], None],
        context: dict[str, Any],
        task: Task[Any] | None,
    ) -> None:
        report = _Report(take_stamp(task) if task is not None else None)
        thread = threading.get_ident()
        around = self._reports.get(thread)
        self._reports[thread] = report
        try:
            go_on()
            if not report.logged:
                self._capture(_reported(context))
        finally:
            if around is None:
                del self._reports[thread]
            else:
                self._reports[thread] = around

    def _stamp(self, record: logging.LogRecord) -> bool:
        report = self._reports.get(threading.get_ident()) if self._reports else None
        if report is not None:
            report.logged = report.logged or record.levelno >= logging.WARNING
            if report.stamp is not None:
                record.__dict__.setdefault(STAMP, report.stamp)
        return True

    def _capture(self, record: logging.LogRecord) -> None:
        if record.levelno >= self._handler.level:
            self._handler.handle(record)


def _fatal(
    text: str, error: BaseException | None, trace: TracebackType | None
) -> logging.LogRecord:
    return _record("uncaught", logging.CRITICAL, text, error, trace)


def _reported(context: Mapping[str, Any]) -> logging.LogRecord:
    """Return a record like that which asyncio's own handler logs."""
    error: BaseException | None = context.get("exception")
    trace = error.__traceback__ if error is not None else None
    text = context.get("message") or "Unhandled exception in event loop"
    return _record("asyncio", logging.ERROR, text, error, trace)


def _record(
    name: str,
    level: int,
    text: str,
    error: BaseException | None,
    trace: TracebackType | None,
) -> logging.LogRecord:
    path, line, function = "", 0, None
    for frame, frame_line in traceback.walk_tb(trace):  # to where it was raised
        line, code = frame_line, frame.f_code
        path, function = code.co_filename, code.co_name
    info = (type(error), error, trace) if error is not None else None
    return logging.LogRecord(name, level, path, line, text, None, info, function)
