"""What a check of ``otel-tasklog doctor`` found."""

from __future__ import annotations

import dataclasses
from typing import Final, Literal, TypeAlias

__all__ = [
    "LONGEST_STEP_SECONDS",
    "Finding",
    "Result",
    "failed",
    "ok",
    "warning",
]

Result: TypeAlias = Literal["ok", "warning", "failed"]

LONGEST_STEP_SECONDS: Final = 30.0
"""A time-out of the settings may be longer, or none. Somebody waits for this one."""


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        check: What was looked at, in a word or two.
        result: How it is.
        said: What was found.
        mend: What to do about it; empty if there is nothing to do.
    """

    check: str
    result: Result
    said: str
    mend: str = ""


def ok(check: str, said: str) -> Finding:
    """Return a finding that needs nothing done."""
    return Finding(check, "ok", said)


def warning(check: str, said: str, mend: str) -> Finding:
    """Return a finding that keeps no record from arriving, or may be wanted."""
    return Finding(check, "warning", said, mend)


def failed(check: str, said: str, mend: str) -> Finding:
    """Return a finding that keeps records from arriving."""
    return Finding(check, "failed", said, mend)
