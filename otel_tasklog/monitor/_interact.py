"""One telnet session, start to end, with the commands of ours that take their time.

aiomonitor runs a command in the thread that serves all sessions. One of ours only
begins a task there and returns: the task gives the others a turn between two pieces of
output, and has the prompt back at its end. It ends early by Ctrl-C, with its client,
and with the monitor.

Imported only when a monitor starts.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from aiomonitor.context import command_done  # type: ignore[import-untyped]  # noqa: TID253 - this module is imported inside a function
from aiomonitor.termui import commands  # type: ignore[import-untyped]  # noqa: TID253 - ditto
from prompt_toolkit.application.current import get_app_session
from prompt_toolkit.input.typeahead import store_typeahead
from prompt_toolkit.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from aiomonitor import Monitor  # type: ignore[import-untyped]
    from prompt_toolkit.contrib.telnet.server import TelnetConnection
    from prompt_toolkit.key_binding import KeyPress

__all__ = ["begin", "interact"]

MOST_TYPED_AHEAD: Final = 1_000
"""So many keys are kept for the prompt."""

_running: Final[ContextVar[set[asyncio.Task[None]]]] = ContextVar(
    "otel_tasklog.monitor.running"
)


async def interact(monitor: Monitor, connection: TelnetConnection) -> None:
    """Serve one session; end what it began before its input is closed.

    Another session may soon have an input of the same descriptor.
    """
    running: set[asyncio.Task[None]] = set()
    _running.set(running)
    try:
        await commands.interact(monitor, connection)
    finally:
        for each in running:
            each.cancel()
        if running:
            await asyncio.wait(running)


def begin(
    work: Callable[[], Coroutine[object, object, None]], *, any_key: bool = False
) -> None:
    """Begin what a command does; the prompt is back when it is done.

    What is typed meanwhile waits for the prompt.

    Args:
        work: Does it, in the thread of the sessions: it must not block, nor raise.
        any_key: Whether any key ends it, not Ctrl-C alone.
    """
    done = command_done.get()
    done.clear()  # aiomonitor's help option sets it, whether or not it is used
    running = _running.get()
    task = asyncio.create_task(_until_key(work, any_key=any_key))
    running.add(task)

    def end(task: asyncio.Task[None]) -> None:
        running.discard(task)
        done.set()

    task.add_done_callback(end)


async def _until_key(
    work: Callable[[], Coroutine[object, object, None]], *, any_key: bool
) -> None:
    with contextlib.suppress(TimeoutError):  # which here is the key
        async with asyncio.timeout(None) as limit:
            with _keys(lambda: limit.reschedule(0.0), any_key=any_key):
                await work()


@contextlib.contextmanager
def _keys(end: Callable[[], None], *, any_key: bool) -> Generator[None]:
    """Read what is typed; call *end* once, when it means the end or there is none."""
    source = get_app_session().input
    typed: list[KeyPress] = []
    ended = False

    def read() -> None:
        nonlocal ended
        keys = source.read_keys()
        if any_key:
            keys += source.flush_keys()  # Escape alone may be the start of another
        # The terminal says where the cursor is, perhaps late.
        keys = [each for each in keys if each.key != Keys.CPRResponse]
        if ended:
            return
        if source.closed or any(any_key or x.key == Keys.ControlC for x in keys):
            ended = True
            end()
        else:
            typed.extend(keys[: MOST_TYPED_AHEAD - len(typed)])

    try:
        with source.attach(read):
            yield
    finally:
        store_typeahead(source, typed)
