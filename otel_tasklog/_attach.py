"""Where a TaskLog touches what is everybody's: loggers, ``atexit``, SIGTERM.

Everything done by `Attachment.attach` is undone by `Attachment.detach`.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, ClassVar, Final, Protocol
from weakref import ref

from otel_tasklog._config import level_number
from otel_tasklog._hints import (
    Hint,
    Hints,
    at_default_level,
    behind_queues,
    sent_twice,
)
from otel_tasklog._loops import Loops
from otel_tasklog._placement import Placement
from otel_tasklog._process import at_end, not_at_end
from otel_tasklog._recipes import ServerHandler, places
from otel_tasklog._termination import TerminationGuard
from otel_tasklog._text import count_of
from otel_tasklog._uncaught import UncaughtHooks
from otel_tasklog.delivery._http import HTTP_LOGGERS
from otel_tasklog.delivery._waiting import Latch, lent
from otel_tasklog.live._lifecycle import TaskLifecycle

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from otel_tasklog._config import Config
    from otel_tasklog.capture._handler import TaskLogHandler
    from otel_tasklog.capture._port import Port
    from otel_tasklog.store._storage import Stats

__all__ = ["Attachment"]

LAST_WORDS_SECONDS: Final = 1.0
"""So long the end waits until they are said."""

_log = logging.getLogger("otel_tasklog")

_OFF_MAIN: Final = Hint(
    "SIGTERM",
    "a SIGTERM will end this program without delivering: Python lets its main thread "
    "alone take the signal over, and this TaskLog was made by another; call install() "
    "on the main thread, or pass handle_sigterm=False if that is meant",
)


class AccessPoint(Protocol):
    """What lets others ask this process; see ``viewer/_access_point.py``."""

    @property
    def settled(self) -> bool:
        """Whether `open` would do nothing."""
        ...

    def open(self) -> None:
        """Open it. On the worker's thread."""
        ...

    def withdraw(self) -> None:
        """Leave no trace: the process ends. From a signal's handler."""
        ...

    def close(self) -> None:
        """End it, soon."""
        ...


