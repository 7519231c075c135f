"""What in the set-up of ``logging`` costs records, or sends them twice; said once.

A hint is about the set-up, never about a record, and none is given where all is
right: somebody reads it, once, and acts on it. The logger tree is only looked at.
"""

from __future__ import annotations

import logging
from logging.handlers import QueueHandler
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_tasklog._text import marked, visible
from otel_tasklog.capture._filter import TaskLogFilter
from otel_tasklog.capture._handler import TaskLogHandler
from otel_tasklog.capture._unusual import formatted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "QUEUED",
    "Hint",
    "Hints",
    "at_default_level",
    "behind_queues",
    "captures",
    "enable_diagnostics",
    "find_logger",
    "path_of",
    "sent_twice",
]

_OFFICIAL: Final = (
    "opentelemetry.sdk._logs",
    "opentelemetry.instrumentation.logging",
)
_log = logging.getLogger("otel_tasklog")


class _Harmless(logging.Filter):
    """Makes what the library says of itself one line that steers no terminal.

    Receivers, exporters, files and records have their words in it, and any handler of
    the application may print it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = visible(formatted(record)), ()
        if record.exc_info and not record.exc_text:
            trace = logging.Formatter().formatException(record.exc_info)
            record.exc_text = marked(f"\n{trace}").removeprefix("\n")
        return True


_log.addFilter(_Harmless())  # a configuration leaves it there


class Hint(NamedTuple):
    """Something to be said once.

    Attributes:
        about: Of two hints about the same, the first is given.
        text: What is so, and what to do.
    """

    about: str
    text: str


QUEUED: Final = Hint(
    "queue",
    "a TaskLogHandler gets its records from another thread than they were logged on, "
    "as behind a QueueHandler: their tasks and traces are lost; attach it to the "
    "logger, beside the QueueHandler, or add an otel_tasklog.TaskLogFilter to that",
)


class Hints:
    """Gives each hint to the logger ``otel_tasklog``, once."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def give(self, *hints: Hint) -> None:
        """Give those that have not been given. From any thread."""
        for hint in hints:
            if hint.about not in self._given:
                self._given.add(hint.about)
                _log.warning("%s", hint.text)


def enable_diagnostics() -> None:
    """Undo what ``disable_existing_loggers``, on by default, did to our own logger.

    What a configuration does not name is disabled, whoever may need it. To hear less
    of us, set the level of the logger ``otel_tasklog``.
    """
    _log.disabled = False


def path_of(logger: logging.Logger) -> Iterator[logging.Logger]:
    """Yield a logger and those whose handlers its records reach as well."""
    at: logging.Logger | None = logger
    while at is not None:
        yield at
        at = at.parent if at.propagate else None


def find_logger(name: str) -> logging.Logger:
    """Return a logger, or the root logger if there is none. Takes no lock."""
    root = logging.getLogger()
    found = root.manager.loggerDict.get(name)
    return found if isinstance(found, logging.Logger) else root


def captures(
    logger: logging.Logger, is_other: Callable[[TaskLogHandler], bool]
) -> bool:
    """Return whether a handler of ours sees a logger's records.

    Args:
        logger: Which.
        is_other: Whether a handler does not count.
    """
    return bool(_ours_on(path_of(logger), is_other))


def at_default_level() -> Iterator[Hint]:
    """Look for a root logger whose level nobody seems to have thought of."""
    root = logging.getLogger()
    if root.level == logging.WARNING and not any(
        logging.NOTSET < each.level <= logging.INFO and root in path_of(each)
        for each in _loggers()
    ):
        yield Hint(
            "level",
            "the root logger's level is WARNING, as Python starts: no INFO or DEBUG "
            "record is captured; pass level='INFO' to install(), or level='WARNING' "
            "if it is meant (logging.basicConfig() does nothing after install())",
        )


def behind_queues() -> Iterator[Hint]:
    """Look for our handlers behind queues that nothing stamps the records for."""
    for logger in _loggers():
        for handler in logger.handlers:
            # The attribute is new in Python 3.12, as is who sets it, dictConfig.
            behind = getattr(getattr(handler, "listener", None), "handlers", ())
            if (
                isinstance(handler, QueueHandler)
                and any(isinstance(each, TaskLogHandler) for each in behind)
                and not any(
                    isinstance(each, TaskLogFilter)
                    for each in (*handler.filters, *logger.filters)
                )
            ):
                yield QUEUED


def sent_twice(
    is_other: Callable[[TaskLogHandler], bool],
    is_rival: Callable[[TaskLogHandler], bool],
    *,
    exports: bool,
    settled: bool,
) -> Iterator[Hint]:
    """Look for loggers whose records are captured, or exported, twice.

    Args:
        is_other: Whether a handler does not count as one of the TaskLog that asks.
        is_rival: Whether it feeds another open TaskLog, which exports.
        exports: Whether the TaskLog that asks does.
        settled: Whether loggers that propagate now will go on to. A framework may
            end that at its start.
    """
    for logger in _loggers():
        if not logger.handlers:
            continue
        path = list(path_of(logger))
        ours = _ours_on(path, is_other)
        if not ours:
            continue
        records_are = f"records of the logger {logger.name!r} are"
        place = ours[0][0]
        if len(ours if settled else {handler for _, handler in ours}) > 1:
            other = ours[1][0]
            where = f"{place!r} and on {other!r}" if other != place else f"{place!r}"
            yield Hint(
                "captured twice",
                f"{records_are} captured twice, by two TaskLogHandlers on {where}; "
                "leave one of them away (install() attaches one to "
                "each of loggers=, the root logger if it is not given)",
            )
        if not exports:
            continue
        for each in path:
            for handler in each.handlers:
                if _is_official(handler):
                    yield Hint(
                        "official handler",
                        f"{records_are} exported twice, by the TaskLogHandler on "
                        f"{place!r} and by OpenTelemetry's LoggingHandler on "
                        f"{each.name!r}; remove one of them, or pass exporter=None "
                        "to keep records in memory only",
                    )
                elif isinstance(handler, TaskLogHandler) and is_rival(handler):
                    yield Hint(
                        "second TaskLog",
                        f"{records_are} exported twice: a second TaskLog has a handler "
                        f"on {each.name!r}; close() one of the two",
                    )


def _ours_on(
    path: Iterable[logging.Logger], is_other: Callable[[TaskLogHandler], bool]
) -> list[tuple[str, TaskLogHandler]]:
    return [
        (each.name, handler)
        for each in path
        for handler in each.handlers
        if isinstance(handler, TaskLogHandler) and not is_other(handler)
    ]


def _loggers() -> list[logging.Logger]:
    root = logging.getLogger()
    # A copy, in one step of the interpreter: other threads make loggers.
    found = list(root.manager.loggerDict.values())
    return [root, *(each for each in found if isinstance(each, logging.Logger))]


def _is_official(handler: logging.Handler) -> bool:
    return any(
        kind.__name__ == "LoggingHandler" and kind.__module__.startswith(_OFFICIAL)
        for kind in type(handler).__mro__
    )
