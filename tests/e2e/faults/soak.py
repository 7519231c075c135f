"""A long run in which the receiver is killed and started again, at random.

``cd tests && python -m e2e.faults.soak --minutes 10 --rate 5000`` prints what memory
the producer takes as it goes, and at the end what was lost and doubled. It fails if
anything was, but for the records whose acknowledgement died with the receiver.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from e2e.faults.judge import judge
from e2e.faults.outage import FLUSH_SECONDS, PROTOCOLS
from e2e.faults.producer import Job
from e2e.faults.running import finish, running_receiver, start

if TYPE_CHECKING:
    import subprocess
    from argparse import Namespace

    from e2e.faults.running import Receiver

__all__ = ["main"]

UP_SECONDS: Final = 5.0, 25.0
DOWN_SECONDS: Final = 0.0, 4.0
"""At 5,000 records a second the default buffer holds 13 seconds, back-off included."""

SAMPLE_SECONDS: Final = 10.0


def _resident_bytes(pid: int) -> int:
    """Return the memory of a process, or 0 where the system does not say."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * 4_096


def _disturb(
    producer: subprocess.Popen[str], receiver: Receiver, options: Namespace
) -> tuple[list[int], int]:
    """Kill and start the receiver until the time is over; return samples, kills."""
    chance = random.Random(options.seed)  # noqa: S311 - it is to be repeatable
    start_time = time.monotonic()
    end = start_time + 60 * options.minutes
    samples, kills = [], 0
    next_sample = start_time + min(SAMPLE_SECONDS, 6 * options.minutes)
    next_change, is_up = start_time + chance.uniform(*options.up_seconds), True
    while (now := time.monotonic()) < end and producer.poll() is None:
        if now >= next_sample:
            samples.append(_resident_bytes(producer.pid))
            _say(f"{now - start_time:6.0f} s  {samples[-1] / 2**20:6.1f} MiB")
            next_sample += SAMPLE_SECONDS
        if now >= next_change:
            if is_up:
                receiver.kill()
                kills += 1
            else:
                receiver.restart()
            is_up = not is_up
            next_change = now + chance.uniform(
                *(options.up_seconds if is_up else DOWN_SECONDS)
            )
        time.sleep(0.02)
    if not is_up:
        receiver.restart()
    return samples, kills


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def main() -> int:
    """Return 0 if nothing was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=5_000.0, help="records a second")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="http")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--up-seconds", type=float, nargs=2, default=UP_SECONDS, metavar=("MIN", "MAX"),
        help="for how long the receiver lives",
    )  # fmt: skip
    parser.add_argument("--spool", action="store_true", help="with a spool on disk")
    options = parser.parse_args()
    protocol = PROTOCOLS[options.protocol]
    with (
        tempfile.TemporaryDirectory() as directory,
        running_receiver(protocol, Path(directory, "journal")) as receiver,
    ):
        settings = {"spool_dir": f"{directory}/spool"} if options.spool else {}
        job = Job(
            name="soak", endpoint=receiver.endpoint, protocol=protocol,
            records=round(options.rate * 60 * options.minutes), rate=options.rate,
            sample_seconds=0.1, flush_seconds=FLUSH_SECONDS, settings=settings,
        )  # fmt: skip
        producer = start(job)
        samples, kills = _disturb(producer, receiver, options)
        report = finish(producer, 2 * FLUSH_SECONDS)
        journal = receiver.close()
    verdict = judge(f"soak, {options.protocol}", report, journal)
    halves = samples[: len(samples) // 2], samples[len(samples) // 2 :]
    peaks = [f"{max(half, default=0) / 2**20:.1f}" for half in halves]
    _say(f"the receiver was killed {kills} times")
    _say(f"peak memory of the first and of the second half: {', '.join(peaks)} MiB")
    _say(f"worst log call: {report.worst_call_seconds * 1_000:.1f} ms")
    _say(verdict.line)
    return 1 if verdict.faults or verdict.lost else 0


if __name__ == "__main__":
    sys.exit(main())
