"""The receiver answers as the specification asks, also what it cannot read."""

from __future__ import annotations

import gzip
import http.client
import socket
from typing import TYPE_CHECKING

import pytest

from otel_tasklog.delivery._encode import Encoder
from otel_tasklog.viewer import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tasklog.delivery._decode import DecodedRecord

BODY = Encoder({}, include=()).request({"s": [b"\x12\x00"]})
PROTOBUF = {"Content-Type": "application/x-protobuf"}


class Client:
    """Talks to a receiver over one connection."""

    def __init__(self, receiver: Receiver, received: list[DecodedRecord]) -> None:
        host, port = receiver.endpoint.split("/")[2].split(":")
        self.address = (host, int(port))
        self.received = received
        self.connection = http.client.HTTPConnection(host, int(port), timeout=5)

    def post(
        self, body: bytes, path: str = "/v1/logs", **headers: str
    ) -> tuple[int, str, bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request("POST", path, body, {**PROTOBUF, **named})
        answer = self.connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()


@pytest.fixture
def client() -> Iterator[Client]:
    received: list[DecodedRecord] = []
    with Receiver(received.extend) as receiver:
        made = Client(receiver, received)
        yield made
        made.connection.close()


def test_what_it_takes_is_answered_with_an_empty_response(client: Client) -> None:
    assert client.post(BODY) == (200, "application/x-protobuf", b"")
    assert client.post(gzip.compress(BODY), Content_Encoding="gzip")[0] == 200
    assert len(client.received) == 2


@pytest.mark.parametrize(
    ("body", "path", "headers", "status"),
    [
        (b"\xff garbage", "/v1/logs", {}, 400),
        (b"no gzip", "/v1/logs", {"Content_Encoding": "gzip"}, 400),
        (BODY, "/v1/logs", {"Content_Encoding": "br"}, 400),
        (gzip.compress(bytes(21 * 2**20)), "/v1/logs", {"Content_Encoding": "gzip"},
         400),
        (b"{}", "/v1/logs", {"Content_Type": "application/json"}, 415),
        (BODY, "/", {}, 404),
        (BODY, "/v1/traces", {}, 404),
    ],
    ids=["garbage", "no gzip", "unknown encoding", "bomb", "json", "root", "traces"],
)  # fmt: skip
def test_what_it_cannot_read_is_refused_and_the_connection_goes_on(
    client: Client, body: bytes, path: str, headers: dict[str, str], status: int
) -> None:
    assert client.post(body, path, **headers)[0] == status
    assert client.post(BODY)[0] == 200
    assert len(client.received) == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("", b"411"),
        ("Content-Length: many\r\n", b"411"),
        ("Content-Length: 99999999999\r\n", b"413"),
        ("Content-Length: -1\r\n", b"413"),
    ],
)
def test_a_length_that_cannot_be_is_refused(
    client: Client, headers: str, status: bytes
) -> None:
    with socket.create_connection(client.address, timeout=5) as raw:
        raw.sendall(f"POST /v1/logs HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
        assert status in raw.recv(100)


def test_a_browser_is_told_to_post(client: Client) -> None:
    client.connection.request("GET", "/v1/logs")
    assert client.connection.getresponse().status == 405
