"""What a process replies, read with care.

Nothing of it is larger, or waited for longer, than is said here; and what is no reply
of ours is an `Unreachable`, whoever made it.
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click  # noqa: TID253 - see _commands

from otel_tasklog._errors import QueryError
from otel_tasklog._text import cut, visible
from otel_tasklog.cli._failures import Failure, Unreachable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    import httpx2

__all__ = ["get", "gone", "lines_of", "reply_to", "silent", "unknown"]

REPLY_BYTES: Final = 64 * 1024 * 1024
"""Of one reply, and of one line of a tail."""

SAID_CHARACTERS: Final = 300

_OTHERS: Final = "no process with otel_tasklog answers there: see 'otel-tasklog ps'"


def unknown(where: str) -> Unreachable:
    """Return what to say of something that answers as no process of ours does."""
    return Unreachable(f"{where}: {_OTHERS}", state="unknown")


def silent(where: str, seconds: float) -> Unreachable:
    """Return what to say of a process that does not answer in time."""
    return Unreachable(
        f"{where} did not answer within {seconds:g} s: it is stopped, or very busy; "
        "try again"
    )


def gone(where: str) -> Unreachable:
    """Return what to say of a process that has ended."""
    said = f"nothing listens at {where}: the process has ended; see 'otel-tasklog ps'"
    return Unreachable(said, state="gone")


def get(
    client: httpx2.Client,
    where: str,
    path: str,
    parameters: Mapping[str, object],
    seconds: float,
) -> Any:  # noqa: ANN401 - JSON
    """Return the JSON that a route answers; see `Peer.get`.

    Args:
        client: Asks.
        where: What is asked, for what is said of failures.
        path: The route.
        parameters: The route's; those that are None are left out.
        seconds: How long each step may take.
    """
    with reply_to(client, where, path, parameters, seconds) as answer:
        body = _body(answer, where, seconds)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise unknown(where) from None


@contextlib.contextmanager
def reply_to(
    client: httpx2.Client,
    where: str,
    path: str,
    parameters: Mapping[str, object],
    seconds: float,
) -> Generator[httpx2.Response]:
    """Ask as `get` does; give a good answer, its body still to be read."""
    texts = {n: _sent(value) for n, value in parameters.items() if value is not None}
    with contextlib.ExitStack() as stack:
        with _explained(where, seconds):
            stream = client.stream("GET", path, params=texts, timeout=seconds)
            answer = stack.enter_context(stream)
        with _explained(where, seconds, answering=True):
            if answer.status_code != 200:
                _refuse(answer, where, texts.get("q", ""), seconds)
            yield answer


def _sent(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    # What the shell passed need not be UTF-8; no record has it, either.
    return str(value).encode(errors="replace").decode()


@contextlib.contextmanager
def _explained(
    where: str, seconds: float, *, answering: bool = False
) -> Generator[None]:
    import httpx2

    try:
        yield
    except httpx2.InvalidURL:  # the query is the only part that may be long
        raise click.UsageError("the query is too long: ask for less") from None
    except httpx2.TimeoutException:
        raise silent(where, seconds) from None
    except httpx2.ConnectError:
        raise gone(where) from None
    except httpx2.TransportError:
        if not answering:
            said = f"{where} hung up, or does not speak HTTP: {_OTHERS}"
            raise Unreachable(said, state="unknown") from None
        raise Unreachable(
            f"{where} broke off in the middle of an answer: the process has ended; "
            "see 'otel-tasklog ps', and ask again"
        ) from None


def _refuse(
    answer: httpx2.Response, where: str, query: str, seconds: float
) -> NoReturn:
    """Raise what an answer that is a problem means."""
    try:
        problem: object = json.loads(_body(answer, where, seconds))
    except (ValueError, RecursionError):
        problem = None
    match problem:
        case {"error": str(error), "column": int(column)} if (
            answer.status_code == 400 and 1 <= column <= len(query) + 1
        ):
            raise QueryError(query, column, error[:SAID_CHARACTERS])
        case {"error": str(error)}:
            said = f"{where}: {cut(visible(error), SAID_CHARACTERS)}"
        case _:
            raise unknown(where)
    match answer.status_code:
        case 400 | 414:
            raise click.UsageError(said)
        case 404:
            raise Failure(said)
        case _:
            raise Unreachable(said, state="refused")


def _body(answer: httpx2.Response, where: str, seconds: float) -> bytes:
    deadline = time.monotonic() + seconds
    body = bytearray()
    for chunk in answer.iter_raw():
        body += chunk
        if len(body) > REPLY_BYTES:
            raise _endless(where)
        if time.monotonic() > deadline:
            raise silent(where, seconds)
    return bytes(body)


def lines_of(answer: httpx2.Response, where: str) -> Iterator[bytes]:
    """Yield an answer's lines as they come, but empty ones."""
    rest = bytearray()
    for chunk in answer.iter_raw():
        rest += chunk
        if b"\n" in chunk:
            *lines, last = bytes(rest).split(b"\n")
            rest = bytearray(last)
            yield from filter(None, lines)
        if len(rest) > REPLY_BYTES:
            raise _endless(where)
    if rest:
        yield bytes(rest)


def _endless(where: str) -> Unreachable:
    return Unreachable(
        f"{where} answered more than {REPLY_BYTES >> 20} MiB: ask for less",
        state="unknown",
    )
