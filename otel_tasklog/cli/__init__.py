"""The commands, and the only place that prints.

``main`` is the entry point. click and rich come with the extra ``cli``; without
them it says so instead of failing on an import.
"""

from __future__ import annotations

import io
import sys

from otel_tasklog._errors import MissingExtraError

__all__ = ["main"]


def main() -> None:
    """Run the command line; ends the process with its exit status."""
    try:
        from otel_tasklog.cli._commands import make_cli
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in {"click", "rich"}:
            raise
        print(MissingExtraError("the command line", "cli"), file=sys.stderr)
        sys.exit(2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A record may hold what the terminal's encoding does not.
            stream.reconfigure(errors="backslashreplace")
    make_cli()(prog_name="otel-tasklog")
