"""Delivery as OpenTelemetry's own metrics, read by the SDK's own reader."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from opentelemetry.metrics import (
    CallbackOptions,
    Histogram,
    NoOpHistogram,
    NoOpMeter,
    NoOpMeterProvider,
    Observation,
    get_meter_provider,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    NumberDataPoint,
)
from otlp_peers import GrpcPeer, HttpPeer

import otel_tasklog
from otel_tasklog import Config, ConfigError, Stats, TaskLog
from otel_tasklog._instruments import error_type
from otel_tasklog._metrics import measured, server_of
from otel_tasklog.delivery._senders import (
    Accepted,
    Misconfigured,
    Outcome,
    Rejected,
    Retry,
    TooLarge,
)
from otel_tasklog.testing import FakeClock, MemorySender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Harness

CREATED = "otel.sdk.log.created"
QUEUE_SIZE = "otel.sdk.processor.log.queue.size"
CAPACITY = "otel.sdk.processor.log.queue.capacity"
PROCESSED = "otel.sdk.processor.log.processed"
INFLIGHT = "otel.sdk.exporter.log.inflight"
EXPORTED = "otel.sdk.exporter.log.exported"
DURATION = "otel.sdk.exporter.operation.duration"
LAG = "otel_tasklog.delivery.lag"
FOR_EVER = 1e6


class Collector:
    """A meter provider, and what it has when it is asked."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider(
            metric_readers=[self.reader], shutdown_on_exit=False
        )

    def metrics(self) -> dict[str, Metric]:
        data = self.reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if scope.scope.name == "otel_tasklog"
        }

    def points(self, name: str) -> list[Any]:
        metric = self.metrics().get(name)
        return [] if metric is None else [*metric.data.data_points]

    def values(self) -> dict[tuple[str, object], int]:
        """Return the numbers of records, by their metric and ``error.type``."""
        values: dict[tuple[str, object], int] = {}
        for name, metric in self.metrics().items():
            for point in metric.data.data_points:
                if isinstance(point, NumberDataPoint) and name != LAG:
                    key = name, (point.attributes or {}).get("error.type")
                    values[key] = values.get(key, 0) + int(point.value)
        return values


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.provider.shutdown()


class Announced(MemorySender):
    """Says when it was asked to send."""

    def __init__(self, outcomes: tuple[Outcome, ...] = ()) -> None:
        super().__init__(outcomes)
        self.asked = threading.Event()

    def send(self, body: bytes) -> Outcome:
        outcome = super().send(body)
        self.asked.set()
        return outcome


def away() -> Announced:
    return Announced((Retry("away", after_seconds=FOR_EVER),))


def log_to(tasklog: TaskLog) -> logging.Logger:
    log = logging.getLogger("test.metrics")
    log.propagate = False
    log.setLevel(1)
    log.handlers[:] = [tasklog.handler]
    return log


def test_a_delivered_record_is_created_processed_and_exported(
    make: Callable[..., Harness], collector: Collector
) -> None:
    harness = make(meter_provider=collector.provider, buffer_records=1_000)
    for number in range(3):
        harness.log.info("%d", number)
    assert harness.tasklog.flush()
    assert collector.values() == {
        (CREATED, None): 3,
        (QUEUE_SIZE, None): 0,
        (CAPACITY, None): 1_000,
        (PROCESSED, None): 3,
        (INFLIGHT, None): 0,
        (EXPORTED, None): 3,
    }


def test_names_units_and_kinds_are_those_of_the_conventions(
    make: Callable[..., Harness], collector: Collector
) -> None:
    harness = make(meter_provider=collector.provider)
    harness.log.info("one")
    assert harness.tasklog.flush()
    found = collector.metrics()
    assert {name: metric.unit for name, metric in found.items()} == {
        CREATED: "{log_record}",
        QUEUE_SIZE: "{log_record}",
        CAPACITY: "{log_record}",
        PROCESSED: "{log_record}",
        INFLIGHT: "{log_record}",
        EXPORTED: "{log_record}",
        DURATION: "s",
        LAG: "s",
    }
    assert {
        name: getattr(metric.data, "is_monotonic", type(metric.data).__name__)
        for name, metric in found.items()
    } == {
        CREATED: True,
        QUEUE_SIZE: False,
        CAPACITY: False,
        PROCESSED: True,
        INFLIGHT: False,
        EXPORTED: True,
        DURATION: "Histogram",
        LAG: "Gauge",
    }
    assert all(metric.description for metric in found.values())


