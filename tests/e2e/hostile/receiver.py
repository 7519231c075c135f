"""A receiver of OTLP/HTTP that decodes, counts and judges, in a process of its own.

``python -m e2e.hostile.receiver COUNT`` expects records with the numbers from 0 to
COUNT. It prints its port; when its standard input ends, it prints a `Verdict` as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

from hostile_values import INNER_LOGGER
from log_records import LOGGER, NUMBER, SECRET
from loki_rules import LokiRules
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)

if TYPE_CHECKING:
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

__all__ = ["Verdict"]

SHOWN: Final = 10
_NUMBERED_LOGGER: Final = re.compile(rf"{LOGGER}\.(\d+)")


@dataclasses.dataclass(kw_only=True)
class Verdict:
    """What arrived; lists hold the numbers of the first few records.

    Attributes:
        records: How many, all in all.
        inner: Those of them that an object logged while it was read.
        missing: How many numbers did not arrive.
        unnumbered: How many records have no number that was asked for.
        doubled: How many came again.
        objections: By Loki's rule, how often.
        first_missing: Numbers.
        first_objections: The number, the rule and the reason.
        leaks: Numbers of the first records in requests with a planted secret.
    """

    records: int = 0
    inner: int = 0
    missing: int = 0
    unnumbered: int = 0
    doubled: int = 0
    objections: dict[str, int] = dataclasses.field(default_factory=dict[str, int])
    first_missing: list[int] = dataclasses.field(default_factory=list[int])
    first_objections: list[tuple[int | None, str, str]] = dataclasses.field(
        default_factory=list[tuple[int | None, str, str]]
    )
    leaks: list[int] = dataclasses.field(default_factory=list[int])


class Judge:
    """Takes requests, one after the other.

    Args:
        count: How many records there are to be.
    """

    def __init__(self, count: int) -> None:
        self._seen = bytearray(count)
        self._rules = LokiRules()
        self._objections = Counter[str]()
        self._lock = threading.Lock()
        self._verdict = Verdict()

    def take(self, body: bytes) -> None:
        """Judge a request."""
        with self._lock:
            self._take(body)

    def _take(self, body: bytes) -> None:
        verdict = self._verdict
        numbers: dict[bytes, int] = {}
        objections = self._rules.judge(body)
        if not any(objection.rule == "no message" for objection in objections):
            for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
                for scope in resource.scope_logs:
                    for record in scope.log_records:
                        number = self._count(record, scope.scope.name)
                        if number is not None:
                            if SECRET.encode() in record.SerializeToString():
                                verdict.leaks.append(number)
                            if objections:
                                numbers[record.SerializeToString()] = number
        for rule, why, record in objections:
            self._objections[rule] += 1
            if self._objections[rule] <= SHOWN:
                number = record and numbers.get(record.SerializeToString())
                verdict.first_objections.append((number, rule, why[:200]))

    def _count(self, record: LogRecord, logger: str) -> int | None:
        verdict = self._verdict
        verdict.records += 1
        if logger == INNER_LOGGER:
            verdict.inner += 1
            return None
        number = _number_of(record, logger)
        if number is None or number >= len(self._seen):
            verdict.unnumbered += 1
            return None
        verdict.doubled += self._seen[number]
        self._seen[number] = 1
        return number

    def verdict(self) -> Verdict:
        """Return what came of all of it."""
        verdict = self._verdict
        missing = [n for n, seen in enumerate(self._seen) if not seen]
        verdict.missing, verdict.first_missing = len(missing), missing[:SHOWN]
        verdict.leaks = verdict.leaks[:SHOWN]
        verdict.objections = dict(self._objections)
        return verdict


def _number_of(record: LogRecord, logger: str) -> int | None:
    for attribute in record.attributes:
        if attribute.key == NUMBER and attribute.value.HasField("int_value"):
            return int(attribute.value.int_value)
    found = _NUMBERED_LOGGER.fullmatch(logger)
    return int(found[1]) if found else None


def main() -> None:
    judge = Judge(int(sys.argv[1]))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            judge.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever).start()
    print(server.server_port, flush=True)  # noqa: T201 - it is how we are found
    sys.stdin.read()  # whoever started us holds the other end
    server.shutdown()
    print(json.dumps(dataclasses.asdict(judge.verdict())))  # noqa: T201


if __name__ == "__main__":
    main()
