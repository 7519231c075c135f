"""The commands that a telnet session has from us, beside aiomonitor's.

aiomonitor's commands belong to the process, not to a monitor, so they are added
once and find their TaskLog through the session's monitor. Imported only when a
monitor starts.
"""

from __future__ import annotations

import functools
from typing import Any, cast

from aiomonitor.termui import commands  # type: ignore[import-untyped]  # noqa: TID253 - this module is imported inside a function

from otel_tasklog.monitor import (
    _delivery_commands,
    _level_command,
    _logs_command,
    _tasks_command,
)
from otel_tasklog.monitor._completion import WordCompleter, Words

__all__ = ["register"]


@functools.cache
def register() -> None:
    """Add the commands to aiomonitor's, once."""
    _tasks_command.add()
    _logs_command.add()
    _level_command.add()
    _delivery_commands.add()
    aiomonitors = cast("Any", commands)
    aiomonitors.ClickCompleter = WordCompleter
    aiomonitors.shlex = Words
