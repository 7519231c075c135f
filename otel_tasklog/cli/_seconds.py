"""An option that is a span of time."""

from __future__ import annotations

import math
from typing import Any, Final

import click  # noqa: TID253 - see _commands

__all__ = ["LONGEST_PAUSE_SECONDS", "SHORTEST_PAUSE_SECONDS", "Seconds"]

SHORTEST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 86_400.0
"""Between two looks at processes."""


class Seconds(click.FloatRange):
    """A range of seconds. What is no number is in no range, though click lets it in."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return a number of the range, or fail."""
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return seconds
