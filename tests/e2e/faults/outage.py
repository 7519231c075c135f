"""An outage of the receiver, and what it costs: ours, and the official pipeline.

``cd tests && python -m e2e.faults.outage`` runs both side by side, at their default
settings, over HTTP and over gRPC, and prints a table. It fails if ours lost, doubled or
disordered anything, or miscounted.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from e2e.faults.judge import judge
from e2e.faults.producer import Job
from e2e.faults.running import finish, running_receiver, start
from e2e.faults.script import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.faults.judge import Verdict

__all__ = ["main"]

PROTOCOLS: Final = {"http": "http/protobuf", "grpc": "grpc"}
PIPELINES: Final = ("ours", "official")
AROUND_SECONDS: Final = 10.0
"""So long is logged before and after the outage, together."""

FLUSH_SECONDS: Final = 120.0
COLUMNS: Final = (
    "pipeline", "protocol", "logged", "received", "lost", "lost %", "doubled",
    "disordered", "flush s", "worst call ms",
)  # fmt: skip


def try_one(
    pipeline: str, protocol: str, *, seconds: float, rate: float
) -> tuple[Verdict, list[str]]:
    """Log through an outage; return the verdict and the row of the table."""
    # It begins with the first request, so that both know each other already.
    script = [Step(requests=1), Step(do="refuse", seconds=seconds), Step()]
    with (
        tempfile.TemporaryDirectory() as directory,
        running_receiver(
            PROTOCOLS[protocol], Path(directory, "journal"), script=script
        ) as receiver,
    ):
        job = Job(
            name=pipeline, endpoint=receiver.endpoint, protocol=PROTOCOLS[protocol],
            official=pipeline == "official", rate=rate,
            records=round(rate * (seconds + min(AROUND_SECONDS, seconds))),
            flush_seconds=FLUSH_SECONDS,
        )  # fmt: skip
        report = finish(start(job), seconds + 2 * FLUSH_SECONDS)
        journal = receiver.close()
    verdict = judge(f"{pipeline}, {protocol}", report, journal)
    row = [
        pipeline, protocol, f"{verdict.logged:,}",
        f"{verdict.acknowledged + verdict.unsure:,}", f"{verdict.lost:,}",
        f"{100 * verdict.lost / verdict.logged:.1f}", f"{verdict.doubled:,}",
        f"{verdict.disordered:,}", f"{report.flush_seconds:.1f}",
        f"{report.worst_call_seconds * 1_000:.1f}",
    ]  # fmt: skip
    return verdict, row


def _print_table(rows: list[list[str]], say: Callable[[str], object]) -> None:
    table = [list(COLUMNS), *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = zip(row, widths, strict=True)
        say("  ".join(text.rjust(width) for text, width in cells))


def main() -> int:
    """Return 0 if ours lost nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="of outage")
    parser.add_argument("--rate", type=float, default=1_000.0, help="records a second")
    parser.add_argument("--protocol", choices=PROTOCOLS, action="append")
    parser.add_argument("--pipeline", choices=PIPELINES, action="append")
    options = parser.parse_args()
    say = functools.partial(print, flush=True)
    rows, bad = [], []
    for protocol in options.protocol or PROTOCOLS:
        with ThreadPoolExecutor() as pool:
            tried = [
                pool.submit(
                    try_one, pipeline, protocol,
                    seconds=options.seconds, rate=options.rate,
                )
                for pipeline in options.pipeline or PIPELINES
            ]  # fmt: skip
        for each in tried:
            verdict, row = each.result()
            rows.append(row)
            if row[0] == "ours":
                say(verdict.line)
                if verdict.faults or verdict.lost:
                    bad.append(verdict.name)
    say(f"\nan outage of {options.seconds:g} s at {options.rate:g} records a second\n")
    _print_table(rows, say)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
