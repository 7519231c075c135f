"""Readers that behave badly, and what that does to the program: nothing much.

``cd tests && python -m e2e.readers`` has a program log 20,000 records a second with
`otel_tasklog.install` as it comes, and readers of every bad kind come to its access
point. In the same run, in turn and by chance, the same is logged into a handler that
does nothing and into the official one. It prints tables, and ends with an error if a
record was lost, the books do not balance, memory or descriptors did not come back, a
bad request was granted or failed the server, or the lag of the event loop is not ten
times less than the official handler's.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from e2e.readers.clients import SCENARIOS
from e2e.readers.program import Job, Look
from e2e.readers.running import Taken, reading, running_program

from otel_tasklog.viewer._application import QUERIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from peers import OFFICIAL_HTTP
from pipelines import FLOOR
from sink import Sink, running_sink

__all__ = ["main"]

BAR: Final = 10.0
"""The official handler's lag is to be so many times ours."""

WARM_UP_SECONDS: Final = 2.0
FLAT_BYTES: Final = 16 * 2**20
"""Memory that may be more at the end than at the beginning."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """What came of one run.

    Attributes:
        look: While the readers were there.
        last: At the end.
        begin: What the program took before they came.
        during: While they were there.
        after: When they had left.
        seen: By them.
        received: By the sink: records, and distinct ones.
    """

    look: Look
    last: Look
    begin: Taken
    during: Taken
    after: Taken
    seen: dict[str, int]
    received: tuple[int, int]


def try_ours(scenario: str, sink: Sink, job: Job, seconds: float) -> Trial:
    """Have readers come to a program of ours."""
    with (
        tempfile.TemporaryDirectory(prefix="tasklog-") as runtime_dir,
        running_program(job, runtime_dir) as program,
    ):
        door = program.door()
        program.wait_until(lambda: door.ask("/v1/records?limit=1000")[0] == 200)
        time.sleep(WARM_UP_SECONDS)  # until the ring is full, and everything imported
        begin = program.taken()
        with reading(scenario, door, sys.maxsize) as readers:
            program.look()
            time.sleep(seconds)
            look, during = program.look(), program.taken()
            seen = readers.leave()
        program.wait_until(lambda: program.taken().descriptors <= begin.descriptors)
        program.wait_until(lambda: door.ask("/healthz")[0] == 200)
        after = program.taken()
        last = program.end()
    count = sink.count()
    return Trial(
        look=look, last=last, begin=begin, during=during, after=after, seen=seen,
        received=(count["records"], count["distinct"]),
    )  # fmt: skip


def try_other(sink: Sink, job: Job, seconds: float) -> Look:
    """Log into something else."""
    with (
        tempfile.TemporaryDirectory() as runtime_dir,
        running_program(job, runtime_dir) as program,
    ):
        time.sleep(WARM_UP_SECONDS)
        program.look()
        time.sleep(seconds)
        look = program.look()
        program.end()
    sink.count()
    return look


def faults_of(trial: Trial, ring_records: int = 20_000) -> Iterator[str]:
    """Yield what must not be, in words."""
    stats, logged = trial.last.stats, trial.last.logged
    if trial.received != (logged, logged):
        yield f"{logged} logged, {trial.received} received and distinct"
    if not logged == stats["captured"] == stats["accepted"] == stats["delivered"]:
        yield f"{logged} logged; books: {stats}"
    if stats["kept"] != min(ring_records, logged):
        yield f"{stats['kept']} kept of {logged}"
    if trial.after.bytes - trial.begin.bytes > FLAT_BYTES:
        yield f"memory: {trial.begin.bytes:,} before, {trial.after.bytes:,} after"
    if trial.after.threads > trial.begin.threads + QUERIES:  # they stay for a while
        yield f"threads: {trial.begin.threads} before, {trial.after.threads} after"
    yield from (each for each in trial.seen if ": " in each)


def _run(
    scenarios: Sequence[str], options: argparse.Namespace, say: Callable[[str], object]
) -> tuple[dict[str, list[Look]], dict[str, list[Trial]]]:
    others: dict[str, list[Look]] = {FLOOR: [], OFFICIAL_HTTP: []}
    trials: dict[str, list[Trial]] = {name: [] for name in scenarios}
    with running_sink() as sink:
        settings = {"endpoint": sink.http, "attach": "tcp" if options.tcp else "unix"}
        job = Job(ports=sink.ports, rate=options.rate, settings=settings)
        for _ in range(options.rounds):
            for name in random.sample([*others, *scenarios], len(others) + len(trials)):
                say(f"{name} ...")
                if name in trials:
                    trials[name].append(try_ours(name, sink, job, options.seconds))
                else:
                    other = dataclasses.replace(job, pipeline=name)
                    others[name].append(try_other(sink, other, options.seconds))
    return others, trials


def _middle(looks: Sequence[Look], what: str) -> float:
    values: list[float] = [getattr(look, what) for look in looks]
    return statistics.median(values)


def _print_table(rows: list[list[str]], say: Callable[[str], object]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    say("")
    for row in rows:
        say("  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)))


def _print_lag(looks: dict[str, list[Look]], say: Callable[[str], object]) -> list[str]:
    """Print how late the event loop was; return who missed the bar."""
    rows = [["", "records/s", "p50 ms", "p99 ms", "p99 added", "official / it",
             "worst call ms", "CPU %"]]  # fmt: skip
    floor = _middle(looks[FLOOR], "p99_ms")
    official = _middle(looks[OFFICIAL_HTTP], "p99_ms") - floor
    missed = []
    for name, of in looks.items():
        p99 = _middle(of, "p99_ms")
        times = official / (p99 - floor) if p99 > floor else float("inf")
        if name not in (FLOOR, OFFICIAL_HTTP) and times < BAR:
            missed.append(f"{name}: {times:.1f} x")
        rows.append([
            name, f"{_middle(of, 'rate'):,.0f}", f"{_middle(of, 'p50_ms'):.2f}",
            f"{p99:.2f}", f"{p99 - floor:.2f}", f"{times:.1f} x",
            f"{max(look.worst_call_ms for look in of):.1f}",
            f"{_middle(of, 'cpu_percent'):.0f}",
        ])  # fmt: skip
    _print_table(rows, say)
    return missed


def _print_trials(
    trials: dict[str, list[Trial]], say: Callable[[str], object]
) -> list[str]:
    """Print what was logged and taken; return what must not be."""
    rows = [["", "logged", "lost", "MiB before", "with them", "after",
             "descriptors", "", "", "threads", "", ""]]  # fmt: skip
    faults = []
    for name, of in trials.items():
        for trial in of:
            faults += [f"{name}: {fault}" for fault in faults_of(trial)]
            taken = (trial.begin, trial.during, trial.after)
            rows.append([
                name, f"{trial.last.logged:,}",
                f"{trial.last.logged - trial.received[1]}",
                *(f"{each.bytes / 2**20:.1f}" for each in taken),
                *(f"{each.descriptors}" for each in taken),
                *(f"{each.threads}" for each in taken),
            ])  # fmt: skip
    _print_table(rows, say)
    say("")
    for name, of in trials.items():
        seen = ", ".join(f"{count:,} {what}" for what, count in of[-1].seen.items())
        say(f"{name} saw: {seen or 'nothing'}")
    return faults


def main() -> int:
    """Return 0 if all is as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=20_000, help="records a second")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each trial")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scenario", choices=SCENARIOS, action="append")
    parser.add_argument("--tcp", action="store_true", help="a port, with a token")
    options = parser.parse_args()
    say = functools.partial(print, flush=True)
    others, trials = _run(options.scenario or list(SCENARIOS), options, say)
    looks = {name: [trial.look for trial in of] for name, of in trials.items()}
    missed = _print_lag({**others, **looks}, say)
    faults = _print_trials(trials, say)
    if missed:
        faults.append(f"lag is not {BAR:g} times less: {', '.join(missed)}")
    for fault in faults:
        say(f"NO: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
