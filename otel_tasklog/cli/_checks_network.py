"""Name, addresses and port of a receiver, and what is spoken there."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import ssl
from typing import TYPE_CHECKING, Final

from otel_tasklog.cli._background import within
from otel_tasklog.cli._findings import Finding, failed, ok, warning
from otel_tasklog.cli._way import client_context, dial

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tasklog._config import Config
    from otel_tasklog.cli._way import Way

__all__ = [
    "HTTP_1",
    "HTTP_2",
    "SILENCE",
    "TLS",
    "check_network",
    "spoken_at",
    "spoken_plainly",
]

TLS: Final = "TLS"
HTTP_1: Final = "HTTP/1"
HTTP_2: Final = "HTTP/2"
SILENCE: Final = ""
"""What a port may be found to speak; or else the first words of what it says."""

_QUESTION_SECONDS: Final = 3.0
_MOST_ADDRESSES: Final = 8
_WORDS_SHOWN: Final = 60
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
"""How a client of HTTP/2 begins: its preface, and settings."""

_FRAME_HEADER_BYTES: Final = 9
_HTTP_2_TYPES: Final = {4, 7}
"""The frames that a server may begin with: its settings, or a farewell."""


def check_network(way: Way, seconds: float) -> Iterator[Finding]:
    """Look up the host, and connect to each of its addresses.

    The findings end with a failed one if nothing can be connected to.

    Args:
        way: The way to the receiver.
        seconds: How long each step may take.
    """
    proxy = way.proxy
    check = "connection"
    if proxy is not None:
        check = "proxy"
        yield ok(
            check,
            f"{proxy.host}:{proxy.port}, from {proxy.variable}; the receiver's name "
            "and address are looked up there",
        )
    host, port = way.first
    try:
        addresses = within(seconds, lambda: _addresses(host, port))
    except TimeoutError:
        yield failed(
            "name",
            f"the system did not look up {host!r} in {seconds:g} s",
            "see to its name server: /etc/resolv.conf, or the VPN",
        )
        return
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        yield failed(
            "name",
            f"{host!r} has no address: {reason}",
            f"correct the host in {proxy.variable if proxy else 'the endpoint'}, or see "
            "why this machine, or this container, does not know the name",
        )
        return
    if addresses != [host]:
        yield ok("name", f"{host} is {', '.join(addresses)}")
    yield from _connected(check, way, addresses, seconds)


def _addresses(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _connected(
    check: str, way: Way, addresses: list[str], seconds: float
) -> Iterator[Finding]:
    _, port = way.first
    good: list[str] = []
    bad: list[tuple[str, OSError]] = []
    for address in addresses[:_MOST_ADDRESSES]:
        try:
            dial(way, seconds, address).close()
        except OSError as error:
            bad.append((f"{_bracketed(address)}:{port}", error))
        else:
            good.append(f"{_bracketed(address)}:{port}")
    for place in good:
        tunnel = f", and lets through to {way.host}:{way.port}" if way.tunnels else ""
        yield ok(check, f"{place} takes connections{tunnel}")
    for place, refusal in bad:
        said, mend = _not_connected(place, refusal, seconds)
        if not good:
            yield failed(check, said, mend)
        elif isinstance(refusal, TimeoutError):
            yield warning(check, f"{said}; each new connection may wait for it", mend)
        else:  # a refusal costs no time: "localhost" is two addresses on many machines
            yield ok(check, f"{said}; another is used")


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _not_connected(place: str, error: OSError, seconds: float) -> tuple[str, str]:
    if isinstance(error, TimeoutError):
        return (
            f"{place} did not answer in {seconds:g} s",
            "a firewall may drop what goes there; is that the receiver's address?",
        )
    if error.errno == errno.ECONNREFUSED:
        mend = "start the receiver, or correct the port"
        if _is_loopback(place):
            mend += "; in a container, this is the container itself: name the host "
            mend += "that the receiver runs on"
        return f"nothing listens at {place} (connection refused)", mend
    if "Tunnel connection failed" in str(error):
        return (
            f"the proxy at {place} refuses a tunnel: {error}",
            "put credentials into the proxy's URL, or the receiver's host into NO_PROXY",
        )
    reason = os.strerror(error.errno) if error.errno else error
    return f"{place} cannot be reached: {reason}", "is that the receiver's address?"


def _is_loopback(place: str) -> bool:
    address = place.rpartition(":")[0].strip("[]").partition("%")[0]
    return ipaddress.ip_address(address).is_loopback


def spoken_at(way: Way, config: Config, seconds: float) -> str:
    """Return what is spoken at a receiver's port, as far as it lets itself be asked.

    Args:
        way: The way; one that `dial` can go. If it is one of TLS, this is about what
            is spoken within; if not, TLS may be the answer.
        config: Has the files for TLS.
        seconds: How long each question may take.
    """
    limit = min(seconds, _QUESTION_SECONDS)
    if not way.tls:
        tls = client_context(config, "h2", "http/1.1", verify=False)
        if _shakes_hands(way, tls, limit) is not None:
            return TLS
        return spoken_plainly(way, limit)
    if _shakes_hands(way, client_context(config, "h2", verify=False), limit) == "h2":
        return HTTP_2
    tls = client_context(config, "http/1.1", verify=False)
    return _told(_ask(way, _get(way), limit, tls))


def spoken_plainly(way: Way, seconds: float) -> str:
    """Return what is spoken at a receiver's port without TLS.

    Args:
        way: The way; one that `dial` can go.
        seconds: How long each question may take.
    """
    limit = min(seconds, _QUESTION_SECONDS)
    # Most servers answer the first in a way that tells; some of HTTP/2 hang up.
    return _told(_ask(way, _get(way), limit)) or _told(_ask(way, _PREFACE, limit))


def _get(way: Way) -> bytes:
    head = f"GET / HTTP/1.1\r\nHost: {way.host}\r\nConnection: close\r\n\r\n"
    return head.encode("ascii", "replace")


def _shakes_hands(way: Way, tls: ssl.SSLContext, seconds: float) -> str | None:
    """Return the protocol that a handshake chose, "" without one; None if it failed."""
    try:
        with (
            dial(way, seconds) as sock,
            tls.wrap_socket(sock, server_hostname=way.host) as within_tls,
        ):
            return within_tls.selected_alpn_protocol() or ""
    except ssl.SSLError as error:
        # An alert is said in TLS, whatever it says.
        return "" if "ALERT" in (error.reason or "") else None
    except OSError:
        return None


def _ask(
    way: Way, question: bytes, seconds: float, tls: ssl.SSLContext | None = None
) -> bytes:
    """Return the start of what is answered; nothing if that is nothing."""
    try:
        with dial(way, seconds) as sock:
            if tls is None:
                sock.sendall(question)
                return sock.recv(1_024)
            with tls.wrap_socket(sock, server_hostname=way.host) as within_tls:
                within_tls.sendall(question)
                return within_tls.recv(1_024)
    except OSError:
        return b""


def _told(answer: bytes) -> str:
    if answer.startswith(b"HTTP/1."):
        return HTTP_1
    is_frame = len(answer) >= _FRAME_HEADER_BYTES and answer[0] == 0
    if is_frame and answer[3] in _HTTP_2_TYPES:
        return HTTP_2
    first_line = answer.partition(b"\n")[0].decode("latin-1").strip()
    return first_line[:_WORDS_SHOWN]
