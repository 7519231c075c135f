"""What stands before every route: who may ask, and what every answer carries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from otel_tasklog.viewer._problem import Problem
from otel_tasklog.viewer._record_json import dumps

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from otel_tasklog.viewer._access import Access

__all__ = ["Guard", "answer_problem"]

# Log text is untrusted, and nobody else's to read: no browser is to take it for a
# page or a script, to keep it, or to hand it to a page of another origin.
_HEADERS: Final = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]


def answer_problem(problem: Problem) -> Response:
    """Return a problem as the answer to its request."""
    content: dict[str, object] = {"error": problem.error}
    if problem.column is not None:
        content["column"] = problem.column
    return Response(
        dumps(content) + b"\n",
        problem.status,
        headers=dict(problem.headers),
        media_type="application/json",
    )


class Guard:
    """ASGI middleware: lets pass what `Access` does.

    Args:
        app: What it guards.
        access: Who may ask.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), *_HEADERS]
                message = {**message, "headers": headers}
            await send(message)

        url_bytes = len(scope["path"].encode(errors="replace")) + len(
            scope["query_string"]
        )
        app: ASGIApp = self._app
        try:
            self._access.check(scope["method"], url_bytes, scope["headers"])
        except Problem as problem:
            app = answer_problem(problem)
        await app(scope, receive, send_marked)
