"""What a command of ours has of the telnet session that it was typed in.

Imported only when a monitor starts.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import traceback
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import click  # noqa: TID253 - this module is imported inside a function
from aiomonitor.termui import commands  # type: ignore[import-untyped]  # noqa: TID253 - ditto
from prompt_toolkit.application.current import get_app_session

from otel_tasklog._errors import TaskLogError
from otel_tasklog._text import continued, cut
from otel_tasklog.live._record_lines import folded
from otel_tasklog.monitor._guarded import GuardedMonitor
from otel_tasklog.monitor._interact import begin

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from otel_tasklog._find import FoundTask

__all__ = ["SEARCH_SECONDS", "Session", "add_command", "run"]

NARROWEST: Final = 40
"""A terminal that says it is narrower is taken for one of this width."""

DEFAULT_WIDTH: Final = 79
SEARCH_SECONDS: Final = 3.0
"""So long a look through memory may take. The end of the monitor waits for it."""

PIECE_LINES: Final = 100
"""So many lines are sent at once: while they are, the other sessions wait."""


_FAILED: Final = "✗"  # as aiomonitor's own commands say it


class Session:
    """The telnet session that a command was typed in.

    Args:
        context: The command's.

    Attributes:
        monitor: Whose tasks and records are shown.
        width: The terminal's, in cells.

    Raises:
        click.UsageError: The session is of somebody else's monitor.
    """

    def __init__(self, context: click.Context) -> None:
        if not isinstance(context.obj, GuardedMonitor):
            raise click.UsageError("This monitor was not started by otel_tasklog.")
        self.monitor = context.obj
        self.tasklog = context.obj.tasklog
        # A terminal without a size says 0 x 0.
        columns = get_app_session().output.get_size().columns
        self.width: int = max(columns, NARROWEST) if columns > 0 else DEFAULT_WIDTH

    async def write(self, lines: Iterable[str]) -> None:
        """Send lines to the client, and let the other sessions have their turn.

        Args:
            lines: None wider than the terminal; each is made when it is its turn.
        """
        rest = iter(lines)
        while piece := [*itertools.islice(rest, PIECE_LINES)]:
            click.echo("\n".join(piece))
            await asyncio.sleep(0)

    async def say(self, line: str, *, complete: bool = True) -> None:
        """Send one printable line, folded if it must be.

        Args:
            line: The line.
            complete: Whether what was sent before is all that was asked for; else it is
                said that there was no time for more.
        """
        await self.write(folded(line, self.width))
        if not complete:
            await self.say("-- there was no time to look at all of memory")

    def find_task(self, word: str) -> FoundTask:
        """Return what TASK means. It may take a while: not in the sessions' thread.

        Raises:
            TaskNotFoundError: Nothing.
        """
        return self.tasklog.find_task(word, loop=self.monitor.app_loop)


Work: TypeAlias = "Callable[[Session], Coroutine[object, object, None]]"


def add_command(
    function: Callable[..., None], *, name: str, text: str, aliases: Iterable[str] = ()
) -> None:
    """Add a command to aiomonitor's, for all sessions of the process.

    Args:
        function: Takes the context, and the options that it was decorated with.
        name: What it is called.
        text: What ``--help`` says of it.
        aliases: What else it is called.
    """
    aiomonitors = cast("Any", commands)
    # click's own --help never gives the prompt back.
    command = aiomonitors.custom_help_option(function)
    aiomonitors.monitor_cli.command(name=name, aliases=[*aliases], help=text)(command)


def run(context: click.Context, work: Work, *, any_key: bool = False) -> None:
    """Do what a command does; the prompt is back when it is done.

    Args:
        context: The command's.
        work: Does it, in the thread of the sessions: it must not block.
        any_key: Whether any key ends it, not Ctrl-C alone.

    Raises:
        click.UsageError: The session is of somebody else's monitor.
    """
    begin(functools.partial(_reported, Session(context), work), any_key=any_key)


async def _reported(session: Session, work: Work) -> None:
    try:
        await work(session)
    except TaskLogError as error:
        first, *more = str(error).splitlines()
        await session.say(f"{_FAILED} {first}")
        await session.write(cut(line, session.width) for line in more)
    except Exception:  # noqa: BLE001 - nobody else would hear of it
        await session.say(f"{_FAILED} this command failed")
        await session.write(continued(traceback.format_exc().rstrip(), session.width))
