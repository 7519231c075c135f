"""Any record: none harms the caller, is lost, or would be refused by a Loki.

``cd tests && python -m e2e.hostile --records 100000 --seed 1`` has a process log
generated hostile records, and another one receive, count and judge them. It prints
what came of it, and ends with an error if anything did.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from e2e.hostile.producer import Report, balances
from e2e.hostile.receiver import Verdict
from log_records import made_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["faults_of", "main", "try_records"]

TESTS: Final = Path(__file__).parents[2]
TIMEOUT_SECONDS: Final = 1_800.0


def _popen(module: str, *args: object) -> subprocess.Popen[str]:
    # What the person who runs this has set is not what is tried here.
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OTEL_") and not name.upper().endswith("_PROXY")
    }
    return subprocess.Popen(
        [sys.executable, "-m", f"e2e.hostile.{module}", *map(str, args)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**clean, "PYTHONPATH": str(TESTS)},
    )  # fmt: skip


def try_records(count: int, seed: int) -> tuple[Report, Verdict]:
    """Log records in one process, and receive them in another.

    Raises:
        RuntimeError: The producer did not come to its end.
        subprocess.TimeoutExpired: Likewise, in half an hour.
    """
    with _popen("receiver", count) as receiver:
        assert receiver.stdout is not None
        endpoint = f"http://127.0.0.1:{int(receiver.stdout.readline())}"
        with _popen("producer", endpoint, count, seed) as producer:
            try:
                printed, _ = producer.communicate(timeout=TIMEOUT_SECONDS)
            finally:
                producer.kill()
                judged, _ = receiver.communicate(timeout=TIMEOUT_SECONDS)
    if producer.returncode:
        raise RuntimeError(f"the producer ended with {producer.returncode}")
    return Report(**json.loads(printed)), Verdict(**json.loads(judged))


def faults_of(report: Report, verdict: Verdict) -> Iterator[str]:
    """Yield what must not be, in words."""
    stats = report.stats
    expected = report.logged + report.inner
    if report.raised:
        yield f"{report.raised} calls raised: {report.first_raised}"
    if report.unflushed:
        yield f"{report.unflushed} flushes were not done in time"
    if report.unbalanced or not balances(stats):
        yield f"the books do not balance: {report.unbalanced or stats}"
    if not stats["captured"] == stats["accepted"] == stats["delivered"] == expected:
        yield (
            f"{expected} logged, {stats['captured']} captured, {stats['accepted']} "
            f"accepted, {stats['delivered']} delivered"
        )
    if verdict.records != expected or verdict.inner != report.inner:
        yield (
            f"{expected} logged, {report.inner} of them inner; {verdict.records} "
            f"received, {verdict.inner} of them inner"
        )
    if verdict.missing:
        yield f"{verdict.missing} numbers are missing: {verdict.first_missing}"
    if verdict.unnumbered or verdict.doubled:
        yield f"{verdict.unnumbered} without a number, {verdict.doubled} doubled"
    if verdict.leaks:
        yield f"a secret stands in {verdict.leaks}"
    for rule, times in verdict.objections.items():
        first = [each for each in verdict.first_objections if each[1] == rule]
        yield f"Loki objects {times} times, {rule}: {first}"


def _show(seed: int, number: int, say: Callable[[str], object]) -> None:
    made = made_of(seed, number)
    say(f"{made!r}")
    for name, value in made.fields.items():
        try:
            say(f"  {name!r}: {value!r:.200}")
        except Exception as error:  # noqa: BLE001 - it is hostile
            say(f"  {name!r}: {type(error).__name__} while reading")


def main() -> int:
    """Return 0 if all is as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--show",
        type=int,
        metavar="NUMBER",
        help="print one record of the series, only",
    )
    options = parser.parse_args()
    say = print
    if options.show is not None:
        _show(options.seed, options.show, say)
        return 0
    start = time.monotonic()
    report, verdict = try_records(options.records, options.seed)
    stats = report.stats
    say(
        f"seed {options.seed}: {report.logged} records, and {report.inner} that their "
        f"values logged, in {time.monotonic() - start:.0f} s\n"
        f"exceptions into the caller: {report.raised}\n"
        f"accepted {stats['accepted']} + recovered {stats['recovered']} == delivered "
        f"{stats['delivered']} + rejected {stats['rejected']} + dropped "
        f"{stats['dropped']} + spooled {stats['spooled']} + pending {stats['pending']}\n"
        f"received: {verdict.records}, missing: {verdict.missing}, doubled: "
        f"{verdict.doubled}, planted secrets: {len(verdict.leaks)}\n"
        f"objections of Loki: {sum(verdict.objections.values())}\n"
        f"a call took {report.call_seconds / report.logged * 1e6:.0f} µs on average, "
        f"{report.worst_call_seconds * 1e3:.0f} ms at most ({report.worst})"
    )
    faults = list(faults_of(report, verdict))
    for fault in faults:
        say(f"NO: {fault}")
    if faults:
        say(
            f"see a record by: python -m e2e.hostile --seed {options.seed} --show NUMBER"
        )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
