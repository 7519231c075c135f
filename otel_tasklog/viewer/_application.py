"""The API's routes, each behind the same checks.

Whatever reads records runs in one of a few threads of its own, so that a slow query
holds up neither the application's event loop nor the threads that it uses itself.
"""

from __future__ import annotations

import contextlib
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from otel_tasklog._config import VERSION
from otel_tasklog._errors import ClosedError, ConfigError, QueryError
from otel_tasklog.viewer._answers import ANSWERS, NDJSON, json_answer, sequence_of
from otel_tasklog.viewer._guard import Guard, answer_problem
from otel_tasklog.viewer._live_answers import LIVE_ANSWERS
from otel_tasklog.viewer._openapi import DOCUMENT, RECORDS, parameters_of
from otel_tasklog.viewer._parameters import read_parameters
from otel_tasklog.viewer._problem import RETRY, Problem
from otel_tasklog.viewer._record_json import Run
from otel_tasklog.viewer._tail import EVENTS, LINES, Encoder, Tail

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from otel_tasklog._tasklog import TaskLog
    from otel_tasklog.store._follow import Follower
    from otel_tasklog.viewer._access import Access
    from otel_tasklog.viewer._parameters import Asked

__all__ = ["make_application"]

TAILS: Final = 32
"""Of one application at a time, at most."""

QUERIES: Final = 4
"""Of one application at a time, at most; the others wait."""

_T = TypeVar("_T")


def make_application(
    tasklog: TaskLog,
    access: Access,
    *,
    run: Run | None = None,
    on_thread: Callable[[], object] = lambda: None,
) -> Starlette:
    """Return the API as an ASGI application; see `TaskLog.asgi`.

    Args:
        tasklog: Whose records are shown.
        access: Who may ask.
        run: Makes the ids of records; None makes another one.
        on_thread: Called in each thread that reads, before it does.
    """
    served = _Served(tasklog, run or Run(), on_thread)
    read = {**ANSWERS, **LIVE_ANSWERS}
    answers: dict[str, Callable[[Request, Asked], Awaitable[Response | Tail]]] = {
        **{path: partial(served.read, answer) for path, answer in read.items()},
        "/v1/tail": served.tail,
        "/healthz": _health,
        "/openapi.json": _document,
    }
    application = Starlette(
        routes=[Route(path, _endpoint(path, each)) for path, each in answers.items()],
        middleware=[Middleware(Guard, access=access)],
        exception_handlers={404: _not_found, Exception: _failed},
    )
    application.router.redirect_slashes = False
    return application


def _endpoint(
    path: str, answer: Callable[[Request, Asked], Awaitable[Response | Tail]]
) -> Callable[[Request], Awaitable[Response | Tail]]:
    """Return what serves a route: checks the parameters, turns errors into answers."""
    parameters = parameters_of(path)

    async def endpoint(request: Request) -> Response | Tail:
        given = [*request.path_params.items(), *request.query_params.multi_items()]
        try:
            return await answer(request, read_parameters(parameters, given))
        except Problem as problem:
            return answer_problem(problem)
        except ClosedError as error:
            return answer_problem(Problem(503, str(error)))
        except QueryError as error:
            return answer_problem(Problem(400, error.reason, column=error.column))
        except ConfigError as error:
            return answer_problem(Problem(400, str(error)))

    return endpoint


async def _health(_request: Request, _asked: Asked) -> Response:
    return json_answer({"status": "ok", "version": VERSION})


async def _document(_request: Request, _asked: Asked) -> Response:
    return json_answer(DOCUMENT)


async def _not_found(_request: Request, _error: Exception) -> Response:
    served = ", ".join(DOCUMENT["paths"])
    return answer_problem(Problem(404, f"nothing is served here; there are {served}"))


async def _failed(_request: Request, _error: Exception) -> Response:
    error = "the API failed; the server's log has the traceback, please report it"
    return answer_problem(Problem(500, error))


class _Served:
    """What the routes of one application share."""

    def __init__(
        self, tasklog: TaskLog, run: Run, on_thread: Callable[[], object]
    ) -> None:
        self._tasklog = tasklog
        self._run = run
        self._on_thread = on_thread
        self._tails = 0
        self._encoder = Encoder(self._run)

    @cached_property
    def _threads(self) -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(QUERIES)  # in the event loop, as it has to be

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        def run() -> _T:
            self._on_thread()
            return work()

        return await anyio.to_thread.run_sync(run, limiter=self._threads)

    async def read(
        self,
        answer: Callable[[TaskLog, Run, Asked], Response],
        request: Request,
        asked: Asked,
    ) -> Response:
        """Answer a request in a thread."""
        if asked.get("format", "json") is None and NDJSON in _accepted(request):
            asked["format"] = "ndjson"
        return await self._in_thread(partial(answer, self._tasklog, self._run, asked))

    async def tail(self, request: Request, asked: Asked) -> Tail:
        """Answer with records as they come."""
        if self._tails >= TAILS:
            raise Problem(
                503,
                f"{TAILS} tails are open already: end one, or ask again later",
                headers=RETRY,
            )
        wants_lines = NDJSON in _accepted(request)
        if asked["format"] is not None:
            wants_lines = asked["format"] == "ndjson"
        cursor = request.headers.get("last-event-id") or asked["cursor"]
        with contextlib.ExitStack() as leaving:
            self._tails += 1
            leaving.callback(self._leave)
            follow = partial(self._follow, asked["q"], asked["backlog"], cursor)
            follower, gap = await self._in_thread(follow)
            leaving.callback(follower.close)
            return Tail(
                follower,
                gap=gap,
                style=LINES if wants_lines else EVENTS,
                encoder=self._encoder,
                leave=leaving.pop_all().close,
            )

    def _leave(self) -> None:
        self._tails -= 1

    def _follow(
        self, search: str, backlog: int, cursor: str | None
    ) -> tuple[Follower, str | None]:
        """Return a follower and what its reader may have missed already. Blocks."""
        follow = self._tasklog.follow
        if cursor is None:
            return follow(search, backlog_records=backlog), None
        after = sequence_of(self._run, cursor)
        if after is None:
            gap: str | None = f"{cursor} is of another process, or before a restart"
        else:
            gap = self._gap(search, after)
        return follow(search, after=after, backlog_records=RECORDS), gap

    def _gap(self, search: str, after: int) -> str | None:
        query = self._tasklog.query
        oldest = query(limit=1, newest_first=False)
        if oldest and oldest[0].sequence > after + 1:
            return f"what came after {after} is no longer all in memory"
        if len(query(search, after=after, limit=RECORDS + 1)) > RECORDS:
            return (
                f"more than {RECORDS} records came after {after}: /v1/records with "
                "order=oldest and the same cursor has those in memory"
            )
        return None


def _accepted(request: Request) -> str:
    return request.headers.get("accept", "")
