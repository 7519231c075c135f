"""Delivery through the ``LoggerProvider`` that an application has already.

This is what OpenTelemetry calls a log bridge: the records become those of the API
and go through the provider's loggers, and so through its processors and exporters.

See https://opentelemetry.io/docs/specs/otel/logs/api/
"""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING

from opentelemetry._logs import Logger, LogRecord, NoOpLogger, SeverityNumber
from opentelemetry.context import Context, attach, detach, set_value
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    set_span_in_context,
)

from otel_tasklog.delivery._decode import decode_request
from otel_tasklog.delivery._echo import FORWARDER
from otel_tasklog.delivery._senders import Accepted, Misconfigured, Outcome, Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry._logs import LoggerProvider

    from otel_tasklog.delivery._decode import DecodedRecord

__all__ = ["ProviderSender", "api_records"]


class ProviderSender:
    """Emits the records through the loggers of a ``LoggerProvider``.

    What was emitted is delivered: the provider's processors may still hold it, and
    its ``force_flush`` is the application's to call. So is its ``shutdown``.

    Guarantees:

    * A record is emitted once. Nothing is tried again after the first was.
    * A processor that raises costs the record that it raised for, and no other.
    * While a record is emitted, the span that it was logged in is the current one.
    """

    def __init__(self, provider: LoggerProvider) -> None:
        self._provider = provider

    def send(self, body: bytes) -> Outcome:
        """Emit a batch."""
        name = type(self._provider).__name__
        probe = self._provider.get_logger("otel_tasklog")
        if isinstance(probe, NoOpLogger):
            return Rejected("no-op provider", f"the loggers of {name} discard records")
        # The API's own are two: that one, and what stands in for it until there is
        # a global provider. The second has no public name.
        if type(probe).__module__ == Logger.__module__:
            return Misconfigured(
                f"{name} has no provider behind it yet; "
                "call opentelemetry._logs.set_logger_provider()"
            )
        refused, message = 0, ""
        for decoded, record in api_records(body):
            token = attach(record.context or Context())
            try:
                record.context = set_value(FORWARDER, get_ident(), record.context)
                self._provider.get_logger(decoded.scope).emit(record)
            except Exception as error:  # noqa: BLE001 - it is anybody's code
                refused += 1
                message = f"{name}: emitting a record raised {error!r}"
            finally:
                detach(token)
        return Accepted(refused, message)

    def close(self) -> None:
        """Leave the provider alone: the application uses it, and shuts it down."""


def api_records(body: bytes) -> Iterator[tuple[DecodedRecord, LogRecord]]:
    """Yield the records of a batch, each as the wire and as the API has it."""
    for decoded in decode_request(body):
        wire = decoded.record
        context = None
        if wire.trace_id:
            span = SpanContext(
                int.from_bytes(wire.trace_id, "big"),
                int.from_bytes(wire.span_id, "big"),
                is_remote=False,
                trace_flags=TraceFlags(wire.flags),
            )
            context = set_span_in_context(NonRecordingSpan(span), Context())
        yield (
            decoded,
            LogRecord(
                timestamp=wire.time_unix_nano or None,
                observed_timestamp=wire.observed_time_unix_nano or None,
                context=context,
                severity_text=wire.severity_text or None,
                severity_number=SeverityNumber(wire.severity_number),
                body=decoded.body,
                attributes=decoded.attributes,
                event_name=wire.event_name or None,
            ),
        )
