import logging

import structlog

import otel_tasklog

structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.render_to_log_kwargs,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
)

with otel_tasklog.install(service_name="shop", level="INFO") as tasklog:
    log = structlog.get_logger("shop")
    log.bind(task_id="order-1").info("charging", amount=12.5)
    [record] = tasklog.query(task_id="order-1")
    print(record.logger, record.message, record.attributes, sep=" | ")
