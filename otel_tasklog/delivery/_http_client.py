"""The HTTP client of OTLP/HTTP: urllib3's, whose attempts end in time.

Imported when the first sender is made, as urllib3 is.
"""

from __future__ import annotations

import codecs
import io
import math
import re
import ssl
import time
from collections import deque
from http.client import BadStatusLine
from queue import Empty, Full
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast
from urllib.parse import unquote, urlsplit

import urllib3  # noqa: TID253 - see above
from urllib3.connection import HTTPConnection, HTTPSConnection  # noqa: TID253
from urllib3.exceptions import (  # noqa: TID253
    HTTPError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    SSLError,
)

from otel_tasklog._errors import ConfigError
from otel_tasklog._text import visible
from otel_tasklog.delivery._senders import MAX_ANSWER_BYTES, Misconfigured, Retry

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from typing_extensions import Buffer
    from urllib3 import PoolManager
    from urllib3.response import HTTPResponse

    from otel_tasklog._config import Config

__all__ = ["Answer", "HttpClient", "proxy_for"]

# Python would import it for the first connection. A fork in the middle of that, which
# is on the sender's thread, leaves half of it to the child: no host would be found.
codecs.lookup("idna")

_OBJECT: Final = re.compile(r"^_?\w+\(host=.*?\): ")
_TUNNEL_REFUSED: Final = re.compile(r"Tunnel connection failed: (403|407)\b")


