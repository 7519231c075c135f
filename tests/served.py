"""A TaskLog that can be asked as another process's can: over a unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from otel_tasklog import Config, TaskLog
from otel_tasklog.viewer._api import make_api
from otel_tasklog.viewer._places import DIRECTORY_VARIABLE, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from otel_tasklog.delivery._senders import Sender

__all__ = ["Served", "listen", "runtime_dir", "serve"]


class Served:
    """A TaskLog with an access point, and a logger that feeds it alone."""

    def __init__(self, tasklog: TaskLog, place: Place) -> None:
        self.tasklog = tasklog
        self.place = place
        self.log = logging.getLogger(f"served.{place.path.stem}.{id(self):x}")
        self.log.propagate = False
        self.log.setLevel(1)
        self.log.handlers[:] = [tasklog.handler]

    @property
    def name(self) -> str:
        """What a command calls it."""
        return f"{self.tasklog.config.service_name}/{os.getpid()}"


@contextlib.contextmanager
def runtime_dir() -> Generator[dict[str, str]]:
    """Make an empty directory for access points; give the environment that names it.

    Its path is short, as that of a socket has to be.
    """
    directory = tempfile.mkdtemp(prefix="tasklog-")
    try:
        yield {DIRECTORY_VARIABLE: directory}
    finally:
        shutil.rmtree(directory)


@contextlib.contextmanager
def serve(
    environ: dict[str, str],
    *,
    pid: int | None = None,
    number: int = 0,
    sender: Sender | None = None,
    **settings: Any,
) -> Generator[Served]:
    """Serve a TaskLog of its own in *environ*'s directory until the block ends.

    Args:
        environ: Of `runtime_dir`.
        pid: The process that its file is named after; by default this one.
        number: Which of that process's access points it is.
        sender: What it delivers to; by default nothing is exported.
        settings: Of its Config.
    """
    place_pid = os.getpid() if pid is None else pid
    path = Path(environ[DIRECTORY_VARIABLE], f"{place_pid}-{number}.sock")
    made: dict[str, Any] = {"service_name": "shop", **settings}
    if sender is None:
        made.setdefault("exporter", None)
    tasklog = TaskLog(Config(**made), sender=sender)
    served = Served(tasklog, Place(place_pid, path))
    try:
        with _server(make_api(tasklog, open_to_all=True), path):
            yield served
    finally:
        served.log.handlers.clear()
        tasklog.close(1.0)


@contextlib.contextmanager
def listen(path: Path | None, talk: Callable[[socket.socket], None]) -> Generator[int]:
    """Have something else listen where a process could be asked.

    Args:
        path: Of a unix socket; None is a port of 127.0.0.1, which is given.
        talk: Called with each connection, one after the other; it is then closed.
    """
    family = socket.AF_INET if path is None else socket.AF_UNIX
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.bind(("127.0.0.1", 0) if path is None else str(path))
    listening.listen()

    def accept() -> None:
        while True:
            with listening.accept()[0] as connection:
                if ended.is_set():
                    return
                with contextlib.suppress(OSError):  # it hung up
                    talk(connection)

    ended = threading.Event()
    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield 0 if path is not None else listening.getsockname()[1]
    finally:
        ended.set()
        with socket.socket(family, socket.SOCK_STREAM) as last:
            last.connect(listening.getsockname())
        thread.join(10)
        listening.close()


@contextlib.contextmanager
def _server(application: Any, path: Path) -> Iterator[None]:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    path.chmod(0o600)
    listening.listen()
    config = uvicorn.Config(
        application, log_config=None, lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[listening]))
    )
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
        path.unlink(missing_ok=True)
