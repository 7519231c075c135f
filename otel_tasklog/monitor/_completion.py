"""What the Tab key completes in a telnet session.

aiomonitor's own takes ``order-1`` for three words, of which it completes the last.

Imported only when a monitor starts.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from click.shell_completion import ShellComplete  # noqa: TID253 - this module is imported inside a function
from prompt_toolkit.completion import Completer, Completion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click import Command
    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

__all__ = ["WordCompleter"]


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
