"""A `LokiDouble` that listens on loopback, as Loki's HTTP API does."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import uvicorn
from loki_double import LokiDouble, form_of
from loki_logql import LogQLError, read
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute

if TYPE_CHECKING:
    import ssl
    from collections.abc import Generator

    from starlette.requests import Request
    from starlette.websockets import WebSocket

__all__ = ["LokiPeer", "listening"]

LOOK_SECONDS = 0.01


class LokiPeer:
    """Serves a double.

    Args:
        double: What answers.
        authorization: What that header has to be; None for whatever.

    Attributes:
        url: Its address.
        double: What answers.
        silent: Whether tails get no frames.
        drops: Whether the next frame of each tail is left out, and that is said.
        refuses_tails: With which status a tail is refused; None if it is not.
        tails: How many there have been.
    """

    def __init__(self, double: LokiDouble, authorization: str | None = None) -> None:
        self.url = ""
        self.double = double
        self.silent = False
        self.drops = False
        self.refuses_tails: int | None = None
        self.tails = 0
        self._authorization = authorization
        self._cut = 0
        self.app = Starlette(
            routes=[
                Route("/ready", self._ready),
                Route("/otlp/v1/logs", self._push, methods=["POST"]),
                Route("/loki/api/v1/query_range", self._query, methods=["GET", "POST"]),
                Route("/loki/api/v1/tail", self._no_tail),
                WebSocketRoute("/loki/api/v1/tail", self._tail),
            ]
        )

    def cut(self) -> None:
        """End all tails, as Loki does after an hour."""
        self._cut += 1

    async def _ready(self, request: Request) -> Response:
        return PlainTextResponse("ready")

    def _refusal(self, headers: Any) -> Response | None:
        if self._authorization in (None, headers.get("authorization")):
            return None
        return PlainTextResponse("unauthorized", 401)

    async def _push(self, request: Request) -> Response:
        refusal = self._refusal(request.headers)
        if refusal is not None:
            return refusal
        body = await request.body()
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        status, reason = self.double.push(body, request.headers)
        return Response(reason.encode() if reason else None, status)

    async def _query(self, request: Request) -> Response:
        refusal = self._refusal(request.headers)
        if refusal is not None:
            return refusal
        form = dict(request.query_params)
        form |= form_of(await request.body())
        status, body = self.double.query_range(form, request.headers)
        return PlainTextResponse(body, status)

    async def _no_tail(self, request: Request) -> Response:
        return PlainTextResponse("Bad Request", 400)

    async def _tail(self, websocket: WebSocket) -> None:
        query = websocket.query_params["query"]
        status = self.refuses_tails
        try:
            if not query.startswith("sum("):
                read(query)
        except LogQLError:
            status = 400
        if self._refusal(websocket.headers) is not None:
            status = 401
        if status is not None:
            await websocket.send_denial_response(PlainTextResponse("", status))
            return
        await websocket.accept()
        if query.startswith("sum("):
            await websocket.close(1011, "only log selector is supported")
            return
        self.tails += 1
        await self._send(websocket, query)

    async def _send(self, websocket: WebSocket, query: str) -> None:
        known, cut = len(self.double.entries), self._cut
        gone = asyncio.ensure_future(websocket.receive())
        while not gone.done():
            entries = [*self.double.entries]
            new, known = entries[known:], len(entries)
            frame = self.double.frame(query, new, websocket.headers) if new else ""
            if frame and self.drops:
                self.drops = False
                frame = json.dumps({"streams": None, "dropped_entries": [{}]})
            if frame and not self.silent:
                await websocket.send_text(frame)
            if self._cut != cut:
                await websocket.close(1011, "reached tail max duration limit")
                return
            await asyncio.wait([gone], timeout=LOOK_SECONDS)


@contextlib.contextmanager
def listening(
    double: LokiDouble | None = None,
    *,
    port: int = 0,
    authorization: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> Generator[LokiPeer]:
    """Serve a double on loopback until the block ends."""
    peer = LokiPeer(double or LokiDouble(), authorization)
    listener = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(
        peer.app,
        log_config=None,
        ws="wsproto",
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    config.load()
    if tls is not None:
        config.ssl = tls
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=server.run, args=([listener],), name="loki", daemon=True
    )
    scheme = "http" if tls is None else "https"
    peer.url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
    thread.start()
    try:
        yield peer
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
