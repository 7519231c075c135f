"""Encoding alone: finished records to the bytes of one request.

Both sides encode the same 512 records of two loggers, with five attributes and
a span each, and both must write the same bytes, which is checked first.
*Typical*: values repeat, as routes and users do. *Hard*: every text and number is
new, numbers have 42 bits, each record has a span of its own, and the data is new
in each round, so that nothing that was remembered helps.

The official encoder starts from its own record objects, which the log call has made;
ours from finished tuples, which its worker has made. That work is in the rows for
calls and for delivery.
"""

from __future__ import annotations

import itertools
import time
import uuid
from typing import TYPE_CHECKING, Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    set_span_in_context,
)
from rounds import medians
from rows import Result, Row

from otel_tasklog.capture._record import NO_REST, Origin, Span, Who
from otel_tasklog.delivery._encode import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from rounds import Scale

    from otel_tasklog.capture._record import Sealed

__all__ = ["run"]

RECORDS = 512
START_NS = 1_700_000_000_000_000_000
LOGGERS = ("shop.orders", "shop.payments")
_runs = itertools.count()
# Shared between records, as the worker shares them.
_who = tuple(Who(None, None, None, None, None))
_origins = {
    name: tuple(Origin(name, 20, 9, "INFO", "a.py", 1, "f", 1, "MainThread", 1))
    for name in LOGGERS
}
_resource = Resource({"service.name": "benchmark"})
_scopes = {name: InstrumentationScope(name) for name in LOGGERS}


def _fields(number: int, salt: int, *, hard: bool) -> dict[str, Any]:
    if hard:
        return {
            "user": uuid.UUID(int=(salt << 96) + number * 7_919).hex,
            "route": f"/shops/{salt}/orders/{number}/items?of={number * 31}&page=2",
            "amount": (1 << 41) + salt * 1_000_003 + number,
            "elapsed": number * 0.37 + salt,
            "session": f"{salt:032x}.{number * 104_729:024x}.{number:08d}",
        }
    return {
        "user": f"user-{number % 50}",
        "route": ("/orders", "/pay", "/ship")[number % 3],
        "amount": number % 100,
        "elapsed": (number % 10) * 0.5,
        "retry": number % 2 == 0,
    }


def _text(number: int, salt: int, *, hard: bool) -> str:
    if hard:
        return f"order {number} of run {salt} went on after {number * 7} ms, at {salt}/{number}"
    return f"order {number % 20} went on to the next step"


def _both(*, hard: bool) -> tuple[list[Sealed], list[ReadableLogRecord]]:
    """Return the same records as ours and as the official ones."""
    salt = next(_runs)
    ours: list[Sealed] = []
    official = []
    for number in range(RECORDS):
        logger = LOGGERS[number % 2]
        trace, span = (number + 1 + salt, number + 1) if hard else (77, 42)
        attributes = _fields(number, salt, hard=hard)
        body = _text(number, salt, hard=hard)
        ours.append(
            (
                number, START_NS + number, _origins[logger], _who,
                tuple(Span(trace.to_bytes(16, "big"), span.to_bytes(8, "big"), 1)),
                body, None, tuple(attributes), tuple(attributes.values()), NO_REST,
            )
        )  # fmt: skip
        context = set_span_in_context(
            NonRecordingSpan(
                SpanContext(trace, span, is_remote=False, trace_flags=TraceFlags(1))
            )
        )
        record = LogRecord(
            timestamp=START_NS + number,
            observed_timestamp=START_NS + number,
            context=context,
            severity_text="INFO",
            severity_number=SeverityNumber.INFO,
            body=body,
            attributes=attributes,
        )
        official.append(ReadableLogRecord(record, _resource, _scopes[logger]))
    return ours, official


def _encode_ours(encoder: Encoder, records: list[Sealed]) -> bytes:
    scopes: dict[str, list[bytes]] = {name: [] for name in LOGGERS}
    for record in records:
        scopes[record[2][0]].append(encoder.record(record))
    return encoder.request(scopes)


def _encode_officially(records: list[ReadableLogRecord]) -> bytes:
    encoded: bytes = encode_logs(records).SerializeToString()
    return encoded


def _checked_size(encoder: Encoder, *, hard: bool) -> float:
    """Return the bytes a record, which must be the same on both sides."""
    ours, official = _both(hard=hard)
    encoded = _encode_ours(encoder, ours)
    assert encoded == _encode_officially(official)
    return len(encoded) / RECORDS


def _timed(encode: Callable[[], object]) -> float:
    before = time.thread_time()
    encode()
    return (time.thread_time() - before) / RECORDS * 1e6


def run(scale: Scale) -> Result:
    """Measure both encoders on both kinds of records."""
    encoder = Encoder({"service.name": "benchmark"}, include=())
    rows = []
    sizes = []
    for what, hard, bar, stretch in (
        ("encode, typical records", False, 8, 12),
        ("encode, hard records", True, 5, 6.5),
    ):
        sizes.append(_checked_size(encoder, hard=hard))

        def ours(*, hard: bool = hard) -> float:
            records, _ = _both(hard=hard)
            return _timed(lambda: _encode_ours(encoder, records))

        def official(*, hard: bool = hard) -> float:
            _, records = _both(hard=hard)
            return _timed(lambda: _encode_officially(records))

        variants = {"ours": ours, "official": official}
        found = medians(variants, scale.pick(1, 7, 31), collect=True)
        row = Row(
            what=what, peer="encode_logs + serialize", unit="us", ours=found["ours"],
            theirs=found["official"], bar=bar, stretch=stretch,
        )  # fmt: skip
        rows.append(row)
    typical, hard_size = sizes
    return Result(
        rows=rows,
        detail=[
            f"both wrote the same bytes, {typical:.0f} and {hard_size:.0f} a record."
        ],
    )
