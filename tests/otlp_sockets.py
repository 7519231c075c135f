"""A receiver of OTLP/HTTP that does to each connection what a test says."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Connection:
    """One connection, as a script sees it."""

    def __init__(self, sock: socket.socket, over: threading.Event) -> None:
        self._sock = sock
        self._over = over

    def request(self) -> bytes:
        """Return the body of the next request; it is an error if there is none."""
        length = self.head()
        with self._sock.makefile("rb", buffering=0) as file:
            body = b""
            while len(body) < length:
                more = file.read(length - len(body))
                assert more, "closed"
                body += more
            return body

    def head(self) -> int:
        """Read the head of a request; return the length of its body."""
        length = 0
        with self._sock.makefile("rb", buffering=0) as file:
            while (line := file.readline()) != b"\r\n":
                assert line, "closed"
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
        return length

    def say(self, data: bytes) -> None:
        self._sock.sendall(data)

    def trickle(self, data: bytes) -> None:
        """Send *data* byte by byte, for ever, until the client hangs up."""
        while not self._over.wait(0.01):
            for byte in data:
                self._sock.sendall(bytes([byte]))
                self._over.wait(0.01)

    def hang(self, seconds: float = 30.0) -> None:
        """Read nothing, say nothing, at most until the test is over."""
        self._over.wait(seconds)

    def reset(self) -> None:
        """Hang up with a reset instead of an end."""
        linger = struct.pack("ii", 1, 0)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._sock.close()


class SocketPeer:
    """Runs a script with each connection, one after the other; then refuses.

    Args:
        scripts: One for each connection. At its end the connection is closed.
        tls: Makes it one of https.
    """

    def __init__(
        self, *scripts: Callable[[Connection], None], tls: ssl.SSLContext | None = None
    ) -> None:
        self._scripts = scripts
        self._tls = tls
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self.accepted = 0

    @property
    def endpoint(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}/v1/logs"

    def _serve(self) -> None:
        for script in self._scripts:
            sock, _ = self._listener.accept()
            if self._over.is_set():
                sock.close()
                return
            self.accepted += 1
            # A client that hangs up ends a script.
            with contextlib.suppress(OSError, AssertionError), sock:
                if self._tls is None:
                    script(Connection(sock, self._over))
                else:
                    with self._tls.wrap_socket(sock, server_side=True) as tls:
                        script(Connection(tls, self._over))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._over.set()
        with contextlib.suppress(OSError):  # whoever waits for one more gets one
            socket.create_connection(self._listener.getsockname()).close()
        self._thread.join(10)
        self._listener.close()
        assert not self._thread.is_alive()
