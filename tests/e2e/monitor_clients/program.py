"""A program that logs on, with a monitor.

``python -m e2e.monitor_clients.program 5000 http://...`` prints the monitor's port, and
for each line of its input what it has: ``stop`` stops the logging first, the input's
end delivers first, and ends the program.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Final

import otel_tasklog

if TYPE_CHECKING:
    from otel_tasklog import TaskLog

__all__ = ["JOB"]

JOB: Final = "order-1"
TICK_SECONDS: Final = 0.002
MOST_AT_ONCE: Final = 200
FLUSH_SECONDS: Final = 60.0

_log = logging.getLogger("shop")


class _Shop:
    """Logs at a rate, in a job, beside a few tasks that wait."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self.logged = 0

    async def log(self) -> None:
        async with otel_tasklog.task(JOB):
            started = time.perf_counter()
            while True:
                due = int((time.perf_counter() - started) * self._rate) - self.logged
                for _ in range(min(due, MOST_AT_ONCE)):
                    self.logged += 1
                    _log.info("record %d", self.logged)
                await asyncio.sleep(TICK_SECONDS)


def _say(shop: _Shop, tasklog: TaskLog) -> None:
    said = {"logged": shop.logged, **dataclasses.asdict(tasklog.stats())}
    print(json.dumps(said), flush=True)  # noqa: T201


async def main(rate: int, endpoint: str) -> None:
    settings = {"exporter": None} if not endpoint else {"endpoint": endpoint}
    async with otel_tasklog.install(
        service_name="shop", level="INFO", blocked_after_seconds=None, attach=False,
        **settings,
    ) as tasklog:  # fmt: skip
        shop = _Shop(rate)
        logging_on = asyncio.create_task(shop.log(), name="clerk")
        waiting = [
            asyncio.create_task(asyncio.sleep(86_400), name=f"waiting-{number}")
            for number in range(20)
        ]
        async with tasklog.monitor(port=0, web=False) as monitor:
            print(monitor.port, flush=True)  # noqa: T201
            # A pipe for orders of its own: stdin is /dev/null, as a daemon's is.
            orders = os.fdopen(int(sys.argv[3]))
            while order := await asyncio.to_thread(orders.readline):
                if order.startswith("stop"):
                    logging_on.cancel()
                    await asyncio.wait([logging_on])
                _say(shop, tasklog)
        for each in (logging_on, *waiting):
            each.cancel()
        await asyncio.gather(logging_on, *waiting, return_exceptions=True)
        await tasklog.aflush(FLUSH_SECONDS)
        _say(shop, tasklog)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
