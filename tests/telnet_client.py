"""A telnet client for tests, over a raw socket."""

from __future__ import annotations

import re
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "DO", "IAC", "IP", "IS", "PROMPT_BEGINS", "PROMPT_ENDS", "SB", "SE", "TIMING_MARK",
    "TTYPE", "WONT", "Telnet",
]  # fmt: skip

IAC, SB, SE, WILL, NAWS, TTYPE, IS = (
    bytes([n]) for n in (255, 250, 240, 251, 31, 24, 0)
)
IP, DO, WONT, TIMING_MARK = (bytes([n]) for n in (244, 253, 252, 6))
PROMPT_BEGINS, PROMPT_ENDS = b"\x1b[?2004h", b"\x1b[?2004l"
WHERE_IS_THE_CURSOR, AT_THE_TOP = b"\x1b[6n", b"\x1b[1;1R"
SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Telnet:
    """A telnet client that negotiates, answers, and waits for prompts."""

    def __init__(
        self, port: int, *, columns: int = 79, receive_bytes: int | None = None
    ) -> None:
        self.socket = socket.socket()
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", port))
        size = struct.pack("!HH", columns, 40 if columns else 0)
        self.socket.sendall(
            IAC + WILL + TTYPE + IAC + SB + TTYPE + IS + b"xterm" + IAC + SE
            + IAC + SB + NAWS + size + IAC + SE
        )  # fmt: skip
        self._received = b""
        self.raw = self.until(PROMPT_BEGINS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def receive(self) -> bytes:
        """Return what has come, nothing at the end."""
        return self.socket.recv(65_536)

    def send(self, data: bytes) -> None:
        """Type it."""
        self.socket.sendall(data)

    def until(self, mark: bytes) -> bytes:
        """Return what comes before *mark*."""
        while mark not in self._received:
            data = self.receive()
            if not data:
                raise EOFError(self._received)
            if WHERE_IS_THE_CURSOR in data:
                self.send(AT_THE_TOP)
            self._received += data
        before, _, self._received = self._received.partition(mark)
        return before

    def begin(self, line: str) -> None:
        """Type a command, and do not wait for its end."""
        self.send(line.encode() + b"\r")
        self.until(PROMPT_ENDS)

    def command(self, line: str) -> list[str]:
        """Return the lines that a command prints."""
        self.begin(line)
        self.raw = self.until(PROMPT_BEGINS)
        text = SEQUENCES.sub("", self.raw.decode()).replace("\r\n", "\n")
        return text.strip("\n \r").split("\n")

    def reset(self) -> None:
        """Go away without a word, while the prompt waits."""
        self.socket.sendall(b"x")
        self.until(b"x")
        self.abort()

    def abort(self) -> None:
        """Go away without a word."""
        self.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.socket.close()
