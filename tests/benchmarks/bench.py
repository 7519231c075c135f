"""Measure this library against its peers, in the same run, and print one table.

Usage::

    python tests/benchmarks/bench.py [--quick] [--only NAME...]

Each topic is a script beside this one, whose docstring says how it measures.
Common to all: the peers run in the same process or in turn with us, the variants
in random order within each round; the numbers are medians over the rounds; "added"
is what a handler costs above one whose ``handle`` does nothing. CPU is that of the
thread or process that is said, not the wall clock, where the wall clock is not what
is asked.

Not measured: TLS, compression, a receiver that is slow or far away, structlog,
gRPC, and anything under memory pressure. Nothing here is asserted: numbers of one
machine are not another's, ratios of one run nearly are.
"""

from __future__ import annotations

import argparse
import time

import call
import delivery
import encode
import lag
import memory
import queries
import threads
from rows import Row, print_result, print_table, print_versions

TOPICS = {
    "call": call.run,
    "threads": threads.run,
    "encode": encode.run,
    "delivery": delivery.run,
    "lag": lag.run,
    "memory": memory.run,
    "queries": queries.run,
}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Benchmarks against the peers.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--only", nargs="+", choices=TOPICS, default=list(TOPICS))
    chosen = parser.parse_args()
    print_versions()
    rows: list[Row] = []
    for name in chosen.only:
        started = time.perf_counter()
        result = TOPICS[name](quick=chosen.quick)
        print(f"\n{name}, {time.perf_counter() - started:.0f} s")
        print_result(result)
        rows += result.rows
    if len(chosen.only) > 1:
        print("All of them")
        print_table(rows)


if __name__ == "__main__":
    main()
