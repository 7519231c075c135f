"""The wire: our bytes against the official library's."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.attributes import BoundedAttributes
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
from otlp_records import RecordMaker

from otel_tasklog.capture._levels import severity_number
from otel_tasklog.capture._record import NO_REST, Sealed
from otel_tasklog.delivery._decode import decode_request
from otel_tasklog.delivery._encode import Encoder

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(max_size=300)
PLAIN = st.one_of(TEXT, INT64, st.booleans(), st.floats(allow_nan=False), st.binary())
NESTED = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(min_size=1, max_size=8), inner, max_size=4),
    ),
    max_leaves=8,
)
KEY = st.text(min_size=1, max_size=20)


@st.composite
def wire_records(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "timestamp": draw(st.integers(0, 2**63)),
        "scope": draw(st.text(max_size=10)),
        "severity": draw(st.sampled_from([1, 5, 9, 13, 17, 21])),
        "text": draw(st.text(min_size=1, max_size=10)),
        "body": draw(TEXT),
        "attributes": draw(st.dictionaries(KEY, NESTED, max_size=5)),
        "span": draw(
            st.none()
            | st.tuples(
                st.integers(1, 2**128 - 1),
                st.integers(1, 2**64 - 1),
                st.integers(0, 3),
            )
        ),
    }


def ours(
    records: list[dict[str, Any]],
    resource: dict[str, Any],
    encoder: Encoder | None = None,
) -> bytes:
    encoder = encoder or Encoder(resource, include=())
    scopes: dict[str, list[bytes]] = {}
    for number, each in enumerate(records):
        scopes.setdefault(each["scope"], []).append(
            encoder.record(_sealed(number, each))
        )
    return encoder.request(scopes)


def _sealed(number: int, each: dict[str, Any]) -> Sealed:
    span = each["span"]
    path, line, function, thread_id, thread_name, process_id = each.get(
        "where", ("p", 1, "f", 1, "t", 1)
    )
    return (
        number,
        each["timestamp"],
        (
            each["scope"], 20, each["severity"], each["text"],
            path, line, function, thread_id, thread_name, process_id,
        ),
        each.get("who", (None, None, None, None, None)),
        (span[0].to_bytes(16, "big"), span[1].to_bytes(8, "big"), span[2])
        if span
        else None,
        each["body"] if isinstance(each["body"], str) else str(each["body"]),
        None if isinstance(each["body"], str) else each["body"],
        tuple(each["attributes"]),
        tuple(each["attributes"].values()),
        each.get("rest", NO_REST),
    )  # fmt: skip


def official(
    records: list[dict[str, Any]], resource: dict[str, Any], schema_url: str = ""
) -> bytes:
    readable = []
    shared = Resource(resource, schema_url)
    for each in records:
        context = None
        if each["span"]:
            trace_id, span_id, flags = each["span"]
            span = SpanContext(
                trace_id, span_id, is_remote=False, trace_flags=TraceFlags(flags)
            )
            context = set_span_in_context(NonRecordingSpan(span))
        *_, dropped = rest = each.get("rest", NO_REST)
        attributes = BoundedAttributes(
            attributes={**each["attributes"], **_named(each)}, immutable=False,
        )  # fmt: skip
        attributes.dropped = dropped or 0
        record = LogRecord(
            timestamp=each["timestamp"],
            observed_timestamp=each["timestamp"],
            context=context,
            severity_text=each["text"],
            severity_number=SeverityNumber(each["severity"]),
            body=each["body"],
            attributes=attributes,
            event_name=rest[0],
        )
        scope = InstrumentationScope(each["scope"])
        readable.append(ReadableLogRecord(record, shared, scope))
    encoded: bytes = encode_logs(readable).SerializeToString()
    return encoded


NAMES: Final = {
    "who": (
        "task_id", "task_parent_id",
        "asyncio.task.id", "asyncio.task.name", "asyncio.task.parent_id",
    ),
    "where": (
        "code.file.path", "code.line.number", "code.function.name",
        "thread.id", "thread.name", "process.pid",
    ),
    "rest": (
        "", "exception.type", "exception.message", "exception.stacktrace",
        "code.stacktrace", "",
    ),
}  # fmt: skip
"""What the parts of a record are called on the wire, in the order of its fields."""
WRITTEN: Final = (
    *NAMES["who"], "code.file.path", "code.function.name", "code.line.number",
    "thread.id", "thread.name", "process.pid", *NAMES["rest"][1:-1],
)  # fmt: skip
"""The same in the order in which they are written."""


SAID_IF_KNOWN: Final = frozenset(
    {"code.file.path", "code.function.name", "code.line.number", "exception.stacktrace"}
)


def _named(each: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes that ours makes of the other parts of a record."""
    parts = {
        name: value
        for part, names in NAMES.items()
        for name, value in zip(names, each.get(part, ()), strict=False)
    }
    return {
        name: parts[name]
        for name in WRITTEN
        if parts.get(name) is not None and (parts[name] or name not in SAID_IF_KNOWN)
    }


@given(records=st.lists(wire_records(), min_size=1, max_size=6))
def test_our_bytes_are_the_official_encoders(records: list[dict[str, Any]]) -> None:
    resource = {"service.name": "shop", "n": 1}
    assert ours(records, resource) == official(records, resource)


