import logging

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import otel_tasklog

reader = InMemoryMetricReader()  # in a service: a PeriodicExportingMetricReader
provider = MeterProvider(metric_readers=[reader])

tasklog = otel_tasklog.install(
    service_name="shop", level="INFO", meter_provider=provider
)
for number in range(3):
    logging.getLogger("shop").info("charging order-%d", number)
tasklog.flush()

for resource in reader.get_metrics_data().resource_metrics:
    for metric in resource.scope_metrics[0].metrics:
        for point in metric.data.data_points:
            value = getattr(point, "value", None)  # a histogram has counts instead
            print(metric.name, point.count if value is None else value, metric.unit)
