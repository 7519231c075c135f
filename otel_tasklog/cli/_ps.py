"""``otel-tasklog ps``: the processes that can be asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, cast

import click  # noqa: TID253 - see _commands

from otel_tasklog._text import cut, printable_json, visible
from otel_tasklog.cli._choose import choosing
from otel_tasklog.cli._client import NAME_CHARACTERS, Peer
from otel_tasklog.cli._columns import duration, in_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_tasklog.cli._choose import Answer, Chosen
    from otel_tasklog.cli._failures import Unreachable
    from otel_tasklog.viewer._places import Place

__all__ = ["ps"]

_HEADER: Final = (
    "SERVICE", "PID", "UPTIME", "KEPT", "CAPTURED", "LAG", "STATE", "MONITOR",
)  # fmt: skip
_NUMBERS: Final = range(1, 6)
_WELL: Final = "ok"


@click.command("ps")
@choosing
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def ps(chosen: Chosen, as_json: bool) -> None:  # noqa: FBT001
    """List the running processes that can be asked.

    For each: its service, how long it has been running, the records in its memory and
    those that it took in all, how old the oldest record is that the collector does not
    have yet (- if nothing is exported), and whether it answers. Where one has a telnet
    monitor, also at which port.

    Exit status: 0 if all answered, 1 if one did not, 2 for bad usage, 3 if there is
    none that answers.
    """
    answers = chosen.answers()
    for line in _as_json(answers) if as_json else _as_table(answers):
        print(line)
    chosen.report(answers)


def _as_json(answers: Iterable[Answer]) -> Iterable[str]:
    for place, answer in answers:
        if place is not None:
            yield printable_json(json.dumps(_described(place, answer)))


def _described(place: Place, answer: Peer | Unreachable) -> dict[str, object]:
    if isinstance(answer, Peer):
        return {**answer.info.answer, "path": str(place.path), "state": _WELL}
    return {
        "pid": place.pid,
        "path": str(place.path),
        "state": answer.state,
        "error": answer.message,
    }


def _as_table(answers: Iterable[Answer]) -> Iterable[str]:
    listed = [(place, answer) for place, answer in answers if place is not None]
    rows = [_row(place, answer) for place, answer in sorted(listed, key=_order)]
    if not rows:
        return ()
    shown = len(_HEADER) - (not any(row[-1] for row in rows))
    return in_columns([row[:shown] for row in (_HEADER, *rows)], right=_NUMBERS)


def _order(listed: tuple[Place, Peer | Unreachable]) -> tuple[bool, str, int]:
    place, answer = listed
    if isinstance(answer, Peer):
        return False, answer.info.service_name, answer.info.pid
    return True, "", place.pid


def _row(place: Place, answer: Peer | Unreachable) -> tuple[str, ...]:
    if not isinstance(answer, Peer):
        return ("-", str(place.pid or "-"), *["-"] * 4, answer.state, "")
    info = answer.info
    return (
        cut(visible(info.service_name), NAME_CHARACTERS) or "-",
        str(info.pid),
        duration(info.uptime_seconds),
        str(info.kept),
        str(info.captured),
        "-" if info.lag_seconds is None else duration(info.lag_seconds),
        _WELL,
        " ".join(_monitors(info.answer.get("monitors"))),
    )


def _monitors(said: object) -> Iterator[str]:
    for each in cast("list[object]", said) if isinstance(said, list) else ():
        match each:
            case {"host": str(host), "port": int(port)}:
                name = cut(visible(host), NAME_CHARACTERS)
                yield f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
            case _:
                pass
