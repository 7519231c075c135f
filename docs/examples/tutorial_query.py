import asyncio
import datetime
import logging

import otel_tasklog

log = logging.getLogger("shop")


async def charge(order_id: str, amount: float) -> None:
    async with otel_tasklog.task(order_id):
        log.info("charging %s", order_id, extra={"amount": amount})
        if amount > 100:
            logging.getLogger("shop.risk").warning("a large amount")


async def main() -> None:
    async with otel_tasklog.install(service_name="shop", level="INFO") as tasklog:
        await asyncio.gather(*(charge(f"order-{i}", 60.0 * i) for i in range(3)))

        minute = datetime.timedelta(minutes=1)
        questions = {
            "one job": tasklog.query(task_id="order-1"),
            "warnings and worse": tasklog.query(min_level="WARNING"),
            "by text": tasklog.query(text="CHARGING", limit=2),
            "by attribute": tasklog.query(attributes={"amount": 60.0}),
            "a logger and those below": tasklog.query(logger="shop", since=minute),
        }
        for question, records in questions.items():
            print(f"{question}: {[record.message for record in records]}")

        print("all delivered:", await tasklog.aflush(timeout_seconds=5))
        stats = tasklog.stats()
        print("captured", stats.captured, "delivered", stats.delivered)


asyncio.run(main())
