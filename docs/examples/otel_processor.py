import asyncio

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource

import otel_tasklog

provider = LoggerProvider(Resource.create({"service.name": "shop"}))

tasklog = otel_tasklog.install(
    loggers=[], resource_attributes=dict(provider.resource.attributes)
)
provider.add_log_record_processor(otel_tasklog.TaskLogProcessor(tasklog))


async def main():
    async with otel_tasklog.task("order-1"):
        provider.get_logger("shop.payments").emit(
            LogRecord(
                severity_number=SeverityNumber.INFO,
                body="charged the card",
                event_name="shop.charged",
                attributes={"amount": 12.5},
            )
        )


asyncio.run(main())
[record] = tasklog.query(task_id="order-1")
print(record.logger, record.event_name, record.message, sep=" | ")
