"""Files as a source: every form of a record, in every packing, and what is none."""

from __future__ import annotations

import gzip
import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from json_records import exact_records, numbered
from query_cases import Case, cases, sealed_records
from rings import fill, make_ring, sealed

from otel_tasklog import Query, TaskRecord
from otel_tasklog._config import INCLUDABLE
from otel_tasklog.cli._files import FileSource
from otel_tasklog.delivery._decode import decode_request, request_json
from otel_tasklog.delivery._encode import Encoder
from otel_tasklog.delivery._refused import RefusedBatch
from otel_tasklog.viewer._record_json import Run, dumps, record_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from cli.conftest import Ran

    from otel_tasklog.capture._record import Sealed
    from otel_tasklog.cli._source import Entry

RUN = Run()
NS = 1_769_860_800 * 10**9
ALL = Query(limit=None, newest_first=False)
THREE = [
    sealed(n, f"job-{n}", message=f"m{n}", timestamp_ns=NS + n, logger=f"shop.{n % 2}")
    for n in range(1, 4)
]


def api_lines(records: Iterable[Sealed]) -> bytes:
    lines = (dumps(record_json(TaskRecord(each), RUN)) for each in records)
    return b"".join(line + b"\n" for line in lines)


def dict_lines(records: Iterable[Sealed]) -> bytes:
    lines = (json.dumps(TaskRecord(each).to_dict()) for each in records)
    return "".join(f"{line}\n" for line in lines).encode()


def body(records: Iterable[Sealed]) -> bytes:
    encoder = Encoder({"service.name": "shop"}, include=INCLUDABLE)
    scopes: dict[str, list[bytes]] = {}
    for each in records:
        scopes.setdefault(each[2][0], []).append(encoder.record(each))
    return encoder.request(scopes)


def otlp_line(records: Iterable[Sealed]) -> bytes:
    return dumps(request_json(body(records))) + b"\n"


def receive_lines(records: Iterable[Sealed]) -> bytes:
    lines = (json.dumps(each.to_dict()) for each in decode_request(body(records)))
    return "".join(f"{line}\n" for line in lines).encode()


def snake_line(records: Iterable[Sealed]) -> bytes:
    text = otlp_line(records).decode()
    for camel, snake in (
        ("resourceLogs", "resource_logs"), ("scopeLogs", "scope_logs"),
        ("logRecords", "log_records"), ("timeUnixNano", "time_unix_nano"),
        ("severityText", "severity_text"), ("stringValue", "string_value"),
        ("severityNumber", "severity_number"), ("intValue", "int_value"),
    ):  # fmt: skip
        text = text.replace(f'"{camel}"', f'"{snake}"')
    return text.encode()


def refused_line(records: list[Sealed]) -> bytes:
    return RefusedBatch(1, "http 400", "no", len(records), body(records)).to_json()


def answer(records: Iterable[Sealed]) -> bytes:
    found = [record_json(TaskRecord(each), RUN) for each in records]
    return dumps({"records": found, "complete": True, "next": None})


def laid_out(records: Iterable[Sealed]) -> bytes:
    values = [json.loads(line) for line in api_lines(records).splitlines()]
    return "\n".join(json.dumps(value, indent=2) for value in values).encode()


FORMS: dict[str, Callable[[list[Sealed]], bytes]] = {
    "api": api_lines, "to_dict": dict_lines, "otlp": otlp_line, "snake": snake_line,
    "receive": receive_lines, "refused": refused_line, "answer": answer,
    "laid out": laid_out,
    "array": lambda records: b"[%s]" % b",".join(api_lines(records).splitlines()),
    "laid out otlp": lambda records: json.dumps(
        json.loads(otlp_line(records)), indent=1
    ).encode(),
    "lines of otlp": lambda records: b"".join(otlp_line([each]) for each in records),
}  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> Callable[[bytes], FileSource]:
    """Make a source of some bytes."""

    def make(data: bytes) -> FileSource:
        path = tmp_path / "file"
        path.write_bytes(data)
        return FileSource(str(path), unexpected)

    return make


