"""Keeps handlers on their loggers, whoever configures ``logging`` in between.

Anybody may, at any time: a framework at its start, or ``basicConfig(force=True)``.
That takes handlers away, and closes them under ``logging``'s lock, which is how a
`Placement` hears of it. The worker then attaches them again: its ``addHandler`` waits
for the lock, and so until the configuration is complete.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from otel_tasklog._hints import captures, enable_diagnostics, find_logger, path_of
from otel_tasklog._recipes import ServerHandler, is_wanted
from otel_tasklog._text import marked
from otel_tasklog.capture._handler import TaskLogHandler
from otel_tasklog.capture._unusual import formatted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TextIO

__all__ = ["Placement"]

Places: TypeAlias = "Iterable[tuple[logging.Logger, TaskLogHandler]]"


class Placement:
    """Which handler is attached to which logger, and the console beside them.

    Args:
        places: Which is to be.
        console: See `Config`.
        clean: Takes secrets out of what the console prints.
        is_other: Whether a handler feeds another TaskLog, and does not count here.
        run: Has a function called by the worker, soon. It is called under
            ``logging``'s lock, and must not wait.
        on_restored: Called by the worker with the loggers that a configuration had
            taken a handler from, once it is there again.
    """

    def __init__(
        self,
        places: Places,
        *,
        console: bool | Literal["auto"],
        clean: Callable[[str], str],
        is_other: Callable[[TaskLogHandler], bool],
        run: Callable[[Callable[[], None]], None],
        on_restored: Callable[[list[logging.Logger]], None],
    ) -> None:
        self._places = [*places]
        self._is_other = is_other
        self._run = run
        self._on_restored = on_restored
        self._console_always = console is True
        self._console: logging.Handler | None = None
        if console is True:
            self._console = _Console(sys.stderr, clean)
        elif console:
            self._console = _LastResort(clean)
        self._attached = False
        self._watch: logging.Handler | None = None
        self._closings = 0  # of handlers, as a configuration does
        self._answered = 0  # of those, by the worker

    @property
    def hears_root(self) -> bool:
        """Whether the root logger is one of the places."""
        return any(logger is logging.getLogger() for logger, _ in self._places)

    def attach(self) -> None:
        """Attach the handlers, and keep them attached."""
        root = logging.getLogger()
        if self._console is not None and (self._console_always or _is_silent(root)):
            root.addHandler(self._console)
        for logger, handler in self._places:
            if is_wanted(handler, logger):
                logger.addHandler(handler)
            handler.when_closed = self._handler_closed
        enable_diagnostics()
        self._attached = True
        self._watch = _Watch(self._logging_configured)

    def detach(self) -> None:
        """Take the handlers away, but for the console: there may be more to say."""
        self._attached = False  # first: see _restore
        self._take_away()

    def remove_console(self) -> None:
        """Take the console away."""
        if self._console is not None:
            logging.getLogger().removeHandler(self._console)

    def renew(self) -> None:
        """Do in a forked child what its parent's worker was just about to do."""
        if self._answered != self._closings:
            self._restore()

    def _take_away(self) -> None:
        self._watch = None
        for logger, handler in self._places:
            logger.removeHandler(handler)

    def _logging_configured(self) -> None:
        """Hear that all handlers are closed. Under logging's lock: nothing waits."""
        if self._answered == self._closings:
            # What the application took away itself stays away.
            self._places = [(x, h) for x, h in self._places if h in x.handlers]
        self._handler_closed()

    def _handler_closed(self) -> None:
        if self._attached:
            self._closings += 1
            self._run(self._restore)

    def _restore(self) -> None:
        """Attach again what a configuration took away. On the worker's thread."""
        closings = self._closings  # before the look: for a later one, it looks again
        # A new one each time, for logging forgets those that it closed. And making
        # one waits for the lock, until there is a configuration to look at.
        self._watch = _Watch(self._logging_configured)
        enable_diagnostics()
        # Where the configuration itself names a handler of ours, that one serves.
        lost = [
            (logger, handler)
            for logger, handler in self._places
            if not captures(logger, self._is_other) and is_wanted(handler, logger)
        ]
        root = logging.getLogger()
        if self._console is not None and _is_silent(root):
            root.addHandler(self._console)
        for logger, handler in lost:
            logger.addHandler(handler)
            if not is_wanted(handler, logger):  # uvicorn turned it off meanwhile
                logger.removeHandler(handler)
        self._answered = closings
        if not self._attached:  # any more; somebody closed the TaskLog meanwhile
            self._take_away()
            self.remove_console()
        elif taken := [x for x, h in lost if not isinstance(h, ServerHandler)]:
            self._on_restored(taken)


