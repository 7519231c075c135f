"""Settings to the objects that they describe: resource, encoder, sender."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import Resource

from otel_tasklog._connection import GRPC
from otel_tasklog.capture._values import (
    AttributeNames,
    clean_text,
    clean_value,
    snapshot,
)
from otel_tasklog.delivery._encode import Encoder
from otel_tasklog.delivery._http import HttpSender
from otel_tasklog.delivery._outbox import Outbox

if TYPE_CHECKING:
    from otel_tasklog._config import Config
    from otel_tasklog.delivery._senders import Sender

__all__ = ["make_outbox", "make_resource", "make_sender"]


def make_resource(config: Config) -> Resource:
    """Return what the SDK's detectors find, and what the settings add.

    They read ``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES`` and
    ``OTEL_EXPERIMENTAL_RESOURCE_DETECTORS``. They also start threads, so this is
    nothing for a forked child's first moments.
    """
    attributes = dict(config.resource_attributes)
    if config.service_name is not None:
        attributes["service.name"] = config.service_name
    return Resource.create(attributes)


def make_outbox(config: Config, resource: Resource) -> Outbox:
    """Return an empty outbox for the records of a resource."""
    encoder = Encoder(
        {
            clean_text(str(k)): clean_value(snapshot(v), AttributeNames())
            for k, v in resource.attributes.items()
        },
        schema_url=resource.schema_url,
        include=config.include,
    )
    return Outbox(
        encoder=encoder,
        batch_records=config.batch_records,
        batch_bytes=config.batch_bytes,
        delay_seconds=config.schedule_delay_seconds,
    )


def make_sender(config: Config) -> Sender | None:
    """Return what sends the batches, or None if nothing is exported."""
    if config.exporter is None or config.exporter == "none":
        return None
    if config.logger_provider is not None:
        from otel_tasklog.delivery._provider import (
            ProviderSender,
        )

        return ProviderSender(config.logger_provider)
    if config.exporter == "otlp":
        return _make_otlp_sender(config)
    from otel_tasklog.delivery._exporter import (
        ExporterSender,
    )

    if config.exporter == "console":
        from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter

        # Its own default is what stdout was when the SDK was imported.
        return ExporterSender(ConsoleLogRecordExporter(out=sys.stdout))
    return ExporterSender(config.exporter)


def _make_otlp_sender(config: Config) -> Sender:
    if config.protocol == GRPC:
        from otel_tasklog.delivery._grpc import (
            GrpcSender,
        )

        return GrpcSender(config)
    return HttpSender(config)
