"""Telnet into the live tasks of a running program, and read one task's log.

`Monitor` runs aiomonitor beside the program's event loop, with commands of ours, such
as ``tasks``, which lists the live tasks with what each last said, and ``logs TASK``,
which shows one task's records. Everything heavy is imported when it starts, not before.
"""

from otel_tasklog.monitor._start import Monitor

__all__ = ["Monitor"]
