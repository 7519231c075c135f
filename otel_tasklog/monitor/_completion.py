"""The words of a line in a telnet session, and what the Tab key makes of the last.

aiomonitor's own completion takes ``order-1`` for three words, of which it completes the
last; and a quotation that does not end it answers with a traceback.

Imported only when a monitor starts.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click  # noqa: TID253 - this module is imported inside a function
from click.shell_completion import ShellComplete  # noqa: TID253 - ditto
from prompt_toolkit.completion import Completer, Completion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click import Command
    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

__all__ = ["WordCompleter", "Words"]


class Words:
    """Stands for the module ``shlex``, and says in one line what is wrong."""

    @staticmethod
    def split(line: str) -> list[str]:
        """Return the words of a line.

        Raises:
            click.UsageError: A quotation does not end, or nothing is escaped.
        """
        try:
            return shlex.split(line)
        except ValueError as error:
            raise click.UsageError(
                f"{error}: what has ' \" or \\ in it must be in quotes, or have a "
                "\\ before each"
            ) from None


class WordCompleter(Completer):
    """Completes commands, their options and what these may be.

    Args:
        commands: The group of all commands.
    """

    def __init__(self, commands: Command) -> None:
        self._complete = ShellComplete(commands, {}, "", "")

    def get_completions(
        self,
        document: Document,
        complete_event: CompleteEvent,  # noqa: ARG002 - its signature
    ) -> Iterator[Completion]:
        """Yield what the word before the cursor could be."""
        before, gap, word = document.current_line_before_cursor.rpartition(" ")
        try:
            words = shlex.split(before + gap)
        except ValueError:  # a quotation that has not ended
            return
        for item in self._complete.get_completions(words, word):
            yield Completion(item.value, start_position=-len(word))
