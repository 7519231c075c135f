"""Fuzzing with atheris, which goes where the code has not been yet.

``pip install --group fuzz``, then ``python tests/fuzz/fuzz_record.py DIRECTORY`` runs
until it finds something or is stopped; the directory keeps the inputs that went
somewhere new. ``-runs=2000`` and the other options are libFuzzer's. What it finds is
printed, and saved as ``crash-...``; give that file's name to see it again.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

# It has no types, and must be there before what it is to follow.
atheris: Any = importlib.import_module("atheris")

with atheris.instrument_imports(include=["otel_tasklog"]):
    import otel_tasklog
    from otel_tasklog import testing

from log_records import RecordMaker  # noqa: E402
from loki_rules import LokiRules  # noqa: E402

SENDER = testing.MemorySender()
TASKLOG = otel_tasklog.TaskLog(
    otel_tasklog.Config(service_name="fuzz", console=False), sender=SENDER
)


class Bytes:
    """Choices by the bytes that atheris makes up; the simplest where they end."""

    def __init__(self, data: bytes) -> None:
        self._provider = atheris.FuzzedDataProvider(data)

    def below(self, end: int) -> int:
        return int(self._provider.ConsumeIntInRange(0, end - 1))

    def text(self, longest: int) -> str:
        return str(self._provider.ConsumeUnicode(longest))  # with surrogates

    def integer(self) -> int:
        return int(self._provider.ConsumeInt(9))

    def double(self) -> float:
        return float(self._provider.ConsumeFloat())

    def data(self) -> bytes:
        return bytes(self._provider.ConsumeBytes(40))


def try_record(data: bytes) -> None:
    """Log a record; raise whatever would be wrong with it."""
    made = RecordMaker(Bytes(data)).made(0)
    SENDER.accepted.clear()
    delivered = TASKLOG.stats().delivered
    TASKLOG.handler.handle(made.record)
    if not TASKLOG.flush(10):
        raise AssertionError(f"not delivered in time: {made!r}")
    if TASKLOG.stats().delivered == delivered:
        raise AssertionError(f"lost: {made!r}")
    rules = LokiRules()
    for body in SENDER.accepted:
        for objection in rules.judge(body):
            raise AssertionError(f"{objection.rule}, {objection.why}: {made!r}")


def main() -> None:
    """Run until something is found, or as often as ``-runs`` says."""
    # From the start with inputs that are long enough for a whole record.
    atheris.Setup([sys.argv[0], "-len_control=0", *sys.argv[1:]], try_record)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