def test_what_is_below_the_export_level_is_created_only(
    make: Callable[..., Harness], collector: Collector
) -> None:
    harness = make(meter_provider=collector.provider, export_level="WARNING")
    harness.log.info("kept")
    harness.log.warning("sent")
    assert harness.tasklog.flush()
    values = collector.values()
    assert (values[CREATED, None], values[PROCESSED, None]) == (2, 1)


@pytest.mark.parametrize(
    ("outcome", "exported"),
    [
        (Rejected("http 400", "no"), {None: 0, "400": 4}),
        (Rejected("grpc INVALID_ARGUMENT", "no"), {None: 0, "INVALID_ARGUMENT": 4}),
        (Accepted(3, "too old"), {None: 1, "rejected": 3}),
    ],
    ids=["http", "grpc", "partial success"],
)
def test_a_refused_record_is_exported_with_its_error(
    make: Callable[..., Harness],
    collector: Collector,
    outcome: Outcome,
    exported: dict[str | None, int],
) -> None:
    harness = make(outcomes=[outcome], meter_provider=collector.provider)
    for number in range(4):
        harness.log.info("%d", number)
    harness.tasklog.flush()
    values = collector.values()
    assert {e: n for (name, e), n in values.items() if name == EXPORTED} == exported
    assert {e: n for (name, e), n in values.items() if name == PROCESSED} == {None: 4}
    [point] = collector.points(DURATION)
    assert {point.attributes["error.type"]} == exported.keys() - {None}


def test_what_waits_for_another_attempt_is_in_flight_and_not_exported(
    collector: Collector,
) -> None:
    sender = away()
    config = Config(meter_provider=collector.provider, batch_records=2)
    tasklog = TaskLog(config, sender=sender)
    log = log_to(tasklog)
    for number in range(5):
        log.info("%d", number)
    assert not tasklog.flush(0.0)
    assert sender.asked.wait(10)
    values = collector.values()
    assert (values[INFLIGHT, None], values[QUEUE_SIZE, None]) == (2, 3)
    assert (values[EXPORTED, None], values[PROCESSED, None]) == (0, 0)
    assert not collector.points(DURATION)
    tasklog.close(0.0)
    values = collector.values()
    assert (values[PROCESSED, "closed"], values[EXPORTED, None]) == (5, 0)
    [point] = collector.points(DURATION)
    assert point.attributes["error.type"] == "_OTHER"


def test_the_lag_is_the_age_of_the_oldest_that_waits(collector: Collector) -> None:
    sender = away()
    tasklog = TaskLog(Config(meter_provider=collector.provider), sender=sender)
    log = log_to(tasklog)
    log.info("waits")
    assert not tasklog.flush(0.0)
    assert sender.asked.wait(10)
    [point] = collector.points(LAG)
    assert 0 < point.value <= (tasklog.stats().lag_seconds or 0)
    tasklog.close(0.0)
    assert not collector.points(LAG), "there is no queue any more"


def test_what_a_full_buffer_costs_is_processed_as_queue_full(
    collector: Collector,
) -> None:
    sender = away()
    config = Config(
        meter_provider=collector.provider, buffer_records=10, batch_records=2
    )
    tasklog = TaskLog(config, sender=sender)
    log = log_to(tasklog)
    for number in range(100):
        log.info("%d", number)
    tasklog.flush(0.0)
    assert sender.asked.wait(10)
    for number in range(100):
        log.info("%d", number)
    values = collector.values()
    dropped = values[PROCESSED, "queue_full"]
    assert dropped >= 180
    assert values[CREATED, None] == 200
    assert values[QUEUE_SIZE, None] + values[INFLIGHT, None] + dropped == 200
    tasklog.close(0.0)
    values = collector.values()
    assert values[PROCESSED, "queue_full"] + values[PROCESSED, "closed"] == 200


