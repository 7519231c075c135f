"""Starts the program and its readers, and looks at the program from outside."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from e2e.readers.clients import Door
from e2e.readers.program import Job, Look

from otel_tasklog.viewer._places import DIRECTORY_VARIABLE, find_places, read_address

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["Program", "Readers", "Taken", "reading", "running_program"]

TESTS: Final = Path(__file__).parents[2]
WAIT_SECONDS: Final = 30.0
T = TypeVar("T")


class Taken(NamedTuple):
    """What a process takes.

    Attributes:
        bytes: Resident memory.
        descriptors: Open ones.
        threads: All.
    """

    bytes: int
    descriptors: int
    threads: int


class Program:
    """A program that logs, in another process.

    Args:
        job: What it is to do.
        runtime_dir: For its access point.
    """

    def __init__(self, job: Job, runtime_dir: str) -> None:
        self._environ = {DIRECTORY_VARIABLE: runtime_dir}
        self._process = _popen(
            "program", json.dumps(dataclasses.asdict(job)), **self._environ
        )
        self.pid = self._process.pid

    def tell(self, line: str) -> Look:
        """Have it do something; return what it says."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._heard()

    def _heard(self) -> Look:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the program ended before it was told to")
        return Look(**json.loads(line))

    def look(self) -> Look:
        """Return what there was since the last look."""
        return self.tell("look")

    def door(self) -> Door:
        """Return its access point, once it is there."""
        found = self.wait_until(lambda: find_places(self._environ))
        address = read_address(found[0])
        return Door(address.uds or "", address.port or 0, address.token or "")

    def taken(self) -> Taken:
        """Return what it takes now."""
        process = Path(f"/proc/{self.pid}")
        status = (process / "status").read_text().split()
        return Taken(
            int(status[status.index("VmRSS:") + 1]) * 1_024,
            len(os.listdir(process / "fd")),  # noqa: PTH208 - it may change meanwhile
            int(status[status.index("Threads:") + 1]),
        )

    def wait_until(self, condition: Callable[[], T]) -> T:
        """Wait for what the program does in its own time; return what is true then.

        Raises:
            TimeoutError: It does not.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {WAIT_SECONDS:g} s")
            time.sleep(0.02)
        return found

    def end(self) -> Look:
        """Have it deliver and end; return what it says at last.

        Raises:
            RuntimeError: It ended otherwise.
        """
        assert self._process.stdin is not None
        self._process.stdin.close()
        look = self._heard()
        if self._process.wait(WAIT_SECONDS):
            raise RuntimeError(f"the program ended with {self._process.returncode}")
        return look

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout):
            assert file is not None
            with contextlib.suppress(OSError):
                file.close()


@contextlib.contextmanager
def running_program(job: Job, runtime_dir: str) -> Generator[Program]:
    """Run a program for the length of the block, or until it is ended before."""
    program = Program(job, runtime_dir)
    try:
        yield program
    finally:
        program.kill()


class Readers:
    """The readers of a scenario, in another process.

    Args:
        scenario: Which; see ``clients.py``.
        door: What they come to.
        count: How often those come that come one after the other.
    """

    def __init__(self, scenario: str, door: Door, count: int) -> None:
        self._process = _popen("clients", scenario, json.dumps(door), str(count))
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            self.kill()
            raise RuntimeError(f"the readers of {scenario!r} failed")

    def wait(self) -> None:
        """Wait until they have come so often."""
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "done\n":
            raise RuntimeError("the readers failed")

    def leave(self) -> dict[str, int]:
        """Have them leave; return what they saw."""
        printed, _ = self._process.communicate(timeout=WAIT_SECONDS)
        seen: dict[str, int] = json.loads(printed.splitlines()[-1])
        return seen

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def reading(scenario: str, door: Door, count: int) -> Generator[Readers]:
    """Have readers there for the length of the block, or until they leave before."""
    readers = Readers(scenario, door, count)
    try:
        yield readers
    finally:
        readers.kill()


def _popen(module: str, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    """Start one of the modules here, with pipes to it."""
    # What the person who runs this has set is not what is tried here.
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OTEL_") and not name.upper().endswith("_PROXY")
    }
    path = os.pathsep.join(map(str, (TESTS, TESTS / "benchmarks")))
    return subprocess.Popen(
        [sys.executable, "-m", f"e2e.readers.{module}", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**clean, "PYTHONPATH": path, **environ},
    )  # fmt: skip
