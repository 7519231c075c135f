"""Telnet clients that are killed at every stage, and what that does to the program.

``cd tests && python -m e2e.monitor_clients --rounds 100`` has a program log 5,000
records a second, with a monitor and its stdin at /dev/null, while clients come and are
killed wherever a client can be, two at a time, by a reset and by an orderly end in
turn. It ends with an error if a record was lost, anything was said on the program's
streams, a client could not get as far as it was to be killed, threads or descriptors
did not come back, or the program does not rest when it has nothing to log.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from e2e.monitor_clients.stages import STAGES, kill_at
from telnet_client import Telnet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from sink import running_sink

__all__ = ["Outcome", "faults_of", "main", "try_clients"]

TESTS: Final = Path(__file__).parents[2]
WAIT_SECONDS: Final = 30.0
IDLE_SECONDS: Final = 2.0
IDLE_PERCENT: Final = 5.0
AT_ONCE: Final = 2
"""A session may outlive its client by a second, and there is room for 16."""

POOLED_THREADS: Final = min(32, (os.cpu_count() or 1) + 4)
"""So many stay when commands have run beside the sessions, as asyncio has it."""


class Outcome(NamedTuple):
    """What came of it.

    Attributes:
        killed: Clients.
        failed: What kept clients from getting where they were to be killed.
        said: What the program said on its streams, but for what it was asked.
        begin: Threads and descriptors before the first client.
        end: After the last.
        idle_percent: Of a core, when nothing was logged any more.
        rate: Records a second while clients came.
        books: What the program says of its records.
        received: By the receiver: records, and distinct ones.
    """

    killed: int
    failed: list[str]
    said: str
    begin: tuple[int, int]
    end: tuple[int, int]
    idle_percent: float
    rate: float
    books: dict[str, Any]
    received: tuple[int, int]


class _Program:
    """The program, in another process."""

    def __init__(self, rate: int, endpoint: str, errors: Path) -> None:
        orders, self._orders = os.pipe()
        clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
        with errors.open("w") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "e2e.monitor_clients.program",
                 str(rate), endpoint, str(orders)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
                pass_fds=[orders], text=True, env={**clean, "PYTHONPATH": str(TESTS)},
            )  # fmt: skip
        os.close(orders)
        self._errors = errors
        self._noise: list[str] = []
        assert self._process.stdout is not None
        self._lines = iter(self._process.stdout)
        self.port = int(next(self._lines))

    def tell(self, order: str) -> dict[str, Any]:
        os.write(self._orders, f"{order}\n".encode())
        return self._heard()

    def _heard(self) -> dict[str, Any]:
        for line in self._lines:
            if line.startswith("{"):
                said: dict[str, Any] = json.loads(line)
                return said
            self._noise.append(line)
        raise RuntimeError(f"the program has ended: {self._errors.read_text()}")

    def taken(self) -> tuple[int, int]:
        """Return its threads and descriptors."""
        process = Path(f"/proc/{self._process.pid}")
        return len([*(process / "task").iterdir()]), len(os.listdir(process / "fd"))  # noqa: PTH208 - it may change meanwhile

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")
        user, system = map(int, fields[2].split()[11:13])
        return (user + system) / os.sysconf("SC_CLK_TCK")

    def end(self) -> tuple[dict[str, Any], str]:
        """Have it deliver and end; return its books, and what else it ever said."""
        os.close(self._orders)
        said = self._heard()
        self._noise += self._lines
        self._process.wait(WAIT_SECONDS)
        return said, "".join(self._noise) + self._errors.read_text()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def try_clients(
    rounds: int, rate: int, say: Callable[[str], object] = lambda _: None
) -> Outcome:
    """Have clients killed, so many rounds through all stages."""
    with running_sink() as sink, tempfile.TemporaryDirectory() as directory:
        program = _Program(rate, sink.http, Path(directory) / "errors")
        try:
            return _try(program, rounds, say)._replace(received=_received(sink.count()))
        finally:
            program.kill()


def _received(count: dict[str, int]) -> tuple[int, int]:
    return count["records"], count["distinct"]


def _try(program: _Program, rounds: int, say: Callable[[str], object]) -> Outcome:
    with Telnet(program.port) as telnet:  # what a first session imports stays
        for command in ("tasks", "tree", "why clerk", "stats", "flush"):
            telnet.command(command)
    time.sleep(1.0)
    begin = program.taken()
    logged, started = program.tell("look")["logged"], time.monotonic()
    failed: list[str] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number in range(rounds):
            kill = functools.partial(kill_at, port=program.port, reset=number % 2 == 0)
            failed += filter(None, pool.map(kill, STAGES))
            if number % 10 == 9:
                say(f"{number + 1} rounds, {program.taken()} threads and descriptors")
    rate = (program.tell("look")["logged"] - logged) / (time.monotonic() - started)
    with Telnet(program.port) as telnet:
        if not telnet.command("tasks")[0].startswith("#"):
            failed.append("no tasks at the end")
    program.tell("stop")
    deadline = time.monotonic() + WAIT_SECONDS
    while not _is_back(program.taken(), begin) and time.monotonic() < deadline:
        time.sleep(0.1)
    before = program.cpu_seconds()
    time.sleep(IDLE_SECONDS)
    idle = (program.cpu_seconds() - before) / IDLE_SECONDS * 100
    end = program.taken()
    books, said = program.end()
    return Outcome(
        killed=rounds * len(STAGES), failed=failed, said=said, begin=begin, end=end,
        idle_percent=idle, rate=rate, books=books, received=(0, 0),
    )  # fmt: skip


def _is_back(now: tuple[int, int], begin: tuple[int, int]) -> bool:
    return now[0] <= begin[0] + POOLED_THREADS and now[1] <= begin[1]


def faults_of(outcome: Outcome) -> Iterator[str]:
    """Yield what must not be, in words."""
    books = outcome.books
    logged = books["logged"]
    if outcome.received != (logged, logged):
        yield f"{logged} logged, {outcome.received} received and distinct"
    if not logged == books["captured"] == books["accepted"] == books["delivered"]:
        yield f"{logged} logged; books: {books}"
    if outcome.said:
        lines = outcome.said.splitlines()
        yield f"the program said {len(lines)} lines: {lines[:5]}"
    if outcome.failed:
        yield f"{len(outcome.failed)} clients failed: {sorted(set(outcome.failed))[:5]}"
    if not _is_back(outcome.end, outcome.begin):
        yield f"threads, descriptors: {outcome.begin} before, {outcome.end} after"
    if outcome.idle_percent > IDLE_PERCENT:
        yield f"{outcome.idle_percent:.1f} % of a core with nothing to do"


def main() -> int:
    """Return 0 if all is as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=5_000, help="records a second")
    parser.add_argument("--rounds", type=int, default=100, help="through all stages")
    options = parser.parse_args()
    say = functools.partial(print, flush=True)
    outcome = try_clients(options.rounds, options.rate, say)
    say(
        f"{outcome.killed:,} clients killed at {len(STAGES)} stages; "
        f"{outcome.books['logged']:,} records logged, {outcome.rate:,.0f} a second; "
        f"{outcome.received[1]:,} received; threads and descriptors {outcome.begin} "
        f"before, {outcome.end} after; {outcome.idle_percent:.1f} % CPU at rest"
    )
    faults = [*faults_of(outcome)]
    for fault in faults:
        say(f"NO: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
