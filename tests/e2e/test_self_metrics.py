"""Delivery as metrics in processes of their own: forks, and the global provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from e2e.conftest import ReceiverProcess

    Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.e2e

START = """
import logging, os, sys
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
import otel_tasklog

reader = InMemoryMetricReader()

def counts():
    data = reader.get_metrics_data()
    return {
        metric.name.removeprefix("otel.sdk."): sum(
            getattr(point, "value", None) or getattr(point, "count", 0)
            for point in metric.data.data_points
        )
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
"""
FORKED = """
provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
log = logging.getLogger("forks")
with otel_tasklog.install(level="INFO", console=False, meter_provider=provider):
    log.info("to a TaskLog that is closed")
tasklog = otel_tasklog.install(level="INFO", console=False, meter_provider=provider)
for number in range(3):
    log.info("parent %d", number)
assert tasklog.flush()
pid = os.fork()
if not pid:
    assert counts()["log.created"] == 0, counts()
    log.info("child")
    assert tasklog.flush()
    found = counts()
    assert found["log.created"] == found["exporter.log.exported"] == 1, found
    assert found["exporter.operation.duration"] == 2, "the parent's alone"
    sys.exit()
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert counts()["exporter.log.exported"] == 4, counts()
"""


def test_a_forked_child_counts_from_0(receiver: ReceiverProcess, run: Run) -> None:
    done = run(START + FORKED, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=receiver.endpoint)
    assert done.returncode == 0, done.stderr
    assert receiver.bodies(5)["child"] == 1


FORKED_IN_A_COLLECTION = """
import threading
from opentelemetry.sdk.metrics import AlignedHistogramBucketExemplarReservoir
from opentelemetry.sdk.metrics.view import View

asked, answer = threading.Event(), threading.Event()

class Slow(AlignedHistogramBucketExemplarReservoir):  # is asked under the lock
    def collect(self, attributes):
        asked.set()
        answer.wait(50)
        return super().collect(attributes)

duration = "otel.sdk.exporter.operation.duration"
view = View(instrument_name=duration, exemplar_reservoir_factory=lambda _: Slow)
provider = MeterProvider(metric_readers=[reader], views=[view], shutdown_on_exit=False)
tasklog = otel_tasklog.install(level="INFO", console=False, meter_provider=provider)
log = logging.getLogger("forks")
log.info("parent")
assert tasklog.flush()
thread = threading.Thread(target=counts)
thread.start()
assert asked.wait(10)
pid = os.fork()
if not pid:
    log.info("child")
    tasklog.close(5)
    os._exit(tasklog.stats().delivered != 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
answer.set()
thread.join()
"""


def test_a_fork_in_a_collection_holds_up_no_delivery(
    receiver: ReceiverProcess, run: Run
) -> None:
    done = run(
        START + FORKED_IN_A_COLLECTION,
        OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=receiver.endpoint,
    )
    assert done.returncode == 0, done.stderr
    assert receiver.bodies(2)["child"] == 1


GLOBAL = """
variable = "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"
os.environ[variable] = "true"
log = logging.getLogger("global")
with otel_tasklog.install(level="INFO", console=False) as tasklog:
    log.info("before there is a provider")
    assert tasklog.flush()
    set_meter_provider(MeterProvider(metric_readers=[reader]))
    assert counts()["exporter.log.exported"] == 1, counts()
with otel_tasklog.install(level="INFO", console=False) as tasklog:
    log.info("after")
    assert tasklog.flush()
    assert counts()["exporter.log.exported"] == 2, counts()
"""


def test_the_global_provider_may_come_after_install(
    receiver: ReceiverProcess, run: Run
) -> None:
    done = run(START + GLOBAL, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=receiver.endpoint)
    assert done.returncode == 0, done.stderr
