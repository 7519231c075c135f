"""OTLP/HTTP against a real socket, and SDK exporters."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceResponse,
)
from opentelemetry.sdk._logs.export import (
    InMemoryLogRecordExporter,
    LogRecordExporter,
    LogRecordExportResult,
)
from otlp_peers import HttpPeer

import otel_tasklog
from otel_tasklog import Config, TaskLog
from otel_tasklog.delivery._http import HttpSender
from otel_tasklog.delivery._senders import (
    Accepted,
    Misconfigured,
    Rejected,
    Retry,
    TooLarge,
)
from otel_tasklog.viewer import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk._logs import ReadableLogRecord

    from otel_tasklog.delivery._decode import DecodedRecord


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    with HttpPeer() as peer:
        yield peer


def sender(endpoint: str, **settings: Any) -> HttpSender:
    return HttpSender(Config(endpoint=endpoint, **settings))


PARTIAL = ExportLogsServiceResponse()
PARTIAL.partial_success.rejected_log_records = 3
PARTIAL.partial_success.error_message = "too old"
PROTOBUF = {"Content-Type": "application/x-protobuf"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, PROTOBUF, b""), Accepted()),
        ((200, PROTOBUF, b"\x0a\x00"), Accepted()),
        ((204, {}, b""), Accepted()),
        ((202, {"Content-Type": "text/plain"}, b"fine"), Accepted()),
        ((200, PROTOBUF, b"\xff garbage"), Accepted()),
        ((200, PROTOBUF, PARTIAL.SerializeToString()), Accepted(3, "too old")),
        ((200, {"Content-Type": "text/html"}, b"<p>"), Misconfigured),
        ((429, {}, b""), Retry),
        ((502, {}, b""), Retry),
        ((503, {}, b"queue is full"), Retry),
        ((504, {}, b""), Retry),
        ((413, {}, b""), TooLarge),
        ((400, {}, b"http: request body too large"), TooLarge),
        ((400, {}, b"bad label"), Rejected),
        ((401, {}, b""), Misconfigured),
        ((403, {}, b""), Misconfigured),
        ((404, {}, b""), Misconfigured),
        ((407, {}, b""), Misconfigured),
        ((301, {"Location": "http://other/v1/logs"}, b""), Misconfigured),
        ((422, {}, b""), Rejected),
        ((500, {}, b"oops"), Rejected),
        ((405, {}, b""), Misconfigured),
        ((501, {}, b""), Misconfigured),
        ((500, {"Content-Type": "text/html"}, b"<p>"), Misconfigured),
    ],
    ids=str,
)
def test_every_answer_has_one_outcome(
    peer: HttpPeer, answer: tuple[int, dict[str, str], bytes], expected: Any
) -> None:
    peer.answer = answer
    outcome = sender(peer.endpoint).send(b"body")
    if isinstance(expected, type):
        assert isinstance(outcome, expected)
        assert str(answer[0]) in outcome.message
        assert isinstance(outcome, Accepted) or peer.endpoint in outcome.message
    else:
        assert outcome == expected


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("3", 3.0), ("0", None), ("-5", None), ("100000", 300.0), ("soon", None)],
)
def test_retry_after_is_honoured_within_reason(
    peer: HttpPeer, header: str, seconds: float | None
) -> None:
    peer.answer = (429, {"Retry-After": header}, b"")
    outcome = sender(peer.endpoint).send(b"body")
    assert isinstance(outcome, Retry)
    assert outcome.after_seconds == seconds


def test_a_retry_after_may_be_a_date(peer: HttpPeer) -> None:
    peer.answer = (503, {"Retry-After": "Fri, 31 Dec 2999 23:59:59 GMT"}, b"")
    outcome = sender(peer.endpoint).send(b"body")
    assert isinstance(outcome, Retry)
    assert outcome.after_seconds == 300.0


def test_nobody_listening_is_a_retry() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refuses
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}/v1/logs"
        assert isinstance(sender(endpoint).send(b"x"), Retry)


def test_a_peer_that_never_answers_is_a_retry_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}/v1/logs"
        assert isinstance(sender(endpoint, timeout_seconds=0.05).send(b"x"), Retry)


def test_tls_to_a_plain_port_names_the_mistake(peer: HttpPeer) -> None:
    endpoint = peer.endpoint.replace("http:", "https:")
    outcome = sender(endpoint).send(b"x")
    assert isinstance(outcome, Misconfigured)
    assert "is it https" in outcome.message


def test_headers_and_compression_reach_the_peer(peer: HttpPeer) -> None:
    both = sender(peer.endpoint, headers={"x-token": "t"}, compression="gzip")
    assert both.send(b"body") == both.send(b"body") == Accepted()
    path, headers, body = peer.requests[0]
    assert path == "/v1/logs"
    assert headers["x-token"] == "t"
    assert headers["content-type"] == "application/x-protobuf"
    assert headers["content-encoding"] == "gzip"
    assert body == b"body"


def test_records_arrive_whole_at_the_receiver() -> None:
    received: list[DecodedRecord] = []
    with Receiver(received.extend) as receiver:
        tasklog = TaskLog(Config(endpoint=receiver.endpoint, compression="gzip"))
        log = logging.getLogger("test.whole")
        log.propagate, log.handlers[:] = False, [tasklog.handler]
        with otel_tasklog.task("job"):
            log.warning("hello %s", "world", extra={"n": 1})
        assert tasklog.flush()
        tasklog.close()
    [decoded] = received
    assert (decoded.body, decoded.scope) == ("hello world", "test.whole")
    assert decoded.record.severity_text == "WARNING"
    assert decoded.attributes["task_id"] == "job"
    assert decoded.attributes["n"] == 1
    assert decoded.record.time_unix_nano == decoded.record.observed_time_unix_nano


def test_any_sdk_exporter_can_be_the_way_out() -> None:
    exporter = InMemoryLogRecordExporter()
    tasklog = TaskLog(Config(exporter=exporter, service_name="shop"))
    log = logging.getLogger("test.exporter")
    log.propagate, log.handlers[:] = False, [tasklog.handler]
    with otel_tasklog.task("job"):
        log.error("x", extra={"n": [1, 2]}, exc_info=ValueError("v"))
    assert tasklog.flush()
    [readable] = exporter.get_finished_logs()
    record = readable.log_record
    assert record.body == "x"
    assert record.severity_text == "ERROR"
    assert record.attributes is not None
    assert record.attributes["task_id"] == "job"
    assert record.attributes["n"] == (1, 2)
    assert record.attributes["exception.type"] == "ValueError"
    assert readable.resource.attributes["service.name"] == "shop"
    tasklog.close()


class Broken(LogRecordExporter):
    """Fails in every way an exporter can."""

    def export(
        self,
        batch: Sequence[ReadableLogRecord],
        **_: object,
    ) -> LogRecordExportResult:
        raise OSError("down")

    def force_flush(self, timeout_millis: int = 10_000) -> bool:
        return False

    def shutdown(self) -> None:
        raise OSError("still down")


def test_a_broken_exporter_harms_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    tasklog = TaskLog(Config(exporter=Broken()))
    log = logging.getLogger("test.broken")
    log.propagate, log.handlers[:] = False, [tasklog.handler]
    log.warning("x")
    assert not tasklog.flush(0.05)
    tasklog.close(0.05)
    assert tasklog.stats().dropped_by == {"closed": 1}
    assert "Broken.shutdown raised OSError" in capsys.readouterr().err
