"""The life of each asyncio task, as records: that it was created, and how it ended.

No task factory is needed: the loop's ``create_task`` is wrapped, the one method by which
tasks are made. A factory is called before CPython names the task, costs unnamed ones
their names on Python 3.13.0 to 3.13.2, and takes the only place that there is for an
eager factory, or for another tool's. Whatever is in that place works on here.
"""

from __future__ import annotations

import contextlib
import functools
import logging

# Exported by asyncio for those who implement tasks.
from asyncio import (
    AbstractEventLoop,
    Task,
    _enter_task,  # pyright: ignore[reportPrivateUsage]
    _leave_task,  # pyright: ignore[reportPrivateUsage]
    current_task,
    get_running_loop,
)
from contextvars import Context, copy_context
from threading import local
from time import monotonic
from types import CodeType
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from weakref import ref

from otel_tasklog._text import visible
from otel_tasklog.capture._lifecycle import NOWHERE, calling_place, log
from otel_tasklog.capture._tasks import number_task
from otel_tasklog.live._await_chain import coroutine_of, inside, is_task, name_of
from otel_tasklog.live._waits import all_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tasklog.capture._lifecycle import Place

    Create: TypeAlias = Callable[..., Task[Any]]

__all__ = ["LIFECYCLE_LOGGER", "TaskLifecycle"]

LIFECYCLE_LOGGER: Final = "otel_tasklog.lifecycle"
_BETWEEN: Final = ("otel_tasklog.live.", "asyncio.")
"""Modules whose frames stand between ours and the line that makes a task."""
_METHOD: Final = "create_task"

_log = logging.getLogger("otel_tasklog")


class _Life:
    """What is known of a task from outside of it.

    Attributes:
        coroutine: What it runs. A task that ended in its creation does not tell.
        creator: The name of the task that created it, if one did.
        started: When, by the monotonic clock; None if nobody saw it.
        ended: When it ended, if it ended in its creation.
        created: The task, until its creation is logged: held for longer, it would
            not be freed when nobody has it any more.
    """

    __slots__ = ("coroutine", "created", "creator", "ended", "started")

    def __init__(
        self,
        coroutine: object,
        creator: str | None = None,
        started: float | None = None,
    ) -> None:
        self.coroutine: Final = coroutine
        self.creator: Final = creator
        self.started: Final = started
        self.ended: float | None = None
        self.created: Task[Any] | None = None


class _Here(local):
    """What holds for this thread.

    Attributes:
        saying: Whether a record of ours is logged.
    """

    saying = False


class _Creating:
    """Stands before a loop's ``create_task``."""

    def __init__(self, loop: AbstractEventLoop, lifecycle: TaskLifecycle) -> None:
        self.loop: Final = loop
        self.before: Final[Create] = loop.create_task
        self.lifecycle: Final = lifecycle

    def __call__(self, coro: object, **options: object) -> Task[Any]:
        return self.lifecycle.create(self, coro, options)


