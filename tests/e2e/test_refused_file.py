"""A refused batch's file can be sent again, to a collector that nobody here wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import urllib3
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)

from otel_tasklog.delivery._refused import FOLDER, Refused

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.conftest import ReceiverProcess

pytestmark = pytest.mark.e2e

SPANS = (bytes(range(16)), bytes(range(8)))


def test_the_file_of_a_refused_batch_arrives_whole_when_it_is_posted(
    rotel: dict[str, str], receiver: ReceiverProcess, tmp_path: Path
) -> None:
    request = ExportLogsServiceRequest()
    resource_logs = request.resource_logs.add()
    attribute = resource_logs.resource.attributes.add(key="service.name")
    attribute.value.string_value = "shop"
    scope_logs = resource_logs.scope_logs.add()
    scope_logs.scope.name = "scope"
    record = scope_logs.log_records.add(
        time_unix_nano=1_700_000_000_123_456_789,
        severity_number=17,
        severity_text="ERROR",
        trace_id=SPANS[0],
        span_id=SPANS[1],
        flags=1,
    )
    record.body.string_value = "héllo\n"
    record.attributes.add(key="number").value.int_value = 2**60
    record.attributes.add(key="ratio").value.double_value = 0.5

    refused = Refused(tmp_path, lambda *_: pytest.fail("the disk"))
    refused.add(request.SerializeToString(), 1, "http 400", "bad label", 1)
    [path] = (tmp_path / FOLDER).iterdir()
    answer = urllib3.request(
        "POST",
        f"{rotel['http/protobuf']}/v1/logs",
        body=path.read_bytes(),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status == 200

    [arrived] = receiver.wait_for(1)
    [batch] = refused.batches()
    [sent] = batch.records()
    assert arrived == sent.to_dict()
