import logging
import logging.handlers
import queue

import otel_tasklog

waiting = queue.SimpleQueue()
queue_handler = logging.handlers.QueueHandler(waiting)
queue_handler.addFilter(otel_tasklog.TaskLogFilter())
logging.getLogger().addHandler(queue_handler)

with otel_tasklog.install(service_name="shop", level="INFO", loggers=[]) as tasklog:
    listener = logging.handlers.QueueListener(
        waiting, tasklog.handler, logging.StreamHandler()
    )
    listener.start()
    with otel_tasklog.task("order-1"):
        logging.getLogger("shop").info("charging")
    listener.stop()
    for record in tasklog.query():
        print(record.task_id, record.message)
