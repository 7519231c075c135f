"""Receivers of OTLP on real sockets: each answers as told, and keeps what it was sent.

They stand on the standard library's HTTP server and on grpcio's, and know nothing of
what they test.
"""

from __future__ import annotations

import contextlib
import gzip
import http.server
import socket
import socketserver
import threading
from concurrent import futures
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

HttpAnswer: TypeAlias = tuple[int, dict[str, str], bytes]
"""A status, headers, and a body."""

GRPC_METHOD = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"


class Request(NamedTuple):
    """What one request was, decompressed."""

    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def message(self) -> ExportLogsServiceRequest:
        message: ExportLogsServiceRequest
        message = ExportLogsServiceRequest.FromString(self.body)
        return message

    @property
    def records(self) -> list[LogRecord]:
        return [
            record
            for resource_logs in self.message.resource_logs
            for scope_logs in resource_logs.scope_logs
            for record in scope_logs.log_records
        ]

    @property
    def bodies(self) -> list[str]:
        return [record.body.string_value for record in self.records]

    @property
    def resource(self) -> dict[str, str]:
        attributes = self.message.resource_logs[0].resource.attributes
        return {each.key: each.value.string_value for each in attributes}


class Requests(list[Request]):
    """The requests so far, in their order; one can wait for more."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()

    def add(self, request: Request) -> None:
        with self._changed:
            self.append(request)
            self._changed.notify_all()

    def wait_for(self, count: int, seconds: float = 10.0) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self) >= count, seconds), self

    @property
    def bodies(self) -> list[str]:
        return [body for request in list(self) for body in request.bodies]


class HttpPeer(http.server.ThreadingHTTPServer):
    """Answers each POST with `answer`, or with that which `answers` has for its path."""

    daemon_threads = True
    protocol = "http/protobuf"

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests = Requests()
        self.answer: HttpAnswer = (200, {}, b"")
        self.answers: dict[str, HttpAnswer] = {}
        self._tls = tls
        super().__init__(("127.0.0.1", 0), _Answering)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self._tls is not None:
            connection.settimeout(10)
            # The handshake is made by the thread of the connection, at its first read.
            connection = self._tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that distrusts us hangs up."""

    @property
    def port(self) -> int:
        return self.server_port

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/logs"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Answering(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HttpPeer  # type: ignore[mutable-override]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.requests.add(Request(self.path, headers, body))
        status, more, answer = self.server.answers.get(self.path, self.server.answer)
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        pass


class GrpcPeer(grpc.GenericRpcHandler):
    """Answers each call with what `decide` returns, or aborts for it."""

    protocol = "grpc"

    def __init__(
        self,
        tls: grpc.ServerCredentials | None = None,
        *,
        address: str = "127.0.0.1:0",
    ) -> None:
        self.requests = Requests()
        self.decide: Callable[[Request, grpc.ServicerContext], bytes] = lambda *_: b""
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers((self,))
        if tls is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, tls)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        if handler_call_details.method != GRPC_METHOD:
            return None

        def export(body: bytes, context: grpc.ServicerContext) -> bytes:
            metadata = context.invocation_metadata()
            headers = {str(key): str(value) for key, value in metadata}
            request = Request(handler_call_details.method, headers, body)
            self.requests.add(request)
            return self.decide(request, context)

        return grpc.unary_unary_rpc_method_handler(export)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.stop(1).wait(10)


class Relay(socketserver.ThreadingTCPServer):
    """Passes on what it is sent to another port of this machine, and keeps it.

    Args:
        port: Where to.
        is_proxy: Whether the client has to ask for a tunnel first, with CONNECT.
    """

    daemon_threads = True

    def __init__(self, port: int, *, is_proxy: bool = False) -> None:
        self.target = port
        self.is_proxy = is_proxy
        self.asked: list[bytes] = []
        self.sent = bytearray()
        super().__init__(("127.0.0.1", 0), _Relaying)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    @property
    def port(self) -> int:
        port: int = self.server_address[1]
        return port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Relaying(socketserver.StreamRequestHandler):
    server: Relay  # type: ignore[mutable-override]

    def handle(self) -> None:
        if self.server.is_proxy:
            head = b"".join(iter(self.rfile.readline, b"\r\n"))
            self.server.asked.append(head)
            self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        with socket.create_connection(("127.0.0.1", self.server.target)) as target:
            back = threading.Thread(target=_pass_on, args=(target, self.connection))
            back.start()
            _pass_on(self.connection, target, self.server.sent)
            back.join()


def _pass_on(
    source: socket.socket, target: socket.socket, kept: bytearray | None = None
) -> None:
    with contextlib.suppress(OSError):  # either end may hang up
        while data := source.recv(65_536):
            if kept is not None:
                kept += data
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
