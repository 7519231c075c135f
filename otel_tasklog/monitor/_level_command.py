"""The command ``log-level``: another level for a logger, for a while.

Imported only when a monitor starts.
"""

from __future__ import annotations

import datetime
import difflib
import logging
from typing import TYPE_CHECKING, Final

import click  # noqa: TID253 - this module is imported inside a function

from otel_tasklog._text import visible
from otel_tasklog.monitor._options import complete_logger, duration, known_loggers
from otel_tasklog.monitor._session import Session, add_command, run

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["add"]

RESET: Final = "reset"
_DAY_SECONDS: Final = 86_400.0

_LOG_LEVEL: Final = """Change the level of a logger, to see more of a part of the program.

LEVEL is a name or a number; "reset" gives back the level that it had. It
goes back by itself after the time of --for, and when the log is closed.
Loggers below LOGGER that have a level of their own keep that. "root" is the
logger above all.
"""


def add() -> None:
    """Add it."""
    add_command(_log_level, name="log-level", text=_LOG_LEVEL)


def _complete_level(
    context: click.Context,  # noqa: ARG001 - click's signature
    parameter: click.Parameter,  # noqa: ARG001 - ditto
    incomplete: str,
) -> list[str]:
    names = [*logging.getLevelNamesMapping(), RESET]
    return [each for each in names if each.lower().startswith(incomplete.lower())]


@click.argument("name", metavar="LOGGER", shell_complete=complete_logger)
@click.argument("level", shell_complete=_complete_level)
@click.option(
    "--for",
    "for_seconds",
    type=duration(_DAY_SECONDS),
    metavar="5m",
    help="Go back after so long.",
)
def _log_level(
    context: click.Context, *, name: str, level: str, for_seconds: float | None
) -> None:
    if level.lower() == RESET and for_seconds is not None:
        raise click.UsageError("reset gives back the level for good: without --for.")
    known = known_loggers()
    if name not in known:
        close = ", ".join(map(visible, difflib.get_close_matches(name, known)))
        hint = f"did you mean {close}?" if close else "Tab completes those there are."
        raise click.UsageError(f"No logger is called {visible(name)}; {hint}")

    async def work(session: Session) -> None:
        logger = logging.getLogger(name)
        before = _level_of(logger)
        if level.lower() == RESET:
            session.tasklog.reset_level(logger)
        else:
            wanted = int(level) if level.isascii() and level.isdigit() else level
            session.tasklog.set_level(logger, wanted, for_seconds=for_seconds)
        for line in _outcome(logger, before, for_seconds):
            await session.say(line)

    run(context, work)


def _outcome(
    logger: logging.Logger, before: str, for_seconds: float | None
) -> Iterator[str]:
    until = ""
    if for_seconds is not None:
        now = datetime.datetime.now(datetime.UTC).astimezone()
        ends = now + datetime.timedelta(seconds=for_seconds)
        until = f", until {ends:%H:%M:%S}"
    yield f"{visible(logger.name)}: {_level_of(logger)}{until} (before: {before})"
    if logger.disabled:
        yield "It logs nothing all the same: this logger is disabled."
    elif logging.root.manager.disable >= logger.getEffectiveLevel():
        lowest = visible(logging.getLevelName(logging.root.manager.disable))
        yield f"logging.disable() keeps off all up to {lowest} all the same."


def _level_of(logger: logging.Logger) -> str:
    """Return the level that counts for a logger, and whose it is."""
    giver = logger
    while not giver.level and giver.parent is not None:
        giver = giver.parent
    name = visible(logging.getLevelName(giver.level))
    return name if giver is logger else f"{name} of {visible(giver.name)}"
