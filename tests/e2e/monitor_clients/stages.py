"""Where a telnet client can be when it is killed."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, Final

from e2e.monitor_clients.program import JOB
from telnet_client import IAC, IS, SB, SE, TTYPE, Telnet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["STAGES", "kill_at"]

STALLED_SECONDS: Final = 0.3
FEW_BYTES: Final = 4_096


def _connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 20)


def _before_a_word(port: int) -> socket.socket:
    return _connected(port)


def _while_negotiating(port: int) -> socket.socket:
    client = _connected(port)
    client.sendall(IAC + SB + TTYPE + IS)
    return client


def _before_the_prompt(port: int) -> socket.socket:
    client = _connected(port)
    client.sendall(IAC + SB + TTYPE + IS + b"xterm" + IAC + SE)
    client.recv(1)
    return client


def _at_the_prompt(port: int) -> socket.socket:
    return Telnet(port).socket


def _typing(port: int) -> socket.socket:
    telnet = Telnet(port)
    telnet.send(b"x")
    telnet.until(b"x")
    return telnet.socket


def _completing(port: int) -> socket.socket:
    telnet = Telnet(port)
    telnet.send(b"logs wait\t\t")
    return telnet.socket


def _after(command: str) -> Callable[[int], socket.socket]:
    """Not a byte of its output is read."""

    def reach(port: int) -> socket.socket:
        telnet = Telnet(port, receive_bytes=FEW_BYTES)
        telnet.send(command.encode())
        return telnet.socket

    return reach


def _within(command: str, mark: bytes) -> Callable[[int], socket.socket]:
    """It has read of the output as far as *mark*."""

    def reach(port: int) -> socket.socket:
        telnet = Telnet(port, receive_bytes=FEW_BYTES)
        telnet.begin(command)
        telnet.until(mark)
        return telnet.socket

    return reach


def _stalled(port: int) -> socket.socket:
    client = _within(f"logs {JOB} -f", b"INFO")(port)
    time.sleep(STALLED_SECONDS)  # it reads nothing meanwhile
    return client


STAGES: Final[dict[str, Callable[[int], socket.socket]]] = {
    "before a word": _before_a_word,
    "while negotiating": _while_negotiating,
    "before the prompt": _before_the_prompt,
    "at the prompt": _at_the_prompt,
    "typing": _typing,
    "completing": _completing,
    "after ps": _after("ps\r"),
    "after help, many times": _after("help\r" * 50),
    "after tasks": _after("tasks\r"),
    "in tasks": _within("tasks", b"waiting-"),
    "in logs": _within(f"logs {JOB} -n 1000", b"INFO"),
    "after logs -f": _after(f"logs {JOB} -f\r"),
    "in logs -f": _within(f"logs {JOB} -f", b"INFO"),
    "in logs -f, stalled": _stalled,
    "after tree": _after("tree\r"),
    "after why": _after("why clerk\r"),
    "after log-level": _after("log-level other debug --for 1s\r"),
    "after stats": _after("stats\r"),
    "after flush": _after("flush\r"),
    "after quit": _after("quit\r"),
}
"""By name, what takes a client there, and returns its connection."""


def kill_at(stage: str, port: int, *, reset: bool) -> str:
    """Take a client to a stage and kill it there; return what went wrong, or "".

    Args:
        stage: One of `STAGES`.
        port: The monitor's.
        reset: As the system of a client does that has not read all, or is gone.
    """
    try:
        client = STAGES[stage](port)
    except (EOFError, OSError) as error:
        return f"{stage}: {error!r}"
    with _closing(client):
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    return ""


@contextlib.contextmanager
def _closing(client: socket.socket) -> Iterator[None]:
    try:
        yield
    finally:
        client.close()
