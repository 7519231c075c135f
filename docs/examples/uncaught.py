import asyncio
import gc
import logging
import threading

import otel_tasklog


async def charge() -> None:
    raise ConnectionError("the bank hung up")


def pack() -> None:
    raise OSError("no box is large enough")


async def main() -> None:
    async with otel_tasklog.install(
        service_name="shop", level="INFO", uncaught=True
    ) as tasklog:
        logging.getLogger("shop").info("nobody waits for either of them")
        await asyncio.wait([asyncio.create_task(charge(), name="charger")])
        gc.collect()  # when Python finds out about the task
        packer = threading.Thread(target=pack, name="packer")
        packer.start()
        packer.join()
        for record in tasklog.query(min_level="ERROR", newest_first=False):
            print(record.logger, record.severity_text, record.message.splitlines()[0])
            print(record.task_id, record.exception_message)


asyncio.run(main())
