"""What the keys of a record's attributes decide, once for all that have them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from otel_tasklog.capture._stamp import STAMP
from otel_tasklog.capture._values import REDACTED

if TYPE_CHECKING:
    from otel_tasklog.capture._values import AttributeNames

__all__ = ["EVENT_NAMES", "Shape"]

EVENT_NAMES: Final = ("otel.event.name", "event.name")
_EVENT_KEYS: Final = frozenset(EVENT_NAMES)
# Not attributes: what formatters leave behind, what the trace instrumentation
# adds of what the record has already, and what is sent as the task's identity.
_NOT_ATTRIBUTES: Final = frozenset(
    {
        *logging.makeLogRecord({}).__dict__, "message", "asctime", "task_id",
        STAMP,
        # structlog's own, on records of its ProcessorFormatter.wrap_for_formatter.
        "_logger", "_name",
        "otelTraceID", "otelSpanID", "otelTraceSampled", "otelServiceName",
    }
)  # fmt: skip
_TASK_KEYS: Final = frozenset({"task_id", "job_id", "asyncz_task_id"})


class Shape:
    """What the keys of a record's attributes decide, once for all that have them.

    Attributes:
        names: Of the attributes on the wire.
        odd: Not each value is an attribute as it is.
        tells_who: A key may name the job.
        names_event: A key may name the event.
    """

    __slots__ = ("_kept", "_secret", "names", "names_event", "odd", "tells_who")

    def __init__(self, keys: tuple[str, ...], names: AttributeNames) -> None:
        self._kept = [i for i, key in enumerate(keys) if key not in _NOT_ATTRIBUTES]
        self._secret = [names[keys[i]][1] for i in self._kept]
        self.names = _distinct([names[keys[i]][0] for i in self._kept])
        self.odd = len(self._kept) < len(keys) or any(self._secret)
        self.tells_who = not _TASK_KEYS.isdisjoint(keys)
        self.names_event = not _EVENT_KEYS.isdisjoint(keys)

    def select(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the attributes' values, secrets redacted."""
        return tuple(
            REDACTED if secret and type(value) is not bool and value is not None
            else value
            for secret, value in zip(
                self._secret, (values[i] for i in self._kept), strict=True
            )
        )  # fmt: skip


def _distinct(names: list[str]) -> tuple[str, ...]:
    """Number what two keys became alike: a key must not come twice."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        distinct, number = name, 1
        while distinct in seen:
            number += 1
            distinct = f"{name}_{number}"
        seen.add(distinct)
        names[index] = distinct
    return tuple(names)
