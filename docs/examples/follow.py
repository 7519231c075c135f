import asyncio
import logging

import otel_tasklog

log = logging.getLogger("shop")


async def alert(follower: otel_tasklog.Follower) -> None:
    async with follower:
        async for record in follower:
            print(record.task_id, record.severity_text, record.message)
    print("missed:", follower.missed)


async def charge(order_id: str, amount: float) -> None:
    async with otel_tasklog.task(order_id):
        log.info("charging %s", order_id)
        if amount > 100:
            log.warning("a large amount: %.2f", amount)


async def main() -> None:
    async with otel_tasklog.install(service_name="shop", level="INFO") as tasklog:
        follower = tasklog.follow(min_level="WARNING")
        alerting = asyncio.create_task(alert(follower))
        await asyncio.gather(*(charge(f"order-{i}", 60.0 * i) for i in range(3)))
    await alerting


asyncio.run(main())
