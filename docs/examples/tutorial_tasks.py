import asyncio
import logging

import otel_tasklog

log = logging.getLogger("shop")


def pack(order_id: str) -> None:
    log.info("packing %s", order_id)


async def charge() -> None:
    async with otel_tasklog.task("payment-7"):
        log.info("charging")


async def handle(order_id: str) -> None:
    async with otel_tasklog.task(order_id, attributes={"region": "north"}):
        log.info("received")
        with otel_tasklog.bind(step="payment"):
            await asyncio.create_task(charge(), name="charger")
        await asyncio.to_thread(pack, order_id)


@otel_tasklog.task(lambda number: f"report-{number}")
async def report(number: int) -> None:
    log.info("reporting %d", number)


async def main() -> None:
    async with otel_tasklog.install(service_name="shop", level="INFO") as tasklog:
        await handle("order-7")
        await report(1)
        log.info("done")
        for record in tasklog.query(newest_first=False):
            print(
                record.message,
                record.task_id,
                record.task_parent_id,
                record.asyncio_task_name,
                record.attributes,
                sep=" | ",
            )


asyncio.run(main())
