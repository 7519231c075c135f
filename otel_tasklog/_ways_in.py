"""How others look into a TaskLog while it runs: by telnet, and over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.applications import Starlette

    from otel_tasklog._tasklog import TaskLog
    from otel_tasklog.monitor import Monitor

__all__ = ["WaysIn"]


class WaysIn:
    """Opens ways in, when it is asked to; a `TaskLog` does.

    Attributes:
        monitors: Those that run.
    """

    monitors: list[Monitor]

    def monitor(
        self, *, host: str = "127.0.0.1", port: int | None = None,
        web_port: int | None = None, hook_task_factory: bool = False, web: bool = True,
    ) -> Monitor:  # fmt: skip
        """Return an async context manager that runs aiomonitor with our commands.

        Telnet to it to list the live tasks and read one task's log.

        Args:
            host: The address to listen on. There is no password: any but one of the
                loopback lets others read the records and end tasks, which is said.
            port: The telnet port; None takes 20101, or the next that is free.
            web_port: The port of aiomonitor's web page; None likewise, from 20102.
            hook_task_factory: Whether aiomonitor's commands know where each task was
                made, and how it ended. Costs some 15 microseconds a task.
            web: Whether there is a web page.

        Raises:
            MissingExtraError: aiomonitor is not installed.
            ConfigError: One has a value that it cannot have.
            MonitorError: It could not start; on entry.
        """
        from otel_tasklog.monitor import Monitor

        return Monitor(
            cast("TaskLog", self), host=host, port=port, web_port=web_port,
            hook_task_factory=hook_task_factory, web=web,
        )  # fmt: skip

    def start_monitor(self) -> None:
        """Start the monitor of ``monitor=True``, once, in a running loop."""
        if not self.monitors:
            self.monitor().start()

    def asgi(
        self, *, token: str | None = None, open_to_all: bool = False,
        allowed_hosts: Collection[str] = (),
    ) -> Starlette:  # fmt: skip
        """Return an ASGI application that answers questions about the records.

        Mount it in the application's own, ``app.mount("/tasklog", tasklog.asgi(...))``,
        or serve it by itself. It reads, and changes nothing.

        Args:
            token: A secret that each request has to send, as
                ``Authorization: Bearer TOKEN``.
            open_to_all: Whether there is none, so that whoever reaches the server
                can read the records; by a name or address of the loopback alone.
            allowed_hosts: Names or addresses by which it may be reached, too.

        Raises:
            MissingExtraError: Starlette is not installed.
            ConfigError: There is neither *token* nor *open_to_all*, or both, or one
                has a value that it cannot have.
        """
        from otel_tasklog.viewer._api import make_api

        return make_api(
            cast("TaskLog", self), token=token, open_to_all=open_to_all,
            allowed_hosts=allowed_hosts,
        )  # fmt: skip
