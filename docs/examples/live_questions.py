import asyncio
import logging

import otel_tasklog

log = logging.getLogger("shop")


async def charge(order_id: str, bank: asyncio.Lock) -> None:
    async with otel_tasklog.task(order_id):
        log.info("charging %s", order_id)
        async with bank:
            await asyncio.Event().wait()  # an answer that never comes


async def checkout(bank: asyncio.Lock) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(1, 3):
            order_id = f"order-{number}"
            group.create_task(charge(order_id, bank), name=f"charge-{number}")


async def main() -> None:
    async with otel_tasklog.install(service_name="shop", level="INFO") as tasklog:
        checking_out = asyncio.create_task(checkout(asyncio.Lock()), name="checkout")
        await asyncio.sleep(0.1)

        for task in tasklog.live_tasks("charging", waiting=True):
            waits_on = task.wait.text if task.wait else None
            print(task.name, task.task_id, waits_on, task.records)

        for place in tasklog.task_tree():
            print(f"{'  ' * place.depth}{place.name}")

        report = tasklog.why("order-1")
        print([frame.function for frame in report.stack], report.lost_waker)
        print([task.name for task in report.awaited_by], report.records[-1].message)

        checking_out.cancel()
        await asyncio.wait([checking_out])


asyncio.run(main())
