"""``otel-tasklog export``: all that processes or files have, for other programs."""

from __future__ import annotations

import contextlib
import os
import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click  # noqa: TID253 - see _commands

from otel_tasklog.cli._asking import (
    each_of,
    file_option,
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

if TYPE_CHECKING:
    import datetime
    from collections.abc import Generator, Iterator

    from otel_tasklog.cli._choose import Chosen
    from otel_tasklog.cli._source import Entry

__all__ = ["export"]

NDJSON: Final = "ndjson"
OTLP_JSON: Final = "otlp-json"
TEXT: Final = "text"


@click.command("export")
@query_argument
@choosing
@file_option
@loki_option
@click.option(
    "--format",
    "form",
    type=click.Choice([NDJSON, OTLP_JSON, TEXT]),
    default=NDJSON,
    show_default=True,
    help="The records as the API has them, requests of OTLP/JSON, or lines as tail's.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(),
    help="Write to this file instead of standard output; it is overwritten.",
)
@since_option
@until_option
def export(  # noqa: PLR0913 - as many as there are options
    words: tuple[str, ...],
    *,
    chosen: Chosen,
    files: tuple[str, ...],
    loki: str | None,
    form: str,
    output: str | None,
    since: datetime.datetime | None,
    until: datetime.datetime | None,
) -> None:
    """Write the records that a query asks for, the oldest first, however many.

    What is logged after the command has begun is no part of it. 'otel-tasklog tail
    FILE' and 'otel-tasklog query --file FILE' read ndjson and otlp-json again, and a
    collector takes otlp-json.

    Exit status: 0 if something was found, 1 if not, 2 for bad usage, 3 if no process
    can be asked.
    """
    asked = read_query(words, since=since, until=until, limit=None, newest_first=False)
    sources = sources_of(chosen, files, loki)
    streams = each_of(sources, lambda source: source.select(asked), chosen)
    entries = merged(streams, newest_first=False)
    first = next(entries, None)
    if first is None:
        complain("no record matches")
        sys.exit(FAILED)
    with _into(output):
        _write(chain((first,), entries), form, named=len(sources) > 1)


def _write(entries: Iterator[Entry], form: str, *, named: bool) -> None:
    if form == OTLP_JSON:
        from otel_tasklog.cli._requests import requests

        for request in requests(entries):
            sys.stdout.write(request)
        return
    from otel_tasklog.cli._console import make_console
    from otel_tasklog.cli._print import Printer

    printer = Printer(make_console(), as_json=form == NDJSON, named=named)
    for entry in entries:
        printer.show(entry)


@contextlib.contextmanager
def _into(path: str | None) -> Generator[None]:
    """Have a file take what is printed, if one is named."""
    if path is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(
                Path(path).open("w", encoding="utf-8", errors="backslashreplace")
            )
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise click.UsageError(f"cannot write {path}: {reason}") from None
        stack.enter_context(contextlib.redirect_stdout(file))
        yield
