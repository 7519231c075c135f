"""The commands ``stats`` and ``flush``: what became of the records.

Imported only when a monitor starts.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, cast

import click  # noqa: TID253 - this module is imported inside a function

from otel_tasklog._text import count_of, visible
from otel_tasklog.monitor._options import duration
from otel_tasklog.monitor._session import Session, add_command, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tasklog.store._storage import Stats

__all__ = ["add"]

_LONGEST_FLUSH_SECONDS: Final = 60.0

_STATS: Final = """Show what became of the records of this process.

How many were captured, delivered, rejected and dropped, by reason, and what
is still pending, spooled or in memory.
"""

_FLUSH: Final = """Deliver what was logged until now, and say how it went.

The program goes on meanwhile, and so do other sessions; Ctrl-C ends the
wait, not the delivery.
"""


def add() -> None:
    """Add them."""
    add_command(_stats, name="stats", text=_STATS)
    add_command(_flush, name="flush", text=_FLUSH)


def _stats(context: click.Context) -> None:
    async def work(session: Session) -> None:
        stats = await asyncio.to_thread(session.tasklog.stats)
        rows = [*_rows(stats)]
        name_width = max(len(name) for name, _ in rows)
        value_width = max(len(value) for _, value in rows)
        for name, value in rows:
            await session.say(f"{name:<{name_width}}  {value:>{value_width}}")
        await _say_last_error(session, stats)

    run(context, work)


def _rows(stats: Stats) -> Iterator[tuple[str, str]]:
    """Yield names and values; what is by reason follows what it is the sum of."""
    for field in dataclasses.fields(stats):
        value: object = getattr(stats, field.name)
        if isinstance(value, Mapping):
            for reason, count in cast("Mapping[str, object]", value).items():
                yield f"  {visible(reason)}", _shown(count)
        elif field.name != "last_error":
            yield field.name, _shown(value)


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else visible(value)


async def _say_last_error(session: Session, stats: Stats) -> None:
    if stats.last_error is not None:
        await session.say(f"last_error: {visible(stats.last_error)}")


@click.option(
    "--timeout",
    "timeout_seconds",
    type=duration(_LONGEST_FLUSH_SECONDS),
    default="5s",
    metavar="5s",
    help="How long to wait, 5s by default.",
)
def _flush(context: click.Context, *, timeout_seconds: float) -> None:
    async def work(session: Session) -> None:
        delivered = await session.tasklog.aflush(timeout_seconds)
        stats = await asyncio.to_thread(session.tasklog.stats)
        if stats.lag_seconds is None:
            await session.say("Nothing is exported: there is nothing to deliver.")
        elif delivered:
            await session.say("All that was logged before is delivered or refused.")
        else:
            pending = count_of(stats.pending)
            await session.say(f"Not all in {timeout_seconds:g} s: {pending} pending.")
            await _say_last_error(session, stats)

    run(context, work)
