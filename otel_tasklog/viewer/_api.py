"""The local API: what a running program logged, over HTTP, for whoever it lets in."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from otel_tasklog._errors import MissingExtraError
from otel_tasklog.viewer._access import Access

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.applications import Starlette

    from otel_tasklog._tasklog import TaskLog

__all__ = ["make_api"]


def make_api(
    tasklog: TaskLog,
    *,
    token: str | None = None,
    open_to_all: bool = False,
    allowed_hosts: Collection[str] = (),
) -> Starlette:
    """Return the API as an ASGI application; see `TaskLog.asgi`."""
    if importlib.util.find_spec("starlette") is None:
        raise MissingExtraError("asgi()", "api")
    access = Access(token=token, open_to_all=open_to_all, allowed_hosts=allowed_hosts)
    from otel_tasklog.viewer._application import make_application

    return make_application(tasklog, access)
