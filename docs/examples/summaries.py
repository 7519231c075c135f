import asyncio
import logging

import otel_tasklog

log = logging.getLogger("shop")


async def charge(order_id: str, amount: float) -> None:
    async with otel_tasklog.task(order_id):
        log.info("charging %s", order_id)
        if amount > 100:
            log.warning("a large amount: %.2f", amount)
        log.info("charged %s", order_id)


async def pack(boxes: asyncio.Event) -> None:
    async with otel_tasklog.task("packing"):
        log.info("waiting for boxes")
        await boxes.wait()


async def main() -> None:
    async with otel_tasklog.install(service_name="shop", level="INFO") as tasklog:
        boxes = asyncio.Event()
        packing = asyncio.create_task(pack(boxes))
        await asyncio.gather(*(charge(f"order-{i}", 60.0 * i) for i in range(3)))

        for job in tasklog.tasks():
            print(job.task_id, job.records, job.worst_level, job.alive)

        counts = tasklog.counts("task:order-*", by="level")
        print(counts.total, counts.counts)

        [warning] = tasklog.query("level:warning")
        for record in tasklog.context(warning, before=1, after=1, same_task=True):
            print(record.severity_text, record.message)

        boxes.set()
        await packing


asyncio.run(main())
