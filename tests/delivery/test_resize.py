"""Requests are made smaller without losing what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)

from otel_tasklog.delivery._decode import decode_request
from otel_tasklog.delivery._resize import CUT_ATTRIBUTE, SHORTEST_BYTES, cut, split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue

NAMES = st.sampled_from(["", "a", "b"])
SCOPES = st.lists(st.tuples(NAMES, st.integers(0, 4)), max_size=4)
REQUESTS = st.lists(st.tuples(NAMES, SCOPES), max_size=4)
JOINED = st.lists(REQUESTS, min_size=1, max_size=3)
"""Requests in one: for each resource, for each scope, the number of its records."""


def request_of(joined: list[list[tuple[str, list[tuple[str, int]]]]]) -> bytes:
    number = 0
    body = b""
    for resources in joined:
        request = ExportLogsServiceRequest()
        for resource, scopes in resources:
            resource_logs = request.resource_logs.add(schema_url=f"url/{resource}")
            if resource:
                attribute = resource_logs.resource.attributes.add(key="name")
                attribute.value.string_value = resource
            for scope, count in scopes:
                scope_logs = resource_logs.scope_logs.add(schema_url=f"url/{scope}")
                scope_logs.scope.name = scope
                for _ in range(count):
                    scope_logs.log_records.add(time_unix_nano=number, flags=1)
                    number += 1
        body += request.SerializeToString()
    return body


def flat(body: bytes) -> list[Any]:
    """Each record with all that it shares."""
    return [
        (
            resource.resource.SerializeToString(), resource.schema_url,
            scope.scope.SerializeToString(), scope.schema_url,
            record.SerializeToString(),
        )
        for resource in ExportLogsServiceRequest.FromString(body).resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]  # fmt: skip


@given(JOINED)
def test_the_parts_have_each_record_once_in_order_with_all_that_it_shares(
    joined: list[Any],
) -> None:
    body = request_of(joined)
    parts = split(body)
    assert [len(flat(part)) for part, _ in parts] == [count for _, count in parts]
    assert [record for part, _ in parts for record in flat(part)] == flat(body)
    for part, _ in parts[: len(parts) if len(flat(body)) > 1 else 0]:
        for resource in ExportLogsServiceRequest.FromString(part).resource_logs:
            assert resource.scope_logs
            assert all(scope.log_records for scope in resource.scope_logs)


@given(JOINED)
def test_splitting_again_and_again_ends_with_single_records(joined: list[Any]) -> None:
    body = request_of(joined)
    waiting, singles = [body], list[bytes]()
    while waiting:
        parts = split(waiting.pop())
        if len(parts) == 1:
            singles.append(parts[0][0])
        else:
            assert abs(parts[0][1] - parts[1][1]) <= 1
            waiting += [part for part, _ in reversed(parts)]
    assert [record for single in singles for record in flat(single)] == flat(body)
    assert all(len(flat(single)) <= 1 for single in singles)


VALUES = st.recursive(
    st.one_of(
        st.text(max_size=50),
        st.tuples(st.sampled_from("xé€😀"), st.integers(0, 2_000)).map(
            lambda pair: pair[0] * pair[1]
        ),
        st.integers(0, 3_000).map(bytes),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.booleans(),
        st.none(),
    ),
    lambda values: st.one_of(
        st.lists(values, max_size=4),
        st.dictionaries(st.text(max_size=5), values, max_size=4),
    ),
    max_leaves=8,
)


def put(target: AnyValue, value: Any) -> None:
    match value:
        case bool():
            target.bool_value = value
        case str():
            target.string_value = value
        case bytes():
            target.bytes_value = value
        case int():
            target.int_value = value
        case float():
            target.double_value = value
        case list():
            target.array_value.SetInParent()
            for item in value:
                put(target.array_value.values.add(), item)
        case dict():
            target.kvlist_value.SetInParent()
            for key, item in value.items():
                put(target.kvlist_value.values.add(key=key).value, item)
        case _:
            assert value is None


def single(body: Any, attributes: dict[str, Any]) -> bytes:
    request = ExportLogsServiceRequest()
    resource_logs = request.resource_logs.add(schema_url="url")
    resource_logs.resource.attributes.add(key="r").value.string_value = "r" * 999
    scope_logs = resource_logs.scope_logs.add(schema_url="url")
    scope_logs.scope.name = "scope"
    record = scope_logs.log_records.add(time_unix_nano=1, severity_text="INFO")
    put(record.body, body)
    for key, value in attributes.items():
        put(record.attributes.add(key=key).value, value)
    encoded: bytes = request.SerializeToString()
    return encoded


def texts(value: Any) -> Iterator[tuple[tuple[object, ...], str | bytes]]:
    """Every text and bytes in a decoded value, by where it is."""
    if isinstance(value, str | bytes):
        yield (), value
    elif isinstance(value, tuple | dict):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            for path, text in texts(item):
                yield (key, *path), text


def size(text: str | bytes) -> int:
    return len(text.encode() if isinstance(text, str) else text)


def marked(text: str, kept: int) -> str:
    return f"{text[:kept]}… [{len(text) - kept} characters cut]"


@given(VALUES, st.dictionaries(st.text(max_size=5), VALUES, max_size=5))
def test_cutting_shrinks_until_there_is_nothing_to_cut_and_keeps_all_else(
    content: Any, attributes: dict[str, Any]
) -> None:
    body = single(content, attributes)
    [before] = decode_request(body)
    steps = 0
    while (smaller := cut(body)) is not None:
        assert len(smaller) < len(body)
        body = smaller
        steps += 1
        assert steps < 64
        assert flat(body)[0][:4] == flat(single(content, attributes))[0][:4]
        [after] = decode_request(body)
        assert after.record.severity_text == "INFO"
        gone = after.attributes.pop(CUT_ATTRIBUTE)
        old = dict(texts({"body": before.body, "attributes": before.attributes}))
        new = dict(texts({"body": after.body, "attributes": after.attributes}))
        assert old.keys() == new.keys()
        assert gone == sum(map(size, old.values())) - sum(map(size, new.values()))
        for path, text in new.items():
            whole = old[path]
            if text == whole:
                continue
            assert size(whole) > SHORTEST_BYTES
            if isinstance(text, str) and isinstance(whole, str):
                kept = text[: text.rindex("… [")]
                assert text == marked(whole, len(kept))
            else:
                assert whole.startswith(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "attributes"),
    [
        ("x" * 100_000, {}),
        ("short", {"long": "é" * 50_000}),
        ("x" * 50_000, {"a": "y" * 50_000, "b": "z" * 50_000}),
        ("x" * 90_000, {"a": "y" * 40_000, "b": "z" * 1_000}),
        ("short", {"deep": [{"list": ["x" * 100_000]}]}),
        ("short", {"bytes": b"x" * 100_000}),
    ],
    ids=["body", "attribute", "equal", "unequal", "deep", "bytes"],
)
def test_one_cut_makes_about_half(content: Any, attributes: dict[str, Any]) -> None:
    body = single(content, attributes)
    smaller = cut(body)
    assert smaller is not None
    assert 0.49 < len(smaller) / len(body) < 0.51


def test_the_longest_is_cut_first_and_says_so() -> None:
    smaller = cut(single("x" * 3_000, {"a": "y" * 500, "b": 1}))
    assert smaller is not None
    [decoded] = decode_request(smaller)
    body = decoded.body
    assert isinstance(body, str)
    assert body.startswith("xxx")
    assert body.endswith(" characters cut]")
    assert decoded.attributes == {
        "a": "y" * 500,
        "b": 1,
        CUT_ATTRIBUTE: 3_000 - len(body.encode()),
    }


def test_the_mark_of_a_second_cut_counts_what_the_first_took() -> None:
    body = single("x" * 100_000, {})
    for _ in range(3):
        smaller = cut(body)
        assert smaller is not None
        body = smaller
    [decoded] = decode_request(body)
    text = str(decoded.body)
    kept = text.count("x")
    assert text == marked("x" * 100_000, kept)


@pytest.mark.parametrize(
    "body",
    [
        single("x" * SHORTEST_BYTES, {"a": 1, "b": "y" * SHORTEST_BYTES}),
        request_of([[("a", [("b", 2)])]]),
        b"",
    ],
    ids=["short", "two records", "none"],
)
def test_what_cannot_be_cut_is_not(body: bytes) -> None:
    assert cut(body) is None


@pytest.mark.parametrize("resize", [split, cut], ids=lambda f: f.__name__)
def test_what_is_no_request_is_refused(resize: Any) -> None:
    with pytest.raises(ValueError, match="not an ExportLogsServiceRequest"):
        resize(b"\xff garbage")