def test_an_export_lasts_from_its_first_attempt_to_its_last(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    monkeypatch.setattr("otel_tasklog._metrics.time", clock)
    tasklog = TaskLog(Config(meter_provider=collector.provider), sender=MemorySender())
    outcomes: list[Outcome] = [
        Misconfigured("no token", status=401),
        Accepted(status=200),
    ]
    sender = measured(MemorySender(outcomes), tasklog)
    assert sender is not None
    body = b""
    sender.send(body)
    assert not collector.points(DURATION)
    clock.advance(30)
    sender.send(body)
    [point] = collector.points(DURATION)
    assert (point.count, point.sum) == (1, 30)
    assert point.attributes["http.response.status_code"] == 200
    assert "error.type" not in point.attributes


def test_an_export_whose_batch_was_dropped_has_failed_as_it_did_last(
    collector: Collector,
) -> None:
    tasklog = TaskLog(Config(meter_provider=collector.provider), sender=MemorySender())
    outcomes: list[Outcome] = [
        Retry("busy", status=429),
        Retry("busy", status=503),
        Accepted(),
    ]
    sender = measured(MemorySender(outcomes), tasklog)
    assert sender is not None
    first, second = b"first", b"second"
    for body in (first, first, second):
        sender.send(body)
    assert [(p.attributes.get("error.type"), p.count) for p in collector.points(DURATION)] == [
        ("503", 1), (None, 1),
    ]  # fmt: skip


def test_an_export_whose_batch_is_split_has_failed(
    make: Callable[..., Harness], collector: Collector
) -> None:
    harness = make(
        outcomes=[TooLarge("too large", status=413)], meter_provider=collector.provider
    )
    harness.log.info("one")
    harness.log.info("two")
    assert harness.tasklog.flush()
    counts = {
        p.attributes.get("error.type"): p.count for p in collector.points(DURATION)
    }
    assert counts == {"413": 1, None: 2}
    assert collector.values()[EXPORTED, None] == 2


def test_durations_have_bounds_in_seconds(
    make: Callable[..., Harness], collector: Collector
) -> None:
    harness = make(meter_provider=collector.provider)
    harness.log.info("one")
    assert harness.tasklog.flush()
    [point] = collector.points(DURATION)
    assert isinstance(point, HistogramDataPoint)
    assert (point.explicit_bounds[0], point.explicit_bounds[-1]) == (0.005, 1_800.0)


def test_http_names_server_type_and_status(collector: Collector) -> None:
    with HttpPeer() as peer:
        peer.answer = (400, {}, b"bad label")
        config = Config(endpoint=peer.endpoint, meter_provider=collector.provider)
        tasklog = TaskLog(config)
        log_to(tasklog).info("refused")
        tasklog.flush()
        peer.answer = (200, {}, b"")
        log_to(tasklog).info("taken")
        assert tasklog.flush()
        tasklog.close()
    shared = {
        "otel.component.type": "otlp_http_log_exporter",
        "otel.component.name": "otel_tasklog.HttpSender/0",
        "server.address": "127.0.0.1",
        "server.port": peer.port,
    }
    assert [(p.attributes, p.count) for p in collector.points(DURATION)] == [
        ({**shared, "error.type": "400", "http.response.status_code": 400}, 1),
        ({**shared, "http.response.status_code": 200}, 1),
    ]
    exported = [(p.attributes, p.value) for p in collector.points(EXPORTED)]
    assert sorted(exported, key=str) == sorted(
        [(shared, 1), ({**shared, "error.type": "400"}, 1)], key=str
    )
    [processed] = collector.points(PROCESSED)
    assert processed.attributes == {
        "otel.component.type": "otel_tasklog.TaskLog",
        "otel.component.name": "otel_tasklog.TaskLog/0",
    }


def test_grpc_names_type_and_status(collector: Collector) -> None:
    with GrpcPeer() as peer:
        config = Config(
            endpoint=peer.endpoint, protocol="grpc", meter_provider=collector.provider
        )
        tasklog = TaskLog(config)
        log_to(tasklog).info("taken")
        assert tasklog.flush()
        peer.decide = lambda _, context: context.abort(
            grpc.StatusCode.INVALID_ARGUMENT, "no"
        )
        log_to(tasklog).info("refused")
        tasklog.flush()
        tasklog.close()
    points = [p.attributes for p in collector.points(DURATION)]
    assert {p["otel.component.type"] for p in points} == {"otlp_grpc_log_exporter"}
    assert [p["rpc.response.status_code"] for p in points] == ["OK", "INVALID_ARGUMENT"]
    assert [p.get("error.type") for p in points] == [None, "INVALID_ARGUMENT"]


def test_two_tasklogs_have_names_of_their_own_and_one_sum_of_created(
    make: Callable[..., Harness], collector: Collector
) -> None:
    for number in (1, 2):
        harness = make(meter_provider=collector.provider)
        for _ in range(number):
            harness.log.info("one")
        assert harness.tasklog.flush()
    assert {
        p.attributes["otel.component.name"]: p.value
        for p in collector.points(PROCESSED)
    } == {"otel_tasklog.TaskLog/0": 1, "otel_tasklog.TaskLog/1": 2}
    [created] = collector.points(CREATED)
    assert (created.value, created.attributes) == (3, {})


def test_counts_stay_when_a_tasklog_is_closed_and_the_next_one_goes_on(
    make: Callable[..., Harness], collector: Collector
) -> None:
    first = make(meter_provider=collector.provider, outcomes=[Rejected("http 400", "")])
    first.log.info("one")
    first.tasklog.close()
    values = {
        (CREATED, None): 1,
        (PROCESSED, None): 1,
        (EXPORTED, None): 0,
        (EXPORTED, "400"): 1,
    }
    assert collector.values() == values, "there is no queue any more"
    second = make(meter_provider=collector.provider)
    second.log.info("one")
    assert second.tasklog.flush()
    values |= {(CREATED, None): 2, (PROCESSED, None): 2, (EXPORTED, None): 1}
    assert values.items() <= collector.values().items()
    names = {p.attributes["otel.component.name"] for p in collector.points(PROCESSED)}
    assert names == {"otel_tasklog.TaskLog/0"}


def test_a_meter_provider_keeps_no_tasklog_alive(collector: Collector) -> None:
    config = Config(meter_provider=collector.provider)
    sender = measured(MemorySender(), tasklog := TaskLog(config, sender=MemorySender()))
    assert sender is not None
    sender.send(b"")
    assert collector.values()[CREATED, None] == 0
    gone = weakref.ref(tasklog)
    del tasklog, sender
    gc.collect()
    assert gone() is None
    assert (QUEUE_SIZE, None) not in collector.values()


def test_no_instrument_keeps_its_provider_alive() -> None:
    provider = NoOpMeterProvider()
    tasklog = TaskLog(Config(meter_provider=provider), sender=MemorySender())
    sender = measured(MemorySender(), tasklog)
    assert sender is not None
    sender.send(b"")
    sender.close()
    gone = weakref.ref(provider)
    del provider, tasklog, sender
    gc.collect()
    assert gone() is None


def test_a_collection_reads_the_numbers_once(
    make: Callable[..., Harness],
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = make(meter_provider=collector.provider)
    harness.log.info("one")
    assert harness.tasklog.flush()
    collector.values()
    read = harness.tasklog.stats
    looks: list[Stats] = []

    def look() -> Stats:
        looks.append(read())
        return looks[-1]

    monkeypatch.setattr(harness.tasklog, "stats", look)
    for expected in (1, 2, 3):
        harness.log.info("another")
        assert harness.tasklog.flush()
        assert collector.values()[PROCESSED, None] == expected + 1
        assert len(looks) == expected


def test_a_log_call_within_a_collection_may_make_the_tasklog(
    collector: Collector,
) -> None:
    """The meter provider holds a lock meanwhile, which new instruments need."""
    log = logging.getLogger("test.metrics")
    log.propagate = False
    log.handlers[:] = [
        otel_tasklog.TaskLogHandler(meter_provider=collector.provider, console=False)
    ]
    with HttpPeer() as peer:

        def observe(_: CallbackOptions) -> list[Observation]:
            log.warning("in a collection")
            return []

        meter = collector.provider.get_meter("application")
        meter.create_observable_gauge("application.load", [observe])
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", peer.endpoint)
            collector.values()
        peer.requests.wait_for(1)
        assert otel_tasklog.current().flush()
        assert collector.values()[EXPORTED, None] == 1
        otel_tasklog.current().close()


class FailingHistogram(NoOpHistogram):
    def record(self, *_: object, **__: object) -> None:
        raise OSError("no meter")


class FailingMeter(NoOpMeter):
    def create_histogram(self, name: str, *_: object, **__: object) -> Histogram:
        return FailingHistogram(name)


class FailingProvider(NoOpMeterProvider):
    def __init__(self, fails: str) -> None:
        self._fails = fails

    def get_meter(self, name: str, *_: object, **__: object) -> NoOpMeter:
        if self._fails == "get_meter":
            raise OSError("no meter")
        return FailingMeter(name)


@pytest.mark.parametrize("fails", ["get_meter", "record"])
def test_a_provider_that_fails_costs_no_record(
    make: Callable[..., Harness], fails: str, capsys: pytest.CaptureFixture[str]
) -> None:
    harness = make(meter_provider=FailingProvider(fails))
    diagnostics = logging.getLogger("otel_tasklog")
    console = logging.StreamHandler()
    diagnostics.addHandler(console)
    for _ in range(3):
        harness.log.info("one")
        assert harness.tasklog.flush()
    harness.tasklog.close()
    diagnostics.removeHandler(console)
    assert len(harness.sender.records) == len(harness.sender.bodies) == 3
    said = capsys.readouterr().err.splitlines()
    assert said == ["the meter provider failed, and is left alone: OSError('no meter')"]


def test_without_a_provider_the_sender_is_left_as_it_is() -> None:
    tasklog = TaskLog(Config(exporter=None))
    sender = MemorySender()
    assert measured(sender, tasklog) is sender
    assert measured(None, tasklog) is None


def test_what_the_call_says_wins_over_the_variable() -> None:
    environ = {"OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true"}
    assert Config.from_env(environ).meter_provider is get_meter_provider()
    assert Config.from_env(environ, meter_provider=None).meter_provider is None


def test_what_is_no_provider_is_refused() -> None:
    with pytest.raises(ConfigError, match="meter_provider"):
        Config(meter_provider=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("buffer_full", "queue_full"),
        ("partial success", "rejected"),
        ("http 422", "422"),
        ("grpc INTERNAL", "INTERNAL"),
        ("not encodable", "not_encodable"),
        ("closed", "closed"),
    ],
    ids=str,
)
def test_a_reason_has_an_error_type(reason: str, expected: str) -> None:
    assert error_type(reason) == expected


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("http://collector:4318/v1/logs", ("collector", 4318)),
        ("https://collector/v1/logs", ("collector", 443)),
        ("http://collector", ("collector", 80)),
        ("http://[::1]:4318", ("::1", 4318)),
        ("collector:4317", ("collector", 4317)),
        ("dns:///collector:4317", ("collector", 4317)),
        ("dns://8.8.8.8/collector", ("collector", 443)),
        ("dns:collector:4317", ("collector", 4317)),
        ("ipv4:127.0.0.1:4317,127.0.0.2:4317", ("127.0.0.1", 4317)),
        ("ipv6:[::1]:4317", ("::1", 4317)),
        ("ipv6:2607:f8b0::1", ("2607:f8b0::1", None)),
        ("unix:///run/otel.sock", ("/run/otel.sock", None)),
        ("unix:run/otel.sock", ("run/otel.sock", None)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_endpoint_names_its_server(
    endpoint: str, expected: tuple[str, int | None]
) -> None:
    server = server_of(endpoint)
    assert (server["server.address"], server.get("server.port")) == expected