def unexpected(failure: Exception) -> None:
    raise failure


def messages(entries: Iterable[Entry]) -> list[str]:
    return [entry.record.message for entry in entries]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_every_form_is_read_in_the_order_of_time(
    form: str, pack: Any, source: Callable[[bytes], FileSource], capsys: Any
) -> None:
    data = FORMS[form](THREE)
    entries = list(source(pack(data)).select(ALL))
    if form == "receive":  # it prints in the order in which the request has them
        entries.sort(key=lambda entry: entry.timestamp_ns)
    assert messages(entries) == ["m1", "m2", "m3"]
    assert [entry.record.task_id for entry in entries] == ["job-1", "job-2", "job-3"]
    assert len({entry.id for entry in entries}) == 3
    of_otlp = "otlp" in form or form in {"snake", "receive", "refused"}
    assert entries[0].resource == ({"service.name": "shop"} if of_otlp else {})
    assert capsys.readouterr().err == ""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(exact_records(), max_size=8).map(numbered))
def test_otlp_and_ndjson_have_the_same_records(
    source: Callable[[bytes], FileSource], records: list[Sealed]
) -> None:
    from_api = [each.sealed for each in source(api_lines(records)).select(ALL)]
    assert from_api == records
    from_otlp = [each.sealed[1:] for each in source(otlp_line(records)).select(ALL)]
    assert from_otlp == [each[1:] for each in records]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(sealed_records, max_size=20), case=cases)
def test_a_query_finds_in_a_file_what_it_finds_in_memory(
    source: Callable[[bytes], FileSource], records: list[Sealed], case: Case
) -> None:
    # As JSON has them: a file has no other values.
    written = source(api_lines(numbered(records)))
    kept = [entry.sealed for entry in written.select(ALL)]
    ring = make_ring()
    fill(ring, kept)
    for newest_first in (True, False):
        query = Query.parse(case.text, limit=5, newest_first=newest_first)
        if "under:" in case.text:  # a file tells later which job is in which
            continue
        found = [entry.record for entry in written.select(query)]
        assert found == ring.select(query)


def test_under_finds_jobs_inside_jobs_once_the_file_has_said_so(
    source: Callable[[bytes], FileSource],
) -> None:
    nested = [
        sealed(1, "a", message="outer"),
        sealed(2, "b", message="inner", parent_id="a"),
        sealed(3, "c", message="innermost", parent_id="b"),
        sealed(4, "x", message="other", parent_id="y"),
    ]
    query = Query.parse("under:a", newest_first=False)
    found = source(api_lines(nested)).select(query)
    assert messages(found) == ["outer", "inner", "innermost"]


def test_the_newest_are_those_by_time_wherever_they_stand(
    source: Callable[[bytes], FileSource],
) -> None:
    file = source(api_lines([THREE[2], THREE[0], THREE[1], THREE[1]]))
    newest = list(file.select(Query(limit=3)))
    assert messages(newest) == ["m3", "m2", "m2"]
    assert messages(file.select(Query(limit=None))) == ["m3", "m2", "m2", "m1"]
    oldest = file.select(Query(limit=1, newest_first=False))
    assert messages(oldest) == ["m3"]


@pytest.mark.parametrize(("order", "first"), [("newest", "9"), ("oldest", "0")])
def test_records_come_with_those_around_them(
    order: str, first: str, source: Callable[[bytes], FileSource]
) -> None:
    records = [
        sealed(n, message=str(n), level=40 if n in {0, 4, 5, 9} else 20)
        for n in range(10)
    ]
    query = Query.parse("level:error", newest_first=order == "newest")
    found = source(api_lines(records)).select_with_context(query, 2)
    around = {each.entry.record.message: messages(each.around) for each in found}
    assert around == {
        "0": ["0", "1", "2"],
        "4": ["2", "3", "4", "5", "6"],
        "5": ["3", "4", "5", "6", "7"],
        "9": ["7", "8", "9"],
    }
    assert next(iter(around)) == first


