"""How a command ends that cannot do its work: one line on stderr, and a status.

`run` is around every command, so that none needs to care: a `Failure` becomes its
line, Ctrl-C and a pipe that is closed end quietly. Exit statuses:

* 0: done.
* 1: nothing was found, or something failed while the command went on.
* 2: bad usage; an option or a query is wrong.
* 3: no process to ask, or it cannot be reached.
* 130: Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Final

import click  # noqa: TID253 - see _commands
from click.shell_completion import shell_complete  # noqa: TID253

from otel_tasklog._errors import TaskLogError
from otel_tasklog._text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "BAD_USAGE",
    "COMPLETION_VARIABLE",
    "FAILED",
    "PROGRAM",
    "Failure",
    "Unreachable",
    "complain",
    "run",
]

PROGRAM: Final = "otel-tasklog"
COMPLETION_VARIABLE: Final = "_OTEL_TASKLOG_COMPLETE"
"""Set by the shell's script, for the time of one question."""

FAILED: Final = 1
BAD_USAGE: Final = 2
UNREACHABLE: Final = 3
INTERRUPTED: Final = 130


class Failure(click.ClickException):
    """Ends a command with status 1, and one line.

    Args:
        message: What is wrong, and what to do, on one line. It may hold texts of
            others: no control character of it reaches the terminal.
    """

    exit_code = FAILED


class Unreachable(Failure):
    """There is no process to ask, or it does not answer; ends a command with status 3.

    Args:
        message: As for `Failure`.
        state: The same in a word or two, for a table.
    """

    exit_code = UNREACHABLE

    def __init__(self, message: str, *, state: str = "no answer") -> None:
        super().__init__(message)
        self.state = state


def complain(message: str) -> None:
    """Print a line on stderr, for a command that goes on. From any thread."""
    line = visible(" ".join(message.split()))
    # Nobody may read it, and then there is nobody to tell.
    with contextlib.suppress(OSError):
        # In one piece: between a text and its end another thread's might come.
        print(f"{PROGRAM}: {line}\n", end="", file=sys.stderr, flush=True)


def run(cli: click.Group, arguments: Sequence[str]) -> int:
    """Run a command, or tell the shell how its line may go on.

    Args:
        cli: The commands.
        arguments: The command line, without the program's name.

    Returns:
        The exit status.
    """
    try:
        status = _run(cli, arguments)
    except (KeyboardInterrupt, click.Abort):
        status = INTERRUPTED
    except BrokenPipeError:
        status = 0
    except OSError as error:
        status = _failed_by(error)
    try:
        if sys.stdout is not None:  # "no standard output" is None
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
    except OSError as error:
        _discard_output()
        status = _failed_by(error)
    return status


def _run(cli: click.Group, arguments: Sequence[str]) -> int:
    instruction = os.environ.get(COMPLETION_VARIABLE)
    if instruction:
        return shell_complete(cli, {}, PROGRAM, COMPLETION_VARIABLE, instruction)
    try:
        with cli.make_context(PROGRAM, [*arguments]) as context:
            cli.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except click.UsageError as error:
        complain(_with_hint(error))
        return error.exit_code
    except click.ClickException as error:
        complain(error.format_message())
        return error.exit_code
    except TaskLogError as error:
        # A mistake in a query is shown below the line: its text is printable already.
        print(f"{PROGRAM}: {error}", file=sys.stderr, flush=True)
        return BAD_USAGE
    return 0


def _with_hint(error: click.UsageError) -> str:
    said = error.format_message().removesuffix(".")
    path = error.ctx.command_path if error.ctx is not None else PROGRAM
    return f"{said} (see '{path} --help')"


def _failed_by(error: OSError) -> int:
    reason = error.strerror or str(error)
    complain(f"cannot go on: {reason}{f': {error.filename}' if error.filename else ''}")
    return FAILED


def _discard_output() -> None:
    # What Python still holds would be written at its end, and fail then once more.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
