import asyncio
import logging
import time

import otel_tasklog

log = logging.getLogger("shop")


def charge(order_id: str) -> None:
    log.info("charging %s", order_id)
    time.sleep(1)  # nothing else runs meanwhile


async def handle(order_id: str) -> None:
    with otel_tasklog.task(order_id):
        charge(order_id)


async def main() -> None:
    async with otel_tasklog.install(service_name="shop", level="INFO") as tasklog:
        await asyncio.create_task(handle("order-1"))
        await asyncio.sleep(0.5)
        for record in tasklog.query(task_id="order-1", newest_first=False):
            text, _, place = record.message.partition(", in ")
            print(record.severity_text, text)
            if place:
                print(record.attributes["event.name"], record.origin.function)
                print(record.stack_info)
        print("at worst", tasklog.stats().loop_lag_seconds)


asyncio.run(main())
