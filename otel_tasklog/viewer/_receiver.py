"""An OTLP/HTTP receiver for logs, to see what a program sends.

On the standard library's HTTP server: it serves a person or a test, not a fleet.
What it answers is what the specification asks of a receiver, so that a sender that
works with it works with a Collector.

See https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

import http.server
import sys
import threading
import zlib
from typing import TYPE_CHECKING, ClassVar, Final

from otel_tasklog.delivery._decode import DecodedRecord, decode_request

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

__all__ = ["Receiver"]

LOGS_PATH: Final = "/v1/logs"
MAX_BODY_BYTES: Final = 20 * 1024 * 1024
"""Before and after decompression; the Collector's default for a request."""

IDLE_SECONDS: Final = 60.0
"""A connection that sends nothing for so long is closed."""


class Receiver:
    """Decodes what is posted to ``/v1/logs`` and hands it over.

    Args:
        on_records: Called with the records of each request, before it is
            answered, on one thread at a time.
        host: Where to listen; loopback, unless you say otherwise.
        port: Where to listen; 0 takes a free one.

    Attributes:
        endpoint: The URL to send to, once it is entered.

    Raises:
        OSError: On entry: the port cannot be had.
    """

    def __init__(
        self,
        on_records: Callable[[list[DecodedRecord]], None],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._on_records = on_records
        self._address = (host, port)
        self.endpoint: str = ""

    def __enter__(self) -> Self:
        """Listen, and serve in a thread of its own."""
        self._server = _Server(self._address, _Handler, self._on_records)
        self.endpoint = (
            f"http://{self._address[0]}:{self._server.server_port}{LOGS_PATH}"
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="otel_tasklog receiver",
            daemon=True,
        )
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        handler: type[_Handler],
        on_records: Callable[[list[DecodedRecord]], None],
    ) -> None:
        self.on_records = on_records
        self.handing_over = threading.Lock()
        super().__init__(address, handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that left in the middle; it will come again."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout: ClassVar[float | None] = IDLE_SECONDS
    server: _Server  # type: ignore[mutable-override]
    # Headers and body of an answer leave in one packet, not held back by Nagle's
    # algorithm until the client acknowledges the first.
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_POST(self) -> None:
        body = self._body()
        if body is None:
            return
        if self.path != LOGS_PATH:
            self._answer(404, f"only {LOGS_PATH} is served here".encode())
            return
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip()
        if kind != "application/x-protobuf":
            self._answer(415, b"send application/x-protobuf")
            return
        encoding = self.headers.get("Content-Encoding", "identity")
        try:
            records = list(decode_request(_inflate(body, encoding)))
        except ValueError as error:
            self._answer(400, str(error).encode())
            return
        with self.server.handing_over:
            self.server.on_records(records)
        # An empty ExportLogsServiceResponse: all of it was accepted.
        self._answer(200, b"", "application/x-protobuf")

    def do_GET(self) -> None:
        self._answer(405, f"POST to {LOGS_PATH}".encode())

    def _body(self) -> bytes | None:
        try:
            length = int(self.headers["Content-Length"])
        except (TypeError, ValueError):
            self.close_connection = True
            self._answer(411, b"send a Content-Length")
            return None
        if not 0 <= length <= MAX_BODY_BYTES:
            self.close_connection = True
            self._answer(413, f"at most {MAX_BODY_BYTES} bytes".encode())
            return None
        return self.rfile.read(length)

    def _answer(
        self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8"
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: what arrives is what there is to see."""


def _inflate(body: bytes, encoding: str) -> bytes:
    if encoding == "identity":
        return body
    if encoding not in {"gzip", "deflate"}:
        raise ValueError(f"Content-Encoding {encoding!r}: expected gzip or none")
    inflater = zlib.decompressobj(wbits=47)  # gzip or zlib, whichever it is
    try:
        plain = inflater.decompress(body, MAX_BODY_BYTES)
    except zlib.error as error:
        raise ValueError(f"the body is not {encoding}: {error}") from None
    if inflater.unconsumed_tail:
        raise ValueError(f"the body is more than {MAX_BODY_BYTES} bytes")
    if not inflater.eof:
        raise ValueError(f"the body's {encoding} ends too soon")
    return plain
