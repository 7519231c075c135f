"""``otel-tasklog export``: all there is, in forms that are read again."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from json_records import RESOURCES, exact_records, numbered
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)
from opentelemetry.sdk.trace import TracerProvider
from served import serve

import otel_tasklog
from otel_tasklog import Query
from otel_tasklog._config import INCLUDABLE
from otel_tasklog.cli._files import FileSource
from otel_tasklog.cli._requests import REQUEST_RECORDS, requests
from otel_tasklog.cli._source import Entry
from otel_tasklog.delivery._decode import decode_request
from otel_tasklog.delivery._encode import Encoder
from otel_tasklog.viewer import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from served import Served

    from otel_tasklog.capture._record import Sealed
    from otel_tasklog.delivery._decode import DecodedRecord

    Command = Callable[..., Any]

ALL = Query(limit=None, newest_first=False)


def as_sent(line: str) -> ExportLogsServiceRequest:
    """Return the message that a line is; OTLP has the ids in hexadecimal digits."""
    request = json.loads(line)
    for resource_logs in request["resourceLogs"]:
        for scope_logs in resource_logs["scopeLogs"]:
            for record in scope_logs["logRecords"]:
                for name in ("traceId", "spanId"):
                    if name in record:
                        data = bytes.fromhex(record[name])
                        record[name] = base64.b64encode(data).decode()
    message = ExportLogsServiceRequest()
    json_format.Parse(json.dumps(request), message)
    return message


def log_some(served: Served, records: int = 5) -> None:
    tracer = TracerProvider().get_tracer("test")
    for number in range(records):
        with tracer.start_as_current_span("s"), otel_tasklog.task(f"job-{number % 3}"):
            served.log.log(
                20 + 10 * (number % 3), "m%d", number,
                extra={"n": number, "nested": {"größe": (1, None)}},
            )  # fmt: skip
    served.log.error("it failed", exc_info=KeyError("x"), stack_info=True)


def test_ndjson_read_again_with_the_same_query_is_the_same(
    served: Served, command: Command, tmp_path: Path
) -> None:
    log_some(served)
    path = str(tmp_path / "log.ndjson")
    ran = command("export", "-o", path)
    assert ran == (0, "", "")
    assert command("tail", path, "--json").output == command("export").output
    query = ("level>=warning", "task:job-*")
    assert command("tail", path, *query, "--json") == command("export", *query)


def test_otlp_json_read_again_is_the_same_but_for_sequence_and_id(
    served: Served, command: Command, tmp_path: Path
) -> None:
    log_some(served)
    path = str(tmp_path / "log.json")
    assert command("export", "--format", "otlp-json", "-o", path).status == 0
    kept = [
        {**json.loads(line), "id": "", "sequence": 0}
        for line in command("export").output.splitlines()
    ]
    read = [
        {**json.loads(line), "id": "", "sequence": 0}
        for line in command("tail", path, "--json").output.splitlines()
    ]
    assert read == kept


def test_text_is_what_tail_prints(
    served: Served, command: Command, tmp_path: Path
) -> None:
    log_some(served)
    ran = command("export", "--format", "text")
    assert ran.output == command("query").output
    path = tmp_path / "log.txt"
    command("export", "--format", "text", "-o", str(path))
    assert path.read_text("utf-8") == ran.output


def test_otlp_json_is_what_the_wire_had(
    runtime: dict[str, str], command: Command
) -> None:
    sent: list[DecodedRecord] = []
    with (
        Receiver(sent.extend) as receiver,
        serve(
            runtime,
            exporter="otlp",
            endpoint=receiver.endpoint,
            include=sorted(INCLUDABLE),
            resource_attributes={"host.cores": 4, "tags": ("a", "b")},
        ) as served,
    ):
        log_some(served)
        assert served.tasklog.flush(10)
        [line] = command("export", "--format", "otlp-json").output.splitlines()
    assert [*decode_request(as_sent(line).SerializeToString())] == sent


def test_each_line_is_a_request_of_so_many(served: Served, command: Command) -> None:
    for number in range(REQUEST_RECORDS + 1):
        served.log.info("m%d", number)
    lines = command("export", "--format", "otlp-json").output.splitlines()
    sizes = [
        sum(
            len(scope.log_records)
            for resource in as_sent(line).resource_logs
            for scope in resource.scope_logs
        )
        for line in lines
    ]
    assert sizes == [REQUEST_RECORDS, 1]


def test_it_ends_though_the_process_logs_on(served: Served, command: Command) -> None:
    for number in range(1_500):
        served.log.info("m%d", number)
    get = served.tasklog.query

    def query_and_log(*args: Any, **filters: Any) -> Any:
        found = get(*args, **filters)
        for _ in range(1_500):
            served.log.info("later")
        return found

    served.tasklog.query = query_and_log  # type: ignore[method-assign]
    output = command("export", "--format", "text").output
    assert len(output.splitlines()) == 1_500
    assert "later" not in output


def test_several_processes_each_keep_their_resource(
    runtime: dict[str, str], command: Command
) -> None:
    with (
        serve(runtime, service_name="shop") as shop,
        serve(runtime, number=1, service_name="bank") as bank,
    ):
        shop.log.info("s")
        bank.log.info("b")
        shop.log.info("t")
        [line] = command("export", "--format", "otlp-json").output.splitlines()
    found = {}
    for resource in as_sent(line).resource_logs:
        [service] = [a for a in resource.resource.attributes if a.key == "service.name"]
        found[service.value.string_value] = [
            record.body.string_value
            for scope in resource.scope_logs
            for record in scope.log_records
        ]
    assert found == {"shop": ["s", "t"], "bank": ["b"]}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=st.lists(exact_records(), min_size=1, max_size=8).map(numbered),
    resources=st.lists(RESOURCES, min_size=8, max_size=8),
)
def test_requests_are_read_again_as_they_were(
    tmp_path: Path, records: list[Sealed], resources: list[dict[str, Any]]
) -> None:
    entries = [
        Entry(record, "", "", resource)
        for record, resource in zip(records, resources, strict=False)
    ]
    path = tmp_path / "log.json"
    path.write_text("".join(requests(iter(entries))))
    source = FileSource(str(path), lambda failure: pytest.fail(str(failure)))
    read = [(e.sealed[1:], e.resource) for e in source.select(ALL)]
    assert read == [(e.sealed[1:], e.resource) for e in entries]


def test_requests_of_one_resource_are_those_of_its_encoder() -> None:
    records = [(0, 5, ("log", 20, 9, "INFO", "p", 1, "f", 1, "t", 1),
                (None,) * 5, None, "m", None, (), (), (None,) * 6)]  # fmt: skip
    encoder = Encoder({"a": "b"}, include=INCLUDABLE)
    body = encoder.request({"log": [encoder.record(each) for each in records]})
    [line] = requests(Entry(each, "", "", {"a": "b"}) for each in records)
    assert as_sent(line).SerializeToString(deterministic=True) == (
        ExportLogsServiceRequest.FromString(body).SerializeToString(deterministic=True)
    )


def test_nothing_to_export_leaves_the_file_alone(
    served: Served, command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    path.write_text("before")
    ran = command("export", "-o", str(path))
    assert (ran.status, path.read_text()) == (1, "before")
    served.log.info("m")
    ran = command("export", "-o", str(tmp_path))
    assert ran.status == 2
    assert re.search("cannot write .*: Is a directory", ran.errors)


@pytest.mark.parametrize("form", ["ndjson", "otlp-json", "text"])
def test_files_are_exported_alike(
    form: str, served: Served, command: Command, tmp_path: Path
) -> None:
    log_some(served)
    path = str(tmp_path / "log")
    command("export", "-o", path, "--format", "otlp-json")
    ran = command("export", "--file", path, "--format", form)
    if form != "ndjson":  # whose ids are of the process
        assert ran.output == command("export", "--format", form).output
    assert ran.status == 0
