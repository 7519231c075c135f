import logging

import otel_tasklog

logging.getLogger("shop.access").propagate = False

with otel_tasklog.install(
    service_name="shop", level="INFO", loggers=["", "shop.access"]
) as tasklog:
    logging.getLogger("shop").info("by way of the root logger")
    logging.getLogger("shop.access").info("by way of its own")
    for record in tasklog.query(newest_first=False):
        print(record.logger, record.message, sep=": ")
