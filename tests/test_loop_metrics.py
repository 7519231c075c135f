"""How late event loops are, and how many tasks there are, as metrics."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import otel_tasklog
from otel_tasklog._loop_metrics import (
    BOUNDARIES_SECONDS,
    LAG,
    TASKS,
    _histograms,
    lag_recorder,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class Collector:
    """A meter provider, and what it has when it is asked."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def point(self, name: str) -> Any:
        data = self.reader.get_metrics_data()
        points = [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]
        return points[0] if points else None


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.provider.shutdown()


def test_lags_are_a_histogram_of_all_that_record_them(collector: Collector) -> None:
    for seconds in (0.0, 0.3):
        lag_recorder(collector.provider)(seconds)  # as two TaskLogs would
    point = collector.point(LAG)
    assert (point.count, point.max, point.sum) == (2, 0.3, 0.3)
    assert point.explicit_bounds == BOUNDARIES_SECONDS
    assert not point.attributes


def test_tasks_are_counted_when_somebody_collects(collector: Collector) -> None:
    async def main() -> int:
        tasklog = otel_tasklog.install(
            level="INFO", exporter=None, console=False,
            meter_provider=collector.provider, blocked_after_seconds=0.25,
        )  # fmt: skip
        logging.getLogger("shop").info("hello")
        lag_recorder(collector.provider)(0.0)
        others = [asyncio.create_task(asyncio.sleep(600)) for _ in range(3)]
        await asyncio.sleep(0)
        counted: int = collector.point(TASKS).value
        assert tasklog.stats().live_tasks == counted
        for each in others:
            each.cancel()
        return counted

    assert asyncio.run(main()) == 4


def test_without_a_provider_nothing_is_made() -> None:
    lag_recorder(None)(0.1)


def test_a_provider_that_fails_is_left_alone_and_that_is_said(said: list[str]) -> None:
    class Broken(MeterProvider):
        asked = 0

        def get_meter(self, *_: Any, **__: Any) -> Any:
            self.asked += 1
            raise ZeroDivisionError("no meter")

    broken = Broken(shutdown_on_exit=False)
    record = lag_recorder(broken)
    record(0.1)
    record(0.1)
    assert broken.asked == 1
    [line] = said
    assert line.startswith("the meter provider failed, and is left alone")
    broken.shutdown()


def test_a_forked_child_touches_none_of_its_parents_histograms(
    collector: Collector,
) -> None:
    """A collection in the parent may have held one of their locks."""
    lag_recorder(collector.provider)(0.1)
    _histograms.renew()
    lag_recorder(collector.provider)(0.2)
    assert collector.point(LAG).count == 1
