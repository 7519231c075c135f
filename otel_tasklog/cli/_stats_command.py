"""``otel-tasklog stats``: what became of the records of running processes."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import click  # noqa: TID253 - see _commands

from otel_tasklog._text import cut, printable_json, visible
from otel_tasklog.cli._choose import choosing
from otel_tasklog.cli._client import NAME_CHARACTERS
from otel_tasklog.cli._columns import in_columns
from otel_tasklog.cli._console import make_console
from otel_tasklog.cli._replies import unknown
from otel_tasklog.cli._seconds import (
    LONGEST_PAUSE_SECONDS,
    SHORTEST_PAUSE_SECONDS,
    Seconds,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from otel_tasklog.cli._choose import Chosen
    from otel_tasklog.cli._client import Peer

__all__ = ["stats"]

Answer: TypeAlias = "tuple[Peer, Mapping[str, object]]"

_ROUTE: Final = "/v1/stats"
_LAST_ERROR: Final = "last_error"
_MISSING: Final = "-"
_INDENT: Final = "  "


@click.command("stats")
@choosing
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option(
    "--watch",
    "pause_seconds",
    type=Seconds(SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS),
    metavar="SECONDS",
    help="Ask again, each time after a pause, until Ctrl-C.",
)
def stats(chosen: Chosen, as_json: bool, pause_seconds: float | None) -> None:  # noqa: FBT001
    """Show what became of the records of running processes.

    How many were captured, delivered, rejected and dropped, by reason, and what is
    still pending, spooled or in memory; a column for each process.

    Exit status: 0 if all answered, 1 if one did not, 2 for bad usage, 3 if there is
    none that answers, 130 after Ctrl-C.
    """
    console = make_console()
    while True:
        answers = [(peer, _checked(peer, each)) for peer, each in chosen.ask(_ROUTE)]
        # What was said on stderr of a process that does not answer stays to be read.
        if pause_seconds is not None and console.is_terminal and not chosen.failed:
            console.clear()
        for line in _as_json(answers) if as_json else _as_table(answers):
            print(line)
        if pause_seconds is None:
            return
        print(end="" if as_json else "\n", flush=True)
        time.sleep(pause_seconds)


def _checked(peer: Peer, answer: object) -> Mapping[str, object]:
    if not isinstance(answer, dict):
        raise unknown(peer.name)
    return cast("dict[str, object]", answer)


def _as_json(answers: Iterable[Answer]) -> Iterator[str]:
    for peer, numbers in answers:
        who = {"service_name": peer.info.service_name, "pid": peer.info.pid}
        yield printable_json(json.dumps({**who, **numbers}))


def _as_table(answers: Sequence[Answer]) -> Iterator[str]:
    rows: list[Sequence[str]] = [["", *(peer.name for peer, _ in answers)]]
    columns = [numbers for _, numbers in answers]
    for name in dict.fromkeys(name for column in columns for name in column):
        if name != _LAST_ERROR:
            rows += _rows(name, [column.get(name) for column in columns])
    yield from in_columns(rows, right=range(1, len(rows[0])))
    for peer, numbers in answers:
        if numbers.get(_LAST_ERROR) is not None:
            yield f"{_LAST_ERROR} of {peer.name}: {visible(numbers[_LAST_ERROR])}"


def _rows(name: str, values: Sequence[object]) -> Iterator[tuple[str, ...]]:
    """Yield the row of a number, or one for each reason of the number before it."""
    counts = [
        cast("dict[str, object]", value) if isinstance(value, dict) else {}
        for value in values
    ]
    if not any(isinstance(value, dict) for value in values):
        yield (_short(name), *map(_cell, values))
    for reason in dict.fromkeys(reason for each in counts for reason in each):
        yield (_INDENT + _short(reason), *(_cell(each.get(reason)) for each in counts))


def _cell(value: object) -> str:
    return _MISSING if value is None else _short(value)


def _short(value: object) -> str:
    return cut(visible(value), NAME_CHARACTERS)
