"""Records on standard output: lines for people, NDJSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_tasklog.cli._lines import print_record
from otel_tasklog.viewer._record_json import Run, dumps, record_json

if TYPE_CHECKING:
    from rich.console import Console

    from otel_tasklog.cli._source import Entry

__all__ = ["Printer", "entry_json"]

_RUN = Run()


def entry_json(entry: Entry) -> dict[str, object]:
    """Return a record as the API has it, for `dumps`."""
    return {**record_json(entry.record, _RUN), "id": entry.id}


class Printer:
    """Prints records, all of them alike.

    Args:
        console: Where to.
        as_json: Whether as NDJSON, in the form of the API.
        named: Whether each says where it comes from.

    Attributes:
        named: Likewise; it may change in between.
    """

    def __init__(self, console: Console, *, as_json: bool, named: bool) -> None:
        self._console = console
        self._as_json = as_json
        self.named = named

    def show(self, entry: Entry, *, matches: bool | None = None) -> None:
        """Print a record.

        Args:
            entry: The record.
            matches: Where those around it are shown, too: whether it is one that was
                asked for.
        """
        if self._as_json:
            value = entry_json(entry)
            if self.named:
                value["source"] = entry.source
            if matches is not None:
                value["matches"] = matches
            self._console.file.write(f"{dumps(value).decode()}\n")
            return
        print_record(
            self._console,
            entry.record,
            source=entry.source if self.named else "",
            mark={None: "", True: "> ", False: "  "}[matches],
        )

    def separate(self) -> None:
        """Print what stands between records that do not follow each other."""
        if not self._as_json:
            self._console.file.write("--\n")

    def flush(self) -> None:
        """Have those that read a pipe see it all."""
        self._console.file.flush()
