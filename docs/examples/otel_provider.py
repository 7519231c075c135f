import asyncio
import logging

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    ConsoleLogRecordExporter,
    SimpleLogRecordProcessor,
)

import otel_tasklog


def line(readable):
    record = readable.log_record
    return f"{record.body} | {record.attributes['task_id']}\n"


provider = LoggerProvider()
provider.add_log_record_processor(
    SimpleLogRecordProcessor(ConsoleLogRecordExporter(formatter=line))
)

tasklog = otel_tasklog.install(logger_provider=provider, level="INFO")


async def main():
    async with otel_tasklog.task("order-1"):
        logging.getLogger("shop").info("charging %s", "the card")


asyncio.run(main())
tasklog.close()
