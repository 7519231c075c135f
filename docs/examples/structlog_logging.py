import logging
import sys

import structlog

import otel_tasklog
from otel_tasklog.capture.structlog import add_task_context

shared = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    add_task_context,
]

structlog.configure(
    processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
)
console = logging.StreamHandler(sys.stdout)
console.setFormatter(
    structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
    )
)
logging.getLogger().addHandler(console)

with otel_tasklog.install(service_name="shop", level="INFO") as tasklog:
    with otel_tasklog.task("order-1"):
        structlog.get_logger("shop").info("charging", amount=12.5)
        logging.getLogger("bank").info("connected")
    for record in tasklog.query(task_id="order-1", newest_first=False):
        print(record.logger, record.message, record.attributes, sep=" | ")