BAD = {
    "not JSON": b"ERROR something\n",
    "no object": b"7\n",
    "another object": b'{"a": 1}\n',
    "traces of OTLP": b'{"resourceSpans": []}\n',
    "a record without a level": b'{"logger": "x", "timestamp_ns": 1, "message": "m"}\n',
    "no requests": b'{"resourceLogs": {}}\n',
    "no UTF-8": b'{"logger": "\xff"}\n',
    "a huge number": b'{"logger": "x", "level": %s}\n' % (b"9" * 5_000),
    "deep": b'{"a":' * 100_000 + b"\n",
    "too large a double": b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":'
    b'{"doubleValue":%s}}]}]}]}\n' % (b"1" * 400),
    "half a line": api_lines(THREE)[:50] + b"\n",
}


@pytest.mark.parametrize("bad", BAD)
def test_what_is_no_record_is_left_out_and_said_once(
    bad: str, source: Callable[[bytes], FileSource], capsys: Any
) -> None:
    data = api_lines(THREE[:1]) + BAD[bad] * 2 + api_lines(THREE[1:])
    assert messages(source(data).select(ALL)) == ["m1", "m2", "m3"]
    [line] = capsys.readouterr().err.splitlines()
    assert "left out, as no log records: 2; the first: line 2" in line
    assert len(line) < 400


def test_one_bad_record_of_a_request_costs_no_other(
    source: Callable[[bytes], FileSource], capsys: Any
) -> None:
    request = json.loads(otlp_line(THREE))
    [first, *_] = request["resourceLogs"][0]["scopeLogs"]
    first["logRecords"][0]["timeUnixNano"] = "noon"
    entries = source(json.dumps(request).encode()).select(ALL)
    assert len(messages(entries)) == 2
    assert (
        "no log records: 1; the first: line 1: timeUnixNano" in capsys.readouterr().err
    )


def test_signs_of_life_and_notices_of_a_tail_are_no_mistakes(
    source: Callable[[bytes], FileSource], capsys: Any
) -> None:
    data = b'{"gap":"x"}\n\n{"missed":3}\n' + api_lines(THREE) + b'{"end":"x"}\n'
    assert messages(source(data).select(ALL)) == ["m1", "m2", "m3"]
    assert capsys.readouterr().err == ""


def test_half_a_character_becomes_one_that_every_output_has(
    source: Callable[[bytes], FileSource],
) -> None:
    data = (
        b'{"logger":"x","level":20,"timestamp_ns":1,"message":"\\ud800 \\ud83d\\ude00"}'
    )
    [entry] = source(data).select(ALL)
    assert entry.record.message == "? 😀"


@pytest.mark.parametrize(("cut", "lines"), [(1, 3), (10, 2), (150, 0)], ids=str)
@pytest.mark.parametrize("name", ["tail", "query", "export"])
def test_of_a_gzip_that_is_cut_the_lines_that_are_whole_are_shown(
    name: str, cut: int, lines: int, command: Callable[..., Ran], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(api_lines(THREE))[:-cut])
    ran = command(name, "--file", str(path))
    assert (ran.status, ran.output.count("\n")) == (1, lines)
    assert f"otel-tasklog: {path} is not all there: " in ran.errors


def test_standard_input_is_read_as_it_comes(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    data = io.BufferedReader(io.BytesIO(api_lines(THREE)))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data))
    [first, *_] = entries = list(FileSource("-", unexpected).select(ALL))
    assert messages(entries) == ["m1", "m2", "m3"]
    assert first.source == "stdin"


def test_a_name_of_a_file_is_printable() -> None:
    assert FileSource("a\x1b[31m", unexpected).name == "a\\x1b[31m"
