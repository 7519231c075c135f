"""What can go wrong outside of a log call (a log call itself never raises).

::

    TaskLogError
    ├── ConfigError           a setting has a value that it cannot have   (also ValueError)
    │   └── QueryError        the text of a query means nothing
    ├── AlreadyInstalledError install() while another TaskLog is installed
    ├── NotInstalledError     current() before install() or after close()
    ├── ClosedError           *you* closed the TaskLog that you now use
    ├── FollowerError         a Follower cannot be read so                (also RuntimeError)
    ├── TaskNotFoundError     no task is called so, or it is done         (also LookupError)
    ├── MissingExtraError     an optional package is not there            (also ImportError)
    ├── MonitorError          the live-task monitor could not start
    └── StorageError          a place that keeps records does not answer, or refuses

A collector that cannot be reached is none of these: its records are kept,
retried and counted (see ``TaskLog.stats``).
"""

from __future__ import annotations

from typing import Final

from otel_tasklog._text import visible, width_of

__all__ = [
    "AlreadyInstalledError",
    "ClosedError",
    "ConfigError",
    "FollowerError",
    "MissingExtraError",
    "MonitorError",
    "NotInstalledError",
    "QueryError",
    "StorageError",
    "TaskLogError",
    "TaskNotFoundError",
]


_SHOWN_AROUND: Final = 50
"""Characters of a query, on each side of the place where it is wrong."""


class TaskLogError(Exception):
    """The base of every error that this library raises."""

    def __str__(self) -> str:
        return visible(super().__str__())  # others' words may be in it


class ConfigError(TaskLogError, ValueError):
    """A setting has a value that it cannot have.

    Args:
        setting: The setting's name, as a keyword or an environment variable.
        got: The value that was given. It is shown, so pass no secret.
        expected: What would have been right, as a phrase.
    """

    def __init__(self, setting: str, got: object, expected: str) -> None:
        super().__init__(f"{setting}={got!r}: expected {expected}")
        self.setting = setting
        self.got = got
        self.expected = expected


class QueryError(ConfigError):
    """The text of a query means nothing.

    Its message has the reason, and below it the text with a mark under the place.

    Args:
        text: The query.
        column: Where in the text, in characters from 1 on.
        reason: What is wrong there, and what to write instead.
    """

    def __init__(self, text: str, column: int, reason: str) -> None:
        super().__init__("query", text, reason)
        self.text = text
        self.column = column
        self.reason = reason

    def __str__(self) -> str:
        at = self.column - 1
        start = max(at - _SHOWN_AROUND, 0)
        before = "…" * (start > 0) + visible(self.text[start:at])
        after = visible(self.text[at : at + _SHOWN_AROUND])
        after += "…" * (len(self.text) > at + _SHOWN_AROUND)
        reason = f"{visible(self.reason)} (column {self.column})"
        return f"{reason}\n  {before}{after}\n  {' ' * width_of(before)}^"


class AlreadyInstalledError(TaskLogError):
    """``install()`` was called while another ``TaskLog`` is installed.

    Args:
        where: ``file:line`` of the call that installed the first.
    """

    def __init__(self, where: str) -> None:
        super().__init__(
            f"a TaskLog is already installed (by {where}); close() it first, "
            "use otel_tasklog.current(), or pass replace=True"
        )


class NotInstalledError(TaskLogError):
    """``current()`` was called before ``install()`` or after ``close()``."""

    def __init__(self) -> None:
        super().__init__(
            "no TaskLog is installed; call otel_tasklog.install(...) at program start"
        )


class ClosedError(TaskLogError):
    """You closed the ``TaskLog`` that you now use.

    Args:
        operation: The method that was called.
    """

    def __init__(self, operation: str) -> None:
        super().__init__(
            f"{operation}: this TaskLog is closed; call otel_tasklog.install(...) again"
        )


class FollowerError(TaskLogError, RuntimeError):
    """A ``Follower`` cannot be read so, or not any more; the message says why."""


class TaskNotFoundError(TaskLogError, LookupError):
    """No task is called so, or it is done; the message says what was looked for."""


class MissingExtraError(TaskLogError, ImportError):
    """An optional package is not installed.

    Args:
        feature: What needs it.
        extra: The extra of this distribution that brings it.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs an optional package: pip install 'otel-tasklog[{extra}]'"
        )


class MonitorError(TaskLogError):
    """The live-task monitor could not start; the message says what to change."""


class StorageError(TaskLogError):
    """A place that keeps records, such as Loki, does not answer, or refuses.

    Args:
        message: What was asked, what came back, and what to do.
        status: Of HTTP; None if there was no answer, or it was unfit.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
