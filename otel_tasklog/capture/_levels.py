"""Levels of ``logging``, and OpenTelemetry's severities."""

from __future__ import annotations

import logging
import re
from typing import Final

__all__ = ["level_of", "logged_level", "severity_number"]


def severity_number(level: int) -> int:
    """Return OpenTelemetry's number for one of ``logging``.

    Ten levels of Python map onto each range of four, the first three one to one
    (DEBUG 10 is 5, INFO 20 is 9 ...); levels 1 to 9 are TRACE, 0 is unspecified.

    See https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber
    """
    if level <= 0:
        return 0
    tens, ones = divmod(min(level, 59), 10)
    return 1 + 4 * tens + min(ones, 3) if tens else 1 + min(max(level - 5, 0), 3)


def level_of(severity: int) -> int:
    """Return the lowest of ``logging``'s levels that has OpenTelemetry's number.

    The inverse of `severity_number`, but for 1, which levels 1 to 5 all have: it is
    5. What is out of range is the nearest.
    """
    if severity <= 0:
        return 0
    tens, ones = divmod(min(severity, 24) - 1, 4)
    return 10 * tens + ones if tens else 5 + ones


def logged_level(severity: int, name: str) -> int:
    """Return the level of a severity; that of its name, unless the number objects.

    Args:
        severity: OpenTelemetry's number.
        name: The level's name where it was logged, if it is known.
    """
    level = logging.getLevelNamesMapping().get(name)
    if level is None and (unnamed := _UNNAMED.fullmatch(name)):
        level = int(unnamed[1])
    if level is not None and severity in (0, severity_number(level)):
        return level
    return level_of(severity)


_UNNAMED: Final = re.compile(r"Level (-?[0-9]{1,9})", re.ASCII)
"""What ``logging`` calls a level that nobody has named."""
