"""A record as JSON: made in one go, and the same as from its values one by one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st
from json_records import exact_records

from otel_tasklog.capture._record import BODY, NO_REST, VALUES, Sealed, TaskRecord
from otel_tasklog.viewer import _record_json
from otel_tasklog.viewer._record_json import RecordEncoder, Run, plain, record_json

if TYPE_CHECKING:
    import pytest

RUN = Run()

UNUSUAL = st.sampled_from(
    [
        2**53,
        -(2**63),
        float("nan"),
        float("-inf"),
        b"\xff",
        "\x7f\n\ud800",
        (),
        {},
        {1: "x"},
    ]
)


@st.composite
def records(draw: st.DrawFn) -> Sealed:
    """A record, some of its values such as JSON has none for."""
    record: list[Any] = list(draw(exact_records()))
    record[VALUES] = tuple(draw(UNUSUAL | st.just(v)) for v in record[VALUES])
    if record[BODY] is not None:
        record[BODY] = draw(st.just({}) | st.just({"k": draw(UNUSUAL)}))
    return tuple(record)


def value_by_value(record: TaskRecord) -> dict[str, object]:
    fields = {name: plain(value) for name, value in record.to_dict().items()}
    if not isinstance(fields.get("body"), Mapping):
        fields.pop("body", None)
    if record.trace_id is not None:
        fields["trace_flags"] = record.trace_flags
    at = f"{record.time:%Y-%m-%dT%H:%M:%S}.{record.timestamp_ns % 10**9:09}Z"
    return {
        **fields, "id": RUN.id_of(record.sequence), "time": at,
        "timestamp_ns": str(record.timestamp_ns), "message": record.message,
    }  # fmt: skip


@given(st.lists(records(), max_size=3))
def test_it_is_what_its_values_are_one_by_one(found: list[Sealed]) -> None:
    encoder = RecordEncoder(RUN)
    for record in [TaskRecord(each) for each in (*found, *found)]:
        line = encoder.encode(record)
        assert re.fullmatch(rb"[ -~]+", line)
        assert json.loads(line) == value_by_value(record)
        assert record_json(record, RUN) == json.loads(line)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_record_json, "REMEMBERED", 4)
    encoder = RecordEncoder(RUN)
    for number in range(20):
        origin = ("log", 20, 9, "INFO", "p", number, "f", 1, "t", 1)
        who = (f"job-{number}", None, number, None, None)
        keys = (f"k{number}",)
        sealed = (number, 1, origin, who, None, "m", None, keys, (number,), NO_REST)
        value = json.loads(encoder.encode(TaskRecord(sealed)))
        assert value["line"] == number
        assert value["task_id"] == f"job-{number}"
        assert value["attributes"] == {f"k{number}": number}
    for remembered in (encoder._origins, encoder._whos, encoder._names):
        assert len(remembered) <= 4
