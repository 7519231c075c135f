"""The process that logs: one pipeline, each case in a fork of its own.

So no case is harmed by the one before it, and none hides the diagnostics of another:
both pipelines say the same but once in a while.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import signal
import sys
import tempfile
from typing import TYPE_CHECKING, Final

from e2e.odd_values.cases import CASES
from e2e.odd_values.objects import log
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

import otel_tasklog

if TYPE_CHECKING:
    from collections.abc import Generator

    from e2e.odd_values.case import Case

__all__ = ["NEIGHBOURS", "OFFICIAL", "OURS"]

OURS: Final = "ours"
OFFICIAL: Final = "official"
NEIGHBOURS: Final = ("before", "after")
CASE_SECONDS: Final = 15


class Diagnostics(logging.Handler):
    """Counts what the pipeline says of itself."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


@contextlib.contextmanager
def _ours(endpoint: str, case: Case) -> Generator[None]:
    resource = dict(case.resource)
    with otel_tasklog.install(
        level=1, loggers=["odd"], endpoint=endpoint,
        service_name=resource.pop("service.name", "odd"), resource_attributes=resource,
        include=["code", "thread", "process"], schedule_delay_seconds=60.0,
    ):  # fmt: skip
        yield


@contextlib.contextmanager
def _official(endpoint: str, case: Case) -> Generator[None]:
    resource = Resource.create({"service.name": "odd", **case.resource})
    provider = LoggerProvider(resource=resource)
    exporter = OTLPLogExporter(endpoint=endpoint)
    processor = BatchLogRecordProcessor(exporter, schedule_delay_millis=60_000)
    provider.add_log_record_processor(processor)
    log.addHandler(LoggingHandler(logger_provider=provider, log_code_attributes=True))
    yield
    provider.shutdown()


def run(pipeline: str, endpoint: str, case: Case) -> dict[str, object]:
    """Log the odd record of a case between two good ones; return what was seen of it."""
    logging.getLogger().addHandler(diagnostics := Diagnostics())
    log.setLevel(1)
    log.propagate = False
    raised = ""
    with (_ours if pipeline == OURS else _official)(endpoint, case):
        log.info(NEIGHBOURS[0])
        try:
            case.log(log)
        except BaseException as error:  # noqa: BLE001 - it is what is asked
            raised = type(error).__name__
        log.info(NEIGHBOURS[1])
    return {"raised": raised, "lines": diagnostics.count}


def _run_in_fork(pipeline: str, endpoint: str, number: int) -> None:
    """Run a case; print what was seen of it, if it comes to an end in time."""
    signal.alarm(CASE_SECONDS)
    with tempfile.TemporaryFile("w+") as said:
        os.dup2(said.fileno(), 2)
        seen = run(pipeline, f"{endpoint}/{number}", CASES[number])
        said.seek(0)
        tracebacks = said.read().count("Traceback (most recent")
    seen["lines"] = int(str(seen["lines"])) + tracebacks
    print(json.dumps({"pipeline": pipeline, "case": number, **seen}), flush=True)  # noqa: T201


def main() -> None:
    """Log all cases, each to a path of its own below the endpoint."""
    pipeline, endpoint, *numbers = sys.argv[1:]
    for module in ("requests", "urllib3"):  # else each fork would import them anew
        importlib.import_module(module)
    for number in map(int, numbers):
        process = os.fork()
        if not process:
            try:
                _run_in_fork(pipeline, endpoint, number)
            finally:
                os._exit(0)
        os.waitpid(process, 0)


if __name__ == "__main__":
    main()
