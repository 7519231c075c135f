import asyncio
import logging

import otel_tasklog

log = logging.getLogger("shop")


async def charge(order_id):
    async with otel_tasklog.task(order_id):  # the job's id; child tasks inherit it
        log.info("charging %s", order_id, extra={"amount": 12.5})


async def main():
    # OTEL_* variables fill what is not given.
    async with otel_tasklog.install(service_name="shop", level="INFO") as tasklog:
        await asyncio.gather(*(charge(f"order-{i}") for i in range(3)))
        for r in tasklog.query(
            task_id="order-1", min_level="INFO", text="charging", limit=50
        ):
            print(r.task_id, r.severity_text, r.message, r.trace_id)
        await tasklog.aflush(timeout_seconds=5)
        print(tasklog.stats())


asyncio.run(main())
