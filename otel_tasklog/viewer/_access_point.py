"""The access point: by which ``otel-tasklog`` in another terminal asks this process.

::

    worker ─► open ─► <directory>/<pid>-<n>.sock      at the first record
                          │
              thread ─► poll ──── a client ───► import the server, serve
                          ▲                         │
                          └── nobody for a while ───┘

One thread, which waits for the first client; until then no web server is imported, and
no event loop runs. Its records are never captured, and what the
server logs goes nowhere (``_serve.py``).

Guarantees:

* A log call does nothing of it. What goes wrong is said once, and the program goes on.
* It neither holds up delivery, nor outlives `AccessPoint.close`: the file is gone, and
  who reads a tail has been told of its end.
* Before a fork the thread leaves, unless a client is connected; the next record brings
  it back. A forked child lets go of all that it inherited, and at its first record has
  an access point of its own. A fork waits for an import that has begun: the child would
  have one half of the modules.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING, Final

from otel_tasklog._errors import MissingExtraError
from otel_tasklog._hints import Hint
from otel_tasklog._process import (
    is_listed,
    park_before_fork,
    renew_after_fork,
    wait_while,
)
from otel_tasklog.viewer._listening import Listening, publish
from otel_tasklog.viewer._places import runtime_directory
from otel_tasklog.viewer._record_json import Run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from otel_tasklog._tasklog import TaskLog

__all__ = ["AccessPoint", "Selector", "make_access_point"]

IDLE_SECONDS: Final = 30.0
"""With nobody connected for so long the server is left, and the thread waits again."""

CLOSE_SECONDS: Final = 2.0
"""So long the end waits until who is connected has been told."""

PARK_SECONDS: Final = 0.05
"""At most so long a fork waits until the thread has left,"""

PREPARE_SECONDS: Final = 5.0
"""and so long for an import."""

AT_THE_END: Final = "interpreter shutdown"
"""What the error says, from Python 3.12 on, if a thread comes too late to start."""

RETRY_SECONDS: Final = 5.0
"""When the server fails, it is tried again after so long."""

# One that keeps nothing in the kernel: a forked child can let go of what is registered
# without touching the parent's. There is none on Windows, which does not fork either.
Selector: Final[type[selectors.BaseSelector]] = getattr(
    selectors, "PollSelector", selectors.SelectSelector
)


def make_access_point(
    tasklog: TaskLog, environ: Mapping[str, str]
) -> AccessPoint | None:
    """Return the access point that the settings ask for, not yet open, or None.

    Args:
        tasklog: Whose records are shown.
        environ: Says in which directory; see ``_places.py``.

    Raises:
        MissingExtraError: It is asked for, and the extra is not installed.
    """
    wanted = tasklog.config.attach
    if wanted is False:
        return None
    if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")):
        if wanted is None:
            return None
        raise MissingExtraError(f"attach={wanted!r}", "attach")
    tcp = wanted == "tcp" or not hasattr(socket, "AF_UNIX")
    return AccessPoint(
        tasklog,
        runtime_directory(environ),
        token=secrets.token_urlsafe(32) if tcp else None,
    )


class AccessPoint:
    """Lets others of the same user ask one TaskLog.

    Args:
        tasklog: The TaskLog.
        directory: Where its file is to be.
        token: What a client has to show at a port of the loopback; None for a
            unix-domain socket, which the file system guards.

    Attributes:
        leaving: The thread is to leave, unless a client is connected.
        closed: There is to be no access point any more.
        preparing: The thread is importing the server.
        native_ids: The system's names for the threads that are here.
        run: Makes ids of records, the same each time that the server is started.
    """

    def __init__(self, tasklog: TaskLog, directory: Path, *, token: str | None) -> None:
        self.tasklog = tasklog
        self.token = token
        self.run = Run()
        self.closed = False
        self._directory = directory
        self._forget()
        park_before_fork(self)
        renew_after_fork(self)

    def _forget(self) -> None:
        self.leaving = False
        self.preparing = False
        self.native_ids: set[int] = set()
        self._path: Path | None = None
        self._listening: Listening | None = None
        self._serving: Listening | None = None
        self._bell: tuple[socket.socket, socket.socket] | None = None
        self._thread: threading.Thread | None = None
        self._there = False
        self._failed = False

    @property
    def settled(self) -> bool:
        """Whether `open` would do nothing."""
        return self._there or self._failed or self.closed

    def open(self) -> None:
        """Open it, or start its thread again. On the worker's thread."""
        if self.settled:
            return
        try:
            if self._bell is None:
                self._bell = socket.socketpair()
                for end in self._bell:
                    end.settimeout(0)
            if self._listening is None:
                self._listening, self._path = publish(self._directory, self.token)
            self._start()
        except (OSError, RuntimeError) as error:  # no thread is a RuntimeError
            self._failed = True
            self._take_back()
            if AT_THE_END in str(error):  # there is nobody left to ask
                return
            self._say(
                f"this process cannot be asked by otel-tasklog ps, tail and the like: "
                f"{error} (attach=False, or OTEL_TASKLOG_ATTACH=0, if that is meant)"
            )
        if self.closed:  # meanwhile
            self.close()

    def _start(self) -> None:
        self.leaving = False
        self._there = True
        # Its threads are daemons, too: what they look at is done with when they end.
        thread = threading.Thread(
            target=self._watch, name="otel_tasklog access", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            self._there = False
            raise
        self._thread = thread

    def withdraw(self) -> None:
        """Remove the file: the process is about to end. From a signal's handler."""
        if os.getpid() != 1:  # which goes on after a SIGTERM
            self._unlink()

    def close(self) -> None:
        """End it, within `CLOSE_SECONDS`. From any thread, more than once."""
        self.closed = True
        self._unlink()
        self.ring()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSE_SECONDS)
        if not self._there:
            self._take_back()

    def ring(self) -> None:
        """Have the thread look at what is wanted of it. Takes no lock."""
        bell = self._bell
        if bell is not None:
            with contextlib.suppress(OSError):  # it is ringing already, or gone
                bell[1].send(b"\0")

    def park(self) -> None:
        """End the thread for now, if nobody is connected.

        Before a fork, in whatever thread and state the program is: takes no lock.
        """
        if not self._there or threading.get_ident() in self._own_threads:
            return
        wait_while(lambda: self.preparing, PREPARE_SECONDS)
        serving = self._serving
        if serving is not None and serving.clients():
            return
        self.leaving = True
        self.ring()
        wait_while(self._is_there, PARK_SECONDS)

    def _is_there(self) -> bool:
        return self._there or any(map(is_listed, self.native_ids))

    def renew(self) -> None:
        """Let go, in a forked child, of what is the parent's; of its file, too."""
        for listening in (self._listening, self._serving):
            if listening is not None:
                listening.abandon()
        for end in self._bell or ():
            end.close()
        self._forget()

    @property
    def _own_threads(self) -> set[int | None]:
        return self.tasklog.port.own_threads

    def _watch(self) -> None:
        ident = threading.get_ident()
        self._own_threads.add(ident)
        self.native_ids = {threading.get_native_id()}
        try:
            while not (self.leaving or self.closed):
                if self._wait(self._listening):
                    self._serve()
        except Exception as error:  # noqa: BLE001 - nobody else would hear of it
            self._failed = True
            self._say(f"the access point failed: {error!r}")
        finally:
            self._own_threads.discard(ident)
            self._there = False
            if self.closed or self._failed:
                self._take_back()

    def _wait(
        self, listening: Listening | None, timeout_seconds: float | None = None
    ) -> bool:
        """Wait for a client, or until something is wanted; return whether for one."""
        assert self._bell is not None  # noqa: S101 - for the type checker
        with Selector() as selector:
            selector.register(self._bell[0], selectors.EVENT_READ)
            if listening is not None:
                selector.register(listening, selectors.EVENT_READ)
            found = selector.select(timeout_seconds)
        self.heard()
        return any(key.fileobj is listening for key, _ in found)

    def heard(self) -> None:
        """Stop the bell."""
        bell = self._bell
        if bell is not None:
            with contextlib.suppress(OSError):
                while bell[0].recv(64):
                    pass

    def _serve(self) -> None:
        assert self._listening is not None  # noqa: S101 - for the type checker
        assert self._bell is not None  # noqa: S101 - for the type checker
        self.preparing = True
        try:
            from otel_tasklog.viewer._serve import serve

            with self._listening.dup() as self._serving:
                serve(self, self._serving, self._bell[0])
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a server's way to fail
            self._say(f"the access point's server failed: {error!r}")
            ends = time.monotonic() + RETRY_SECONDS
            while not (self.leaving or self.closed) and time.monotonic() < ends:
                self._wait(None, ends - time.monotonic())
        finally:
            self.preparing = False
            self._serving = None

    def _say(self, text: str) -> None:
        self.tasklog.hints.give(Hint("access point", text))

    def _unlink(self) -> None:
        path, self._path = self._path, None
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink()

    def _take_back(self) -> None:
        self._unlink()
        listening, self._listening = self._listening, None
        bell, self._bell = self._bell, None
        for each in (listening, *(bell or ())):
            if each is not None:
                each.close()
