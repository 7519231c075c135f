"""``otel-tasklog query``: records that processes or files have."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING

import click  # noqa: TID253 - see _commands

from otel_tasklog.cli._asking import (
    each_of,
    file_option,
    json_option,
    loki_option,
    query_argument,
    read_query,
    since_option,
    sources_of,
    until_option,
)
from otel_tasklog.cli._choose import choosing
from otel_tasklog.cli._failures import FAILED, complain
from otel_tasklog.cli._merge import merged
from otel_tasklog.viewer._openapi import RECORDS

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    from otel_tasklog.cli._choose import Chosen
    from otel_tasklog.cli._print import Printer
    from otel_tasklog.cli._source import Found

__all__ = ["query"]


@click.command("query")
@query_argument
@choosing
@file_option
@loki_option
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="How many records at most: the newest ones.",
)
@click.option("--oldest", is_flag=True, help="The oldest ones instead.")
@since_option
@until_option
@click.option(
    "-C",
    "--context",
    type=click.IntRange(0, RECORDS),
    default=0,
    metavar="N",
    help="Also show N records before and after each, whatever they say.",
)
@json_option
def query(  # noqa: PLR0913 - as many as there are options
    words: tuple[str, ...],
    *,
    chosen: Chosen,
    files: tuple[str, ...],
    loki: str | None,
    limit: int,
    oldest: bool,
    since: datetime.datetime | None,
    until: datetime.datetime | None,
    context: int,
    as_json: bool,
) -> None:
    """Show the records in memory that a query asks for, the oldest first.

    QUERY is as in 'level>=warning task:import-* "connection refused"'; without one
    there are all. A process answers with what it has in memory, Loki with what has
    reached it.

    Exit status: 0 if something was found, 1 if not, 2 for bad usage, 3 if no process
    can be asked.
    """
    from otel_tasklog.cli._console import make_console
    from otel_tasklog.cli._print import Printer

    asked = read_query(
        words, since=since, until=until, limit=limit, newest_first=not oldest
    )
    sources = sources_of(chosen, files, loki)
    streams = each_of(
        sources, lambda source: source.select_with_context(asked, context), chosen
    )
    found = [*islice(merged(streams, newest_first=not oldest), limit)]
    if not oldest:
        found.reverse()
    printer = Printer(make_console(), as_json=as_json, named=len(sources) > 1)
    if not found:
        complain("no record matches")
        sys.exit(FAILED)
    if not context:
        for each in found:
            printer.show(each.entry)
    else:
        _show_with_context(found, printer)


def _show_with_context(found: Sequence[Found], printer: Printer) -> None:
    """Print what was found and what is around it, each record once."""
    matching = {each.entry.key for each in found}
    shown: set[tuple[str, str]] = set()
    last = None
    for each in found:
        fresh = [entry for entry in each.around if entry.key not in shown]
        goes_on = last == each.entry.source and len(fresh) < len(each.around)
        if shown and fresh and not goes_on:
            printer.separate()
        for entry in fresh:
            printer.show(entry, matches=entry.key in matching)
        shown.update(entry.key for entry in fresh)
        last = each.entry.source
