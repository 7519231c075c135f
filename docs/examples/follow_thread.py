import logging
import threading

import otel_tasklog

log = logging.getLogger("shop")


def tail(follower: otel_tasklog.Follower) -> None:
    for record in follower:
        print(record.severity_text, record.message)


with otel_tasklog.install(service_name="shop", level="INFO") as tasklog:
    log.info("opening")
    log.info("open")
    follower = tasklog.follow(logger="shop", backlog_records=1)
    tailing = threading.Thread(target=tail, args=(follower,))
    tailing.start()
    log.info("charging %s", "order-1")
tailing.join()
