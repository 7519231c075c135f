import asyncio
import logging

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import otel_tasklog

log = logging.getLogger("shop")
trace.set_tracer_provider(TracerProvider())
tracer = trace.get_tracer("shop")


async def charge(order_id: str) -> None:
    async with otel_tasklog.task(order_id):
        with tracer.start_as_current_span("order"):
            log.info("received %s", order_id)
            with tracer.start_as_current_span("payment"):
                log.info("charging %s", order_id)


async def main() -> None:
    async with otel_tasklog.install(service_name="shop", level="INFO") as tasklog:
        await asyncio.gather(charge("order-1"), charge("order-2"))
        [newest] = tasklog.query(task_id="order-1", limit=1)
        print(newest.message, newest.trace_id, newest.span_id)
        for record in tasklog.query(trace_id=newest.trace_id):
            print("in this trace:", record.message)


asyncio.run(main())
