"""Readers that behave badly, in a process of their own.

``python -m e2e.readers.clients SCENARIO DOOR COUNT`` says ``ready`` when its readers are
there, and ``done`` when those that come one after the other have been there COUNT times.
When its input ends they leave, all at once, and it prints what they saw as JSON. The
process is nice: what is measured is what readers do to a program, not what they take
from it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import selectors
import signal
import socket
import sys
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from e2e.readers.bad_requests import UNFINISHED, bad_requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["FOLLOWERS", "SCENARIOS", "SILENT", "Door", "status_of"]

FOLLOWERS: Final = 50
SILENT: Final = 300
TIMEOUT_SECONDS: Final = 10.0
PATIENCE_SECONDS: Final = 0.05
"""So long an answer to what may have none is waited for."""

PAUSE_SECONDS: Final = 0.005
TAIL: Final = "/v1/tail?format=ndjson"
LARGE: Final = "/v1/records?limit=1000"


class Door(NamedTuple):
    """Where an access point is, and what it asks for.

    Attributes:
        uds: A socket's path; empty: a port.
        port: Of the loopback.
        token: For it.
    """

    uds: str = ""
    port: int = 0
    token: str = ""

    def connect(self, receive_bytes: int = 0) -> socket.socket:
        """Return a connection.

        Raises:
            OSError: There is none to be had.
        """
        family = socket.AF_UNIX if self.uds else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            if receive_bytes:
                connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes
                )
            # Without a time limit, which would have a full backlog refuse it.
            connection.connect(self.uds or ("127.0.0.1", self.port))
            connection.settimeout(TIMEOUT_SECONDS)
        except BaseException:
            connection.close()
            raise
        return connection

    def request(self, path: str) -> bytes:
        """Return a request as it should be."""
        token = f"Authorization: Bearer {self.token}\r\n" if self.token else ""
        return (
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{token}Connection: close\r\n\r\n"
        ).encode()

    def ask(self, path: str) -> tuple[int, bytes]:
        """Return the status and the body of an answer.

        Raises:
            OSError: There is none.
        """
        with self.connect() as connection:
            connection.sendall(self.request(path))
            head, _, body = _read_all(connection).partition(b"\r\n\r\n")
        return status_of(head), body


def _read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def status_of(answer: bytes) -> int:
    """Return the status of an answer; 0 if there is none."""
    words = answer.split(b" ", 2)
    return int(words[1]) if answer.startswith(b"HTTP/") else 0


class Visit:
    """The readers of a scenario.

    Args:
        door: What they come to.
        count: How often those come that come one after the other.

    Attributes:
        door: See above.
        count: See above.
        seen: How often they saw what.
    """

    def __init__(self, door: Door, count: int) -> None:
        self.door = door
        self.count = count
        self.seen = Counter[str]()
        self._inside = contextlib.ExitStack()

    def enter(self, receive_bytes: int = 0) -> socket.socket:
        """Return a connection that lasts until they leave."""
        return self._inside.enter_context(self.door.connect(receive_bytes))

    def leave(self) -> None:
        """End all connections."""
        self._inside.close()


def nobody(_visit: Visit) -> Iterator[None]:
    """Nobody comes."""
    yield


def stopped(visit: Visit) -> Iterator[None]:
    """Some follow, read how it begins, and no further; one does so with an answer."""
    for path in (TAIL, TAIL + "&backlog=1000", LARGE):
        connection = visit.enter(receive_bytes=4_096)
        connection.sendall(visit.door.request(path))
        visit.seen[f"answered {status_of(connection.recv(64))}"] += 1
    yield


def followers(visit: Visit) -> Iterator[None]:
    """More follow than may, at once; each reads as fast as it can."""
    connections = [visit.enter() for _ in range(FOLLOWERS)]
    for connection in connections:
        connection.sendall(visit.door.request(TAIL))
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            status = status_of(connection.recv(512))
            visit.seen[f"answered {status}"] += 1
            if status == 200:
                selector.register(connection, selectors.EVENT_READ)
        yield
        while True:
            for key, _ in selector.select(PAUSE_SECONDS):
                assert isinstance(key.fileobj, socket.socket)
                part = key.fileobj.recv(1 << 18)
                visit.seen["lines"] += part.count(b"\n")
                if not part:
                    visit.seen["left alone"] += 1
                    selector.unregister(key.fileobj)
            yield


def killed(visit: Visit) -> Iterator[None]:
    """Processes are killed that have read the beginning of an answer."""
    yield
    both = itertools.cycle([LARGE, TAIL + "&backlog=1000"])
    for path in itertools.islice(both, visit.count):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            connection = visit.door.connect()
            connection.sendall(visit.door.request(path))
            os.write(writing, connection.recv(64))
            signal.pause()
        os.close(writing)
        visit.seen[f"answered {status_of(os.read(reading, 64))}, killed"] += 1
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        yield


def bad(visit: Visit) -> Iterator[None]:
    """Bad requests come, one after the other, beside some that never end."""
    slow = [visit.enter() for _ in UNFINISHED]
    for connection, start in zip(slow, UNFINISHED, strict=True):
        connection.sendall(start)
    yield
    for name, text in itertools.islice(bad_requests(seed=1), visit.count):
        outcome = outcome_of(visit.door, text)
        visit.seen["bad requests"] += 1
        visit.seen[outcome] += 1
        if outcome in ("answered 200", "answered 500"):
            visit.seen[f"{outcome}: {name}"] += 1
        for connection in slow:
            with contextlib.suppress(OSError):  # it was hung up on, rightly
                connection.send(b"x")
        yield


def outcome_of(door: Door, text: bytes) -> str:
    with door.connect() as connection:
        with contextlib.suppress(OSError):  # it may hang up in the middle
            connection.sendall(text)
        connection.settimeout(PATIENCE_SECONDS)
        try:
            status = status_of(connection.recv(256))
        except TimeoutError:
            return "not answered"
        except OSError:
            return "hung up on"
    return f"answered {status}" if status else "hung up on"


def silent(visit: Visit) -> Iterator[None]:
    """More connect than are let in, and say nothing."""
    for _ in range(SILENT):
        visit.enter()
    yield


SCENARIOS: Final[dict[str, Callable[[Visit], Iterator[None]]]] = {
    each.__name__: each for each in (nobody, stopped, followers, killed, bad, silent)
}


def main() -> None:
    os.nice(10)
    visit = Visit(Door(*json.loads(sys.argv[2])), int(sys.argv[3]))
    steps = SCENARIOS[sys.argv[1]](visit)
    next(steps)
    print("ready", flush=True)  # noqa: T201
    for _ in steps:  # no thread: some of them fork
        if select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
            break
    else:
        print("done", flush=True)  # noqa: T201
    sys.stdin.read()
    visit.leave()
    print(json.dumps(visit.seen))  # noqa: T201


if __name__ == "__main__":
    main()
