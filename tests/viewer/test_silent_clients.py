"""Clients that take a place at the access point and ask for nothing."""

from __future__ import annotations

import json
import logging
import os
import socket
import tempfile
import threading
from typing import TYPE_CHECKING

import pytest

import otel_tasklog
from otel_tasklog.viewer import _serve
from otel_tasklog.viewer._places import DIRECTORY_VARIABLE, find_places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(
    not hasattr(socket, "AF_UNIX"), reason="this system has no unix-domain sockets"
)

ASK = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
FOLLOW = b"GET /v1/tail?format=ndjson HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., socket.socket]]:
    """Connect to this process's access point, and send something."""
    monkeypatch.setattr(_serve, "ASK_SECONDS", 0.05)
    connections: list[socket.socket] = []

    def connect(start: bytes) -> socket.socket:
        [place] = find_places(os.environ)
        connections.append(socket.socket(socket.AF_UNIX))
        connections[-1].connect(str(place.path))
        connections[-1].settimeout(20)
        connections[-1].sendall(start)
        return connections[-1]

    with tempfile.TemporaryDirectory(prefix="tasklog-") as path:
        monkeypatch.setenv(DIRECTORY_VARIABLE, path)
        with otel_tasklog.install(exporter=None, level="INFO", attach="unix"):
            logging.getLogger("app").info("first")
            waited = threading.Event()
            while not find_places(os.environ):
                waited.wait(0.002)
            yield connect
            for each in connections:
                each.close()


@pytest.mark.parametrize("start", [b"", b"GET", ASK[:-2]], ids=["none", "word", "head"])
def test_who_does_not_ask_is_hung_up_on(
    connect: Callable[..., socket.socket], start: bytes
) -> None:
    assert connect(start).recv(1) == b""


@pytest.mark.parametrize("start", [b"", b"GET"], ids=["none", "word"])
def test_so_is_who_has_asked_and_does_not_again(
    connect: Callable[..., socket.socket], start: bytes
) -> None:
    with connect(ASK + start).makefile("rb") as answer:
        assert answer.readline().startswith(b"HTTP/1.1 200 ")
        answer.read()  # to the end


def test_who_is_still_answered_is_not(connect: Callable[..., socket.socket]) -> None:
    with connect(FOLLOW).makefile("rb") as answer:
        while answer.readline().strip():
            pass
        assert connect(b"").recv(1) == b""  # so the time of the other is over, too
        logging.getLogger("app").info("second")
        line = b""
        while b"{" not in line:  # the lengths of chunks
            line = answer.readline()
        assert json.loads(line)["message"] == "second"
