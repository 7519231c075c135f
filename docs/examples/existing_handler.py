import logging

import otel_tasklog

tasklog = otel_tasklog.install(service_name="shop", level="INFO")

access = logging.getLogger("shop.access")
access.propagate = False
access.addHandler(tasklog.handler)

logging.getLogger("shop").info("by way of the root logger")
access.info("by way of its own")

for record in tasklog.query(newest_first=False):
    print(record.logger, record.message, sep=": ")
tasklog.close()
