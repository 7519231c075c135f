"""The terminal, or what stands where one could be."""

from __future__ import annotations

from typing import NoReturn

from rich.console import Console  # noqa: TID253 - see _commands

__all__ = ["make_console"]


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        """Leave it to `run`, which ends quietly; rich would end with status 1."""
        raise BrokenPipeError


def make_console(*, stderr: bool = False) -> Console:
    """Return a console that shows text as it is, with colours on a terminal alone."""
    return _Console(highlight=False, markup=False, emoji=False, stderr=stderr)
