import logging

import structlog

import otel_tasklog
from otel_tasklog.capture.structlog import TaskLogSink

structlog.configure(
    processors=[structlog.contextvars.merge_contextvars, TaskLogSink()],
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
)


def ask_bank():
    raise ConnectionError("the bank hung up")


with otel_tasklog.install(service_name="shop", level="INFO") as tasklog:
    log = structlog.get_logger().bind(logger="shop", task_id="order-1")
    log.info("charging", amount=12.5)
    try:
        ask_bank()
    except ConnectionError:
        log.exception("failed")
    for record in tasklog.query(task_id="order-1", newest_first=False):
        print(record.logger, record.message, record.attributes, sep=" | ")
    print(record.exception_type, record.exception_message, sep=": ")
