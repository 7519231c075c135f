"""Asking another process, over its access point.

What answers is not to be trusted: another program may listen there, or the process
may be stopped, killed in the middle of an answer, or of another version. Each of
these is an `Unreachable`, whose one line says what to do.
"""

from __future__ import annotations

import dataclasses
import socket
from typing import TYPE_CHECKING, Any, Final, cast

import click  # noqa: TID253 - see _commands

from otel_tasklog._config import VERSION
from otel_tasklog._errors import MissingExtraError
from otel_tasklog._text import cut, visible
from otel_tasklog.cli._failures import Unreachable
from otel_tasklog.cli._replies import get, gone, lines_of, reply_to, silent, unknown
from otel_tasklog.viewer._places import read_address
from otel_tasklog.viewer._process_json import API

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpx2

    from otel_tasklog.viewer._places import Address, Place

__all__ = [
    "ANSWER_SECONDS",
    "NAME_CHARACTERS",
    "Peer",
    "ProcessInfo",
    "open_peer",
    "open_place",
]

ANSWER_SECONDS: Final = 2.0
"""A process that is well says who it is within this; it imports its server first."""

READ_SECONDS: Final = 40.0
"""More than a query may take, and than two signs of life of a tail are apart."""

NAME_CHARACTERS: Final = 40

_FOREVER: Final = 1e12


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ProcessInfo:
    """Who a process says it is.

    Attributes:
        pid: Its number, as it sees itself.
        service_name: Its service.
        version: Of otel_tasklog there.
        uptime_seconds: How long it has been running.
        kept: Records in its memory.
        captured: Records that it took so far.
        lag_seconds: The age of the oldest record that is not delivered yet; None if
            nothing is exported.
        answer: All that it said.
    """

    pid: int
    service_name: str
    version: str
    uptime_seconds: float
    kept: int
    captured: int
    lag_seconds: float | None
    answer: Mapping[str, object]


class Peer:
    """A process that answers, until it is closed. Threads may share it.

    Args:
        client: Asks it.
        place: Its access point.
        info: Who it is.

    Attributes:
        place: Its access point; None if it was reached without one.
        info: Who it is.
        name: ``service/pid``, printable and not long.
    """

    def __init__(
        self, client: httpx2.Client, place: Place | None, info: ProcessInfo
    ) -> None:
        self._client = client
        self.place: Final = place
        self.info: Final = info
        service = cut(visible(info.service_name), NAME_CHARACTERS)
        self.name: Final = f"{service}/{info.pid}"

    def get(self, path: str, **parameters: object) -> Any:  # noqa: ANN401 - JSON
        """Return the JSON that a route answers.

        Args:
            path: The route, such as ``/v1/stats``.
            **parameters: The route's; one that is None is left out.

        Raises:
            QueryError: The text of the query, ``q``, means nothing there.
            Failure: Something else that was asked for is refused.
            Unreachable: The process does not answer, or not as it should.
        """
        return get(self._client, self.name, path, parameters, READ_SECONDS)

    def lines(self, path: str, **parameters: object) -> Iterator[bytes]:
        """Yield the lines that a route answers as NDJSON, as they come.

        Empty lines, a tail's signs of life, are left out. Closing the iterator ends
        the request.

        Args:
            path: The route, such as ``/v1/tail``.
            **parameters: As for `get`.

        Raises:
            QueryError: As for `get`.
            Failure: As for `get`.
            Unreachable: As for `get`; also if nothing came for long.
        """
        asked = {**parameters, "format": "ndjson"}
        with reply_to(self._client, self.name, path, asked, READ_SECONDS) as answer:
            yield from lines_of(answer, self.name)

    def close(self) -> None:
        """Hang up."""
        self._client.close()


def open_place(place: Place, *, seconds: float = ANSWER_SECONDS) -> Peer:
    """Ask the process at an access point who it is; see `open_peer`."""
    try:
        address = read_address(place)
    except (OSError, ValueError) as error:
        raise Unreachable(_reason(error, place)) from None
    return open_peer(address, place, seconds=seconds)


