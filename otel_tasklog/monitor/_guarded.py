"""The one place that knows aiomonitor from the inside.

`GuardedMonitor` keeps aiomonitor's commands, prompt and web page and replaces its
life, which can take the program down with it (measured on 0.7.1):

* ``start()`` waits for ever if the web port is taken, and does not notice a taken
  telnet port. Here both sockets listen before the thread starts.
* ``close()`` waits for ever for a client that does not read, and resets the
  program's task factory to the one seen at the start.
* Its task factory changes the program, see ``_hooked.py``.
* prompt_toolkit sets an exception handler that prints to the program's terminal and
  waits on its stdin; with ``/dev/null`` there, 1700 lines a second.
* The web page answers to any host name, so a page elsewhere can reach it by DNS
  rebinding, and cancel tasks.
* Names of tasks are printed as they are, escape sequences and secrets with them.
* A forked child keeps both ports open, and nobody there answers.

No public interface changes these, so names of aiomonitor that start with an
underscore are used here, listed in the class, and `Monitor` refuses other versions
than the ones they were read in. Imported only when a monitor starts.
"""

# mypy, to which a class of an untyped package is Any, needs an ignore that pyright
# does not:
# pyright: reportUnnecessaryTypeIgnoreComment=false

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import ipaddress
import logging
import threading
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from aiohttp import web  # noqa: TID253 - this module is imported inside a function
from aiomonitor import Monitor  # type: ignore[import-untyped]  # noqa: TID253 - ditto
from aiomonitor.exceptions import MissingTask  # type: ignore[import-untyped]  # noqa: TID253 - ditto
from aiomonitor.webui.app import (  # type: ignore[import-untyped]  # noqa: TID253
    init_webui,
)

from otel_tasklog._errors import MonitorError
from otel_tasklog._text import visible
from otel_tasklog._uncaught import UncaughtHooks
from otel_tasklog.monitor._hooked import TaskHook
from otel_tasklog.monitor._interact import interact
from otel_tasklog.monitor._telnet import TelnetListener

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Sequence
    from weakref import WeakKeyDictionary, WeakSet, ref

    from aiomonitor.types import (  # type: ignore[import-untyped]
        FormattedLiveTaskInfo,
        FormattedStackItem,
        FormattedTerminatedTaskInfo,
        TerminatedTaskInfo,
    )

    from otel_tasklog._tasklog import TaskLog
    from otel_tasklog.monitor._hooked import AnyTask, Stack

__all__ = ["GuardedMonitor"]

START_SECONDS: Final = 10.0
STOP_SECONDS: Final = 5.0
_WEB_STOP_SECONDS: Final = 1.0
_CHATTY_LOGGERS: Final = ("aiomonitor.monitor", "prompt_toolkit.contrib.telnet")

_log = logging.getLogger("otel_tasklog")


class _UiLoop(asyncio.SelectorEventLoop):
    """A loop whose exceptions are logged, whatever a prompt would like instead."""

    def set_exception_handler(self, handler: object) -> None:
        """Do nothing: see this module's docstring."""


