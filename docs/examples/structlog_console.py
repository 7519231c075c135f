import structlog

import otel_tasklog
from otel_tasklog.capture.structlog import TaskLogSink, add_task_context

structlog.configure(
    processors=[
        TaskLogSink(pass_on=True),
        structlog.processors.add_log_level,
        add_task_context,
        structlog.processors.format_exc_info,
        structlog.processors.LogfmtRenderer(key_order=["level", "event"]),
    ],
)

with (
    otel_tasklog.install(service_name="shop", level="INFO"),
    otel_tasklog.task("order-1"),
):
    structlog.get_logger().info("charging", amount=12.5)
