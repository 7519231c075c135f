import asyncio
import logging

import otel_tasklog

log = logging.getLogger("shop")


@otel_tasklog.task(lambda order_id, _amount: order_id, lifecycle=True)
async def charge(order_id: str, amount: float) -> None:
    otel_tasklog.bind(amount=amount)
    log.info("charging %s", order_id)
    if amount > 100:
        raise ValueError("a large amount")


async def watch(ended: otel_tasklog.Follower) -> None:
    async for record in ended:
        print(
            record.task_id,
            record.attributes["amount"],
            record.attributes["outcome"],
            record.exception_message,
        )


async def main() -> None:
    async with otel_tasklog.install(service_name="shop", level="INFO") as tasklog:
        ended = tasklog.follow(attributes={"event.name": "task.end"})
        watching = asyncio.create_task(watch(ended))
        await asyncio.gather(
            charge("order-1", 5.0), charge("order-2", 500.0), return_exceptions=True
        )
    await watching
    for record in tasklog.query(task_id="order-1", newest_first=False):
        print(record.origin.logger, record.origin.function, record.event_name)


asyncio.run(main())
