"""``otel-tasklog receive``: what any program sends, as lines."""

from __future__ import annotations

import datetime
import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from rich.console import Console  # noqa: TID253 - see _commands
from rich.text import Text  # noqa: TID253

from otel_tasklog._text import printable_json, visible
from otel_tasklog.cli._lines import print_continued, print_record
from otel_tasklog.delivery._decode import plain
from otel_tasklog.viewer import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from otel_tasklog.delivery._decode import DecodedRecord

__all__ = ["receive"]

_STYLES = ((21, "bold red"), (17, "red"), (13, "yellow"), (9, "green"), (0, "dim"))
_SHOWN_ELSEWHERE = {"task_id", "exception.stacktrace"}


def receive(*, host: str, port: int, as_json: bool) -> None:
    """Serve until SIGINT or SIGTERM, printing each record.

    Raises:
        OSError: The port cannot be had.
    """
    show = _print_json if as_json else _printer(Console(highlight=False))
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    def print_all(records: list[DecodedRecord]) -> None:
        # Not by the default action of SIGPIPE: a client that hangs up raises it, too.
        try:
            show(records)
        except (BrokenPipeError, SystemExit):  # nobody reads it; rich says it so
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    with Receiver(print_all, host=host, port=port) as receiver:
        # On stderr, so that stdout holds records alone.
        print(f"listening on {receiver.endpoint}", file=sys.stderr, flush=True)
        # Not for ever: a wait without a time cannot be interrupted on Windows.
        while not ended.wait(1.0):
            pass


def _print_json(records: list[DecodedRecord]) -> None:
    lines = (printable_json(json.dumps(record.to_dict())) for record in records)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _printer(console: Console) -> Callable[[list[DecodedRecord]], None]:
    def show(records: list[DecodedRecord]) -> None:
        for decoded in records:
            print_record(console, _line(decoded))
            stacktrace = decoded.attributes.get("exception.stacktrace")
            if stacktrace:
                print_continued(console, str(stacktrace).rstrip())

    return show


def _line(decoded: DecodedRecord) -> Text:
    record = decoded.record
    seconds, nanoseconds = divmod(record.time_unix_nano, 1_000_000_000)
    clock = datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%H:%M:%S")
    number = record.severity_number  # below 0, too, if somebody sends it
    style = next((style for least, style in _STYLES if number >= least), "dim")
    task_id = decoded.attributes.get("task_id")
    line = Text(f"{clock}.{nanoseconds // 1_000_000:03} ", "dim")
    line.append(f"{visible(record.severity_text):<8} ", style)
    line.append(f"{visible(task_id if task_id is not None else '-')} ", "cyan")
    line.append(f"{visible(decoded.scope)}: ", "blue")
    line.append(visible(decoded.body))
    if record.trace_id:
        line.append(f" trace={record.trace_id.hex()[:8]}", "dim")
    for key, value in decoded.attributes.items():
        if key not in _SHOWN_ELSEWHERE:
            line.append(f" {visible(key)}=", "dim")
            line.append(visible(plain(value)), "dim")
    return line
