"""A record as lines of text, for a terminal of some width.

No text of a record can start a line that looks like another record, or holds a
character that a terminal obeys.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from otel_tasklog._text import CONTINUED, continued, fold, visible

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator

    from otel_tasklog.capture._record import TaskRecord

__all__ = ["RECORD_LINES", "folded", "record_lines"]

RECORD_LINES: Final = 60
"""At most so many lines of one record; a longer one says how much is left out."""


def record_lines(
    record: TaskRecord, *, width: int, now: datetime.datetime
) -> Iterator[str]:
    """Yield a record's line, and what it has of further lines and tracebacks.

    Args:
        record: The record.
        width: The terminal's, in cells. No line is wider, so that the terminal wraps
            none: a wrapped line could pass for a record.
        now: In the time zone to show. Records of another day show their date.
    """
    first, *more = record.message.replace("\r\n", "\n").split("\n")
    head = (
        f"{_clock(record, now)} {visible(record.severity_text)} {_who(record)} "
        f"{visible(record.logger)}: {visible(first.expandtabs(4))}"
    )
    lines = folded(head, width)
    for text in ("\n".join(more), record.exception_stacktrace, record.stack_info):
        if text:
            lines = chain(lines, continued(text.removesuffix("\n"), width))
    yield from islice(lines, RECORD_LINES)
    left_out = sum(1 for _ in lines)
    if left_out:
        yield f"{CONTINUED}({left_out} more lines)"


def folded(line: str, width: int) -> Iterator[str]:
    """Yield a printable line in pieces that fit, each after the first with a mark."""
    pieces = fold(line, width, width - len(CONTINUED))
    yield next(pieces)
    for piece in pieces:
        yield CONTINUED + piece


def _clock(record: TaskRecord, now: datetime.datetime) -> str:
    local = record.time.astimezone(now.tzinfo)
    date = "" if local.date() == now.date() else f"{local:%m-%d} "
    return f"{date}{local:%H:%M:%S}.{local.microsecond // 1000:03}"


def _who(record: TaskRecord) -> str:
    who = record.who
    if who.number is None:
        return "-"
    return f"#{who.number} {visible(who.name or '')}".rstrip()
