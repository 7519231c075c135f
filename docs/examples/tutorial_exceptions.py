import asyncio
import logging

import otel_tasklog

log = logging.getLogger("shop")


async def ask_bank() -> None:
    raise ConnectionError("the bank hung up")


async def charge(order_id: str) -> None:
    async with otel_tasklog.task(order_id):
        try:
            await ask_bank()
        except ConnectionError:
            log.exception("%s failed", order_id)


async def main() -> None:
    async with otel_tasklog.install(service_name="shop", level="INFO") as tasklog:
        await charge("order-1")
        [record] = tasklog.query(min_level="ERROR")
        print(record.message, record.exception_type, record.exception_message)
        print(record.exception_stacktrace)


asyncio.run(main())