class TaskLifecycle:
    """Logs the begin and the end of the asyncio tasks of event loops.

    To the logger ``otel_tasklog.lifecycle``, each record with the identity of the task
    that it is about: its number, its name, its parent, and the job and the trace that
    it was created in. The exception of a task stays unretrieved: if nobody asks for it,
    asyncio says so as ever.

    Attributes:
        closed: Whether it logs nothing any more.
    """

    def __init__(self) -> None:
        self.closed = False
        self._loops: set[ref[AbstractEventLoop]] = set()
        self._here = _Here()
        self._told = False

    def watch(self, loop: AbstractEventLoop) -> None:
        """Log the tasks of an event loop from now on, once. From any thread.

        Of those that are there already, the end is logged.
        """
        if _runs_here(loop):
            self._begin(loop)
            return
        with contextlib.suppress(RuntimeError):  # it is closed
            loop.call_soon_threadsafe(self._begin, loop, context=Context())

    def close(self) -> None:
        """Log no more, and give the loops their method back. From any thread.

        Where somebody has wrapped ours meanwhile, it stays, and only calls on.
        """
        self.closed = True
        for link in self._loops.copy():
            loop = link()
            ours = vars(loop).get(_METHOD) if loop is not None else None
            if isinstance(ours, _Creating) and ours.lifecycle is self:
                delattr(loop, _METHOD)  # which shows its class's
                if getattr(loop, _METHOD) != ours.before:  # or somebody's had been set
                    setattr(loop, _METHOD, ours.before)

    def _begin(self, loop: AbstractEventLoop) -> None:
        before = loop.create_task
        # Another TaskLog's: what it logs reaches our handler, too.
        another = isinstance(before, _Creating) and not before.lifecycle.closed
        if self.closed or another:
            return
        try:
            link = ref(loop, self._loops.discard)
            if link in self._loops:
                return
            setattr(loop, _METHOD, _Creating(loop, self))
        except (AttributeError, TypeError):
            if not self._told:
                self._told = True
                kind = f"{type(loop).__module__}.{type(loop).__qualname__}"
                _log.warning(
                    "task_lifecycle: create_task() of a %s cannot be wrapped, so its "
                    "tasks have no records of their begin and end", kind,
                )  # fmt: skip
            return
        self._loops.add(link)
        for task in all_tasks(loop) or ():
            known: Context = getattr(task, "get_context", Context)()  # from Python 3.12
            life = _Life(coroutine_of(task))
            ended = functools.partial(self._log_end, life)
            task.add_done_callback(ended, context=known.copy())

    @functools.cached_property
    def _logger(self) -> logging.Logger:
        # Made late, for a configuration disables what loggers it finds.
        return logging.getLogger(LIFECYCLE_LOGGER)

    def create(
        self, by: _Creating, coro: object, options: Mapping[str, object]
    ) -> Task[Any]:
        """Create a task, and have it logged.

        Raises what the loop's own method raises, and nothing else.

        Args:
            by: The method that does it, and its loop.
            coro: Its argument.
            options: Its keyword arguments.
        """
        if (
            self.closed
            # A handler may make a task of each record, and would of that one's, too.
            or self._here.saying
            or not self._logger.isEnabledFor(logging.WARNING)
        ):
            return by.before(coro, **options)
        life = _Life(coro, _creator(), monotonic())
        given = options.get("context")
        # A copy, for that may be the one which runs right now.
        context = given.copy() if isinstance(given, Context) else copy_context()
        tells_begin = self._logger.isEnabledFor(logging.INFO)
        if tells_begin:
            place = calling_place(_BETWEEN)
            # Logged just before its first step: up to Python 3.12 it gets its name only
            # when the loop's method has returned. An eager one makes the step in there.
            with contextlib.suppress(RuntimeError):  # closed, as the method says, too
                by.loop.call_soon(self._log_begin, life, place, context=context)
        task = by.before(coro, **options)
        if is_task(task):  # a factory may return another future
            life.created = task if tells_begin else None
            life.ended = monotonic() if task.done() else None
            ended = functools.partial(self._log_end, life)
            task.add_done_callback(ended, context=context)
        return task

    def _log_begin(self, life: _Life, place: Place) -> None:
        task, life.created = life.created, None
        if task is not None:
            by = "" if life.creator is None else f" by {life.creator}"
            about: dict[str, object] = {"event.name": "asyncio.task.created"}
            self._say(logging.INFO, f"created{by}", life, task, about, place)

    def _log_end(self, life: _Life, task: Task[Any]) -> None:
        level, outcome, verb, error = _outcome(task)
        if not self._logger.isEnabledFor(level):
            return
        about: dict[str, object] = {
            "event.name": "asyncio.task.ended",
            "outcome": outcome,
        }
        if life.started is not None:
            seconds = (life.ended or monotonic()) - life.started
            about["duration_seconds"] = seconds
            verb = f"{verb} after {seconds:.3f} s"
        place = _defined(life.coroutine)
        self._say(level, verb, life, task, about, place, error)

    def _say(
        self, level: int, said: str, life: _Life, task: Task[Any],
        about: dict[str, object], place: Place, error: Exception | None = None,
    ) -> None:  # fmt: skip
        """Log as a task does. In a context as it was created in."""
        if self.closed or self._here.saying:
            return
        self._here.saying = True
        try:
            with contextlib.suppress(Exception):
                coroutine = getattr(life.coroutine, "__qualname__", None)
                if coroutine is not None:
                    about["asyncio.task.coroutine"] = coroutine
                if life.creator is not None:
                    about["asyncio.task.parent_name"] = life.creator
                text = f"asyncio task {visible(name_of(task))} {said}"
                raised = None
                if error is not None:
                    raised = type(error), error, error.__traceback__
                loop = task.get_loop()
                _enter_task(loop, task)  # a callback of the loop is in none
                try:
                    log(self._logger, level, text, about, place, raised)
                finally:
                    _leave_task(loop, task)
        finally:
            self._here.saying = False


def _runs_here(loop: AbstractEventLoop) -> bool:
    try:
        return get_running_loop() is loop
    except RuntimeError:
        return False


def _creator() -> str | None:
    """Return the name of the running task; number it, as the parent of what it makes."""
    with contextlib.suppress(Exception):  # no loop runs yet, or no task of asyncio's
        running = current_task()
        if running is not None:
            number_task(running)
            return name_of(running)
    return None


def _defined(coroutine: object) -> Place:
    """Return where a coroutine is defined."""
    code = getattr(coroutine, "cr_code", None)
    if isinstance(code, CodeType):
        return code.co_filename, code.co_firstlineno, code.co_name
    return NOWHERE


def _outcome(task: Task[Any]) -> tuple[int, str, str, Exception | None]:
    """Return level, ``outcome``, verb and exception of a task that is done.

    A failure is no ERROR: whoever awaits the task may have expected it.
    """
    # exception() would be a retrieval of it, after which asyncio says nothing.
    error = None if task.cancelled() else inside(task, "_exception")
    if isinstance(error, Exception):
        return logging.WARNING, "error", "failed", error
    if task.cancelled() or error is not None:  # what is no Exception is from outside
        return logging.INFO, "cancelled", "was cancelled", None
    return logging.INFO, "ok", "finished", None
