"""``otel-tasklog demo``: a real program, its records on a real wire.

Everything goes the way it goes in production: the shop logs, `install` captures and
delivers over OTLP/HTTP, a receiver takes the records. With no endpoint configured
that is ``otel-tasklog receive --json`` in another process, whose output is counted
here: what is printed as received has crossed a socket and was decoded by the
official protobuf classes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import Counter
from typing import TYPE_CHECKING, Self

from rich.console import Console  # noqa: TID253 - see _commands
from rich.markup import escape  # noqa: TID253
from rich.table import Table  # noqa: TID253

import otel_tasklog
from otel_tasklog._text import visible
from otel_tasklog.cli._lines import print_record
from otel_tasklog.cli._shop import Shop

if TYPE_CHECKING:
    from otel_tasklog import Stats, TaskLog
    from otel_tasklog._config import Settings

__all__ = ["Demo"]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT")
_SHOWN_TASKS = 12


class EmbeddedReceiver:
    """``otel-tasklog receive --json --port 0`` in another process."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.by_task: Counter[str] = Counter()
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start it and learn where it listens."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "otel_tasklog", "receive", "--json", "--port", "0",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # Ctrl-C is for the demo, which ends the receiver when all has arrived.
            start_new_session=True,
            limit=2**24,
        )  # fmt: skip
        try:
            self.endpoint = await self._told_endpoint()
        except BaseException:  # Ctrl-C, say: nobody else would end it
            await self.__aexit__()
            raise
        self._reading = asyncio.create_task(self._read(), name="receiver output")
        return self

    async def _told_endpoint(self) -> str:
        assert self._process is not None  # noqa: S101 - started
        assert self._process.stderr is not None  # noqa: S101 - it is a pipe
        line = (await self._process.stderr.readline()).decode()
        if "listening on " not in line:
            raise RuntimeError(f"the embedded receiver did not start: {line}")
        return line.split("listening on ")[1].strip()

    async def _read(self) -> None:
        assert self._process is not None  # noqa: S101 - started
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        async for line in self._process.stdout:
            attributes = json.loads(line)["attributes"]
            self.by_task[attributes.get("task_id", "-")] += 1

    async def __aexit__(self, *raised: object) -> None:
        """End it, and count what it had still to say."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
        if self._reading is not None:
            await self._reading
        if self._process is not None:
            await self._process.wait()


class Demo:
    """The demo, start to end.

    Args:
        seconds: How long the shop is open.
        monitor: Whether to open the telnet monitor; None: if it is installed.
    """

    def __init__(self, *, seconds: float, monitor: bool | None) -> None:
        self._seconds = seconds
        self._monitor = monitor
        self._console = Console(highlight=False)

    async def run(self) -> int:
        """Run; return the exit status."""
        external = any(os.environ.get(name, "").strip() for name in _ENDPOINTS)
        receiver = EmbeddedReceiver()
        async with contextlib.AsyncExitStack() as stack:
            if not external:
                await stack.enter_async_context(receiver)
            settings: Settings = {
                "service_name": os.environ.get("OTEL_SERVICE_NAME") or "shop",
                "level": "DEBUG",
                "console": False,
            }
            if not external:
                settings["endpoint"] = receiver.endpoint
            tasklog = otel_tasklog.install(**settings)
            async with tasklog:
                await self._open_shop(tasklog, stack)
        # The receiver has ended by now, so all that it took has been counted.
        stats = tasklog.stats()
        received = None if external else receiver.by_task
        self._table(tasklog, received)
        return self._verdict(stats, received)

    async def _open_shop(
        self, tasklog: TaskLog, stack: contextlib.AsyncExitStack
    ) -> None:
        self._say(f"[bold]A small shop logs for {self._seconds:g} seconds.[/bold]")
        self._say(f"Records go to {escape(visible(tasklog.config.endpoint))}")
        await self._start_monitor(tasklog, stack)
        shop = Shop()
        self._close_on_interrupt(shop)
        counting = asyncio.create_task(self._count(tasklog), name="counts")
        closing = asyncio.get_running_loop().call_later(self._seconds, shop.close)
        try:
            await shop.run()
        finally:
            closing.cancel()
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)
        self._queries(tasklog)
        await tasklog.aflush(timeout_seconds=3)

    async def _start_monitor(
        self, tasklog: TaskLog, stack: contextlib.AsyncExitStack
    ) -> None:
        if self._monitor is False:
            return
        try:
            monitor = await stack.enter_async_context(tasklog.monitor())
        except otel_tasklog.TaskLogError as error:
            if self._monitor:
                raise
            self._say(f"No telnet monitor: {escape(visible(error))}")
            return
        self._say(
            f"Look inside while it runs: [bold]telnet {monitor.host} {monitor.port}"
            "[/bold], then [bold]tasks[/bold] or [bold]logs order-1[/bold]"
        )

    def _close_on_interrupt(self, shop: Shop) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, shop.close)

    async def _count(self, tasklog: TaskLog) -> None:
        while True:
            await asyncio.sleep(1.0)
            stats = tasklog.stats()
            self._say(
                f"  captured {stats.captured:>5}   delivered {stats.delivered:>5}   "
                f"pending {stats.pending:>4}   dropped {stats.dropped:>3}"
            )

    def _queries(self, tasklog: TaskLog) -> None:
        self._say("\n[bold]The newest warnings and errors[/bold], from memory:")
        for record in tasklog.query(min_level="WARNING", limit=3):
            print_record(self._console, record, mark="  ")
        self._say("\n[bold]All of order-1[/bold], from three loggers and a thread:")
        for record in tasklog.query(task_id="order-1", newest_first=False):
            print_record(self._console, record, mark="  ")

    def _table(self, tasklog: TaskLog, received: Counter[str] | None) -> None:
        captured = Counter(
            record.task_id or "-" for record in tasklog.query(limit=None)
        )
        table = Table(title="\nBy task", title_justify="left", title_style="bold")
        table.add_column("task_id")
        table.add_column("captured", justify="right")
        if received is not None:
            table.add_column("received", justify="right")
        for task_id in [*captured][::-1][:_SHOWN_TASKS]:
            row = [escape(visible(task_id)), str(captured[task_id])]
            table.add_row(*row, *_cell(received, task_id))
        rest = [*captured][::-1][_SHOWN_TASKS:]
        if rest:
            row = [f"... {len(rest)} more", str(sum(captured[t] for t in rest))]
            total = sum(received[t] for t in rest) if received is not None else 0
            table.add_row(*row, *([] if received is None else [str(total)]))
        self._console.print(table)

    def _verdict(self, stats: Stats, received: Counter[str] | None) -> int:
        self._say(
            f"captured {stats.captured}  delivered {stats.delivered}  "
            + (f"received {received.total()}  " if received is not None else "")
            + f"rejected {stats.rejected}  dropped {stats.dropped}"
        )
        arrived = stats.delivered if received is None else received.total()
        if stats.captured == stats.delivered == arrived:
            self._say("[green]Everything that was captured arrived.[/green]")
            return 0
        why = f": {escape(visible(stats.last_error))}" if stats.last_error else ""
        self._say(f"[red]Not everything arrived[/red]{why}")
        return 1

    def _say(self, markup: str) -> None:
        self._console.print(markup, soft_wrap=True)


def _cell(received: Counter[str] | None, task_id: str) -> list[str]:
    return [] if received is None else [str(received[task_id])]
