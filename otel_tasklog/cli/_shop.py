"""The program that the demo watches: a small shop, with something of everything.

Orders run at the same time, each a job of its own with a span, and within it a
payment that is a job of its own too, a stock check in a thread, and DEBUG noise.
One order in seven is declined, with an exception and its cause.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import TracerProvider

import otel_tasklog

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

__all__ = ["Shop"]

log = logging.getLogger("shop")
payments = logging.getLogger("shop.payments")
stock = logging.getLogger("shop.stock")


class CardDeclinedError(Exception):
    """The bank said no."""


def _ask_bank(number: int) -> None:
    if number % 7 == 0:
        raise ConnectionError("the bank hung up")


class Shop:
    """Takes orders until it is told to stop.

    Args:
        tellers: How many orders run at the same time.
        seed: Of the shop's chance, so that two runs log alike.
    """

    def __init__(self, *, tellers: int = 6, seed: int = 7) -> None:
        self._tellers = tellers
        self._chance = random.Random(seed)  # noqa: S311 - no secret depends on it
        self._orders = itertools.count(1)
        self._tracer: Tracer = TracerProvider().get_tracer("shop")
        self._closing = asyncio.Event()

    async def run(self) -> None:
        """Work until `close`; orders that have begun are finished."""
        tellers = (self._teller(n) for n in range(1, self._tellers + 1))
        async with asyncio.TaskGroup() as group:
            for number, teller in enumerate(tellers, 1):
                group.create_task(teller, name=f"teller-{number}")

    def close(self) -> None:
        """Take no more orders."""
        self._closing.set()

    async def _teller(self, number: int) -> None:
        log.info("teller %d opens", number, extra={"teller": number})
        while not self._closing.is_set():
            await self._order(next(self._orders))
            await self._pause(0.3)
        log.info("teller %d closes", number, extra={"teller": number})

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self._chance.uniform(0.5, 1.5))

    async def _order(self, number: int) -> None:
        order = f"order-{number}"
        with self._tracer.start_as_current_span("order"):
            async with otel_tasklog.task(order, attributes={"customer": number % 5}):
                log.info("received %s", order, extra={"items": 1 + number % 4})
                await asyncio.to_thread(self._check_stock, number)
                payment = asyncio.create_task(
                    self._pay(number), name=f"payment-{number}"
                )
                try:
                    await payment
                except CardDeclinedError:
                    log.exception("%s failed", order, extra={"items": 1 + number % 4})
                else:
                    log.info("%s shipped", order)

    def _check_stock(self, number: int) -> None:
        stock.debug("shelf %d looked at", number % 9)
        if number % 5 == 0:
            stock.warning("shelf %d is nearly empty", number % 9)

    async def _pay(self, number: int) -> None:
        amount = round(self._chance.uniform(5, 250), 2)
        with self._tracer.start_as_current_span("payment"):
            async with otel_tasklog.task(f"payment-{number}"):
                payments.info(
                    "charging %.2f", amount,
                    extra={"amount": amount, "card_token": "4111-1111-1111-1111"},
                )  # fmt: skip
                for attempt in (1, 2):
                    payments.debug("bank asked", extra={"attempt": attempt})
                    await self._pause(0.1)
                try:
                    _ask_bank(number)
                except ConnectionError as error:
                    message = f"no approval for {amount:.2f}"
                    raise CardDeclinedError(message) from error
                payments.info("approved", extra={"amount": amount})
