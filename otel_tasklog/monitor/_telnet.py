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
import os
import socket
import sys
from typing import TYPE_CHECKING, Final

from prompt_toolkit.contrib.telnet.protocol import (
    DO,
    IAC,
    IP,
    WONT,
    TelnetProtocolParser,
)
from prompt_toolkit.contrib.telnet.server import TelnetConnection, TelnetServer
from prompt_toolkit.input import create_pipe_input

if sys.platform != "win32":
    import fcntl

    from prompt_toolkit.input.posix_pipe import PosixPipeInput

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

UNREAD_BYTES: Final = 4_096
"""What a client may send ahead of its session."""

_ACCEPT_PAUSE_SECONDS: Final = 1.0
_END_SECONDS: Final = 1.0
_CTRL_C: Final = b"\x03"
_TIMING_MARK: Final = b"\x06"

_log = logging.getLogger("otel_tasklog")


class _Client(socket.socket):
    """A client's socket: it sends all or hangs up, and a reset is an end.

    Args:
        accepted: Taken over.

    Attributes:
        when_lost: Called when the client did not take what was sent, or went before
            its session began.
        has_session: Whether somebody reads what it types, and sees the end of that.
    """

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__(fileno=accepted.detach())
        self.settimeout(SEND_SECONDS)
        self.when_lost: Callable[[], object] = lambda: None
        self.has_session = False
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

    def hang_up(self) -> None:
        """End the connection, also where a forked child has it open still."""
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)
        self.close()

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        try:
            data = super().recv(bufsize, flags)
        except OSError:  # a reset, say; raised, it would end in the loop's handler
            data = b""
        # A telnet client answers the options first. What comes from a web page
        # starts with GET or POST, and might go on with a command.
        self._negotiated = self._negotiated or data.startswith(IAC)
        if not self._negotiated:
            data = b""
        if not data and not self.has_session:
            self.when_lost()  # or it would have its place for the whole time-out
        return data


class _Parser(TelnetProtocolParser):
    """Takes telnet's own interrupt for Ctrl-C.

    Args:
        like: Has the callbacks.
        client: Is answered.
    """

    def __init__(self, like: TelnetProtocolParser, client: socket.socket) -> None:
        super().__init__(
            like.data_received_callback,
            like.size_received_callback,
            like.ttype_received_callback,
        )
        self._client = client

    def command_received(self, command: bytes, data: bytes) -> None:
        """Handle a command; *data* is its option, if it has one."""
        if command == IP:
            self.received_data(_CTRL_C)
        elif (command, data) == (DO, _TIMING_MARK):
            # What some send after it: until it is answered they show nothing.
            self._client.send(IAC + WONT + _TIMING_MARK)
        else:
            super().command_received(command, data)


class _Connection(TelnetConnection):
    """Hangs up on who sends more than is read of it: nobody types that much.

    What arrives goes through a pipe, and writing to one that is full would stop the UI
    thread, with it the reader, for ever.
    """

    def take_interrupts(self) -> None:
        """Let telnet's own interrupt be Ctrl-C, before anything is received."""
        self.parser = _Parser(self.parser, self.conn)

    def limit_input(self) -> None:
        """Let no more than `UNREAD_BYTES` wait. Windows has no such pipe."""
        if sys.platform != "win32" and isinstance(self.vt100_input, PosixPipeInput):
            end = self.vt100_input.pipe.write_fd
            os.set_blocking(end, False)
            if sys.platform == "linux":  # elsewhere 16 KiB and more
                fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, UNREAD_BYTES)

    def feed(self, data: bytes) -> None:
        """Hand over what arrived, or hang up."""
        try:
            super().feed(data)
        except BlockingIOError:
            self.close()


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
        host, port = listener.getsockname()[:2]
        super().__init__(host=host, port=port, interact=interact)
        self._listener = listener
        self._sessions: dict[asyncio.Task[None], _Client] = {}

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
                await asyncio.wait([*self._sessions], timeout=_END_SECONDS)

    def forget(self) -> None:
        """Close what a forked child has of the sessions."""
        for client in self._sessions.values():
            client.close()

    def _begin(self, client: _Client, address: tuple[str, int]) -> None:
        session = asyncio.create_task(self._serve(client, address))
        client.when_lost = session.cancel
        self._sessions[session] = client
        # Not in the session, which may be cancelled before its first step.
        session.add_done_callback(self._end)

    def _end(self, session: asyncio.Task[None]) -> None:
        self._sessions.pop(session).hang_up()

    async def _serve(self, client: _Client, address: tuple[str, int]) -> None:
        async def interact(connection: TelnetConnection) -> None:
            negotiation.reschedule(None)
            client.has_session = True
            await self.interact(connection)

        try:
            with create_pipe_input() as pipe:
                async with asyncio.timeout(NEGOTIATION_SECONDS) as negotiation:
                    connection = _Connection(
                        client,
                        address,
                        interact,
                        self,
                        encoding=self.encoding,
                        style=self.style,
                        vt100_input=pipe,
                        enable_cpr=self.enable_cpr,
                    )
                    connection.take_interrupts()
                    connection.limit_input()
                    self.connections.add(connection)
                    try:
                        await connection.run_application()
                    finally:
                        self.connections.discard(connection)
        except (EOFError, KeyboardInterrupt, TimeoutError):
            return
        except Exception as error:  # noqa: BLE001 - one session, not the others
            _log.warning("a telnet session ended with %r", error)
