"""Settings to the objects that they describe: resource, encoder, sender."""

from __future__ import annotations

import contextlib
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

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
from otel_tasklog.delivery._overflow import Overflow
from otel_tasklog.delivery._owners import prepare
from otel_tasklog.delivery._refused import Refused
from otel_tasklog.delivery._spool import Spool

if TYPE_CHECKING:
    from collections import deque

    from otel_tasklog._config import Config
    from otel_tasklog.delivery._senders import Sender

__all__ = ["make_outbox", "make_resource", "make_sender"]

BATCHES: Final = 4
"""At least so many fit into the buffer."""


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


def make_outbox(
    config: Config, resource: Resource, reports: deque[tuple[str, str]], *, strict: bool
) -> Outbox:
    """Return an empty outbox for the records of a resource.

    Args:
        config: The settings.
        resource: The resource.
        reports: Takes a cause and a text when the disk fails.
        strict: Whether a ``spool_dir`` that can be no spool is an error. In a forked
            child it is only reported: nobody could catch it.

    Raises:
        ConfigError: It is *strict*, and there can be no spool.
    """
    encoder = Encoder(
        {
            clean_text(str(k)): clean_value(snapshot(v), AttributeNames())
            for k, v in resource.attributes.items()
        },
        schema_url=resource.schema_url,
        include=config.include,
    )

    def report(cause: str, text: str) -> None:
        reports.append((cause, text))

    directory = None if config.spool_dir is None else Path(config.spool_dir)
    spool = None
    if directory is not None:
        if strict:
            with contextlib.suppress(OSError):  # which the spool reports
                prepare(directory)
        spool = Spool(
            directory,
            max_bytes=config.spool_bytes,
            fsync=config.spool_fsync,
            report=report,
        )
    return Outbox(
        encoder=encoder,
        refused=Refused(directory, report),
        # With a spool, half of the buffer is for what comes before the next turn.
        overflow=Overflow(spool, config.buffer_records // 2, config.buffer_bytes // 2),
        write_seconds=math.inf if spool is None else config.spool_interval_seconds,
        drop_newest=config.drop_policy == "newest",
        # A batch is dropped whole, so it is to be a small part of what fits.
        limits=(
            min(config.batch_records, max(config.buffer_records // BATCHES, 1)),
            min(config.batch_bytes, max(config.buffer_bytes // BATCHES, 1)),
        ),
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