class Answer(NamedTuple):
    """What came of a request.

    Attributes:
        status: The status.
        headers: The headers; their names are found in any case.
        body: The start of the body; empty if it did not come whole.
        is_whole: Whether it came whole, as far as it is wanted.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_whole: bool


class HttpClient:
    """Posts to one host, over one kept connection.

    Proxies are those of the environment, by the rules of ``urllib.request``.

    Args:
        config: Has the time-outs, the files for TLS, and the endpoint.
        headers: Sent with each request.

    Raises:
        ConfigError: The environment names a proxy that is none for HTTP.
    """

    def __init__(self, config: Config, headers: Mapping[str, str]) -> None:
        self._timeout_seconds = config.timeout_seconds
        self._headers = headers
        self._pool = _make_pool(config)
        self._pool.pool_classes_by_scheme = _POOLS

    def post(
        self, url: str, data: bytes, ends_at: float
    ) -> Answer | Misconfigured | Retry:
        """Post data to a URL; return the answer, or what kept it from coming. Blocks.

        A request that finds its kept connection closed is made anew at once: servers
        close what is idle, and that is no outage.

        Args:
            url: Where to, on the endpoint's host.
            data: The body.
            ends_at: Until when, on ``time.monotonic()``. But the system's look-up of a
                name has time-outs of its own, and each address that the name has is
                tried for ``timeout_seconds``.
        """
        while True:
            try:
                return self._exchange(url, data, ends_at - time.monotonic())
            except (HTTPError, OSError) as error:
                # Only a connection that has answered before can be stale.
                if not isinstance(_cause(error), _StaleError):
                    return _failure(url, error)

    def _exchange(self, url: str, data: bytes, seconds: float) -> Answer:
        if seconds <= 0:
            raise TimeoutError("no time is left for this attempt")
        response = self._pool.request(
            "POST",
            url,
            body=data,
            headers=self._headers,
            # Both would block and know no bounds: retries are the outbox's.
            retries=False,
            redirect=False,
            preload_content=False,
            timeout=urllib3.Timeout(
                connect=self._timeout_seconds, read=self._timeout_seconds, total=seconds
            ),
        )
        try:
            body, is_whole = response.read(MAX_ANSWER_BYTES), True
        except (HTTPError, OSError):
            body, is_whole = b"", False
        finally:
            # Read to its end, it has gone back to the pool; else it is of no use.
            response.close()
        return Answer(response.status, response.headers, body, is_whole)

    def close(self) -> None:
        """Close the connection."""
        self._pool.clear()


def _failure(url: str, error: Exception) -> Misconfigured | Retry:
    """Return the outcome of a request that has no answer."""
    cause = _cause(error)
    if isinstance(error, SSLError) and not isinstance(cause, ssl.SSLEOFError):
        return Misconfigured(
            f"TLS to {url} failed: {error}; is it https, and "
            "is the certificate's authority trusted here?"
        )
    if isinstance(error, LocationParseError | NameResolutionError):
        return Misconfigured(f"{url} has no reachable host: {error}")
    if _TUNNEL_REFUSED.search(str(error)):
        return Misconfigured(f"the proxy lets nothing through to {url}: {error}")
    # HTTP/2's first frame says nothing in HTTP/1, and its length is below 65,536.
    if isinstance(cause, BadStatusLine) and str(cause).startswith("\0\0"):
        return Misconfigured(
            f"{url} speaks HTTP/2, as OTLP/gRPC does; use its port "
            "of OTLP/HTTP, usually 4318, or protocol='grpc'"
        )
    # urllib3 begins with its own object, which is nothing to those who read this.
    text = visible(_OBJECT.sub("", str(error)))
    mend = "; is the receiver up, and is that its port?"
    hint = mend if isinstance(error, NewConnectionError) else ""
    return Retry(f"{url}: {type(error).__name__}: {text}{hint}")


def _cause(error: Exception) -> object:
    """Return the error that urllib3 wraps, if it does."""
    return error.args[-1] if error.args else None


class _StaleError(ConnectionResetError):
    """A kept connection was closed before the first byte of an answer."""


class _Socket:
    """A socket whose time-out is for all that is done until it is set anew.

    That of a real one is for each call: a receiver that sends one byte a second would
    keep its reader for ever. It does what ``http.client`` asks of a socket.

    Attributes:
        heard: Whether a byte came since it was last set to False.
        ended: Whether the end came.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.heard = self.ended = False
        self.settimeout(sock.gettimeout())

    def settimeout(self, seconds: float | None) -> None:
        limit = math.inf if seconds is None else seconds
        self._ends_at = time.monotonic() + limit

    def arm(self) -> None:
        """Give the next call what is left of the time.

        Raises:
            TimeoutError: Nothing is.
        """
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(None if left == math.inf else left)

    def sendall(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            self.arm()
            left = left[self._sock.send(left) :]

    def makefile(self, mode: Literal["rb"]) -> io.BufferedReader:
        # A file keeps the socket open after `close`, as http.client expects.
        return io.BufferedReader(_Reader(self, self._sock.makefile(mode, buffering=0)))

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()


class _Reader(io.RawIOBase):
    def __init__(self, sock: _Socket, raw: socket.SocketIO) -> None:
        super().__init__()
        self._sock = sock
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int | None:
        self._sock.arm()
        count = self._raw.readinto(buffer)
        if count:
            self._sock.heard = True
        elif count == 0:
            self._sock.ended = True
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Connection(HTTPConnection):
    _has_answered = False

    def connect(self) -> None:
        super().connect()
        self._has_answered = False
        self.sock = cast("socket.socket", _Socket(self.sock))

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3's
        sock = cast("_Socket", self.sock)
        sock.heard = False
        try:
            response = super().getresponse()
        except ConnectionError as error:
            if self._has_answered and not sock.heard:
                raise _StaleError(*error.args) from error
            raise
        if sock.ended:  # http.client takes what there is of a head for the whole
            response.close()
            raise ConnectionResetError("closed in the head of an answer")
        self._has_answered = True
        return response


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Kept:
    """A pool's connections, which one thread uses; without a lock.

    A child that was forked while it was held would wait for it at its end for ever.
    """

    def __init__(self, maxsize: int) -> None:
        self._maxsize = maxsize
        self._connections: deque[object] = deque()

    def get(self, block: bool = True, timeout: float | None = None) -> object:  # noqa: ARG002, FBT001, FBT002 - as queue.Queue's
        if not self._connections:
            raise Empty
        return self._connections.pop()

    def put(self, connection: object, block: bool = True) -> None:  # noqa: ARG002, FBT001, FBT002 - likewise
        if len(self._connections) >= self._maxsize:
            raise Full
        self._connections.append(connection)

    def qsize(self) -> int:
        return len(self._connections)


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = cast("Any", _Connection)
    QueueCls = cast("Any", _Kept)


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = cast("Any", _TlsConnection)
    QueueCls = cast("Any", _Kept)


_POOLS: Final[dict[str, Any]] = {"http": _Pool, "https": _TlsPool}


def _make_pool(config: Config) -> PoolManager:
    options: dict[str, Any] = {
        "num_pools": 1,
        "maxsize": 1,
        # Read with each new connection, so that renewed files are taken up.
        "ca_certs": config.certificate_file,
        "cert_file": config.client_certificate_file,
        "key_file": config.client_key_file,
    }
    variable, proxy = proxy_for(config.endpoint)
    if not proxy:
        return urllib3.PoolManager(**options)
    try:
        credentials = urlsplit(proxy).netloc.rpartition("@")[0]
        headers = urllib3.make_headers(proxy_basic_auth=unquote(credentials) or None)
        return urllib3.ProxyManager(proxy, proxy_headers=headers, **options)
    except (HTTPError, ValueError):
        raise ConfigError(
            variable,
            f"{proxy.partition('://')[0]}://...",
            "a URL such as 'http://proxy:3128'; or put the host of the endpoint "
            "into NO_PROXY",
        ) from None


def proxy_for(endpoint: str) -> tuple[str, str]:
    """Return the variable that has a proxy for a URL, and the proxy or nothing."""
    from urllib.request import getproxies_environment, proxy_bypass

    parts = urlsplit(endpoint)
    # Without variables both `getproxies` and `proxy_bypass` would ask the system,
    # which a forked child must not do on macOS.
    proxies = getproxies_environment()
    if proxies and not proxy_bypass(parts.netloc):
        for kind in (parts.scheme, "all"):
            if proxy := proxies.get(kind, ""):
                full = proxy if "://" in proxy else f"http://{proxy}"
                return f"{kind.upper()}_PROXY", full
    return "", ""
