"""What happens while a record is logged."""

from __future__ import annotations

import asyncio
import collections
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from e2e.odd_values.case import NOTHING, Case, at, body
from e2e.odd_values.objects import Logging, Saying, Waiting, raising

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DYNAMIC"]

_TWO: Final = '"logged inside" and "said"'


def filtered(name: str, decide: Callable[[logging.Logger], object], becomes: str, **more: Any) -> Case:  # fmt: skip
    """Return the case of a handler's filter, asked of the odd record alone."""

    def log(logger: logging.Logger) -> None:
        def passes(record: logging.LogRecord) -> bool:
            return record.msg != "odd" or bool(decide(logger))

        logger.handlers[0].addFilter(passes)
        logger.info("odd")

    return Case(name, log, becomes, body, **more)


def _formatted(logger: logging.Logger) -> None:
    class Raising(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            raise ValueError

    [handler] = logger.handlers
    handler.setFormatter(Raising())
    try:
        logger.info("odd")
    finally:
        handler.setFormatter(None)


def _changed(logger: logging.Logger) -> None:
    value = [1]
    logger.info("odd", extra={"value": value})
    value.append(2)


class _Growing(collections.UserDict[str, int]):
    def __getitem__(self, key: str) -> int:
        self.data[f"{key}+"] = 1
        return 1


def _log_inside(logger: logging.Logger) -> bool:
    logger.info("inside")
    return True


def _log_waiting(logger: logging.Logger) -> None:
    waiting = Waiting()
    logger.info("%s", waiting)
    waiting.thread.join()


def _sleep() -> str:
    time.sleep(0.1)
    return "slept"


def _stops(name: str, error: type[BaseException]) -> Case:
    said = Saying(raising(error()))
    return Case(
        name, lambda log: log.info("%s", said), NOTHING, body, raises=error.__name__
    )


DYNAMIC: Final = (
    Case("`__str__` of an argument logs", lambda log: log.info("%s", Logging()), _TWO, body, records=2),
    Case("`__str__` of an attribute logs", lambda log: log.info("said", extra={"value": Logging()}), _TWO, body, records=2),
    Case("`__str__` waits for a thread that logs", _log_waiting, '"the other thread" and "waited"', body, records=2),
    Case("`__str__` sleeps", lambda log: log.info("%s", Saying(_sleep)), '"slept"', body),
    Case("a list that is changed after the call", _changed, "[1]"),
    Case("a mapping that grows while it is read", lambda log: log.info("odd", extra={"value": _Growing({"a": 1})}), '"<_Growing: RuntimeError while reading>"', at("value")),
    filtered("a filter of the handler logs", _log_inside, '"inside" and "odd"', records=2),
    filtered("a filter of the handler raises", raising(ValueError()), NOTHING, lines=1, records=0),
    Case("a formatter of the handler raises", _formatted, '"odd [<LogRecord: ValueError while reading>]"', body),
    _stops("`__str__` of an argument raises `KeyboardInterrupt`", KeyboardInterrupt),
    _stops("`__str__` of an argument raises `SystemExit`", SystemExit),
    _stops("`__str__` of an argument raises `CancelledError`", asyncio.CancelledError),
    Case("`__str__` of an attribute raises `KeyboardInterrupt`", lambda log: log.info("odd", extra={"value": Saying(raising(KeyboardInterrupt()))}), NOTHING, body, raises="KeyboardInterrupt"),
    filtered("a filter of the handler raises `KeyboardInterrupt`", raising(KeyboardInterrupt()), NOTHING, raises="KeyboardInterrupt"),
)  # fmt: skip
