"""Producers with a spool that are killed at random moments, and started again.

``cd tests && python -m e2e.faults.kill`` runs 200 trials. In each a producer logs, with
a receiver that takes, that is slow, or that is away, and gets SIGKILL at a moment that
nobody chose; sometimes its successor does, too. The last one finds the spool and
delivers. What each log call left was written beside it at once, so the judge knows
which records there were and how old each was at the kill.

It fails if a record is lost that was older than the window, `WINDOW_SECONDS`; if
something comes twice that was not on its way at a kill; or if anything else that the
judge looks at does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import itertools
import multiprocessing
import random
import socket
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from e2e.faults.journal import SENDER, Journal
from e2e.faults.judge import judge
from e2e.faults.producer import LOGGED, Job, Report, run
from e2e.faults.running import running_receiver
from e2e.faults.script import Step

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from e2e.faults.journal import Noted
    from e2e.faults.judge import Verdict

__all__ = ["main"]

SPOOL_INTERVAL_SECONDS: Final = 0.2
SLACK_SECONDS: Final = 0.3
"""For the worker to get its turn on a busy machine, and for the write itself."""

WINDOW_SECONDS: Final = SPOOL_INTERVAL_SECONDS + SLACK_SECONDS
RATE: Final = 2_000.0
ENDLESS: Final = 1_000_000_000
SECOND_KILLS: Final = 0.3
"""In so many of the trials the successor is killed as well."""

GAP_SECONDS: Final = 0.05
"""Ten times the usual one."""

WAIT_SECONDS: Final = 60.0


@dataclasses.dataclass(frozen=True)
class Life:
    """A producer that was killed.

    Attributes:
        name: It says so with each request.
        killed_at: When, by the monotonic clock.
        times: When each of its log calls had returned.
    """

    name: str
    killed_at: float
    times: list[float]

    @property
    def writer(self) -> str:
        """What its records say."""
        return f"{self.name}/0"

    def age_seconds(self, number: int) -> float:
        """Return how old a record was at the kill, by the time of its producer.

        What the machine gave to others is not counted: a gap between two log calls,
        or before the kill, counts `GAP_SECONDS` at most.
        """
        times = [*self.times[number:], self.killed_at]
        gaps = (after - before for before, after in itertools.pairwise(times))
        return sum(min(gap, GAP_SECONDS) for gap in gaps)


@dataclasses.dataclass(frozen=True)
class Trial:
    """What came of one trial.

    Attributes:
        verdict: The judge's, who knows of the window.
        oldest_lost_seconds: How old the oldest record was that a kill cost.
        recovered: How many records the last producer found.
    """

    verdict: Verdict
    oldest_lost_seconds: float
    recovered: int


def _report_to(connection: Connection, job: Job) -> None:
    connection.send(run(job))


class Trials:
    """Runs trials, also two at a time.

    Args:
        directory: For what they write.
        ends: Where a producer that is to be killed may send; the last one, too, is
            to send to the first of them.
        journals: What the receivers there note.
    """

    def __init__(
        self, directory: Path, ends: dict[str, str], journals: list[Path]
    ) -> None:
        self._directory = directory
        self._ends = ends
        self._journals = journals
        # Its children start at once: it has imported all they need, and runs nothing.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["e2e.faults.producer"])

    def run(self, number: int, seed: int) -> Trial:
        """Run one trial; the same seed makes the same choices."""
        chance = random.Random(f"{seed} {number}")  # noqa: S311
        names = [f"trial{number}"]
        if chance.random() < SECOND_KILLS:
            names.append(f"trial{number}again")
        whats: list[str] = []
        lives: list[Life] = []
        for name in names:
            what = chance.choice(list(self._ends))
            after = chance.uniform(0.0, 0.8 if not lives else 0.3)
            whats.append(f"{what}, {after:.3f} s")
            lives.append(self._live(name, self._job(number, name, what), after))
        report = self._finish(self._job(number, f"trial{number}last", "takes"))
        return self._judge(f"trial {number} ({'; '.join(whats)})", lives, report)

    def _job(self, number: int, name: str, what: str) -> Job:
        spool = self._directory / f"spool{number}"
        return Job(
            name=name, endpoint=self._ends[what], rate=RATE, records=1,
            settings={
                "spool_dir": str(spool),
                "spool_interval_seconds": SPOOL_INTERVAL_SECONDS,
                "headers": {SENDER: name},
            },
        )  # fmt: skip

    def _live(self, name: str, job: Job, seconds: float) -> Life:
        """Let a producer live for some time from its first record on."""
        side = self._directory / f"{name}.side"
        side.touch()
        endless = dataclasses.replace(job, records=ENDLESS, side_file=str(side))
        process = self._context.Process(target=run, args=(endless,))
        process.start()
        _wait_for(lambda: side.stat().st_size > 0)
        time.sleep(seconds)
        process.kill()
        killed_at = time.monotonic()
        process.join()
        noted = LOGGED.iter_unpack(_whole(side.read_bytes()))
        return Life(name, killed_at, [at for _, at in noted])

    def _finish(self, job: Job) -> Report:
        """Run the producer that is not killed."""
        receive, send = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_report_to, args=(send, job))
        process.start()
        send.close()
        if not receive.poll(WAIT_SECONDS):
            process.kill()
        report: Report = receive.recv()
        process.join()
        return report

    def _judge(self, name: str, lives: list[Life], last: Report) -> Trial:
        killed = {life.writer: life for life in lives}
        logged = {life.writer: len(life.times) for life in lives} | last.logged
        requests = [
            request
            for path in self._journals
            for request in Journal.read(path).requests
            if logged.keys() & request.records.keys()
        ]
        requests.sort(key=lambda request: request.at_seconds)
        for life in lives:
            _doubt_last(requests, life.name)
        # The books of the last one are of its own records and of those it found.
        report = dataclasses.replace(last, logged=logged, stats=None)
        verdict = judge(name, report, Journal(requests, [], 0), unsure=1)
        ages = [
            killed[writer].age_seconds(first)
            for writer, runs in verdict.missing.items()
            if writer in killed
            for first, _ in runs
        ]
        oldest = max(ages, default=0.0)
        if oldest > WINDOW_SECONDS:
            verdict.faults.append(f"a record of {oldest:.3f} s was lost")
        _check_books(verdict, last)
        return Trial(verdict, oldest, last.stats["recovered"] if last.stats else 0)


def _whole(noted: bytes) -> bytes:
    return noted[: len(noted) // LOGGED.size * LOGGED.size]


def _wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        if time.monotonic() >= deadline:
            raise TimeoutError("the producer did not begin")
        time.sleep(0.002)


def _doubt_last(requests: list[Noted], sender: str) -> None:
    """Take the last answer to a producer for one that it may not know."""
    theirs = [n for n, each in enumerate(requests) if each.sender == sender]
    if theirs:
        last = requests[theirs[-1]]
        requests[theirs[-1]] = dataclasses.replace(last, is_answered=False)


def _check_books(verdict: Verdict, last: Report) -> None:
    """Look at the last producer's books: nothing may be left."""
    stats, faults = last.stats, verdict.faults
    assert stats is not None  # it is ours
    verdict.counted = f"{stats['recovered']} recovered"
    if last.unbalanced:
        faults.append(f"the books did not balance: {last.unbalanced[0]}")
    if not last.flushed:
        faults.append("the last one could not flush")
    if stats["delivered"] != stats["recovered"] + stats["accepted"]:
        faults.append(f"not all of it was delivered: {stats}")
    for writer in last.logged.keys() & verdict.missing.keys():
        faults.append(f"a record of {writer} was lost, which was not killed")