class GuardedMonitor(Monitor):  # type: ignore[misc]
    """aiomonitor on sockets that listen already, for one TaskLog.

    Args:
        tasklog: Whose records the commands show.
        loop: Whose tasks they show.
        telnet: A listening socket, closed at the end.
        web: Likewise, for the web page; None for no page.
        hook_task_factory: Whether to remember where tasks are made and how they end.
    """

    # What is used of aiomonitor's own; the first are read by its commands.
    _event_loop_thread_id: int | None
    _created_traceback_chains: WeakKeyDictionary[AnyTask, ref[AnyTask]]
    _created_tracebacks: WeakKeyDictionary[AnyTask, Stack]
    _terminated_tasks: dict[str, TerminatedTaskInfo]
    _terminated_history: list[str]
    _canceller_chain: dict[str, str]
    _termui_tasks: WeakSet[asyncio.Task[object]]
    _ui_loop: asyncio.AbstractEventLoop
    _ui_started: threading.Event
    _ui_thread: threading.Thread
    _started: bool
    _closed: bool

    def __init__(
        self,
        tasklog: TaskLog,
        loop: asyncio.AbstractEventLoop,
        *,
        telnet: socket.socket,
        web: socket.socket | None,
        hook_task_factory: bool = False,
    ) -> None:
        self.tasklog = tasklog
        self.app_loop = loop
        self.failure: BaseException | None = None
        self._ui_task: asyncio.Task[None] | None = None
        self._sockets = (telnet, web)
        self._telnet: TelnetListener | None = None
        host, port = telnet.getsockname()[:2]
        # aiomonitor says that it starts before it does, in this thread.
        self._threads = {threading.get_ident()}
        for name in _CHATTY_LOGGERS:
            logging.getLogger(name).addFilter(self._audible)
        super().__init__(
            loop,
            host=host,
            termui_port=port,
            webui_port=0 if web is None else web.getsockname()[1],
            console_enabled=False,
            hook_task_factory=False,
        )
        self._threads.clear()
        self._hook = TaskHook(loop) if hook_task_factory else None
        self._uncaught = UncaughtHooks(tasklog.handler)
        if self._hook is not None:
            self._created_tracebacks = self._hook.stacks
            self._created_traceback_chains = self._hook.makers

    def start(self) -> None:
        """Start the UI thread. In the thread of the loop that is looked at.

        Raises:
            MonitorError: It did not start.
        """
        self._started = True
        self._event_loop_thread_id = threading.get_ident()
        self._ui_thread.start()
        started = self._ui_started.wait(START_SECONDS)
        if self.failure is not None or not started:
            self.close()
            reason = repr(self.failure) if started else f"{START_SECONDS:g} s passed"
            raise MonitorError(f"the live-task monitor did not start: {reason}")
        if self._hook is not None:
            self._hook.install()
            # What Python says of an exception that nobody retrieved is its task's.
            self._uncaught.attach_to(self.app_loop)

    def close(self) -> None:
        """End the sessions and the UI thread, within `STOP_SECONDS`. Any thread.

        The program's task factory is as before, if ours was in its place.
        """
        task, self._ui_task = self._ui_task, None
        if task is not None:
            with contextlib.suppress(RuntimeError):  # its loop has ended already
                task.get_loop().call_soon_threadsafe(task.cancel)
        self._unhook()
        self._ui_thread.join(STOP_SECONDS)
        if self._ui_thread.is_alive():
            _log.warning("the monitor did not stop within %.0f s", STOP_SECONDS)
        self._unmute()

    def forget(self) -> None:
        """Close what a forked child has of the parent's: nobody would answer there."""
        self._unhook()
        self._unmute()
        if self._telnet is not None:
            self._telnet.forget()
        self._close_sockets()

    def _unhook(self) -> None:
        self._closed = True
        if self._hook is not None:
            self._hook.remove()
            self._uncaught.detach()

    def _unmute(self) -> None:
        for name in _CHATTY_LOGGERS:
            logging.getLogger(name).removeFilter(self._audible)

    def _close_sockets(self) -> None:
        for each in self._sockets:
            if each is not None:
                each.close()

    def format_running_task_list(
        self, filter_: str, persistent: bool  # noqa: FBT001 - aiomonitor's signature
    ) -> Sequence[FormattedLiveTaskInfo]:  # fmt: skip
        """Return the rows of ``ps``, fit for a terminal."""
        return self._fit(super().format_running_task_list(filter_, persistent))

    def format_terminated_task_list(
        self, filter_: str, persistent: bool  # noqa: FBT001 - ditto
    ) -> Sequence[FormattedTerminatedTaskInfo]:  # fmt: skip
        """Return the rows of ``ps-terminated``, fit for a terminal."""
        self._look_at_ended()
        return self._fit(super().format_terminated_task_list(filter_, persistent))

    def format_running_task_stack(
        self, task_id: str | int
    ) -> Sequence[FormattedStackItem]:
        """Return what ``where`` prints, fit for a terminal."""
        if not str(task_id).isdecimal():
            raise MissingTask(task_id)
        return self._fit_stack(super().format_running_task_stack(task_id))

    def format_terminated_task_stack(
        self, trace_id: str
    ) -> Sequence[FormattedStackItem]:
        """Return what ``where-terminated`` prints, fit for a terminal."""
        self._look_at_ended()
        if trace_id not in self._terminated_tasks:
            raise MissingTask(trace_id)
        return self._fit_stack(super().format_terminated_task_stack(trace_id))

    def _look_at_ended(self) -> None:
        ended = self._hook.ended() if self._hook is not None else []
        self._terminated_tasks = {info.id: info for info, _ in ended}
        self._terminated_history = [*self._terminated_tasks]
        self._canceller_chain = {
            info.id: by for info, by in ended if by in self._terminated_tasks
        }

    def _fit(self, rows: Sequence[Any]) -> list[Any]:
        return [
            dataclasses.replace(row, name=self._clean(row.name), coro=visible(row.coro))
            for row in rows
        ]

    def _fit_stack(
        self, items: Sequence[FormattedStackItem]
    ) -> list[FormattedStackItem]:
        return [
            item._replace(content="\n".join(map(self._clean, item.content.split("\n"))))
            for item in items
        ]

    def _clean(self, text: str) -> str:
        return visible(self.tasklog.port.clean(text))

    def _audible(self, record: logging.LogRecord) -> bool:
        """Keep what the UI thread says of each connection off the console."""
        return record.levelno >= logging.WARNING or record.thread not in self._threads

    def _ui_main(self) -> None:
        ident = threading.get_ident()
        own_threads = self.tasklog.port.own_threads
        self._threads.add(ident)
        own_threads.add(ident)
        try:
            with asyncio.Runner(loop_factory=_UiLoop) as runner:
                runner.run(self._ui_main_async())
        except asyncio.CancelledError:
            pass  # by `close`
        except BaseException as error:  # noqa: BLE001 - of a thread of its own
            self.failure = error
            if self._ui_started.is_set():  # `start` has returned: nobody else says it
                _log.warning("the monitor ended with %r", error)
        finally:
            own_threads.discard(ident)
            self._threads.discard(ident)
            self._close_sockets()
            self._ui_started.set()

    async def _ui_main_async(self) -> None:
        # In place of aiomonitor's own, but for the queues of its factory's hook.
        self._ui_loop = asyncio.get_running_loop()
        self._ui_task = asyncio.current_task()
        telnet_socket, web_socket = self._sockets
        async with contextlib.AsyncExitStack() as at_end:
            if web_socket is not None:
                at_end.push_async_callback(await self._serve_page(web_socket))
            self._telnet = TelnetListener(
                telnet_socket, functools.partial(interact, self)
            )
            try:
                await self._telnet.run(self._ui_started.set)
            finally:
                for command in self._termui_tasks:
                    command.cancel()

    async def _serve_page(
        self, listener: socket.socket
    ) -> Callable[[], Awaitable[None]]:
        """Serve the web page; return what ends that."""
        page = await init_webui(self)
        page.middlewares.append(_refuse_strangers)
        runner = web.AppRunner(
            page, access_log=None, shutdown_timeout=_WEB_STOP_SECONDS
        )
        await runner.setup()
        await web.SockSite(runner, listener).start()
        return runner.cleanup


@web.middleware
async def _refuse_strangers(
    request: web.Request,
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    """Serve what was asked of this machine, by its own pages or by none.

    A page that was loaded from elsewhere names its own host even if that name leads
    here, and its scripts name it as their origin. No name leads to a page of an address.
    """
    host = request.headers.get("Host", "")
    origin = request.headers.get("Origin")
    try:
        name = urlsplit(f"//{host}").hostname or ""
        local = name == "localhost" or bool(ipaddress.ip_address(name))
        same = origin is None or urlsplit(origin).netloc == host
    except ValueError:
        local = same = False
    if not (local and same):
        raise web.HTTPForbidden(text="Ask for localhost or an IP address.\n")
    return await handler(request)
