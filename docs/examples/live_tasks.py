import asyncio
import logging
import sys

import otel_tasklog

log = logging.getLogger("shop")


async def work(order_id: str) -> None:
    async with otel_tasklog.task(order_id):
        for step in range(1_000):
            log.info("step %d", step)
            await asyncio.sleep(1)


async def main(seconds: float) -> None:
    async with (
        otel_tasklog.install(service_name="shop", level="INFO") as tasklog,
        tasklog.monitor() as monitor,
    ):
        print(f"telnet {monitor.host} {monitor.port}", flush=True)
        workers = [
            asyncio.create_task(work(f"order-{n}"), name=f"worker-{n}")
            for n in range(1, 4)
        ]
        await asyncio.sleep(seconds)
        for worker in workers:
            worker.cancel()


asyncio.run(main(float(sys.argv[1]) if sys.argv[1:] else 60))
