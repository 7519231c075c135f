"""What processes answer of their live tasks: read with care, and shown alike."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar, cast

from otel_tasklog._text import printable_json
from otel_tasklog.cli._console import make_console
from otel_tasklog.cli._failures import FAILED, complain
from otel_tasklog.cli._replies import unknown
from otel_tasklog.viewer._members import Members
from otel_tasklog.viewer._openapi import RECORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from otel_tasklog.cli._choose import Chosen
    from otel_tasklog.cli._client import Peer

__all__ = ["print_json", "print_texts", "read_answer", "show_lists"]

T = TypeVar("T")


class _Listed(NamedTuple, Generic[T]):
    """What one process lists.

    Attributes:
        peer: The process.
        answers: Each as it answered it.
        values: The same, read.
        total: How many there are.
        complete: Whether it had the time to look at all.
    """

    peer: Peer
    answers: list[Mapping[str, object]]
    values: list[T]
    total: int
    complete: bool


def show_lists(
    chosen: Chosen,
    path: str,
    name: str,
    read: Callable[[Mapping[str, object]], list[T]],
    lines: Callable[[Sequence[T], int], Iterable[str]],
    *,
    as_json: bool,
    fewer: str = "",
    **parameters: object,
) -> None:
    """Print what the chosen processes list, and say on stderr what more there is.

    The command ends with status 1 if that is nothing.

    Args:
        chosen: The processes.
        path: The route.
        name: The member of its answer that is the list.
        read: Returns the values of an answer; raises ValueError if it is none.
        lines: Makes lines of them, of a terminal's width.
        as_json: Whether to print each as one JSON object on a line instead.
        fewer: What to do about more than can ever be shown.
        **parameters: The route's, ``limit`` among them.

    Raises:
        click.ClickException: No process can be asked.
        QueryError: The query means nothing.
    """

    def ask(peer: Peer) -> _Listed[T]:
        def listed(answer: Mapping[str, object]) -> _Listed[T]:
            members = Members(answer)
            values, answers = read(answer), members.objects(name)
            complete = members.value("complete") is True
            return _Listed(peer, answers, values, members.count("total"), complete)

        return read_answer(peer, peer.get(path, **parameters), listed)

    advice = "-n says how many at most"
    if parameters["limit"] == RECORDS:
        advice = f"no more can be{fewer}"
    found = [listed for _, listed in chosen.each(ask)]
    for each in found:
        if not each.complete:
            complain(f"{each.peer.name} had no time to look at all that it has")
        elif each.total > len(each.values):
            complain(
                f"{each.peer.name}: shown are {len(each.values)} of {each.total} "
                f"{name}; {advice}"
            )
    some = [each for each in found if each.values]
    if as_json:
        print_json((each.peer, answer) for each in some for answer in each.answers)
    else:
        print_texts([(each.peer, _lines(lines, each.values)) for each in some])
    if not some:
        sys.exit(FAILED)


def _lines(
    lines: Callable[[Sequence[T], int], Iterable[str]], values: Sequence[T]
) -> Callable[[int], Iterable[str]]:
    return lambda width: lines(values, width)


def read_answer(
    peer: Peer, answer: object, read: Callable[[Mapping[str, object]], T]
) -> T:
    """Return what an answer says.

    Args:
        peer: Whose it is.
        answer: Its JSON.
        read: Reads it; raises ValueError if it is none.

    Raises:
        Unreachable: It is none.
    """
    try:
        if isinstance(answer, Mapping):
            return read(cast("Mapping[str, object]", answer))
    except (ValueError, OverflowError, RecursionError):
        pass
    raise unknown(peer.name)


def print_json(answers: Iterable[tuple[Peer, Mapping[str, object]]]) -> None:
    """Print each as one JSON object on a line, with whose it is."""
    for peer, answer in answers:
        who = {"service_name": peer.info.service_name, "pid": peer.info.pid}
        print(printable_json(json.dumps({**who, **answer})))


def print_texts(
    texts: Sequence[tuple[Peer, Callable[[int], Iterable[str]]]],
) -> None:
    """Print the text of each process, below its name if there are several.

    Args:
        texts: The processes, and what makes the lines of each for the width of the
            terminal. A pipe has no width.
    """
    console = make_console()
    width = console.width if console.is_terminal else sys.maxsize
    for number, (peer, lines) in enumerate(texts):
        if len(texts) > 1:
            print(f"\n{peer.name}:" if number else f"{peer.name}:")
        for line in lines(width):
            print(line)
