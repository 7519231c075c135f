"""An option that is a span of time."""

from __future__ import annotations

import contextlib
import math
from typing import Any, Final

import click  # noqa: TID253 - see _commands

from otel_tasklog.store._moments import Ago, read_moment
from otel_tasklog.store._spelling import UnfitError

__all__ = ["LONGEST_PAUSE_SECONDS", "SHORTEST_PAUSE_SECONDS", "Seconds"]

SHORTEST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 86_400.0
"""Between two looks at processes."""


class Seconds(click.FloatRange):
    """A range of seconds, also written as in a query: ``30s``, ``5m``.

    What is no number is in no range, though click lets it in.
    """

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return a number of the range, or fail."""
        seconds = float(super().convert(_in_seconds(value), param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return seconds


def _in_seconds(value: Any) -> Any:  # noqa: ANN401 - click's
    """Return what a span of time with a unit is in seconds; all else as it is."""
    if isinstance(value, str) and value[-1:].isalpha():
        with contextlib.suppress(UnfitError, OverflowError):
            moment = read_moment(value)
            if isinstance(moment, Ago):
                return moment.ns / 1e9
    return value