def _is_silent(root: logging.Logger) -> bool:
    """Return whether nobody but us hears the root logger."""
    return all(isinstance(each, TaskLogHandler) for each in root.handlers)


class _Watch(logging.Handler):
    """Is closed when ``logging`` is configured, as every handler is that it knows.

    It is attached to nothing. The handlers themselves would not do: once closed, they
    are known no more, wherever they are attached.
    """

    def __init__(self, when_closed: Callable[[], None]) -> None:
        self._when_closed = when_closed
        super().__init__()  # last: from here on, it may be closed

    def close(self) -> None:
        super().close()
        self._when_closed()


_FORMATTER: Final = logging.Formatter()  # as the last resort's


def _harmless(
    record: logging.LogRecord, clean: Callable[[str], str]
) -> logging.LogRecord:
    """Return a record with the text that Python prints of another, all in its message.

    What was logged cannot steer the terminal, nor look like a second record.
    """
    shown = logging.LogRecord("", 0, "", 0, "", None, None)
    # One whose arguments do not fit is shown as it is captured.
    shown.__dict__ = {**record.__dict__, "msg": formatted(record), "args": ()}
    try:
        text = _FORMATTER.format(shown)
    except Exception as error:  # noqa: BLE001 - by what is no exc_info
        text = f"{shown.msg} [{type(error).__name__} while formatting]"
    shown.msg = marked(clean(text))
    shown.exc_info = shown.exc_text = shown.stack_info = None
    return shown


class _Stderr(logging.Handler):
    """Costs no log call its return, even if there is nowhere to say what failed."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - its name
        with contextlib.suppress(Exception):  # stderr may be closed
            super().handleError(record)


class _Console(_Stderr, logging.StreamHandler["TextIO"]):
    """Prints warnings and errors as the last resort does, whoever else does."""

    def __init__(self, stream: TextIO, clean: Callable[[str], str]) -> None:
        super().__init__(stream)
        self._clean = clean
        self.setLevel(logging.WARNING)

    def format(self, record: logging.LogRecord) -> str:
        return _harmless(record, self._clean).getMessage()


class _LastResort(_Stderr):
    """Prints what ``logging`` would print itself, were there no handler of ours.

    It holds no lock while it looks at other handlers. A configuration may drop one
    meanwhile: then its last reference is here, and its end wants ``logging``'s lock,
    which the configuration holds while it waits for the lock of each handler.
    """

    def __init__(self, clean: Callable[[str], str]) -> None:
        super().__init__(logging.WARNING)
        self._clean = clean

    def handle(self, record: logging.LogRecord) -> bool:
        last_resort = logging.lastResort
        try:
            if (
                last_resort is not None
                and record.levelno >= last_resort.level
                and _finds_no_other(record)
            ):
                last_resort.handle(_harmless(record, self._clean))
        except Exception:  # noqa: BLE001 - whatever a record's name may be
            self.handleError(record)
        return True


def _finds_no_other(record: logging.LogRecord) -> bool:
    return all(
        isinstance(handler, TaskLogHandler | _LastResort)
        for logger in path_of(find_logger(record.name))
        for handler in logger.handlers
    )
