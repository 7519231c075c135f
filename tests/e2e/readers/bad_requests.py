"""What clients send that is no request, not a whole one, or not one to be granted."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BAD", "UNFINISHED", "bad_requests"]

_HOST: Final = b"Host: localhost\r\n"
_ASK: Final = b"GET /v1/stats HTTP/1.1\r\n"
_TLS_HELLO: Final = bytes.fromhex("16030100c8010000c40303") + bytes(194)

BAD: Final[dict[str, bytes]] = {
    "nothing but line ends": b"\r\n" * 2_000,
    "text": b"no HTTP at all\r\n\r\n",
    "a TLS greeting": _TLS_HELLO,
    "an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /v1/stats\r\n\r\n",
    "a version from the future": b"GET / HTTP/9.9\r\n" + _HOST + b"\r\n",
    "no host": _ASK + b"\r\n",
    "two hosts": _ASK + _HOST + _HOST + b"\r\n",
    "a foreign host": _ASK + b"Host: evil.example\r\n\r\n",
    "a foreign origin": _ASK + _HOST + b"Origin: http://evil.example\r\n\r\n",
    "a foreign site": _ASK + _HOST + b"Sec-Fetch-Site: cross-site\r\n\r\n",
    "no such method": b"BREW /v1/stats HTTP/1.1\r\n" + _HOST + b"\r\n",
    "POST": b"POST /v1/stats HTTP/1.1\r\n" + _HOST + b"Content-Length: 0\r\n\r\n",
    "CONNECT": b"CONNECT evil.example:443 HTTP/1.1\r\n" + _HOST + b"\r\n",
    "no such path": b"GET /etc/passwd HTTP/1.1\r\n" + _HOST + b"\r\n",
    "a path upwards": b"GET /v1/../../etc/passwd HTTP/1.1\r\n" + _HOST + b"\r\n",
    "a zero in the path": b"GET /v1/\0stats HTTP/1.1\r\n" + _HOST + b"\r\n",
    "no such parameter": b"GET /v1/stats?x=1 HTTP/1.1\r\n" + _HOST + b"\r\n",
    "half a sequence of UTF-8": b"GET /v1/stats?%ff=%c3 HTTP/1.1\r\n" + _HOST + b"\r\n",
    "a query that is wrong": b"GET /v1/records?q=levle:x HTTP/1.1\r\n" + _HOST + b"\r\n",
    "a number too large": b"GET /v1/records?limit=%s HTTP/1.1\r\n" % (b"9" * 4_000)
    + _HOST + b"\r\n",
    "a URL too long": b"GET /%s HTTP/1.1\r\n" % (b"a" * 60_000) + _HOST + b"\r\n",
    "a header too long": _ASK + _HOST + b"X: %s\r\n\r\n" % (b"a" * 1_000_000),
    "headers without end": _ASK + _HOST + b"X: a\r\n" * 20_000,
    "a header without name": _ASK + _HOST + b": a\r\n\r\n",
    "a header with a zero": _ASK + _HOST + b"X: a\0b\r\n\r\n",
    "a length that is none": _ASK + _HOST + b"Content-Length: -1\r\n\r\n",
    "two lengths": _ASK + _HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "chunks that are none": b"POST /v1/stats HTTP/1.1\r\n" + _HOST
    + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a body without end": b"POST /v1/stats HTTP/1.1\r\n" + _HOST
    + b"Content-Length: 999999999\r\n\r\n" + b"a" * 100_000,
    "a WebSocket": b"GET /v1/nothing HTTP/1.1\r\n" + _HOST
    + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    "many in one go": (b"GET /nowhere HTTP/1.1\r\n" + _HOST + b"\r\n") * 200,
}  # fmt: skip
"""By what is wrong; none of them is to be granted, and none may fail the server."""

UNFINISHED: Final[list[bytes]] = [
    b"",
    b"G",
    b"GET /v1/stats HTTP/1.1",
    _ASK + _HOST,
    _ASK + _HOST + b"X-Slow: ",
    b"POST /v1/stats HTTP/1.1\r\n" + _HOST + b"Content-Length: 1000\r\n",
]
"""How a request begins that is never finished."""


def bad_requests(seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield bad requests without end, each with what is wrong with it.

    Those of `BAD` come in turn; between them come bytes by chance, and requests that
    are damaged by chance.
    """
    chance = random.Random(seed)  # noqa: S311 - it is to be repeatable
    while True:
        for number, bad in enumerate(BAD.items()):
            yield bad
            if not number % 4:
                yield "bytes by chance", chance.randbytes(chance.randint(1, 2_000))
                damaged = bytearray(_ASK + _HOST + b"\r\n")
                damaged[chance.randrange(len(damaged))] = 0
                yield "a damaged request", bytes(damaged)
