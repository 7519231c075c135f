"""What a receiver refused can be read, and sent again."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)

from otel_tasklog.delivery import _refused
from otel_tasklog.delivery._refused import FOLDER, MAX_BATCHES, Refused, RefusedBatch

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000_000
NOW = 1_790_000_000 * SECOND
APART = 10 * SECOND
"""So far apart batches are never too many at once."""


class Reports(list[tuple[str, str]]):
    def __call__(self, cause: str, text: str) -> None:
        self.append((cause, text))


def request(*bodies: str, **record: Any) -> bytes:
    message = ExportLogsServiceRequest()
    resource_logs = message.resource_logs.add(schema_url="url")
    resource_logs.resource.attributes.add(key="service.name").value.string_value = "s"
    scope_logs = resource_logs.scope_logs.add()
    scope_logs.scope.name = "scope"
    for body in bodies:
        each = scope_logs.log_records.add(time_unix_nano=NOW, **record)
        each.body.string_value = body
    encoded: bytes = message.SerializeToString()
    return encoded


def add(refused: Refused, body: bytes, time_ns: int) -> None:
    refused.add(body, 1, "http 400", "bad", time_ns)


def files(spool_dir: Path) -> list[Path]:
    return sorted((spool_dir / FOLDER).iterdir())


# In memory


def test_the_last_batches_are_kept_and_can_be_read() -> None:
    refused = Refused(None, Reports())
    assert refused.batches() == []
    refused.add(request("one", "two"), 2, "http 400", "bad label", NOW)
    [batch] = refused.batches()
    assert (batch.time_ns, batch.reason, batch.message, batch.record_count) == (
        NOW, "http 400", "bad label", 2,
    )  # fmt: skip
    assert batch.body == request("one", "two")
    assert "body" not in repr(batch)
    first, second = batch.records()
    assert (first.body, second.body) == ("one", "two")
    assert first.resource == {"service.name": "s"}
    assert json.loads(json.dumps(first.to_dict()))["timestamp_ns"] == NOW
    with pytest.raises(dataclasses.FrozenInstanceError):
        batch.reason = ""  # type: ignore[misc]


def test_the_list_is_the_reader_s_own() -> None:
    refused = Refused(None, Reports())
    add(refused, b"", NOW)
    refused.batches().clear()
    assert len(refused.batches()) == 1


@given(st.lists(st.integers(0, 12), max_size=60))
def test_the_newest_are_kept_within_the_bounds_at_least_one(sizes: list[int]) -> None:
    refused = Refused(None, Reports())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_refused, "MAX_BYTES", 10)
        for number, size in enumerate(sizes):
            add(refused, bytes(size), number)
            kept = refused.batches()
            assert kept[-1].time_ns == number
            assert len(kept) == 1 or sum(len(each.body) for each in kept) <= 10
            assert len(kept) <= MAX_BATCHES
            # One more would have been too many.
            room = sum(sizes[number + 1 - len(kept) - 1 : number + 1])
            assert len(kept) in {MAX_BATCHES, number + 1} or room > 10


# On disk


def test_each_is_a_file_of_otlp_json_that_only_its_owner_reads(tmp_path: Path) -> None:
    spool_dir = tmp_path / "spool"
    refused = Refused(spool_dir, Reports())
    umask = os.umask(0)
    try:
        refused.add(request("héllo\n"), 1, "http 400", 'bad "label"', NOW)
    finally:
        os.umask(umask)
    [path] = files(spool_dir)
    assert path.name == f"{NOW}-{os.getpid()}-0.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    document = json.loads(path.read_bytes())
    assert document["refused"] == {
        "time": "2026-09-21T14:13:20.000+00:00",
        "reason": "http 400",
        "message": 'bad "label"',
        "recordCount": 1,
    }
    assert path.read_bytes().count(b"\n") == 1
    assert "héllo".encode() in path.read_bytes()


VALUES = st.one_of(
    st.text(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.binary(),
    st.booleans(),
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "trace_id": st.sampled_from([b"", b"\0" * 16, bytes(range(240, 256))]),
                "span_id": st.sampled_from([b"", bytes(range(248, 256))]),
                "severity_number": st.integers(0, 24),
                "flags": st.integers(0, 2**32 - 1),
                "event_name": st.text(),
            }
        ),
        max_size=5,
    ),
    st.dictionaries(st.text(), VALUES, max_size=5),
)
def test_the_json_reads_back_as_what_was_sent(
    records: list[dict[str, Any]], attributes: dict[str, Any]
) -> None:
    sent = ExportLogsServiceRequest()
    for record in records:
        logs = sent.resource_logs.add().scope_logs.add()
        made = logs.log_records.add(**record)
        for key, value in attributes.items():
            kind = {str: "string", int: "int", float: "double", bytes: "bytes"}
            setattr(
                made.attributes.add(key=key).value,
                f"{kind.get(type(value), 'bool')}_value",
                value,
            )
    batch = RefusedBatch(NOW, "r", "m", len(records), sent.SerializeToString())
    document = json.loads(batch.to_json())
    del document["refused"]
    for resource_logs in document.get("resourceLogs", []):
        for scope_logs in resource_logs["scopeLogs"]:
            for made in scope_logs["logRecords"]:
                assert isinstance(made.get("severityNumber", 0), int)
                for name in {"traceId", "spanId"} & made.keys():
                    made[name] = base64.b64encode(bytes.fromhex(made[name])).decode()
    read = json_format.Parse(json.dumps(document), ExportLogsServiceRequest())
    assert read.SerializeToString(deterministic=True) == sent.SerializeToString(
        deterministic=True
    )


def test_the_oldest_files_go_also_those_of_other_processes(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir()
    (folder / f"{NOW - 9}-4000000000-99.json").write_text("{}")
    (folder / f"{NOW - 8}-7-0.json.tmp").write_text("{")  # its process was killed
    (folder / "99-notes.txt").write_text("somebody's")
    refused = Refused(tmp_path, Reports())
    for number in range(MAX_BATCHES + 2):
        add(refused, request(str(number)), NOW + number * APART)
    names = [path.name for path in files(tmp_path)]
    assert names == [
        *(
            f"{NOW + n * APART}-{os.getpid()}-{n}.json"
            for n in range(2, MAX_BATCHES + 2)
        ),
        "99-notes.txt",
    ]


def test_the_files_are_bounded_in_bytes_and_the_newest_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(RefusedBatch(NOW, "http 400", "bad", 1, request("x" * 100)).to_json())
    monkeypatch.setattr(_refused, "MAX_BYTES", 3 * size)
    refused = Refused(tmp_path, Reports())

    def kept() -> list[str]:
        return [path.name.split("-")[2] for path in files(tmp_path)]

    for number in range(5):
        add(refused, request("x" * 100), NOW + number * APART)
    assert kept() == ["2.json", "3.json", "4.json"]
    add(refused, request("x" * 101), NOW + 5 * APART)
    assert kept() == ["4.json", "5.json"]
    add(refused, request("x" * 9_000), NOW + 6 * APART)
    assert kept() == ["6.json"]


def test_a_flood_turns_the_files_over_once_in_a_while(tmp_path: Path) -> None:
    refused = Refused(tmp_path, Reports())
    for number in range(100):
        add(refused, request(str(number)), NOW + number * SECOND // 10)
    assert [path.name.split("-")[2] for path in files(tmp_path)] == [
        f"{number}.json" for number in range(MAX_BATCHES)
    ]
    assert len(refused.batches()) == MAX_BATCHES
    add(refused, request("later"), NOW + APART)
    assert len(files(tmp_path)) == MAX_BATCHES
    assert "later" in files(tmp_path)[-1].read_text()


def test_a_disk_that_fails_is_told_once_and_memory_goes_on(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("no folder")
    reports = Reports()
    refused = Refused(tmp_path, reports)
    for number in range(3):
        add(refused, request(str(number)), NOW + number)
    assert len(refused.batches()) == 3
    [(cause, text)] = reports
    assert cause == "refused"
    assert str(tmp_path / FOLDER) in text
    assert "memory only" in text


def test_a_file_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = Reports()
    refused = Refused(tmp_path, reports)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RefusedBatch, "to_json", fail)
    add(refused, request("x"), NOW)
    assert files(tmp_path) == []
    assert "No space left on device" in reports[0][1]


def test_a_body_that_nobody_can_read_is_kept_as_it_is(tmp_path: Path) -> None:
    reports = Reports()
    refused = Refused(tmp_path, reports)
    add(refused, b"\xff garbage", NOW)
    [batch] = refused.batches()
    assert batch.body == b"\xff garbage"
    with pytest.raises(ValueError, match="not an ExportLogsServiceRequest"):
        batch.records()
    assert len(reports) == 1
