"""The web servers' loggers, by one name each in ``loggers=``.

uvicorn and gunicorn log through loggers that do not propagate, and put what they
know of a request into the arguments of a text. `places` knows these loggers. The
records of the access logs get their arguments as attributes too, named by the
semantic conventions, and usually on a copy, so that other handlers see no change.

See https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span
"""

from __future__ import annotations

import copy
import logging
import threading
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from opentelemetry.semconv.attributes import (
    client_attributes,
    http_attributes,
    network_attributes,
    url_attributes,
    user_agent_attributes,
)

from otel_tasklog._hints import find_logger, path_of
from otel_tasklog.capture._handler import TaskLogHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from otel_tasklog.capture._port import Port

__all__ = ["ServerHandler", "is_wanted", "places"]

RECIPES: Final[Mapping[str, tuple[str, ...]]] = {
    # In gunicorn's worker for uvicorn, "uvicorn.error" does not propagate either.
    "uvicorn": ("uvicorn", "uvicorn.error", "uvicorn.access"),
    "gunicorn": ("gunicorn.error", "gunicorn.access"),
}
"""The loggers that a name in ``loggers=`` stands for."""

UVICORN_ENDS: Final = "Finished server process [%d]"
"""What uvicorn logs last, before it raises again the signal that ended it."""

_KNOWN_METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
)
# The conventions have these two as metrics' names, and not yet stable.
_DURATION: Final = "http.server.request.duration"
_BODY_SIZE: Final = "http.response.body.size"

Attributes: TypeAlias = "dict[str, str | int | float]"


def places(
    loggers: Iterable[str | logging.Logger],
    handler: TaskLogHandler,
    server_handler: Callable[[], ServerHandler],
) -> list[tuple[logging.Logger, TaskLogHandler]]:
    """Return which handler is to be attached to which logger.

    Args:
        loggers: Loggers, names of loggers, and names of recipes.
        handler: For the loggers.
        server_handler: Makes one for each logger of a recipe.
    """
    found: list[tuple[logging.Logger, TaskLogHandler]] = []
    for each in loggers:
        if not isinstance(each, str):
            found.append((each, handler))
        elif each not in RECIPES:
            found.append((logging.getLogger(each), handler))
        else:
            found += [
                (logging.getLogger(name), server_handler()) for name in RECIPES[each]
            ]
    return found


class ServerHandler(TaskLogHandler):
    """Captures what a web server logs: once, and with what it says of a request.

    Whether the server's loggers propagate is up to a configuration that may come
    later, and gunicorn's worker for uvicorn has them share one list of handlers. So a
    record may reach several handlers of one TaskLog. Then one that is no
    `ServerHandler` captures it, else the last one.

    Args:
        target: The handler whose level, filters and formatter count.
        port: Where it hands its records over.
        at_uvicorns_end: Called from uvicorn's last log call, on the main thread. The
            signal that ended it may be raised again next, and end the process.
    """

    def __init__(
        self, target: TaskLogHandler, port: Port, at_uvicorns_end: Callable[[], object]
    ) -> None:
        super().__init__()
        self._target = target
        self._at_uvicorns_end = at_uvicorns_end
        self.connect(port)

    def handle(self, record: logging.LogRecord) -> bool:
        """Capture a record, unless another handler of the TaskLog does.

        Returns:
            Whether it was captured here.
        """
        captured = False
        try:
            if self._port is None or record.levelno < self._target.level:
                return False
            chosen = self._chosen(record, self._port)
            if chosen is self:
                captured = self._target.handle(_described(record))
            elif not isinstance(chosen, ServerHandler):
                # It is given the record itself.
                record.__dict__.update(_attributes(record))
            if record.name == "uvicorn.error" and record.msg == UVICORN_ENDS:
                self._at_the_end()
        except Exception:  # noqa: BLE001 - as the handler that it stands for
            self.handleError(record)
        return captured

    def _chosen(self, record: logging.LogRecord, port: Port) -> TaskLogHandler:
        reached = [
            handler
            for logger in path_of(find_logger(record.name))
            for handler in logger.handlers
            if isinstance(handler, TaskLogHandler) and handler in port.handlers
        ]
        if self not in reached:  # a record of another name, given to this logger
            return self
        others = [each for each in reached if not isinstance(each, ServerHandler)]
        return (others or reached)[-1]

    def _at_the_end(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._at_uvicorns_end()


def is_wanted(handler: logging.Handler, logger: logging.Logger) -> bool:
    """Return whether there is something to capture: an access log may be off."""
    return (
        not isinstance(handler, ServerHandler)
        or logger.propagate
        or any(other is not handler for other in logger.handlers)
    )


def _described(record: logging.LogRecord) -> logging.LogRecord:
    described = copy.copy(record)
    described.__dict__.update(_attributes(record))
    # The text once more, with escape sequences.
    described.__dict__.pop("color_message", None)
    return described


def _attributes(record: logging.LogRecord) -> Attributes:
    """Return what the record of an access log says of a request. Never fails."""
    describe = _DESCRIPTIONS.get(record.name)
    if describe is None:
        return {}
    try:
        return describe(record.args)
    except Exception:  # noqa: BLE001 - whatever its arguments are, it is a record
        return {}


def _of_uvicorn(args: Any) -> Attributes:  # noqa: ANN401 - anything may be logged
    client, method, target, version, status = args
    address, _, port = client.rpartition(":")
    return {
        **_client(address, port),
        **_request(method, target, version),
        http_attributes.HTTP_RESPONSE_STATUS_CODE: int(status),
    }


def _of_gunicorn(args: Any) -> Attributes:  # noqa: ANN401 - anything may be logged
    # By the letters of its setting access_log_format; "{name}e" is of the environ.
    address, port, agent = map(args.get, ("h", "{remote_port}e", "a"))
    version = args["H"].removeprefix("HTTP/")
    found = {
        **_client(address, port or ""),
        **_request(args["m"], args["{raw_uri}e"], version),
        http_attributes.HTTP_RESPONSE_STATUS_CODE: int(args["s"]),
        _DURATION: args["D"] / 1e6,
    }
    if args["B"] is not None:
        found[_BODY_SIZE] = args["B"]
    if agent != "-":
        found[user_agent_attributes.USER_AGENT_ORIGINAL] = agent
    return found


_DESCRIPTIONS: Final[Mapping[str, Callable[[object], Attributes]]] = {
    "uvicorn.access": _of_uvicorn,
    "gunicorn.access": _of_gunicorn,
}


def _client(address: str, port: str) -> Attributes:
    found: Attributes = {}
    if address not in {"", "-"}:  # a socket of the file system has none
        found[client_attributes.CLIENT_ADDRESS] = address
    if port.isdecimal():
        found[client_attributes.CLIENT_PORT] = int(port)
    return found


def _request(method: str, target: str, version: str) -> Attributes:
    path, _, query = target.partition("?")
    found: Attributes = {
        url_attributes.URL_PATH: path,
        network_attributes.NETWORK_PROTOCOL_VERSION: version,
    }
    if query:
        found[url_attributes.URL_QUERY] = query
    if method in _KNOWN_METHODS:
        found[http_attributes.HTTP_REQUEST_METHOD] = method
    else:  # so that clients cannot make up values
        found[http_attributes.HTTP_REQUEST_METHOD] = "_OTHER"
        found[http_attributes.HTTP_REQUEST_METHOD_ORIGINAL] = method
    return found
