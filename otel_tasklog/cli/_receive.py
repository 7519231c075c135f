"""``otel-tasklog receive``: what any program sends, as lines."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from otel_tasklog._text import printable_json
from otel_tasklog.capture._record import TaskRecord
from otel_tasklog.cli._console import make_console
from otel_tasklog.cli._lines import print_record
from otel_tasklog.viewer import Receiver
from otel_tasklog.viewer._otlp_read import OtlpRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from rich.console import Console

    from otel_tasklog.delivery._decode import DecodedRecord

__all__ = ["receive"]


def receive(*, host: str, port: int, as_json: bool) -> None:
    """Serve until SIGINT or SIGTERM, printing each record.

    Raises:
        OSError: The port cannot be had.
    """
    show = _print_json if as_json else _printer(make_console())
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    def print_all(records: list[DecodedRecord]) -> None:
        # Not by the default action of SIGPIPE: a client that hangs up raises it, too.
        try:
            show(records)
        except BrokenPipeError:  # nobody reads it
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
        for each in records:
            print_record(console, TaskRecord(OtlpRecord.of(each).sealed(0)))
        console.file.flush()

    return show
