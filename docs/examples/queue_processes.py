import logging
import logging.handlers
import multiprocessing

import otel_tasklog

log = logging.getLogger("shop")


def pack(order_id, waiting):
    queue_handler = logging.handlers.QueueHandler(waiting)
    queue_handler.addFilter(otel_tasklog.TaskLogFilter())
    logging.getLogger().addHandler(queue_handler)
    with otel_tasklog.task(order_id):
        try:
            int("a box")
        except ValueError:
            log.exception("cannot pack")


def main():
    context = multiprocessing.get_context("spawn")
    waiting = context.Queue()
    with otel_tasklog.install(service_name="shop", level="INFO") as tasklog:
        listener = logging.handlers.QueueListener(waiting, tasklog.handler)
        listener.start()
        packer = context.Process(target=pack, args=("order-1", waiting))
        packer.start()
        packer.join()
        listener.stop()
        [record] = tasklog.query(task_id="order-1")
        print(record.task_id, record.exception_type)
        print(record.message, record.exception_message)


if __name__ == "__main__":
    main()
