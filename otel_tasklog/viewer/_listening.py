"""The socket of an access point, and its file in the directory.

Guarantees: the file appears when the socket listens, never before; so a connection that
is refused there means that the process is dead. It is the user's alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING, Final

from otel_tasklog.viewer._places import (
    Place,
    forget,
    is_running,
    make_directory,
    places_in,
    read_address,
)

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BACKLOG", "HOST", "Listening", "publish"]

BACKLOG: Final = 64
"""So many connections may wait until somebody lets them in."""

HOST: Final = "127.0.0.1"

CONNECTIONS: Final = 128
"""Of one access point at a time: the program needs descriptors itself."""

ACCESS_POINTS: Final = 100
"""Of one process at a time, at most."""

PROBE_SECONDS: Final = 0.2


class Listening(socket.socket):
    """A listening socket that knows whom it let in, for other threads to look at."""

    def __init__(
        self, family: int = -1, kind: int = -1, proto: int = -1,
        fileno: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(family, kind, proto, fileno)
        self._accepted: set[socket.socket] = set()

    def accept(self) -> tuple[socket.socket, object]:
        """Let somebody in.

        Raises:
            ConnectionAbortedError: There are too many, and one was hung up on.
        """
        connection, address = super().accept()
        clients = self.clients()
        if len(clients) >= CONNECTIONS:
            connection.close()
            raise ConnectionAbortedError(f"{CONNECTIONS} are connected already")
        self._accepted = {*clients, connection}
        return connection, address

    def clients(self) -> list[socket.socket]:
        """Return the connections that are open."""
        return [each for each in self._accepted if each.fileno() >= 0]

    def abandon(self) -> None:
        """Close it and them in a forked child, where the parent's go on.

        Else a client would not learn of the parent's end.
        """
        for each in (*self.clients(), self):
            each.close()


def publish(directory: Path, token: str | None) -> tuple[Listening, Path]:
    """Return a new listening socket, and its file.

    Args:
        directory: Where the file is to be; made if it is not there. The files of dead
            processes in it are removed.
        token: For a port of the loopback, which anybody on the machine can reach; None
            for a unix-domain socket.

    Raises:
        OSError: It cannot be; the message says why.
    """
    make_directory(directory)
    for place in places_in(directory):
        if not (is_running(place.pid) or _answers(place)):
            forget(place)
    path = _free(directory, "sock" if token is None else "json")
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    family = socket.AF_UNIX if token is None else socket.AF_INET
    listening = Listening(family, socket.SOCK_STREAM)
    try:
        if token is None:
            listening.bind(str(new))
            new.chmod(0o600)
        else:
            listening.bind((HOST, 0))
        listening.listen(BACKLOG)
        listening.settimeout(0)
        if token is not None:
            _write(new, {"host": HOST, "port": listening.getsockname()[1],
                         "token": token})  # fmt: skip
        new.replace(path)
    except BaseException:
        listening.close()
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    return listening, path


def _write(path: Path, value: object) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(fd, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
        json.dump(value, file)


def _free(directory: Path, kind: str) -> Path:
    """Return a name that nobody uses: this process's other, or another container's."""
    pid = os.getpid()
    for number in range(ACCESS_POINTS):
        path = directory / f"{pid}-{number}.{kind}"
        if not os.path.lexists(path) or not _answers(Place(pid, path)):
            return path
    raise OSError(f"{directory} has {ACCESS_POINTS} access points of this process")


def _answers(place: Place) -> bool:
    """Return whether somebody listens there.

    The process may be dead here and alive in a container that shares the directory.
    """
    try:
        address = read_address(place)
        family = socket.AF_INET if address.uds is None else socket.AF_UNIX
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.settimeout(PROBE_SECONDS)
            probe.connect(address.uds or (address.host, address.port))
    except TimeoutError:  # it has its hands full
        return True
    except (OSError, ValueError):
        return False
    return True
