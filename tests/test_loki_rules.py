"""The judge of what a Loki would refuse, rule by rule; tried against Loki 3.7.6."""

from __future__ import annotations

import math
from typing import Any, Final

import pytest
from loki_entries import normalised, rendered
from loki_rules import LokiRules
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

NOW: Final = 1_800_000_000
NOW_NS: Final = NOW * 10**9
DAY_NS: Final = 86_400 * 10**9
OWN_BYTES: Final = len(
    f"scope_nameshopobserved_timestamp{NOW_NS}severity_number9severity_textINFO"
)


def any_value(value: Any) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case str():
            return AnyValue(string_value=value)
        case bytes():
            return AnyValue(bytes_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case list():
            items = [any_value(item) for item in value]
            return AnyValue(array_value=ArrayValue(values=items))
        case dict():
            return AnyValue(kvlist_value=KeyValueList(values=pairs(value)))
        case _:
            return AnyValue()


def pairs(values: dict[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=k, value=any_value(v)) for k, v in values.items()]


def record(
    body: Any = "x", time_ns: int = NOW_NS, attributes: dict[str, Any] | None = None
) -> LogRecord:
    return LogRecord(
        time_unix_nano=time_ns, observed_time_unix_nano=NOW_NS,
        severity_number=SeverityNumber.SEVERITY_NUMBER_INFO,
        severity_text="INFO", body=any_value(body), attributes=pairs(attributes or {}),
    )  # fmt: skip


def request(*records: LogRecord, **resource: Any) -> bytes:
    message = ExportLogsServiceRequest()
    logs = message.resource_logs.add()
    logs.resource.attributes.extend(pairs({"service.name": "svc", **resource}))
    scope = logs.scope_logs.add()
    scope.scope.name = "shop"
    scope.log_records.extend(records)
    body: bytes = message.SerializeToString()
    return body


def rules_broken(body: bytes) -> list[str]:
    return [objection.rule for objection in LokiRules(lambda: NOW).judge(body)]


def broken_by(**attributes: Any) -> list[str]:
    return rules_broken(request(record(attributes=attributes)))


def test_what_a_loki_takes_has_no_objection() -> None:
    attributes = {"task_id": "a", "asyncio.task.id": 1, "k": [1, {"a": None}], "": None}
    del attributes[""]
    assert broken_by(**attributes) == []


@pytest.mark.parametrize(
    "key", ["", "_", "日本", ".", "____", "__日__"], ids=lambda key: f"{key!a}"
)
def test_a_key_that_comes_to_nothing_is_the_end_of_its_request(key: str) -> None:
    assert broken_by(**{key: 1}) == ["key"]


def test_a_key_inside_of_a_mapping_may_be_anything() -> None:
    assert broken_by(a={"": 1, "日本": {"_": 2}}) == ["collision"]
    assert broken_by(a={"": 1}) == []


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("a..b", "a_b"), ("1st", "key_1st"), ("größe", "gr_e"), ("_y", "_y"),
        ("__x..y__", "__x_y__"), ("a_", "a_"), ("日", ""),
    ],
    ids=["dots", "digit", "other letters", "first", "reserved", "last", "nothing"],
)  # fmt: skip
def test_keys_are_normalised_as_loki_does(key: str, name: str) -> None:
    assert normalised(key) == name


@pytest.mark.parametrize("key", ["level", "LEVEL", "log.level", "severity", "Lvl"])
def test_an_attribute_does_not_say_what_the_level_is(key: str) -> None:
    assert broken_by(**{key: "weird"}) == ["level"]


@pytest.mark.parametrize(
    "key", ["trace_id", "trace.id", "flags", "scope.name", "task.id", "code_file_path"]
)
def test_an_attribute_has_no_name_of_ours_or_lokis(key: str) -> None:
    assert broken_by(**{key: "x"})[:1] == ["name"]


def test_two_things_that_are_stored_by_one_name_collide() -> None:
    assert broken_by(**{"a.b": 1, "a_b": 2}) == ["collision"]
    assert broken_by(**{"a": {"b": 1}, "a.b": 2}) == ["collision"]
    assert broken_by(**{"service.name": "x"}) == ["name", "collision"]
    body = request(record(attributes={"host": "a"}), host="b")
    assert rules_broken(body) == ["collision"]


def test_128_entries_are_taken_with_those_of_loki() -> None:
    assert broken_by(**{f"k{n}": n for n in range(124)}) == []
    assert broken_by(**{f"k{n}": n for n in range(125)}) == ["metadata count"]
    assert broken_by(k={f"k{n}": n for n in range(125)}) == ["metadata count"]


