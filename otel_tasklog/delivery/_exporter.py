"""Delivery through any exporter that the OpenTelemetry SDK takes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_tasklog.delivery._provider import api_records
from otel_tasklog.delivery._senders import Accepted, Outcome, Rejected, Retry

if TYPE_CHECKING:
    from opentelemetry.sdk._logs.export import LogRecordExporter

__all__ = ["ExporterSender"]

EXPORTER_ATTEMPTS: Final = 10
"""With the outbox's back-off, two minutes and the exporter's own retries."""


class ExporterSender:
    """Any ``LogRecordExporter`` of the SDK: official, or somebody's own.

    The batch is decoded into the SDK's records. An exporter says only that it
    failed, not whether another attempt could succeed. So a batch is tried again, as
    in an outage, but not for ever: one that no attempt can deliver would hold up
    all that come after it.
    """

    def __init__(self, exporter: LogRecordExporter) -> None:
        self._exporter = exporter
        self._failing: bytes | None = None
        self._attempts = 0

    def send(self, body: bytes) -> Outcome:
        """Export a batch."""
        name = type(self._exporter).__name__
        try:
            result = self._exporter.export(_readable(body))
        except Exception as error:  # noqa: BLE001 - it is anybody's code
            return self._failed(body, f"{name}.export raised {error!r}")
        if result is LogRecordExportResult.SUCCESS:
            return Accepted()
        return self._failed(body, f"{name}.export returned {result!r}")

    def _failed(self, body: bytes, message: str) -> Outcome:
        if self._failing is not body:
            self._failing, self._attempts = body, 0
        self._attempts += 1
        if self._attempts < EXPORTER_ATTEMPTS:
            return Retry(message)
        self._failing = None
        return Rejected("exporter failure", message)

    def close(self) -> None:
        """Shut the exporter down."""
        try:
            self._exporter.shutdown()
        except Exception as error:  # noqa: BLE001 - it is anybody's code
            logging.getLogger("otel_tasklog").warning(
                "%s.shutdown raised %r", type(self._exporter).__name__, error
            )


def _readable(body: bytes) -> list[ReadableLogRecord]:
    attributes, resource = None, Resource({})
    records: list[ReadableLogRecord] = []
    for decoded, record in api_records(body):
        if decoded.resource is not attributes:  # one object for each resource
            attributes, resource = decoded.resource, Resource(decoded.resource)
        scope = InstrumentationScope(decoded.scope)
        records.append(ReadableLogRecord(record, resource, scope))
    return records
