import asyncio
import logging

import otel_tasklog

log = logging.getLogger("shop")


async def charge(amount: int) -> None:
    log.info("charging %d", amount)
    await asyncio.sleep(0.01)
    if amount > 100:
        raise ValueError("a large amount")


async def main() -> None:
    async with otel_tasklog.install(
        service_name="shop", level="INFO", task_lifecycle=True
    ) as tasklog:
        await asyncio.gather(
            asyncio.create_task(charge(5), name="charge-5"),
            asyncio.create_task(charge(500), name="charge-500"),
            return_exceptions=True,
        )
        for record in tasklog.query(newest_first=False):
            number, text = record.asyncio_task_number, record.message
            print(f"#{number}", record.severity_text, text.partition(" after ")[0])
            print(record.attributes.get("outcome"), record.exception_type)


asyncio.run(main())