def run_trials(count: int, seed: int, say: Callable[[str], object]) -> list[Trial]:
    """Run trials, two at a time; say what came of each that is bad."""
    slow = [Step(do="trickle", pause_seconds=0.002)]
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        journals = [directory / "takes", directory / "slow"]
        takes, slowly = (
            stack.enter_context(running_receiver("http/protobuf", path, script=script))
            for path, script in zip(journals, ([], slow), strict=True)
        )
        away = stack.enter_context(socket.socket())
        away.bind(("127.0.0.1", 0))  # and does not listen
        ends = {
            "takes": takes.endpoint,
            "slow": slowly.endpoint,
            "away": f"http://127.0.0.1:{away.getsockname()[1]}",
        }
        trials = Trials(directory, ends, journals)
        with ThreadPoolExecutor(2) as pool:
            done = []
            for trial in pool.map(trials.run, range(count), [seed] * count):
                done.append(trial)
                if trial.verdict.faults:
                    say(trial.verdict.line)
                if not len(done) % 20:
                    say(f"{len(done)} trials")
    return done


def main() -> int:
    """Return 0 if every trial is good."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    say = functools.partial(print, flush=True)
    trials = run_trials(options.trials, options.seed, say)
    verdicts = [trial.verdict for trial in trials]
    bad = sum(bool(verdict.faults) for verdict in verdicts)
    say(
        f"{len(trials)} trials, {sum(v.logged for v in verdicts):,} records logged, "
        f"{sum(trial.recovered for trial in trials):,} recovered; "
        f"{sum(v.lost for v in verdicts):,} lost in {sum(v.lost > 0 for v in verdicts)} "
        f"trials, the oldest {max(t.oldest_lost_seconds for t in trials):.3f} s before "
        f"the kill (the window: {WINDOW_SECONDS:g} s); "
        f"{sum(v.resent for v in verdicts):,} came again that were on their way; "
        f"{bad} trials are bad"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
