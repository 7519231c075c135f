"""An official Collector takes the files that we ship, and says of itself what they say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest
import urllib3
from e2e.collector.running import (
    CONFIG,
    HTTP,
    ROOT,
    SIGNALS,
    needs_collector,
    running_collector,
    running_producer,
    validate,
)
from e2e.faults.running import running_receiver
from e2e.faults.script import Step
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from otlp_peers import HttpPeer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from e2e.collector.running import Collector

pytestmark = [pytest.mark.e2e, needs_collector]

SHIPPED: Final = ((CONFIG,), (CONFIG, SIGNALS))
NOBODY: Final = "http://127.0.0.1:1"
OVERRIDES: Final = {
    "OTELCOL_LISTEN_HOST": "0.0.0.0",  # noqa: S104 - as in the container
    "OTELCOL_LOKI_ENDPOINT": "https://loki.example:3100/otlp",
    "OTELCOL_PROMETHEUS_ENDPOINT": "https://prometheus.example/api/v1/otlp",
    "OTELCOL_TEMPO_ENDPOINT": "https://tempo.example:4418",
    "OTELCOL_QUEUE_DIRECTORY": "/srv/queue",
    "OTELCOL_QUEUE_BYTES": "1048576",
    "OTELCOL_MEMORY_LIMIT_MIB": "256",
    "OTELCOL_MEMORY_SPIKE_MIB": "64",
    "OTELCOL_GRPC_PORT": "14317",
    "OTELCOL_HTTP_PORT": "14318",
    "OTELCOL_HEALTH_PORT": "23133",
    "OTELCOL_METRICS_PORT": "18888",
}


@pytest.mark.parametrize("configs", SHIPPED, ids=["log", "log and signals"])
@pytest.mark.parametrize("variables", [{}, OVERRIDES], ids=["defaults", "overrides"])
def test_the_files_are_accepted(
    configs: Sequence[Path], variables: dict[str, str]
) -> None:
    result = validate(configs, **variables)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_every_variable_of_the_files_was_tried() -> None:
    text = CONFIG.read_text(encoding="utf-8") + SIGNALS.read_text(encoding="utf-8")
    assert {*re.findall(r"\$\{env:(\w+):-", text)} == OVERRIDES.keys()


def test_they_are_tried_on_the_version_that_compose_starts() -> None:
    manifest = (ROOT / ".ci/collector/builder.yaml").read_text(encoding="utf-8")
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    [built] = re.findall(r"/otlpreceiver v(\S+)", manifest)
    [started] = re.findall(
        r"image: otel/opentelemetry-collector-contrib:(\S+)", compose
    )
    assert built == started


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTELCOL_MEMORY_SPIKE_MIB", "1024"),  # above the limit
        ("OTELCOL_QUEUE_BYTES", "1"),  # below one batch
        ("OTELCOL_METRICS_PORT", "http"),
    ],
)
def test_values_that_cannot_be_are_refused(variable: str, value: str) -> None:
    assert validate(**{variable: value}).returncode != 0


def test_it_is_healthy_and_has_the_metrics_that_the_pages_name(tmp_path: Path) -> None:
    """After a request that Loki refuses for good, and then more than the queue takes."""
    script = [Step(do="answer", status=400, requests=1), Step(do="refuse")]
    small = {"OTELCOL_QUEUE_BYTES": "1048576"}
    with (
        running_receiver(HTTP, tmp_path / "journal", script=script) as receiver,
        running_collector(tmp_path, receiver.endpoint, **small) as collector,
        running_producer(collector, HTTP, records=50_000),
    ):
        for failure in ("exporter_send_failed", "receiver_refused"):
            collector.wait_for(f"otelcol_{failure}_log_records", lambda n: n > 0)
        metrics = collector.metrics()
        assert collector.health() == 200
    dashboards = (ROOT / "docs/deploy").rglob("*.json")
    pages = (ROOT / "docs/how-to/grafana-loki.md", *dashboards)
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    named = {*re.findall(r"\botelcol_\w+", text)}
    assert len(named) >= 5
    assert named - metrics.keys() == set()


def test_metrics_and_spans_are_answered_as_their_backends_do(tmp_path: Path) -> None:
    """Prometheus takes what it is sent; of a Tempo that is not there one is told."""
    metrics, spans = ExportMetricsServiceRequest(), ExportTraceServiceRequest()
    metric = metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="m")
    metric.gauge.data_points.add(as_int=1)
    spans.resource_spans.add().scope_spans.add().spans.add(name="s")
    with (
        HttpPeer() as prometheus,
        running_collector(
            tmp_path, NOBODY, (CONFIG, SIGNALS),
            OTELCOL_PROMETHEUS_ENDPOINT=f"http://127.0.0.1:{prometheus.port}/api/v1/otlp",
            OTELCOL_TEMPO_ENDPOINT=NOBODY,
        ) as collector,
    ):  # fmt: skip
        assert _post(collector, "metrics", metrics.SerializeToString())[0] == 200
        status, said = _post(collector, "traces", spans.SerializeToString())
    assert [each.path for each in prometheus.requests] == ["/api/v1/otlp/v1/metrics"]
    assert status == 503
    assert "127.0.0.1:1: connect: connection refused" in said


def _post(collector: Collector, signal: str, body: bytes) -> tuple[int, str]:
    answer = urllib3.request(
        "POST", f"{collector.endpoints[HTTP]}/v1/{signal}",
        body=body, retries=False, timeout=10,
        headers={"Content-Type": "application/x-protobuf"},
    )  # fmt: skip
    return answer.status, answer.data.decode(errors="replace")
