"""What commands of a telnet session take: spans of time, tasks, loggers.

Imported only when a monitor starts.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import click  # noqa: TID253 - this module is imported inside a function
from aiomonitor.context import current_monitor  # type: ignore[import-untyped]  # noqa: TID253 - ditto

from otel_tasklog._text import visible
from otel_tasklog.monitor._guarded import GuardedMonitor
from otel_tasklog.store._moments import Ago, read_moment
from otel_tasklog.store._spelling import UnfitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["complete_logger", "complete_task", "duration", "known_loggers"]

MOST_COMPLETIONS: Final = 20


def duration(most_seconds: float) -> Callable[[str], float]:
    """Return what reads a span of time, in seconds.

    In the words of a query, ``30s`` or ``5m``; a number alone is seconds, too.

    Args:
        most_seconds: The longest.
    """

    def read(text: str) -> float:
        try:
            moment = read_moment(f"{text}s" if text[-1:].isdigit() else text)
        except UnfitError:
            moment = None
        seconds = moment.ns / 1e9 if isinstance(moment, Ago) else 0.0
        if not 0 < seconds <= most_seconds:
            raise click.BadParameter(
                f"{text!r}: expected a span of time such as 30s, 5m or 1.5h, at most "
                f"{Ago(int(most_seconds * 1e9))}"
            )
        return seconds

    return read


def complete_task(
    context: click.Context,  # noqa: ARG001 - click's signature
    parameter: click.Parameter,  # noqa: ARG001 - ditto
    incomplete: str,
) -> list[str]:
    """Return what TASK could be, out of the names, numbers and jobs of live tasks."""
    monitor = current_monitor.get(None)  # a completion's context has no monitor
    if not isinstance(monitor, GuardedMonitor):
        return []
    return _beginning(incomplete, _task_words(monitor))


def _task_words(monitor: GuardedMonitor) -> Iterator[str]:
    for task in monitor.tasklog.live_tasks(loop=monitor.app_loop, limit=None):
        yield task.name
        if task.number is not None:
            yield f"#{task.number}"
        if task.task_id is not None:
            yield task.task_id


def complete_logger(
    context: click.Context,  # noqa: ARG001 - click's signature
    parameter: click.Parameter,  # noqa: ARG001 - ditto
    incomplete: str,
) -> list[str]:
    """Return the names of loggers that begin so."""
    return _beginning(incomplete, known_loggers())


def known_loggers() -> list[str]:
    """Return the names that loggers have, or that stand in the name of one."""
    return [logging.root.name, *logging.root.manager.loggerDict.copy()]


def _beginning(incomplete: str, words: Iterable[str]) -> list[str]:
    fitting = {
        word
        for word in words
        # One that must be quoted, or shown other than it is, cannot be typed.
        if word.startswith(incomplete) and word == visible(word) and _is_plain(word)
    }
    return sorted(fitting)[:MOST_COMPLETIONS]


def _is_plain(word: str) -> bool:
    return not set(word) & set(" \"'\\")
