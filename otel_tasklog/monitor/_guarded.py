"""The one place that knows aiomonitor from the inside.

`GuardedMonitor` keeps aiomonitor's commands, prompt and web page and replaces its
life, which can take the program down with it (measured on 0.7.1):

* ``start()`` waits for ever if the web port is taken, and does not notice a taken
  telnet port. Here both sockets listen before the thread starts.
* ``close()`` waits for ever for a client that does not read, and resets the
  program's task factory to the one seen at the start.
* prompt_toolkit sets an exception handler that prints to the program's terminal and
  waits on its stdin; with ``/dev/null`` there, 1700 lines a second.
* The web page answers to any host name, so a page elsewhere can reach it by DNS
  rebinding, and cancel tasks.

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
import functools
import logging
import threading
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web  # noqa: TID253 - this module is imported inside a function
from aiomonitor import Monitor  # type: ignore[import-untyped]  # noqa: TID253 - ditto
from aiomonitor.termui.commands import (  # type: ignore[import-untyped]  # noqa: TID253
    interact,
)
from aiomonitor.webui.app import (  # type: ignore[import-untyped]  # noqa: TID253
    init_webui,
)

from otel_tasklog._errors import MonitorError
from otel_tasklog.monitor._telnet import TelnetListener

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable
    from weakref import WeakSet

    from otel_tasklog._tasklog import TaskLog

__all__ = ["GuardedMonitor"]

START_SECONDS: Final = 10.0
STOP_SECONDS: Final = 5.0
_WEB_STOP_SECONDS: Final = 1.0
_CHATTY_LOGGERS: Final = ("aiomonitor.monitor", "prompt_toolkit.contrib.telnet")
_LOCAL_NAMES: Final = frozenset({"127.0.0.1", "localhost"})

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
        web: Likewise, for the web page.
    """

    # What is used of aiomonitor's own; the first three are read by its commands.
    _event_loop_thread_id: int | None
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
        web: socket.socket,
    ) -> None:
        self.tasklog = tasklog
        self.app_loop = loop
        self.failure: BaseException | None = None
        self._ui_task: asyncio.Task[None] | None = None
        self._sockets = (telnet, web)
        host, port = telnet.getsockname()
        # aiomonitor says that it starts before it does, in this thread.
        self._threads = {threading.get_ident()}
        for name in _CHATTY_LOGGERS:
            logging.getLogger(name).addFilter(self._audible)
        super().__init__(
            loop,
            host=host,
            termui_port=port,
            webui_port=web.getsockname()[1],
            console_enabled=False,
            hook_task_factory=False,
        )
        self._threads.clear()

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

    def close(self) -> None:
        """End the sessions and the UI thread, within `STOP_SECONDS`. Any thread.

        The program's task factory is not touched.
        """
        task, self._ui_task = self._ui_task, None
        self._closed = True
        if task is not None:
            with contextlib.suppress(RuntimeError):  # its loop has ended already
                task.get_loop().call_soon_threadsafe(task.cancel)
        self._ui_thread.join(STOP_SECONDS)
        if self._ui_thread.is_alive():
            _log.warning("the monitor did not stop within %.0f s", STOP_SECONDS)
        for name in _CHATTY_LOGGERS:
            logging.getLogger(name).removeFilter(self._audible)

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
            for each in self._sockets:
                each.close()
            self._ui_started.set()

    async def _ui_main_async(self) -> None:
        # In place of aiomonitor's own, but for the queues of its factory's hook.
        self._ui_loop = asyncio.get_running_loop()
        self._ui_task = asyncio.current_task()
        telnet_socket, web_socket = self._sockets
        page = await init_webui(self)
        page.middlewares.append(_refuse_strangers)
        runner = web.AppRunner(
            page, access_log=None, shutdown_timeout=_WEB_STOP_SECONDS
        )
        await runner.setup()
        try:
            await web.SockSite(runner, web_socket).start()
            telnet = TelnetListener(telnet_socket, functools.partial(interact, self))
            await telnet.run(self._ui_started.set)
        finally:
            for command in self._termui_tasks:
                command.cancel()
            await runner.cleanup()


@web.middleware
async def _refuse_strangers(
    request: web.Request,
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    """Serve what was asked of this machine by name, by its own pages or by none.

    A page that was loaded from elsewhere names its own host even if that name leads
    here, and its scripts name it as their origin.
    """
    host = request.headers.get("Host", "")
    origin = request.headers.get("Origin")
    try:
        local = urlsplit(f"//{host}").hostname in _LOCAL_NAMES
        same = origin is None or urlsplit(origin).netloc == host
    except ValueError:
        local = same = False
    if not (local and same):
        raise web.HTTPForbidden(text="Ask for localhost or 127.0.0.1.\n")
    return await handler(request)
