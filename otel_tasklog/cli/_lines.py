"""A record as a person reads it: the same wherever it comes from.

No text of a record can start a line, or holds a character that a terminal obeys.
"""

from __future__ import annotations

import datetime
import itertools
import sys
import zlib
from typing import TYPE_CHECKING, Final

from rich.text import Text  # noqa: TID253 - see _commands

from otel_tasklog._text import CONTINUED, continued, fold, visible
from otel_tasklog.viewer._record_json import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from otel_tasklog.capture._record import TaskRecord

__all__ = ["print_record"]

_NARROWEST: Final = 20
_STYLES: Final = (
    (21, "bold red"), (17, "red"), (13, "yellow"), (9, "green"), (0, "dim"),
)  # fmt: skip
_SOURCE_STYLES: Final = ("magenta", "cyan", "green", "blue", "yellow", "red")


def print_record(
    console: Console, record: TaskRecord, *, source: str = "", mark: str = ""
) -> None:
    """Print a record: a line, and what it has of tracebacks below it.

    A terminal that would wrap a line gets it folded instead.

    Args:
        console: Where to.
        record: The record.
        source: Whose it is, if there are several; printable.
        mark: Stands before all; printable.
    """
    width = max(console.width, _NARROWEST) if console.is_terminal else sys.maxsize
    pieces = [(mark, "bold"), *_pieces(record, source)]
    below = [line for text in _below(record) for line in continued(text, width)]
    if not console.is_terminal:
        # As rich would, at a tenth of what that costs.
        plainly = "".join(text for text, _ in pieces)
        console.file.write("\n".join((plainly, *below, "")))
        return
    line = Text.assemble(*pieces)
    folds = fold(line.plain, width, width - len(CONTINUED))
    *ends, _ = itertools.accumulate(map(len, folds))
    folded = Text(f"\n{CONTINUED}").join(line.divide(ends))
    for each in below:
        folded.append(f"\n{each}", "dim")
    console.print(folded, soft_wrap=True)


def _pieces(record: TaskRecord, source: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of a record's line, and the style of each."""
    origin, task_id = record.origin, record.task_id
    number = origin.severity_number  # below 0, too, if somebody sends it
    if source:
        style = _SOURCE_STYLES[zlib.crc32(source.encode()) % len(_SOURCE_STYLES)]
        yield f"{source} ", style
    yield f"{_clock(record.timestamp_ns)} ", "dim"
    style = next((style for least, style in _STYLES if number >= least), "dim")
    yield f"{visible(origin.severity_text):<8} ", style
    yield f"{visible(task_id if task_id is not None else '-')} ", "cyan"
    yield f"{visible(origin.logger)}: ", "blue"
    yield visible(record.message), ""
    if record.trace_id is not None:
        yield f" trace={record.trace_id[:8]}", "dim"
    for key, value in record.attributes.items():
        yield f" {visible(key)}={visible(plain(value))}", "dim"


def _below(record: TaskRecord) -> Iterator[str]:
    rest = record.rest
    if rest.exception_stacktrace:
        yield rest.exception_stacktrace.rstrip()
    elif rest.exception_type or rest.exception_message:
        yield ": ".join(filter(None, (rest.exception_type, rest.exception_message)))
    if rest.stack_info:
        yield rest.stack_info.rstrip()


def _clock(timestamp_ns: int) -> str:
    """Return a time of this time zone, with its date unless that is today's."""
    seconds, nanoseconds = divmod(timestamp_ns, 1_000_000_000)
    local = datetime.datetime.fromtimestamp(seconds, datetime.UTC).astimezone()
    today = datetime.datetime.now(datetime.UTC).astimezone().date()
    shown = f"{local:%H:%M:%S}.{nanoseconds // 1_000_000:03}"
    return shown if local.date() == today else f"{local:%Y-%m-%d} {shown}"
