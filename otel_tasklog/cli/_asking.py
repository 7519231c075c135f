"""What the commands that show records have in common: what is asked, and where.

The query is the rest of the command line: ``otel-tasklog query task:order-1 timeout``.
"""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING, Final, TypeVar

import click  # noqa: TID253 - see _commands

from otel_tasklog.cli._peer_source import PeerSource
from otel_tasklog.store._moments import read_moment
from otel_tasklog.store._query import Query
from otel_tasklog.store._spelling import UnfitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from otel_tasklog.cli._choose import Chosen
    from otel_tasklog.cli._source import Source

__all__ = [
    "STDIN",
    "each_of",
    "file_option",
    "json_option",
    "loki_option",
    "query_argument",
    "read_query",
    "since_option",
    "sources_of",
    "until_option",
]

STDIN: Final = "-"

_T = TypeVar("_T")
_From = TypeVar("_From")


def _moment(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> datetime.datetime | None:
    """Return the moment that an option means, as of now."""
    if text is None:
        return None
    try:
        ns = read_moment(text).at(time.time_ns())
        return datetime.datetime.fromtimestamp(ns / 1e9, datetime.UTC)
    except UnfitError as unfit:
        raise click.BadParameter(f"{text!r}: {unfit}") from None
    except (OverflowError, ValueError, OSError):
        raise click.BadParameter(f"{text!r}: there is no such date") from None


query_argument = click.argument("words", metavar="[QUERY]", nargs=-1)
file_option = click.option(
    "--file",
    "files",
    multiple=True,
    metavar="FILE",
    type=click.Path(allow_dash=True),
    help="Read this file instead of asking processes, - for standard input: NDJSON or "
    "OTLP/JSON, also compressed with gzip. May be given more than once.",
)
loki_option = click.option(
    "--loki",
    metavar="URL",
    help="Ask this Loki instead of processes: http://localhost:3100. --service says "
    "whose records. OTEL_TASKLOG_LOKI_TENANT, _TOKEN, _USERNAME and _PASSWORD say who "
    "asks.",
)
since_option = click.option(
    "--since",
    metavar="MOMENT",
    callback=_moment,
    help="Not older than this: 90s, 5m, 2h, 1d, 12:30, 2026-01-31T12:30Z.",
)
until_option = click.option(
    "--until", metavar="MOMENT", callback=_moment, help="Older than this; likewise."
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line, as the API's."
)


def read_query(
    words: Sequence[str],
    *,
    since: datetime.datetime | None = None,
    until: datetime.datetime | None = None,
    limit: int | None,
    newest_first: bool,
) -> Query:
    """Return what a command line asks for.

    Args:
        words: Of the query; they are one text.
        since: Of ``--since``.
        until: Of ``--until``.
        limit: How many records at most.
        newest_first: Which come first.

    Raises:
        QueryError: The text means nothing.
    """
    return Query.parse(
        " ".join(words),
        since=since,
        until=until,
        limit=limit,
        newest_first=newest_first,
    )


def sources_of(
    chosen: Chosen, files: Sequence[str], loki: str | None = None
) -> list[Source]:
    """Return the files, the Loki, or if there is neither the processes that were chosen.

    Raises:
        click.UsageError: There are both, or options that do not go with them.
        Unreachable: No process answers.
    """
    if loki is not None:
        from otel_tasklog.cli._loki_source import loki_sources

        return [*loki_sources(loki, chosen, files)]
    if not files:
        return [*map(PeerSource, chosen.peers())]
    from otel_tasklog.cli._files import FileSource

    return [FileSource(path, chosen.note) for path in dict.fromkeys(files)]


def each_of(
    sources: Sequence[_From], read: Callable[[_From], Iterator[_T]], chosen: Chosen
) -> list[Iterator[_T]]:
    """Return what is read from each source.

    One of several that fails costs the others nothing: it gets a line on stderr, and
    the command ends with status 1.
    """
    if len(sources) == 1:
        return [read(sources[0])]
    return [_until_it_fails(read(source), chosen) for source in sources]


def _until_it_fails(stream: Iterator[_T], chosen: Chosen) -> Iterator[_T]:
    try:
        yield from stream
    except click.ClickException as failure:
        chosen.note(failure)
