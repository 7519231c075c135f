"""A receiver of OTLP that misbehaves as it is told, in a process of its own.

``python -m e2e.faults.receiver '{"protocol": "http/protobuf", "port": 0, "journal":
"/tmp/journal", "script": [{"do": "hang", "requests": 1}, {"do": "accept"}]}'`` prints
its port, and runs until its standard input ends.

It is written on sockets and on grpcio, and shares nothing with what it tests.
"""

from __future__ import annotations

import contextlib
import email.utils
import gzip
import json
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from e2e.faults.journal import SENDER, Notes, Sent
from e2e.faults.script import ACCEPT, Script
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceResponse,
)

if TYPE_CHECKING:
    from io import BufferedReader

    from e2e.faults.journal import Fate
    from e2e.faults.script import Step

__all__ = ["HttpReceiver", "answer_with", "fate_of"]

POLL_SECONDS = 0.005
PROTOBUF = {"Content-Type": "application/x-protobuf"}
HANG_UP_WITH_RESET = struct.pack("ii", 1, 0)


class Receiver(Protocol):
    """A port that can be opened and closed."""

    port: int

    def open(self) -> None: ...

    def close(self) -> None: ...


def fate_of(step: Step) -> Fate:
    """Return what becomes of the records of a request."""
    if step.do != "answer" or step.keeps:
        return "kept"
    return "refused" if step.refuses else "not now"


def answer_with(rejects: int) -> bytes:
    """Return the OTLP message of a yes, or of one in part."""
    if not rejects:
        return b""
    answer = ExportLogsServiceResponse()
    answer.partial_success.rejected_log_records = rejects
    answer.partial_success.error_message = "the first ones are no good"
    message: bytes = answer.SerializeToString()
    return message


class _Head(NamedTuple):
    path: str
    headers: dict[str, str]

    @property
    def length(self) -> int:
        return int(self.headers["content-length"])


class HttpReceiver:
    """OTLP/HTTP on plain sockets.

    Args:
        script: What to do.
        notes: Where to write what came.
        port: Where to listen; 0: a free one.
    """

    def __init__(self, script: Script, notes: Notes, port: int) -> None:
        self._script = script
        self._notes = notes
        self.port = port
        self._listener: socket.socket | None = None
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._notes.listens(up=True)
        threading.Thread(target=self._accept, args=(self._listener,)).start()

    def close(self) -> None:
        if self._listener is None:
            return
        self._notes.listens(up=False)
        with contextlib.suppress(OSError):  # it wakes who accepts, on Linux
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listener = None
        with self._lock:
            connections = self._connections.copy()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in connections.values():
            thread.join(5)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = listener.accept()
                thread = threading.Thread(target=self._serve, args=(connection,))
                with self._lock:
                    self._connections[connection] = thread
                    thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The client may hang up, and so may we, in the middle of anything.
        with (
            contextlib.suppress(OSError, EOFError),
            connection,
            connection.makefile("rb") as reader,
        ):
            while self._serve_one(connection, reader):
                pass
        with self._lock:
            del self._connections[connection]

    def _serve_one(self, connection: socket.socket, reader: BufferedReader) -> bool:
        """Deal with a request; return whether the connection lives on."""
        head = _read_head(reader)
        step = self._script.step()
        if not step.applies(head.path, head.length):
            return self._take(connection, _read_body(reader, head), ACCEPT)
        try:
            match step.do:
                case "refuse":  # as the port will be, in a moment
                    return False
                case "reset":
                    reader.read(head.length // 2)
                    self._notes.cut()
                    connection.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, HANG_UP_WITH_RESET
                    )
                    return False
                case "answer":
                    return self._answer(connection, _read_body(reader, head), step)
                case "hang":
                    self._notes.request(_read_body(reader, head), step.do, "kept")
                    reader.read(1)  # until one of us hangs up
                    return False
                case "cut head" | "cut body":
                    return self._cut(connection, _read_body(reader, head), step)
                case _:
                    return self._take(connection, _read_body(reader, head), step)
        finally:
            self._script.done(step)

    def _take(self, connection: socket.socket, sent: Sent, step: Step) -> bool:
        rejects = step.rejects if step.do == "partial" else 0
        name = self._notes.request(sent, step.do, "kept", rejects=rejects)
        response = _response(200, PROTOBUF, answer_with(rejects))
        if step.do == "trickle":
            for byte in response:
                connection.sendall(bytes((byte,)))
                time.sleep(step.pause_seconds)
        else:
            connection.sendall(response)
        self._notes.answered(name)
        return True

    def _cut(self, connection: socket.socket, sent: Sent, step: Step) -> bool:
        name = self._notes.request(sent, step.do, "kept")
        if step.do == "cut head":
            connection.sendall(_response(200, PROTOBUF, b"")[:40])
        else:
            connection.sendall(_response(200, PROTOBUF, b"12345678")[:-4])
            self._notes.answered(name)  # the head says it all
        return False

    def _answer(self, connection: socket.socket, sent: Sent, step: Step) -> bool:
        name = self._notes.request(sent, step.do, fate_of(step))
        headers = step.headers.copy()
        after = headers.get("Retry-After", "")
        if after.startswith("date+"):
            date = time.time() + float(after.removeprefix("date+"))
            headers["Retry-After"] = email.utils.formatdate(date, usegmt=True)
        connection.sendall(_response(step.status, headers, step.text.encode()))
        self._notes.answered(name)
        return True


def _read_head(reader: BufferedReader) -> _Head:
    first = reader.readline()
    if not first:
        raise EOFError
    headers = {}
    while (line := reader.readline().strip()) != b"":
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    return _Head(first.decode("latin-1").split()[1], headers)


def _read_body(reader: BufferedReader, head: _Head) -> Sent:
    body = reader.read(head.length)
    if len(body) < head.length:
        raise EOFError
    if head.headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    return Sent(body, head.headers.get(SENDER, ""))


def _response(status: int, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status} So"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if status != 204:  # which has no body, and must not have its length
        lines.append(f"Content-Length: {len(body)}")
    lines.append("\r\n")
    return "\r\n".join(lines).encode() + body


def _make_receiver(job: dict[str, str], script: Script, notes: Notes) -> Receiver:
    port = int(job["port"])
    if job["protocol"] == "grpc":
        from e2e.faults.receiver_grpc import GrpcReceiver

        return GrpcReceiver(script, notes, port)
    return HttpReceiver(script, notes, port)


def _follow(script: Script, receiver: Receiver, ended: threading.Event) -> None:
    """Keep the port open but while the script says ``refuse``."""
    is_open = True
    while not ended.wait(POLL_SECONDS):
        refuses = script.step().do == "refuse"
        if refuses and is_open:
            receiver.close()
        elif not refuses and not is_open:
            receiver.open()
        is_open = not refuses
    if is_open:
        receiver.close()


def main() -> None:
    job = json.loads(sys.argv[1])
    script = Script(job["script"])
    receiver = _make_receiver(job, script, Notes(Path(job["journal"])))
    receiver.open()
    print(receiver.port, flush=True)  # noqa: T201 - it is how we are found
    ended = threading.Event()
    following = threading.Thread(target=_follow, args=(script, receiver, ended))
    following.start()
    sys.stdin.read()  # whoever started us holds the other end
    ended.set()
    following.join()


if __name__ == "__main__":
    main()
