"""All processes asked at once who they are, and what is said of those not there."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from otel_tasklog._text import cut, visible
from otel_tasklog.cli._background import begin
from otel_tasklog.cli._client import NAME_CHARACTERS, Peer, open_place
from otel_tasklog.cli._failures import Unreachable
from otel_tasklog.cli._replies import silent
from otel_tasklog.viewer._places import (
    DIRECTORY_VARIABLE,
    Place,
    is_running,
    runtime_directory,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from concurrent.futures import Future

__all__ = ["Answer", "ask_all", "no_place", "no_service", "nobody"]

Answer: TypeAlias = tuple[Place | None, Peer | Unreachable]
"""What became of one: its access point, unless there is none; and who it is, or why
that is not known."""

_SHOWN_SERVICES: Final = 10


def ask_all(
    places: Iterable[Place], seconds: float
) -> list[tuple[Place, Peer | Unreachable]]:
    """Ask the processes at some access points who they are.

    Args:
        places: The access points.
        seconds: How long to wait, for all together.
    """
    deadline = time.monotonic() + seconds
    begun = [
        (place, begin(partial(open_place, place, seconds=seconds))) for place in places
    ]
    answers: list[tuple[Place, Peer | Unreachable]] = []
    for place, answer in begun:
        try:
            answers.append((place, answer.result(max(deadline - time.monotonic(), 0))))
        except Unreachable as failure:
            answers.append((place, failure))
        except TimeoutError:  # it sends, but so slowly that each step is in time
            answer.add_done_callback(_hang_up)
            answers.append((place, silent(visible(place.path), seconds)))
    return answers


def _hang_up(late: Future[Peer]) -> None:
    if late.exception() is None:
        late.result().close()


def no_place(pid: int) -> Unreachable:
    """Return what to say of a process that was named, and cannot be asked."""
    if not is_running(pid):
        return Unreachable(f"there is no process {pid}: see 'otel-tasklog ps'")
    return Unreachable(
        f"process {pid} has no access point: it needs otel-tasklog[attach], a first "
        f"record, the same user and {DIRECTORY_VARIABLE}, and no OTEL_TASKLOG_ATTACH=0"
    )


def no_service(service: str, others: Collection[str]) -> Unreachable:
    """Return what to say of a service that was named, and that no process is of."""
    if not others:
        return nobody()
    names = [cut(visible(each), NAME_CHARACTERS) for each in sorted(others)]
    if len(names) > _SHOWN_SERVICES:
        names[_SHOWN_SERVICES:] = ["..."]
    return Unreachable(
        f"no process is of the service {service!r}: there are {', '.join(names)}"
    )


def nobody() -> Unreachable:
    """Return what to say if there is no process at all."""
    return Unreachable(
        "there is no process to ask: it needs otel-tasklog[attach], a first record, and "
        f"an access point in {runtime_directory(os.environ)} (OTEL_TASKLOG_ATTACH, "
        f"{DIRECTORY_VARIABLE})"
    )
