import logging

import otel_tasklog

with otel_tasklog.install(service_name="shop", level="INFO") as tasklog:
    tasklog.handler.setFormatter(logging.Formatter("[%(name)s] %(message)s"))
    logging.getLogger("shop").info("charging %s", "order-1")
    [record] = tasklog.query()
    print(record.body)
