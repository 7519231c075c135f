"""``otel-tasklog tail``: records as they come."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final

import click  # noqa: TID253 - see _commands

from otel_tasklog.cli._asking import (
    STDIN,
    each_of,
    file_option,
    json_option,
    loki_option,
    query_argument,
    read_query,
    since_option,
    sources_of,
)
from otel_tasklog.cli._choose import choosing
from otel_tasklog.cli._failures import FAILED, complain
from otel_tasklog.cli._merge import Reorder, merged
from otel_tasklog.cli._peer_source import PeerSource, PeerTail
from otel_tasklog.cli._watch import Watch
from otel_tasklog.store._expression import And
from otel_tasklog.store._terms import Time

if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence

    from otel_tasklog.cli._choose import Chosen
    from otel_tasklog.cli._print import Printer
    from otel_tasklog.store._query import Query

__all__ = ["tail"]

BACKLOG: Final = 10

_OF_FILES: Final = (".json", ".jsonl", ".ndjson", ".gz")


@click.command("tail")
@query_argument
@choosing
@file_option
@loki_option
@click.option(
    "-n",
    "--backlog",
    type=click.IntRange(min=0),
    metavar="N",
    help="Begin with the newest N that there are.  [default: 10; with a time to begin "
    "from, or of a file, all]",
)
@since_option
@json_option
def tail(
    words: Sequence[str],
    *,
    chosen: Chosen,
    files: Sequence[str],
    loki: str | None,
    backlog: int | None,
    since: datetime.datetime | None,
    as_json: bool,
) -> None:
    """Show records as they come, until Ctrl-C.

    QUERY is as in 'level>=warning task:import-*'; without one all are shown. When a
    process ends, the next one of its service is followed.

    If the first word is the name of a file, or -, it stands for --file. A file is shown
    to its end.

    Exit status: 130 after Ctrl-C, 2 for bad usage, 3 if no process can be asked. Of a
    file: 0 if something was found, 1 if not.
    """
    from otel_tasklog.cli._console import make_console
    from otel_tasklog.cli._print import Printer

    if words and _is_file(words[0]):
        files, words = (words[0], *files), words[1:]
    elif words and words[0].endswith(_OF_FILES):
        complain(f"there is no file {words[0]}: it is taken for a query")
    asked = read_query(words, since=since, limit=None, newest_first=False)
    if backlog is None and not (files or _has_beginning(asked)):
        backlog = BACKLOG
    if backlog is not None:
        asked = dataclasses.replace(asked, limit=backlog, newest_first=True)
    printer = Printer(make_console(), as_json=as_json, named=len(files) > 1)
    if loki is not None:
        _follow_loki(loki, chosen, files, asked, printer)
    elif files:
        _show_files(chosen, files, asked, printer)
    else:
        _follow(chosen, asked, printer)


def _has_beginning(query: Query) -> bool:
    """Return whether it asks for nothing before some time, by whichever means."""
    terms = query.where.parts if isinstance(query.where, And) else (query.where,)
    return query.since is not None or any(
        isinstance(term, Time) and term.operator in {">", ">="} for term in terms
    )


def _is_file(word: str) -> bool:
    return word == STDIN or os.path.isfile(word)  # noqa: PTH113 - it takes any text


def _show_files(
    chosen: Chosen, files: Sequence[str], query: Query, printer: Printer
) -> None:
    sources = sources_of(chosen, files)
    streams = each_of(sources, lambda source: source.select(query), chosen)
    entries = merged(streams, newest_first=query.newest_first)
    if query.newest_first:
        entries = reversed([*islice(entries, query.limit)])
    found = False
    for entry in entries:
        found = True
        printer.show(entry)
        if STDIN in files:  # somebody may still be writing it
            printer.flush()
    if not found:
        complain("no record matches")
        sys.exit(FAILED)


def _follow_loki(
    url: str, chosen: Chosen, files: Sequence[str], query: Query, printer: Printer
) -> None:
    from otel_tasklog.cli._loki_source import loki_sources

    source, *others = loki_sources(url, chosen, files)
    if others:
        raise click.UsageError(
            "with --loki, one --service is followed: run one tail for each"
        )
    with contextlib.closing(source.follow(query)) as entries:
        for entry in entries:
            printer.show(entry)
            printer.flush()


def _follow(chosen: Chosen, query: Query, printer: Printer) -> None:
    watch = Watch(chosen, query)
    tails = [PeerTail(PeerSource(peer), query) for peer in chosen.peers()]
    printer.named = len(tails) > 1
    backlog = merged(each_of(tails, PeerTail.backlog, chosen), newest_first=False)
    for entry in backlog if query.limit is None else deque(backlog, query.limit):
        printer.show(entry)
    printer.flush()
    reorder = Reorder()
    with contextlib.closing(watch):
        watch.start(tails)
        try:
            for each in watch.entries(reorder):
                if each is None:
                    printer.flush()
                    continue
                printer.named = watch.several
                printer.show(each)
        except KeyboardInterrupt:
            for entry in reorder.rest():
                printer.show(entry)
            raise
