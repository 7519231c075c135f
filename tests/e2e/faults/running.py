"""Starts producers and receivers, each a process of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from e2e.faults.journal import Journal
from e2e.faults.producer import Report

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from e2e.faults.producer import Job
    from e2e.faults.script import Step

__all__ = ["TESTS", "Receiver", "finish", "running_receiver", "start"]

TESTS: Final = Path(__file__).parents[2]
"""Where the modules of the tests are found."""


class Receiver:
    """A receiver in another process.

    Args:
        protocol: ``"http/protobuf"`` or ``"grpc"``.
        journal: The file where it notes what comes; what it has stays.
        port: Where to listen; 0: a free one.
        script: What to do; without any it accepts all.
    """

    def __init__(
        self, protocol: str, journal: Path, *, port: int = 0, script: Sequence[Step] = ()
    ) -> None:  # fmt: skip
        self.protocol = protocol
        self._path = journal
        self.port = port
        self._start(script)

    def _start(self, script: Sequence[Step]) -> None:
        job = {
            "protocol": self.protocol, "port": self.port, "journal": str(self._path),
            "script": [dataclasses.asdict(step) for step in script],
        }  # fmt: skip
        self._process = _popen("receiver", job, stdin=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def journal(self) -> Journal:
        """Return what it has noted so far."""
        return Journal.read(self._path)

    def wait_for_requests(self, count: int, seconds: float = 20.0) -> None:
        """Wait until so many have come.

        Raises:
            TimeoutError: They have not.
        """
        deadline = time.monotonic() + seconds
        while len(self.journal().requests) < count:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{count} requests did not come in {seconds} s")
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill it in the middle of whatever it does."""
        self._process.kill()
        self.close()

    def restart(self, script: Sequence[Step] = ()) -> None:
        """Start it again on the same port; without a script it accepts all."""
        self._start(script)

    def close(self) -> Journal:
        """End it in good order; return all that it noted."""
        self._process.communicate(timeout=20)
        return self.journal()


@contextlib.contextmanager
def running_receiver(
    protocol: str, journal: Path, *, script: Sequence[Step] = ()
) -> Generator[Receiver]:  # fmt: skip
    """Run a receiver for the length of the block, or until it is closed before."""
    receiver = Receiver(protocol, journal, script=script)
    try:
        yield receiver
    finally:
        receiver.kill()


def start(job: Job) -> subprocess.Popen[str]:
    """Start a producer."""
    return _popen("producer", dataclasses.asdict(job))


def finish(producer: subprocess.Popen[str], timeout_seconds: float) -> Report:
    """Wait for a producer; return what it tells.

    Raises:
        RuntimeError: It failed.
        subprocess.TimeoutExpired: It did not end in time; it is killed.
    """
    try:
        printed, _ = producer.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        producer.kill()
        producer.communicate()
        raise
    if producer.returncode:
        raise RuntimeError(f"the producer ended with {producer.returncode}")
    return Report(**json.loads(printed))


def _popen(
    module: str, job: dict[str, Any], *, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[str]:  # fmt: skip
    # What the person who runs this has set is not what is tried here.
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OTEL_") and not name.upper().endswith("_PROXY")
    }
    return subprocess.Popen(
        [sys.executable, "-m", f"e2e.faults.{module}", json.dumps(job)],
        stdin=stdin, stdout=subprocess.PIPE, text=True,
        env={**clean, "PYTHONPATH": str(TESTS)},
    )  # fmt: skip
