import asyncio
import logging

import otel_tasklog
from otel_tasklog.testing import captured_records

log = logging.getLogger("shop")


async def charge(order_id: str, amount: float) -> None:
    async with otel_tasklog.task(order_id):
        log.info("charging %s", order_id, extra={"amount": amount})


def test_charge_logs_the_amount() -> None:
    with captured_records("shop") as tasklog:
        asyncio.run(charge("order-1", 12.5))
    [record] = tasklog.query(task_id="order-1")
    assert record.message == "charging order-1"
    assert record.attributes == {"amount": 12.5}


test_charge_logs_the_amount()
print("passed")
