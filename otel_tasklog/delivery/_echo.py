"""What must not come back: our records, and what their export made others log.

With an application's ``LoggerProvider`` on the way out, both could be the next batch,
whose export makes the next, for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.context import (
    # Its public form is in another package.
    _SUPPRESS_INSTRUMENTATION_KEY,  # pyright: ignore[reportPrivateUsage]
    Context,
    create_key,
    get_value,
)

from otel_tasklog.capture._record import CONTEXT, SEQUENCE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_tasklog.capture._record import Captured

__all__ = ["FORWARDER", "while_exporting"]

FORWARDER: Final = create_key("otel_tasklog.forwarder")
"""In the context of a record that `ProviderSender` emits: its thread's ident."""


def while_exporting(taken: Iterable[Captured]) -> set[int]:
    """Return the numbers of the records that exporters of the SDK caused.

    What the HTTP client of one says at work must not go back to it, for ever.
    """
    return {
        each[SEQUENCE]
        for each in taken
        if get_value(_SUPPRESS_INSTRUMENTATION_KEY, each[CONTEXT] or Context())
    }