def open_peer(
    address: Address, place: Place | None, *, seconds: float = ANSWER_SECONDS
) -> Peer:
    """Ask a process who it is.

    Args:
        address: How to reach it.
        place: Where that was read, if it was.
        seconds: How long each step may take.

    Raises:
        Unreachable: Nothing answers there, or nothing that is understood here.
    """
    port = f"{address.host}:{address.port}"
    where = visible(place.path if place is not None else address.uds or port)
    _knock(address, where, seconds)
    client = _client_for(address, where)
    try:
        answer = get(client, where, "/v1/process", {}, seconds)
        return Peer(client, place, _info(answer, where))
    except BaseException as error:
        client.close()
        if isinstance(error, click.ClickException) and type(error) is not Unreachable:
            raise unknown(where) from None  # there is no such route
        raise


def _reason(error: OSError | ValueError, place: Place) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{place.path}: {error.strerror}: see 'otel-tasklog ps'"
    return str(error)


def _client_for(address: Address, where: str) -> httpx2.Client:
    try:
        import httpx2
    except ImportError:
        raise MissingExtraError("the command line", "cli") from None
    import ssl

    headers = {"Accept-Encoding": "identity"}
    if address.token is not None:
        headers["Authorization"] = f"Bearer {address.token}"
    base = "http://localhost"
    if address.uds is None:
        base = f"http://{address.host}:{address.port}"
    # Nothing is asked by TLS; the usual context reads all authorities of the system.
    unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return httpx2.Client(
            transport=httpx2.HTTPTransport(verify=unused, uds=address.uds),
            base_url=base,
            headers=headers,
            trust_env=False,  # no proxy has anything to do with it
        )
    except (ValueError, httpx2.InvalidURL):
        raise unknown(where) from None


def _info(answer: object, where: str) -> ProcessInfo:
    fields = cast("dict[str, object]", answer) if isinstance(answer, dict) else {}
    match fields:
        case {"api": int(api)} if api != API:
            theirs = cut(visible(fields.get("version")), NAME_CHARACTERS)
            raise Unreachable(
                f"{where} speaks version {api} of the API (otel-tasklog {theirs}), "
                f"this command version {API} (otel-tasklog {VERSION}): use the "
                "otel-tasklog that is installed with that program",
                state="other version",
            )
        case {
            "pid": int(pid),
            "service_name": str(service_name),
            "version": str(version),
            "uptime_seconds": int() | float() as uptime_seconds,
            "kept": int(kept),
            "captured": int(captured),
            "lag_seconds": int() | float() | None as lag_seconds,
        } if abs(uptime_seconds) < _FOREVER and abs(lag_seconds or 0) < _FOREVER:
            return ProcessInfo(
                pid=pid,
                service_name=service_name,
                version=version,
                uptime_seconds=uptime_seconds,
                kept=kept,
                captured=captured,
                lag_seconds=lag_seconds,
                answer=fields,
            )
        case _:
            raise unknown(where)


def _knock(address: Address, where: str, seconds: float) -> None:
    """Connect and hang up, to know why it fails if it does.

    httpcore2 wraps the reason, and leaves the socket that it could not connect open.
    """
    try:
        if address.uds is None:
            port = address.host, address.port or 0
            socket.create_connection(port, seconds).close()
            return
        with socket.socket(socket.AF_UNIX) as knocking:
            knocking.settimeout(seconds)
            knocking.connect(address.uds)
    except TimeoutError:
        raise silent(where, seconds) from None
    except (ConnectionRefusedError, FileNotFoundError):
        raise gone(where) from None
    except PermissionError:
        said = f"you may not connect to {where}: ask as the user whose process it is"
        raise Unreachable(said, state="refused") from None
    except (OSError, ValueError, OverflowError) as error:
        raise Unreachable(f"{where} cannot be reached: {error}") from None
