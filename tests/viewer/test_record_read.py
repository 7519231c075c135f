"""Records that come back from JSON: the API's, to_dict's, and OTLP's in each form."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import given
from json_records import RESOURCES, exact_records
from log_records import records as hostile_records
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)

from otel_tasklog import TaskRecord
from otel_tasklog._config import INCLUDABLE
from otel_tasklog.capture._record import NO_REST, REST, Sealed
from otel_tasklog.delivery._decode import decode_request, request_json
from otel_tasklog.delivery._encode import Encoder
from otel_tasklog.viewer._otlp_read import OtlpRecord, is_request, placed_records
from otel_tasklog.viewer._record_json import Run, dumps, record_json
from otel_tasklog.viewer._record_read import read_record, read_sealed

if TYPE_CHECKING:
    from conftest import Harness
    from log_records import Made

RUN = Run()
LEAST = {"timestamp_ns": "1", "logger": "shop", "level": 30, "message": "m"}


def api_json(record: TaskRecord) -> Any:
    return json.loads(dumps(record_json(record, RUN)))


def encoded(record: Sealed, resource: dict[str, Any]) -> bytes:
    encoder = Encoder(resource, include=INCLUDABLE)
    return encoder.request({record[2][0]: [encoder.record(record)]})


@given(sealed=exact_records())
def test_what_json_has_exactly_comes_back_equal(sealed: Sealed) -> None:
    record = TaskRecord(sealed)
    assert read_record(api_json(record)) == record


@given(sealed=exact_records())
def test_to_dict_comes_back_equal_but_for_the_trace_flags(sealed: Sealed) -> None:
    span = sealed[4]
    if span is not None:
        sealed = (*sealed[:4], (*span[:2], 0), *sealed[5:])
    record = TaskRecord(sealed)
    assert read_record(json.loads(json.dumps(record.to_dict()))) == record


@hypothesis.settings(
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@given(made=hostile_records())
def test_whatever_was_logged_is_written_the_same_after_it_was_read(
    harness: Harness, made: Made
) -> None:
    harness.tasklog.handler.handle(made.record)
    written = api_json(harness.last())
    assert api_json(read_record(written)) == written | {"id": written["id"]}


def test_few_members_are_enough_and_others_do_no_harm() -> None:
    record = read_record({**LEAST, "new": [1], "task_id": None})
    assert (record.level, record.severity_number) == (30, 13)
    assert (record.severity_text, record.sequence) == ("WARNING", 0)
    assert record.task_id is None
    assert read_sealed(LEAST)[REST] is NO_REST  # the encoder asks for it by identity


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"timestamp_ns": None}, "timestamp_ns is missing: expected a whole number"),
        ({"timestamp_ns": "noon"}, 'timestamp_ns: expected a whole number, got "noon"'),
        ({"timestamp_ns": 10**30}, "is in no year from 1 to 9999"),
        ({"level": True}, "level: expected a whole number, got true"),
        ({"level": 1.5}, "level: expected a whole number, got 1.5"),
        ({"logger": 7}, "logger: expected a text, got 7"),
        ({"message": None}, "body is missing: expected a text"),
        ({"attributes": [1]}, "attributes: expected an object, got [1]"),
        ({"trace_id": "xyz"}, "trace_id: expected 32 hexadecimal digits"),
        ({"span_id": "00"}, "span_id: expected 16 hexadecimal digits"),
        ({"severity_number": 25}, "severity_number: expected 0 to 24, got 25"),
        (
            {"dropped_attributes": -1},
            "dropped_attributes: expected 0 to 9007199254740991, got -1",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_what_is_no_record_is_refused_with_the_member(
    wrong: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        read_record({**LEAST, **wrong})


@given(sealed=exact_records(), resource=RESOURCES)
def test_otlp_comes_back_equal_but_for_the_sequence(
    sealed: Sealed, resource: dict[str, Any]
) -> None:
    body = encoded(sealed, resource)
    [decoded] = decode_request(body)
    assert OtlpRecord.of(decoded).sealed(sealed[0]) == sealed
    request = json.loads(dumps(request_json(body)))
    assert is_request(request)
    [placed] = placed_records(request)
    assert placed.resource == resource
    assert OtlpRecord.of_json(placed.record, placed.scope).sealed(sealed[0]) == sealed


@given(sealed=exact_records())
def test_what_receive_prints_is_what_the_wire_had(sealed: Sealed) -> None:
    [decoded] = decode_request(encoded(sealed, {}))
    printed = json.loads(json.dumps(decoded.to_dict()))
    record = OtlpRecord.of_receive(printed).sealed(sealed[0])
    assert record[:-1] == sealed[:-1]
    assert record[-1][:-1] == sealed[-1][:-1]  # it does not say what was dropped


def test_names_may_be_the_protocols_and_numbers_texts_or_numbers() -> None:
    [placed] = placed_records(
        {
            "resource_logs": [
                {
                    "scope_logs": [
                        {
                            "scope": {"name": "shop"},
                            "log_records": [
                                {
                                    "observed_time_unix_nano": "7",
                                    "severity_number": "SEVERITY_NUMBER_WARN",
                                    "trace_id": "4BF92F3577B34DA6A3CE929D0E0E4736",
                                    "body": {"string_value": "m"},
                                    "attributes": [
                                        {"key": "n", "value": {"int_value": 5}},
                                        {"key": "m", "value": {"intValue": "6"}},
                                        {"key": "d", "value": {"doubleValue": "-1e3"}},
                                        {"key": "b", "value": {"bytesValue": "_-8"}},
                                        {"key": "e", "value": {}},
                                        {"key": "f"},
                                        {
                                            "key": "l",
                                            "value": {
                                                "array_value": {
                                                    "values": [{"boolValue": True}, {}]
                                                }
                                            },
                                        },
                                    ],
                                }
                            ],
                        }
                    ]
                }
            ]
        }
    )
    record = TaskRecord(OtlpRecord.of_json(placed.record, placed.scope).sealed(1))
    assert record.timestamp_ns == 7
    assert (record.level, record.severity_text) == (30, "WARN")
    assert record.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert record.span_id == "0" * 16
    assert record.attributes == {
        "n": 5, "m": 6, "d": -1000.0, "b": b"\xff\xef", "e": None, "f": None,
        "l": (True, None),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "number", "level"),
    [("WARN", 0, 30), ("Warnung", 14, 31), ("ERROR", 9, 20), ("", 0, 0), ("x", 99, 0)],
    ids=["a name", "a number", "they disagree", "neither", "no such number"],
)
def test_the_level_is_the_names_unless_the_number_objects(
    text: str, number: int, level: int
) -> None:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add()
    record.severity_text = text
    record.severity_number = number
    [decoded] = decode_request(request.SerializeToString())
    found = TaskRecord(OtlpRecord.of(decoded).sealed(0))
    assert found.level == level
    assert 0 <= found.severity_number <= 24


@pytest.mark.parametrize(
    "value",
    [
        {"stringValue": 5}, {"intValue": 1.5}, {"boolValue": "true"},
        {"doubleValue": "x"}, {"bytesValue": "a"}, {"arrayValue": []}, {"other": 1},
        {"stringValue": "", "intValue": 1}, "text",
    ],
    ids=str,
)  # fmt: skip
def test_a_value_that_is_none_is_refused(value: object) -> None:
    record = {"timeUnixNano": "1", "attributes": [{"key": "k", "value": value}]}
    with pytest.raises(
        ValueError, match=r"expected|could not|is no value|has one|Invalid"
    ):
        OtlpRecord.of_json(record, "")
