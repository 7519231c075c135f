"""The access point's server; imported when the first client comes.

uvicorn, in an event loop of the access point's thread, without what it does to a process
that is its own: it configures no logging, and what it says is heard by nobody, for the
application may run a uvicorn itself. Only a failure of the API is passed on, since it is
a defect.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from otel_tasklog.viewer import _access_point
from otel_tasklog.viewer._access import Access
from otel_tasklog.viewer._application import make_application
from otel_tasklog.viewer._listening import BACKLOG

if TYPE_CHECKING:
    from collections.abc import Generator

    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

    from otel_tasklog.viewer._access_point import AccessPoint
    from otel_tasklog.viewer._listening import Listening

__all__ = ["serve"]

CLIENTS: Final = 64
"""So many connections may ask at a time; others are told so."""

ASK_SECONDS: Final = 10.0
"""A client that has not asked after so long is hung up on."""

LOOK_SECONDS: Final = 1.0
"""So often it is looked whether anybody is connected."""

GRACE_SECONDS: Final = 1
"""So long, at the end, a client may take to read what is on its way."""

_LOGGERS: Final = ("uvicorn.error", "uvicorn.access", "uvicorn.asgi", "asyncio")


def serve(point: AccessPoint, listening: Listening, bell: socket.socket) -> None:
    """Serve until nobody has been connected for a while, or something is wanted.

    In the access point's thread.

    Args:
        point: The access point.
        listening: The socket; closed by the caller.
        bell: Can be read when something is wanted of the thread.
    """
    with (
        _unheard(),
        asyncio.Runner(debug=False, loop_factory=_new_loop) as runner,
    ):
        runner.run(_serve(point, listening, bell))


def _new_loop() -> asyncio.AbstractEventLoop:
    # The descriptors that it takes. A loop that gets none is one that cannot be closed,
    # and says so on stderr when it is collected.
    for end in socket.socketpair():
        end.close()
    # Not what the application's policy would make: uvloop accepts behind our back.
    loop = asyncio.SelectorEventLoop(_access_point.Selector())
    loop.set_exception_handler(_note)
    return loop


def _note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if not isinstance(context.get("exception"), OSError):  # no descriptors left
        loop.default_exception_handler(context)


class _Config(uvicorn.Config):
    """Settings of a guest."""

    def configure_logging(self) -> None:
        """Leave logging as the application has it."""


class _Protocol(H11Protocol):
    """Hangs up on clients that keep a place, and do not ask for anything."""

    _waiting: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let a client ask."""
        super().connection_made(transport)
        self._wait()

    def on_response_complete(self) -> None:
        """Let it ask for more."""
        super().on_response_complete()
        self._waiting.cancel()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._waiting.cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(ASK_SECONDS, self._hang_up, self.cycle)

    def _hang_up(self, last: RequestResponseCycle | None) -> None:
        # What was asked for, a tail perhaps, may take its time; another answer follows.
        if (last is None or last.response_complete) and self.cycle is last:
            self.transport.abort()


async def _serve(point: AccessPoint, listening: Listening, bell: socket.socket) -> None:
    def note_thread() -> None:
        point.native_ids.add(threading.get_native_id())

    access = Access(
        token=point.token,
        open_to_all=point.token is None,
        allowed_hosts=() if point.token is None else ("localhost",),
    )
    config = _Config(
        make_application(point.tasklog, access, run=point.run, on_thread=note_thread),
        http=_Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        proxy_headers=False,
        server_header=False,
        workers=1,
        backlog=BACKLOG,
        limit_concurrency=CLIENTS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    # What else is to be imported is, before a fork may come between.
    config.load()
    await anyio.to_thread.run_sync(note_thread)
    point.preparing = False
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    rung = asyncio.Event()
    asyncio.get_running_loop().add_reader(bell, rung.set)
    await _until_left(point, listening, serving, rung)
    asyncio.get_running_loop().remove_reader(listening)
    if not listening.clients():  # not what takes uvicorn two tenths of a second
        serving.cancel()
    server.should_exit = True
    await asyncio.wait([serving])
    for connection in list(server.server_state.connections):  # who did not read on
        connection.transport.abort()
    await asyncio.sleep(0)
    if not serving.cancelled():
        serving.result()


async def _until_left(
    point: AccessPoint,
    listening: Listening,
    serving: asyncio.Task[None],
    rung: asyncio.Event,
) -> None:
    """Wait until the thread is to leave, as it may, or the server ends by itself."""
    loop = asyncio.get_running_loop()
    last = loop.time()
    while not serving.done():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await rung.wait()
        rung.clear()
        point.heard()
        if listening.clients():
            last = loop.time()
            point.leaving = False
        idle = loop.time() - last >= _access_point.IDLE_SECONDS
        if point.closed or point.leaving or idle:
            return


class _Unheard(logging.Filter):
    """Drops what is said on one thread, but for the traceback of a failure."""

    def __init__(self) -> None:
        super().__init__()
        self._ident = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        if threading.get_ident() != self._ident:
            return True
        error = record.exc_info[1] if record.exc_info else None
        # One of the protocol is the client's: it went on wrongly after its request.
        return isinstance(error, Exception) and not isinstance(error, h11.ProtocolError)


@contextlib.contextmanager
def _unheard() -> Generator[None]:
    """Have nobody hear what this thread says on the loggers of a server."""
    unheard = _Unheard()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(unheard)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(unheard)