class Attachment:
    """Attaches a handler to ``logging`` and a TaskLog's end to the process's.

    Args:
        handler: The handler.
        port: Where it hands its records over.
        config: ``loggers``, ``level``, ``console`` and ``handle_sigterm`` count.
        exports: Whether the TaskLog does.
        run: Has a function called by the worker, soon. It is called under
            ``logging``'s lock, and must not wait.

    Attributes:
        hints: Says what could be better.
        port: See above.
        exports: See above.
        loops: The event loops, and what watches them.
    """

    # Of all TaskLogs. Another one each time: a worker may just be reading it.
    _made: ClassVar[tuple[ref[Attachment], ...]] = ()

    def __init__(
        self,
        handler: TaskLogHandler,
        port: Port,
        config: Config,
        *,
        exports: bool,
        run: Callable[[Callable[[], None]], None],
    ) -> None:
        self.port = port
        self._config = config
        self.hints = Hints()
        self.exports = exports
        self._run = run
        self._placement = Placement(
            places(
                config.loggers,
                handler,
                lambda: ServerHandler(handler, port, self._at_servers_end),
            ),
            console=config.console,
            clean=port.clean,
            is_other=self._is_other,
            run=run,
            on_restored=lambda loggers: self.hints.give(self._restored(loggers)),
        )
        self._uncaught = (
            UncaughtHooks(handler) if config.uncaught or config.task_lifecycle else None
        )
        self._lifecycle = TaskLifecycle() if config.task_lifecycle else None
        self.loops = Loops(handler, config, self._watch)
        self._level_before: int | None = None
        self._level_set = logging.NOTSET
        self._guard: TerminationGuard | None = None
        self._attached = False
        self._inspected = False
        self._deliver: Callable[[], object] = lambda: None
        self._access: AccessPoint | None = None
        self._ends_at = 0.0
        alive = (each for each in self._made if each() is not None)
        Attachment._made = (*alive, ref(self))

    def attach(
        self,
        *,
        at_exit: Callable[[], object],
        at_termination: Callable[[], object],
        access: AccessPoint | None,
    ) -> None:
        """Attach everything the settings ask for."""
        self._access = access
        if self._config.level is not None:
            root = logging.getLogger()
            self._level_before = root.level
            root.setLevel(level_number("level", self._config.level))
            self._level_set = root.level
        self._placement.attach()
        for name in HTTP_LOGGERS:
            logging.getLogger(name).addFilter(self._not_ours)
        self._attached = True
        at_end(at_exit)
        if self._config.handle_sigterm:
            self._deliver = at_termination
            self._guard = TerminationGuard(self._at_termination)
            if not self._guard.arm() and self.exports:
                self.hints.give(_OFF_MAIN)
        if self._uncaught is not None and self._config.uncaught:
            self._uncaught.attach()
        self.watch_loop()
        self.hints.give(*self._doubles(settled=False))

    def detach(self, *, at_exit: Callable[[], object]) -> None:
        """Undo it, but for what somebody else changed meanwhile."""
        not_at_end(at_exit)
        self.loops.close()
        if self._uncaught is not None:
            self._uncaught.detach()
        if self._lifecycle is not None:
            self._lifecycle.close()
        hints = self._look()
        self._attached = False
        self._placement.detach()
        for name in HTTP_LOGGERS:
            logging.getLogger(name).removeFilter(self._not_ours)
        root = logging.getLogger()
        if self._level_before is not None and root.level == self._level_set:
            root.setLevel(self._level_before)
        self.hints.give(*hints)

    def say_last(self, count: Callable[[], Stats]) -> None:
        """Say what is not delivered when a signal ends the process. In its handler.

        The worker counts and says it, so that neither a disk nor a console that blocks
        holds up the end.
        """
        said = Latch()

        def say() -> None:
            stats = count()
            cause = stats.last_error or "no answer in time"
            spool = " (what is in the spool stays)" if stats.spooled_bytes else ""
            if stats.pending:
                count_text = count_of(stats.pending)
                _log.warning(
                    "SIGTERM: %s not delivered%s: %s", count_text, spool, cause
                )
            said.set()

        self._run(say)
        with lent():
            said.wait(LAST_WORDS_SECONDS)

    def release(self) -> None:
        """Let go of what the end needs: the console to speak on, SIGTERM, readers."""
        self._placement.remove_console()
        self.disarm()
        if self._access is not None:
            self._access.close()

    def watch_loop(self) -> None:
        """Hear of what happens in the running event loop, as far as it is asked for."""
        self.loops.note_running()

    def _watch(self, loop: AbstractEventLoop) -> None:
        if self._uncaught is not None:
            self._uncaught.attach_to(loop)
        if self._lifecycle is not None:
            self._lifecycle.watch(loop)

    def seconds_left(self) -> float:
        """Return for how long the program's end may still wait.

        The end may be announced more than once, by a server, a signal and ``atexit``;
        the time is there once.
        """
        now, budget = time.monotonic(), self._config.exit_timeout_seconds
        if now > self._ends_at + budget:  # the one announced before did not come
            self._ends_at = now + budget
        return max(self._ends_at - now, 0.0)

    def _at_termination(self) -> None:
        if self._access is not None:
            self._access.withdraw()
        self._deliver()

    def _at_servers_end(self) -> None:
        self._deliver()

    def disarm(self) -> None:
        """Give SIGTERM back; only the main thread can."""
        if self._guard is not None:
            self._guard.disarm()

    def look(self) -> None:
        """Look whether the set-up is right, once records have come. Worker's thread.

        By now the application has most likely said all it has to say to ``logging``.
        """
        self._open_access()
        if self._attached:
            self.loops.look()
        if self._attached and not self._inspected:
            self._run(lambda: self.hints.give(*self._look()))

    def know_worker(self, ident: int) -> None:
        """Learn which thread is the worker's. On that thread, when it starts."""
        self.port.know_worker(ident)
        if self.port.last_ns:  # not by what is in the spool alone
            self._open_access()
            if self._attached:
                self.loops.look()

    def _open_access(self) -> None:
        if self._attached and self._access is not None and not self._access.settled:
            self._run(self._access.open)

    def renew(self) -> None:
        """Do in a forked child what its parent's worker was just about to do."""
        self._placement.renew()
        self.loops.renew()

    def _look(self) -> list[Hint]:
        if not self._attached or self._inspected:
            return []
        self._inspected = True
        hints = [*self._doubles(settled=True), *behind_queues()]
        if self._config.level is None and self._placement.hears_root:
            hints += at_default_level()
        return hints

    def _doubles(self, *, settled: bool) -> list[Hint]:
        return [
            *sent_twice(
                # A server's handlers see to it themselves.
                lambda x: isinstance(x, ServerHandler) or self._is_other(x),
                lambda x: self._is_other(x, exporting=True),
                exports=self.exports,
                settled=settled,
            )
        ]

    def _is_other(self, handler: TaskLogHandler, *, exporting: bool = False) -> bool:
        """Return whether a handler feeds another TaskLog that is open."""
        made = [found for each in self._made if (found := each()) is not None]
        return any(
            handler in each.port.handlers
            for each in made
            if each is not self and not each.port.closed
            if each.exports or not exporting
        )

    def _restored(self, lost: list[logging.Logger]) -> Hint:
        level = ""
        root = logging.getLogger()
        if self._level_before is not None and root.level != self._level_set:
            now, before = map(logging.getLevelName, (root.level, self._level_set))
            level = f"; the root logger's level is {now} now, no longer {before}"
        return Hint(
            "configured anew",
            "logging was configured anew, without the TaskLogHandler: it is attached "
            f"to {', '.join(repr(each.name) for each in lost)} again{level}; to say so "
            "in the configuration, name otel_tasklog.TaskLogHandler there, and pass "
            "loggers=[] to install()",
        )

    def _not_ours(self, record: logging.LogRecord) -> bool:
        ident = record.thread or threading.get_ident()
        return ident not in self.port.own_threads
