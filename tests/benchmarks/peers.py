"""Who is compared, in which versions, and what each does that the other does not."""

from __future__ import annotations

import dataclasses
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Final

__all__ = [
    "AIOMONITOR",
    "AIOMONITOR_HOOK",
    "ASYNCZ",
    "OFFICIAL",
    "OFFICIAL_GRPC",
    "OFFICIAL_HTTP",
    "OFFICIAL_NULL",
    "OFFICIAL_OBJECTS",
    "QUEUE",
    "QUEUE_OFFICIAL",
    "STRUCTLOG",
    "differences",
    "versions",
]

OFFICIAL: Final = "official handler + batch"
OFFICIAL_HTTP: Final = "official OTLP/HTTP"
OFFICIAL_GRPC: Final = "official OTLP/gRPC"
OFFICIAL_NULL: Final = "official, sending nowhere"
OFFICIAL_OBJECTS: Final = "official record object"
QUEUE: Final = "QueueHandler + listener"
QUEUE_OFFICIAL: Final = "QueueHandler + official"
STRUCTLOG: Final = "structlog JSON to a queue"
ASYNCZ: Final = "AsyncZ MemoryLogStorage"
AIOMONITOR: Final = "aiomonitor"
AIOMONITOR_HOOK: Final = "aiomonitor, its hook"

PACKAGES: Final = (
    "otel-tasklog",
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-logging",
    "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-exporter-otlp-proto-grpc",
    "protobuf",
    "grpcio",
    "urllib3",
    "requests",
    "structlog",
    "asyncz",
    "aiomonitor",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Difference:
    peer: str
    theirs: str
    ours: str


_DIFFERENCES: Final = (
    _Difference(
        peer="Official handler, batch processor and exporters",
        theirs=(
            "limits, to be set, on the number and the length of attributes; any number of "
            "processors, each of which sees every record in the call; metrics of the "
            "SDK's own (off at its defaults, and here); the record as an object that "
            "a processor may change."
        ),
        ours=(
            "the job, its parent and the asyncio task of each record; a ring that "
            "can be queried; redaction; a buffer bounded in bytes; timestamps that "
            "are unique; the code location (there an option, off at its defaults and "
            "here); a batch that nobody took is kept, not dropped after some retries; no "
            "lock in the call. What is sent is larger for it."
        ),
    ),
    _Difference(
        peer="`QueueHandler` and `QueueListener`",
        theirs=(
            "a text made by any `Formatter`, in the call, and any handlers behind "
            "the queue. Alone it delivers nothing: the listener's handler does "
            "nothing here."
        ),
        ours=(
            "everything after the queue; bounds; snapshots of what is mutable among "
            "arguments and extras (it formats the message, and keeps references to "
            "the extras); task and trace."
        ),
    ),
    _Difference(
        peer="`QueueHandler` in front of the official handler",
        theirs="what both of them do, with the handler's work in the listener's thread.",
        ours=(
            "what both of them do not; and the trace: the official handler reads it in "
            "the listener's thread, where there is none."
        ),
    ),
    _Difference(
        peer="structlog's `ProcessorFormatter` with a JSON renderer in a `QueueHandler`",
        theirs=(
            "a line of JSON, made in the call by processors of one's choice, also "
            "of what structlog's context variables hold."
        ),
        ours="as for `QueueHandler`. It writes no text.",
    ),
    _Difference(
        peer="AsyncZ's `TaskLogHandler` and `MemoryLogStorage`",
        theirs=(
            "an entry that is stored and can be returned as it is when the call ends; "
            "ours makes a view of each record that a query finds."
        ),
        ours=(
            "delivery; exceptions, trace and code location; a bound in bytes; an index "
            "by task; queries that take no lock (its search holds the lock that its "
            "`append` waits for); snapshots of extras; redaction."
        ),
    ),
    _Difference(
        peer="Official record objects in a list",
        theirs="the context of each record, its resource, and a dict of its own.",
        ours=(
            "the job, the asyncio task, the code location and an index by job. What "
            "repeats is shared between records."
        ),
    ),
    _Difference(
        peer="aiomonitor",
        theirs=(
            "with its hook, the stack of each task's creation, of its cancellation and of "
            "its end, kept for the last 1,000 tasks that ended; tasks can be cancelled. "
            "Ours takes its telnet session and its commands."
        ),
        ours=(
            "of each live task: what it waits for, its job, its records, the worst and "
            "the last of them; with `task_lifecycle`, two records of each task, which "
            "are kept, queried and delivered like others, and an exception that nobody "
            "retrieves is still said."
        ),
    ),
)


def differences() -> str:
    """Return the differences as a Markdown definition list."""
    return "\n\n".join(
        f"{each.peer}\n: *It does, and ours does not:* {each.theirs}\n\n"
        f"  *Ours does, and it does not:* {each.ours}"
        for each in _DIFFERENCES
    )


def versions() -> str:
    """Return what ran on what."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} missing")
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    return (
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"{cores} cores, {platform.system()}; {', '.join(found)}."
    )
