"""A Loki and a Prometheus take every query of the dashboards, and find what was sent.

``OTEL_TASKLOG_TEST_LOKI=http://127.0.0.1:3100 pytest tests/deploy/test_queries_asked.py``
asks a Loki with ``docs/deploy/loki.yaml``, such as that of `docker compose up`;
``OTEL_TASKLOG_TEST_PROMETHEUS=http://127.0.0.1:9090`` a Prometheus with
``docs/deploy/prometheus.yaml`` and ``--web.enable-otlp-receiver``. They should have
nothing to lose: records and numbers of services named ``asked-...`` are sent to them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

import httpx2
import pytest
from deployed import DASHBOARDS, HOW_TO
from grafana_queries import filled, queries_of
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from otlp_peers import HttpPeer

import otel_tasklog
from otel_tasklog import Config, TaskLog
from otel_tasklog._loop_metrics import lag_recorder

if TYPE_CHECKING:
    from collections.abc import Iterator

# Read now: while a test runs, the environment is clean of OTEL_ variables.
LOKI: Final = os.environ.get("OTEL_TASKLOG_TEST_LOKI")
PROMETHEUS: Final = os.environ.get("OTEL_TASKLOG_TEST_PROMETHEUS")

HOSTILE: Final = "import[3] & +.*"
LOG_QUERIES: Final = [q for path in DASHBOARDS for q in queries_of(path, "loki")]
METRIC_QUERIES: Final = [
    q for path in DASHBOARDS for q in queries_of(path, "prometheus")
]
OF_THE_HOW_TO: Final = [
    query
    for block in re.findall(r"```logql\n(.*?)```", HOW_TO.read_text("utf-8"), re.DOTALL)
    for query in block.splitlines()
    if query[0] != "#"
]


def logger_of(tasklog: TaskLog) -> logging.Logger:
    log = logging.getLogger("shop.orders")
    log.propagate = False
    log.setLevel(1)
    log.handlers[:] = [tasklog.handler]
    return log


class Shop:
    """A service whose log is in a Loki."""

    def __init__(self, url: str) -> None:
        self.client = httpx2.Client(base_url=f"{url}/loki/api/v1", timeout=30)
        self.service = f"asked-{uuid.uuid4().hex}"
        self.trace_id = ""

    async def run(self, log: logging.Logger) -> None:
        for name in ("order-1", "order-2", HOSTILE):
            async with otel_tasklog.task(name):
                with TracerProvider().get_tracer("shop").start_as_current_span("o"):
                    context = trace.get_current_span().get_span_context()
                    self.trace_id = trace.format_trace_id(context.trace_id)
                    log.warning("timeout of %s", name)
                    log.error("refused", exc_info=ValueError("no"))

    def ask(self, query: str) -> list[dict[str, Any]]:
        now = time.time_ns()
        times = {"start": now - 3600 * 10**9, "end": now + 10**9, "step": 60}
        form = {"query": query, "limit": 1000, **times}
        answer = self.client.post("/query_range", data=form)
        assert answer.status_code == 200, (query, answer.text)
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def lines(self, query: str) -> list[str]:
        return [line for each in self.ask(query) for _, line in each["values"]]


@pytest.fixture
def shop() -> Iterator[Shop]:
    if LOKI is None:
        pytest.skip("OTEL_TASKLOG_TEST_LOKI names no Loki")
    shop = Shop(LOKI)
    config = Config(service_name=shop.service, endpoint=f"{LOKI}/otlp/v1/logs")
    tasklog = TaskLog(config)
    log = logger_of(tasklog)
    log.info("opened")
    asyncio.run(shop.run(log))
    assert tasklog.flush(10), tasklog.stats()
    tasklog.close()
    end = time.monotonic() + 10
    while len(shop.lines(f'{{service_name="{shop.service}"}}')) < 7:
        assert time.monotonic() < end, "they should be there after a moment"
        time.sleep(0.05)
    yield shop
    shop.client.close()


def test_loki_takes_every_query_of_the_dashboards(shop: Shop) -> None:
    chosen = {"task_id": ".*", "trace_id": ".*", "level": ".*", "search": ""}
    assert len(LOG_QUERIES) >= 4
    for query in LOG_QUERIES:
        assert shop.ask(filled(query, service=shop.service, **chosen)), query


@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        ({}, 7),
        ({"task_id": "order-.*"}, 4),
        ({"task_id": rf"\Q{HOSTILE}\E"}, 2),
        ({"level": "error|critical|fatal"}, 3),
        ({"level": "debug|trace"}, 0),
        ({"search": "TIMEOUT"}, 3),
        ({"search": "a.*\"b'"}, 0),
    ],
    ids=["all", "tasks", "hostile id", "errors", "no level", "text", "quotes"],
)
def test_the_boxes_choose(shop: Shop, chosen: dict[str, str], count: int) -> None:
    [query, *_] = [q for q in LOG_QUERIES if q.startswith("{") and "$task_id" in q]
    everything = {"task_id": ".*", "trace_id": ".*", "level": ".*", "search": ""}
    boxes = {"service": shop.service, **everything, **chosen}
    assert len(shop.lines(filled(query, **boxes))) == count


def test_loki_takes_every_query_of_the_how_to(shop: Shop) -> None:
    for query in OF_THE_HOW_TO:
        own = query.replace('"shop"', f'"{shop.service}"')
        own = re.sub(r'trace_id="\w+"', f'trace_id="{shop.trace_id}"', own)
        assert shop.ask(own), own


@pytest.fixture
def job() -> Iterator[str]:
    """A service whose numbers are in a Prometheus, by its name there."""
    if PROMETHEUS is None:
        pytest.skip("OTEL_TASKLOG_TEST_PROMETHEUS names no Prometheus")
    name = f"asked-{uuid.uuid4().hex}"
    exporter = OTLPMetricExporter(f"{PROMETHEUS}/api/v1/otlp/v1/metrics")
    provider = MeterProvider(
        [PeriodicExportingMetricReader(exporter, export_interval_millis=1e9)],
        Resource({"service.name": name, "service.instance.id": uuid.uuid4().hex}),
        shutdown_on_exit=False,
    )
    with HttpPeer() as peer:
        config = Config(endpoint=peer.endpoint, meter_provider=provider)
        tasklog = TaskLog(config)
        log = logger_of(tasklog)
        for number in range(3):
            log.info("%d", number)
            assert tasklog.flush(10)
            lag_recorder(provider)(0.001)
            assert provider.force_flush()
        yield name
        tasklog.close()
    provider.shutdown()


def test_prometheus_takes_every_query_of_the_dashboards(job: str) -> None:
    """What was lost has no numbers here, and the Collector may not be there."""
    assert len(METRIC_QUERIES) >= 20
    with httpx2.Client(base_url=f"{PROMETHEUS}/api/v1", timeout=30) as client:
        for query in METRIC_QUERIES:
            answer = client.post("/query", data={"query": filled(query, job=job)})
            assert answer.status_code == 200, (query, answer.text)
            assert "warnings" not in answer.json(), answer.text
            if "otel_scope_name" in query and 'error_type!=""' not in query:
                assert answer.json()["data"]["result"], query


def test_numbers_of_a_time_are_exact(job: str) -> None:
    """`increase` would not count what is in the first value of a series."""
    [captured, delivered] = [
        query
        for query in METRIC_QUERIES
        if query.startswith("sum ((") and "vector(0)" in query and "otel_sdk" in query
        if 'error_type!=""' not in query
    ]
    with httpx2.Client(base_url=f"{PROMETHEUS}/api/v1", timeout=30) as client:
        for query in (captured, delivered):
            answer = client.post("/query", data={"query": filled(query, job=job)})
            [found] = answer.json()["data"]["result"]
            assert found["value"][1] == "3"
