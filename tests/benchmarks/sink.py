"""A receiver that costs little and cannot miscount, in a process of its own.

It speaks HTTP and gRPC, keeps every body as it came and answers at once. Only when
it is asked, after the timed part, does it decode them with ``opentelemetry-proto``
and say how many records there were, and how many distinct bodies of records.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

__all__ = ["Sink", "running_sink"]

_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class Sink:
    """The sink as the benchmark sees it.

    Attributes:
        ports: Of HTTP and of gRPC.
        http: Where to send logs over HTTP.
        grpc: Where to send logs over gRPC.
    """

    def __init__(self, http_port: int, grpc_port: int) -> None:
        self.ports = http_port, grpc_port
        self._base = f"http://127.0.0.1:{http_port}"
        self.http = f"{self._base}/v1/logs"
        self.grpc = f"http://127.0.0.1:{grpc_port}"

    def count(self) -> dict[str, int]:
        """Return ``records``, ``distinct``, ``bytes``, ``requests``; start anew."""
        url = f"{self._base}/count"
        with urllib.request.urlopen(url) as answer:  # noqa: S310 - it is ours
            found: dict[str, int] = json.load(answer)
        return found


@contextlib.contextmanager
def running_sink() -> Iterator[Sink]:
    """Run a sink for the length of the block."""
    process = subprocess.Popen(
        [sys.executable, __file__], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield Sink(*map(int, process.stdout.readline().split()))
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _read_request(connection: socket.socket) -> tuple[bytes, bytes] | None:
    """Return the first line and the body of the next request, None at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65_536)
        if not more:
            return None
        data += more
    head, _, start = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    body = bytearray(start)
    while len(body) < length:
        body += connection.recv(1 << 20)
    return head.partition(b"\r\n")[0], bytes(body)


def _count(bodies: list[bytes]) -> bytes:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
        ExportLogsServiceRequest,
    )

    records = 0
    distinct = set()
    for body in bodies:
        for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
            for scope in resource.scope_logs:
                records += len(scope.log_records)
                distinct |= {record.body.string_value for record in scope.log_records}
    found = {
        "records": records, "distinct": len(distinct),
        "bytes": sum(map(len, bodies)), "requests": len(bodies),
    }  # fmt: skip
    return json.dumps(found).encode()


def _serve(connection: socket.socket, bodies: list[bytes]) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection:
        while (request := _read_request(connection)) is not None:
            first_line, body = request
            if first_line.startswith(b"POST"):
                bodies.append(body)
                connection.sendall(_ANSWER)
                continue
            answer = _count(bodies)
            bodies.clear()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n"
            connection.sendall(head.encode() + answer)


def _serve_grpc(bodies: list[bytes]) -> tuple[grpc.Server, int]:
    """Return a server, which ends when it is let go, and its port."""
    import grpc

    def export(body: bytes, _: grpc.ServicerContext) -> bytes:
        bodies.append(body)
        return b""  # an ExportLogsServiceResponse with nothing to say

    # Without functions for it, grpc neither parses nor serializes.
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Export": grpc.unary_unary_rpc_method_handler(export)
    }
    service = "opentelemetry.proto.collector.logs.v1.LogsService"
    handler = grpc.method_handlers_generic_handler(service, methods)
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((handler,))
    port: int = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def _main() -> None:
    bodies: list[bytes] = []
    _running, grpc_port = _serve_grpc(bodies)
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], grpc_port, flush=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(
                target=_serve, args=(connection, bodies), daemon=True
            ).start()


if __name__ == "__main__":
    _main()
