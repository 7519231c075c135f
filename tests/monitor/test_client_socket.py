"""The server's end of a telnet connection: bounded, and never an exception."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import pytest

from otel_tasklog.monitor import _telnet

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.e2e


@pytest.fixture
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a connection: the client's, the server's."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0] as server,
    ):
        yield client, server


def test_a_reset_is_an_end(connected: tuple[socket.socket, socket.socket]) -> None:
    client, server = connected
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    with _telnet._Client(server) as ours:
        assert ours.recv(1) == b""


def test_output_that_is_not_taken_ends_the_session_at_once(
    connected: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the commands typed ahead would run, each as long as the first."""
    monkeypatch.setattr(_telnet, "SEND_SECONDS", 0.1)
    lost: list[bool] = []
    much = b"x" * 20_000_000
    with _telnet._Client(connected[1]) as ours:
        ours.when_lost = lambda: lost.append(True)
        assert [ours.send(much), ours.send(much)] == [len(much), len(much)]
    assert lost == [True]
