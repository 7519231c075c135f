"""prompt_toolkit's telnet server, on a socket of ours and bounded everywhere.

Its own opens the port inside the UI loop, where a failure is never seen; sends
without a timeout, so that one client that stops reading stops every session and the
close; leaves a task behind for each client that never negotiates; and accepts
whatever a web page posts to the port.

Imported only when a monitor starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TYPE_CHECKING, Final

from prompt_toolkit.contrib.telnet.server import TelnetConnection, TelnetServer
from prompt_toolkit.input import create_pipe_input

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from _typeshed import ReadableBuffer

__all__ = ["TelnetListener"]

SEND_SECONDS: Final = 2.0
"""How long one piece of output may take. It stops the UI thread, not the program."""

NEGOTIATION_SECONDS: Final = 10.0
"""How long a client may take to tell its terminal type."""

SESSIONS: Final = 16
"""More clients than this at once are turned away."""

_ACCEPT_PAUSE_SECONDS: Final = 1.0
_END_SECONDS: Final = 1.0
_IAC: Final = b"\xff"

_log = logging.getLogger("otel_tasklog")


class _Client(socket.socket):
    """A client's socket: it sends all or hangs up, and a reset is an end.

    Args:
        accepted: Taken over.

    Attributes:
        when_lost: Called when the client did not take what was sent.
    """

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__(fileno=accepted.detach())
        self.settimeout(SEND_SECONDS)
        self.when_lost: Callable[[], object] = lambda: None
        self._lost = False
        self._negotiated = False

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        size = memoryview(data).nbytes
        if not self._lost:
            try:
                self.sendall(data, flags)  # its timeout is for all of it
            except OSError:
                self._lost = True
                with contextlib.suppress(OSError):
                    self.shutdown(socket.SHUT_RDWR)
                self.when_lost()  # or it would run the commands typed ahead
        return size

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        try:
            data = super().recv(bufsize, flags)
        except OSError:  # a reset, say; raised, it would end in the loop's handler
            return b""
        if not self._negotiated:
            # A telnet client answers the options first. What comes from a web page
            # starts with GET or POST, and might go on with a command.
            if not data.startswith(_IAC):
                return b""
            self._negotiated = True
        return data


class TelnetListener(TelnetServer):
    """Serves telnet sessions on a listening socket.

    Args:
        listener: A listening socket, which `run` closes.
        interact: Serves one session.
    """

    def __init__(
        self,
        listener: socket.socket,
        interact: Callable[[TelnetConnection], Coroutine[object, object, None]],
    ) -> None:
        host, port = listener.getsockname()
        super().__init__(host=host, port=port, interact=interact)
        self._listener = listener
        self._sessions: set[asyncio.Task[None]] = set()

    async def run(self, ready_cb: Callable[[], None] | None = None) -> None:
        """Serve until cancelled.

        Args:
            ready_cb: Called once clients are served.
        """
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)  # noqa: FBT003 - its signature
        if ready_cb is not None:
            ready_cb()
        try:
            while True:
                try:
                    accepted, address = await loop.sock_accept(self._listener)
                except OSError:  # no file descriptors left: the client can wait
                    await asyncio.sleep(_ACCEPT_PAUSE_SECONDS)
                    continue
                if len(self._sessions) >= SESSIONS:
                    accepted.close()
                    continue
                self._begin(_Client(accepted), address)
        finally:
            self._listener.close()
            for session in self._sessions:
                session.cancel()
            if self._sessions:
                await asyncio.wait(self._sessions, timeout=_END_SECONDS)

    def _begin(self, client: _Client, address: tuple[str, int]) -> None:
        session = asyncio.create_task(self._serve(client, address))
        client.when_lost = session.cancel
        self._sessions.add(session)
        session.add_done_callback(self._sessions.discard)
        # Not in the session, which may be cancelled before its first step.
        session.add_done_callback(lambda _: client.close())

    async def _serve(self, client: _Client, address: tuple[str, int]) -> None:
        async def interact(connection: TelnetConnection) -> None:
            negotiation.reschedule(None)
            await self.interact(connection)

        try:
            with create_pipe_input() as pipe:
                async with asyncio.timeout(NEGOTIATION_SECONDS) as negotiation:
                    connection = TelnetConnection(
                        client,
                        address,
                        interact,
                        self,
                        encoding=self.encoding,
                        style=self.style,
                        vt100_input=pipe,
                        enable_cpr=self.enable_cpr,
                    )
                    self.connections.add(connection)
                    try:
                        await connection.run_application()
                    finally:
                        self.connections.discard(connection)
        except (EOFError, KeyboardInterrupt, TimeoutError):
            return
        except Exception as error:  # noqa: BLE001 - one session, not the others
            _log.warning("a telnet session ended with %r", error)
