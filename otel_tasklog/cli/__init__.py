"""The commands, and the only place that prints.

``main`` is the entry point. What it needs comes with the extra ``cli``; without it it
says so instead of failing on an import.
"""

from __future__ import annotations

import io
import sys

from otel_tasklog._errors import MissingExtraError

__all__ = ["main"]

_OF_THE_EXTRA = {"click", "rich", "httpx2"}


def main() -> None:
    """Run the command line; ends the process with its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A record may hold what the terminal's encoding does not.
            stream.reconfigure(errors="backslashreplace")
    try:
        from otel_tasklog.cli._commands import make_cli
        from otel_tasklog.cli._failures import run

        status = run(make_cli(), sys.argv[1:])
    except KeyboardInterrupt:  # while modules are imported, or for the second time
        status = 130
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in _OF_THE_EXTRA:
            raise
        print(MissingExtraError("the command line", "cli"), file=sys.stderr)
        status = 2
    sys.exit(status)