@pytest.mark.parametrize("around", [1, 64, 128, 1_024, 16_384])
@pytest.mark.parametrize("span", [None, (1, 2, 0), (3, 4, 1)])
@pytest.mark.parametrize("timestamp", [0, 1_700_000_000_000_000_000])
def test_texts_around_each_length_of_which_something_is_remembered(
    around: int, span: tuple[int, int, int] | None, timestamp: int
) -> None:
    """Of the body, of a value, and of the whole record; the second time, too."""
    encoder = Encoder({}, include=())
    rests = (NO_REST, ("paid", "T", "it failed", "Traceback", None, None))
    record = {"scope": "s", "severity": 9, "text": "INFO", "body": "", "attributes": {}}
    record |= {"span": span, "timestamp": timestamp}
    bare = len(encoder.record(_sealed(0, record)))
    lengths = {around - 1, around, around + 1}
    lengths |= {
        each for each in range(around - bare - 8, around - bare + 9) if each > 0
    }
    for text in ["x" * each for each in sorted(lengths)]:
        for part in ({"body": text}, {"attributes": {"k": text, "e": ""}}):
            for rest in rests:
                each = {**record, **part, "rest": rest}
                expected = official([each], {})
                assert ours([each], {}, encoder) == expected
                assert ours([each], {}, encoder) == expected


BATCHES: Final = 2_000


class Application(NamedTuple):
    """A process that logs: its resource, and one encoder for all its batches."""

    resource: dict[str, Any]
    schema_url: str
    encoder: Encoder


def _application(attributes: int, schema_url: str) -> Application:
    names = ("service.name", "host", "n", "share", "on", "list")
    values = ("shöp", "", -7, 0.25, True, ("a", "b"))
    resource: dict[str, Any] = dict(zip(names[:attributes], values, strict=False))
    include = ("asyncio", "code", "thread", "process")
    encoder = Encoder(resource, schema_url=schema_url, include=include)
    return Application(resource, schema_url, encoder)


def test_thousands_of_batches_are_byte_for_byte_the_official_encoders() -> None:
    """Beside the test above: whole batches of many scopes, in quantity.

    The encoder stays the same over many batches, as it does in a process, so that
    what it remembers from one is used in the next.
    """
    applications = [
        _application(attributes, schema_url)
        for attributes in (0, 1, 6)
        for schema_url in ("", "https://opentelemetry.io/schemas/1.27.0")
    ]
    identical = records = 0
    scopes = set()
    for seed in range(BATCHES):
        maker = RecordMaker(seed)
        resource, schema_url, encoder = maker.random.choice(applications)
        batch = [maker.record() for _ in range(maker.random.randrange(1, 25))]
        expected = official(batch, resource, schema_url)
        assert ours(batch, resource, encoder) == expected, f"seed {seed}"
        identical += 1
        records += len(batch)
        scopes.add(len({each["scope"] for each in batch}))
    assert identical == BATCHES == 2_000
    assert records > 10 * BATCHES
    assert max(scopes) > 10


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (2**63, str(2**63)),
        (-(2**63) - 1, str(-(2**63) - 1)),
        (-1, -1),
        (math.inf, math.inf),
        ((1, ("a", None), {"k": True}), (1, ("a", None), {"k": True})),
        (b"\xff", b"\xff"),
        ("x" * 100_000, "x" * 100_000),
    ],
    ids=lambda value: str(value)[:20],
)
def test_values_read_back_as_the_mapping_says(value: Any, expected: Any) -> None:
    record = {
        "timestamp": 1, "scope": "s", "severity": 9, "text": "INFO", "body": "b",
        "attributes": {"k": value}, "span": None,
    }  # fmt: skip
    [decoded] = decode_request(ours([record], {}))
    assert decoded.attributes == {"k": expected}


def test_nan_is_nan() -> None:
    record = {
        "timestamp": 1, "scope": "s", "severity": 9, "text": "INFO", "body": "b",
        "attributes": {"k": math.nan}, "span": None,
    }  # fmt: skip
    [decoded] = decode_request(ours([record], {}))
    assert str(decoded.attributes["k"]) == "nan"


def test_more_origins_tasks_and_keys_than_are_remembered() -> None:
    encoder = Encoder({}, include=("asyncio", "code", "thread", "process"))
    encoded = b""
    for number in range(9_000):
        origin = ("s", 20, 9, "INFO", "p", number, "f", 1, "t", 2)
        who = (f"job-{number}", None, number, f"n{number}", None)
        record: Sealed = (
            number, 1, origin, who, None, "m", None, (f"k{number}",), ("v",), NO_REST,
        )  # fmt: skip
        encoded = encoder.record(record)
    [decoded] = decode_request(encoder.request({"s": [encoded]}))
    assert decoded.attributes == {
        "k8999": "v",
        "task_id": "job-8999",
        "asyncio.task.id": 8999,
        "asyncio.task.name": "n8999",
        "code.file.path": "p",
        "code.function.name": "f",
        "code.line.number": 8999,
        "thread.id": 1,
        "thread.name": "t",
        "process.pid": 2,
    }


@pytest.mark.parametrize(
    ("level", "number"),
    [(0, 0), (1, 1), (5, 1), (9, 4), (10, 5), (12, 7), (19, 8), (20, 9), (25, 12),
     (30, 13), (35, 16), (40, 17), (50, 21), (53, 24), (60, 24), (10**9, 24)],
)  # fmt: skip
def test_levels_map_by_the_table(level: int, number: int) -> None:
    assert severity_number(level) == number