def test_64_kib_of_metadata_are_taken() -> None:
    room = 65_536 - OWN_BYTES - 1
    assert broken_by(k="x" * room) == []
    assert broken_by(k="x" * (room + 1)) == ["metadata size"]
    assert broken_by(k=b"x" * 49_500) == ["metadata size"]
    assert broken_by(k=["\x01" * 11_000]) == ["metadata size"]
    assert broken_by(**{"p" * 900: {f"k{n}": 1 for n in range(80)}}) == [
        "metadata size"
    ]


def test_256_kib_of_a_line_are_taken() -> None:
    assert rules_broken(request(record("x" * 262_144))) == []
    assert rules_broken(request(record("é" * 131_073))) == ["line"]
    assert rules_broken(request(record({"a": "\u2028" * 50_000}))) == ["line"]


def test_4_mib_of_a_push_are_taken() -> None:
    records = [record("x" * 260_000, NOW_NS + n) for n in range(17)]
    assert rules_broken(request(*records[:16])) == []
    assert rules_broken(request(*records)) == ["push size"]


def test_labels_have_limits() -> None:
    labelled = {"service.namespace": "x" * 2_049}
    assert rules_broken(request(record(), **labelled)) == ["label value"]
    named = {"k8s.pod.name": {"x" * 1_025: 1}}
    assert rules_broken(request(record(), **named)) == ["label name"]
    many = {"k8s.pod.name": {f"x{n}": 1 for n in range(16)}}
    assert rules_broken(request(record(), **many)) == ["labels"]


@pytest.mark.parametrize(
    ("behind_ns", "rules"),
    [
        (7 * DAY_NS, []), (7 * DAY_NS + 1, ["too old"]),
        (-600 * 10**9, []), (-600 * 10**9 - 1, ["too new"]),
        (NOW_NS - 2**64 + 1, ["too old"]),
    ],
    ids=["7 days", "older", "10 minutes", "newer", "after 2262"],
)  # fmt: skip
def test_a_time_is_neither_too_old_nor_too_new(
    behind_ns: int, rules: list[str]
) -> None:
    assert rules_broken(request(record(time_ns=NOW_NS - behind_ns))) == rules


def test_a_record_is_not_an_hour_behind_the_newest_of_its_stream() -> None:
    rules = LokiRules(lambda: NOW)
    hour_ns = 3_600 * 10**9
    assert rules.judge(request(record())) == []
    assert rules.judge(request(record(time_ns=NOW_NS - hour_ns))) == []
    late = request(record(time_ns=NOW_NS - hour_ns - 1))
    assert [objection.rule for objection in rules.judge(late)] == ["too far behind"]
    elsewhere = request(
        record(time_ns=NOW_NS - hour_ns - 1), **{"service.instance.id": "other"}
    )
    assert rules.judge(elsewhere) == []


def test_of_equal_entries_one_is_kept() -> None:
    assert rules_broken(request(record(), record())) == ["twin"]
    assert rules_broken(request(record(), record(attributes={"a": 1}))) == []
    assert rules_broken(request(record(), record(time_ns=NOW_NS + 1))) == []


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf], ids=str)
def test_a_number_that_json_has_not_empties_its_list_or_body(number: float) -> None:
    assert broken_by(k=[1, {"a": number}]) == ["nested"]
    assert rules_broken(request(record({"a": number}))) == ["nested"]
    assert broken_by(k=number, m={"a": {"b": number}}) == []


def test_of_a_key_that_comes_twice_one_is_kept() -> None:
    twice = AnyValue(
        kvlist_value=KeyValueList(values=[*pairs({"a": 1}), *pairs({"a": 2})])
    )
    body = LogRecord(time_unix_nano=NOW_NS, body=twice)
    assert rules_broken(request(body)) == ["nested"]


def test_a_request_without_records_is_refused() -> None:
    assert rules_broken(b"") == ["empty"]
    assert rules_broken(request()) == ["empty"]


def test_a_text_that_is_no_utf_8_is_no_message() -> None:
    good = request(record("body!"))
    assert rules_broken(good.replace(b"body!", b"bod\xff!")) == ["no message"]
    assert rules_broken(good[:-1]) == ["no message"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("<a>", "<a>"), (b"\xff", "/w=="), (True, "true"), (-1, "-1"), (None, ""),
        (["\x01\x7f\b<\u2028\n", b"a", None, 1], '["\\u0001\x7f\\b<\\u2028\\n","YQ==",null,1]'),
        ({"a": {"b": []}}, '{"a":{"b":[]}}'), ([math.nan], ""),
    ],
    ids=["text", "bytes", "bool", "int", "null", "list", "map", "nan"],
)  # fmt: skip
def test_values_are_rendered_as_loki_does(value: Any, text: str) -> None:
    assert rendered(any_value(value)) == text
