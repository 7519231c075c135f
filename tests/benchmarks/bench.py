"""Measure this library against its peers, in the same run, and print one table.

Usage::

    python tests/benchmarks/bench.py [--quick | --smoke] [--only NAME...]
    python tests/benchmarks/bench.py --write

Each topic is a script beside this one, whose docstring says how it measures.
Common to all: the peers run in the same process or in turn with us, the variants
in random order within each round; the numbers are medians over the rounds; "added"
is what a handler costs above one whose ``handle`` does nothing. CPU is that of the
thread or process that is said, not the wall clock, where the wall clock is not what
is asked. Wherever both sides deliver, they deliver to the same receiver.

Not measured: TLS, compression, a receiver that is slow or far away, and anything
under memory pressure. Nothing here is asserted: numbers of one machine are not
another's, ratios of one run nearly are.
"""

from __future__ import annotations

import argparse
import datetime
import os
import time

import call
import delivery
import encode
import flat
import lag
import memory
import queries
import tasks
import threads
from page import DIFFERENCES, THIS_BUILD, write
from peers import differences, versions
from rounds import Scale
from rows import Row, rows_table, summary

TOPICS = {
    "call": call.run,
    "threads": threads.run,
    "encode": encode.run,
    "delivery": delivery.run,
    "lag": lag.run,
    "memory": memory.run,
    "queries": queries.run,
    "flat": flat.run,
    "tasks": tasks.run,
}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Benchmarks against the peers.")
    less = parser.add_mutually_exclusive_group()
    less.add_argument("--quick", action="store_true", help="fewer rounds")
    less.add_argument("--smoke", action="store_true", help="once: does it all run?")
    parser.add_argument("--only", nargs="+", choices=TOPICS, default=list(TOPICS))
    parser.add_argument(
        "--write", action="store_true", help="put the results into the documentation"
    )
    chosen = parser.parse_args()
    scale = Scale.QUICK if chosen.quick else Scale.SMOKE if chosen.smoke else Scale.FULL
    if chosen.write and (scale is not Scale.FULL or chosen.only != list(TOPICS)):
        parser.error("--write is for one whole run: without --quick, --smoke, --only")

    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        del os.environ[name]  # both sides at their defaults
    today = datetime.datetime.now(datetime.UTC).date()
    print(versions(), flush=True)
    rows: list[Row] = []
    details: list[str] = []
    for name in chosen.only:
        started = time.perf_counter()
        result = TOPICS[name](scale)
        print(f"\n{name}, {time.perf_counter() - started:.0f} s\n")
        print("\n\n".join([rows_table(result.rows), *result.detail]), flush=True)
        rows += result.rows
        if result.detail:
            details += [f"**{name}**: {result.detail[0]}", *result.detail[1:]]
    print(f"\nAll of them\n\n{rows_table(rows)}\n\n{summary(rows)}\n\n{differences()}")
    if chosen.write:
        run = [f"{versions()} {today}.", rows_table(rows), summary(rows), *details]
        write({DIFFERENCES: differences(), THIS_BUILD: "\n\n".join(run)})


if __name__ == "__main__":
    main()
