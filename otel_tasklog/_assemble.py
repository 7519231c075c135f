"""Settings to the objects that they describe: resource, encoder, sender."""

from __future__ import annotations

import contextlib
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry.sdk.resources import Resource

from otel_tasklog._connection import GRPC
from otel_tasklog._text import printable_json, visible
from otel_tasklog.capture._clean import Cleaner, Limits
from otel_tasklog.capture._names import AttributeNames, clean_text
from otel_tasklog.capture._redact import REDACTED, Redactor
from otel_tasklog.capture._values import Value, cut, snapshot
from otel_tasklog.delivery._buffer import Intake
from otel_tasklog.delivery._encode import Encoder
from otel_tasklog.delivery._http import HttpSender
from otel_tasklog.delivery._outbox import Outbox
from otel_tasklog.delivery._overflow import Overflow
from otel_tasklog.delivery._owners import prepare
from otel_tasklog.delivery._refused import Refused
from otel_tasklog.delivery._spool import Spool
from otel_tasklog.delivery._wire import key_values
from otel_tasklog.store._memory import Ring

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Collection, Mapping

    from otel_tasklog._config import Config
    from otel_tasklog.capture._resolve import Resolver
    from otel_tasklog.delivery._senders import Sender

__all__ = [
    "Shared",
    "make_intake",
    "make_outbox",
    "make_ring",
    "make_sender",
    "make_shared",
]

ATTRIBUTES: Final = 96
"""A default Loki takes 128 of a record, with eight that it makes itself."""

OWN_ATTRIBUTES: Final = 16
"""So many of ours a record can have: identity, place, exception, stack."""

OWN_BYTES: Final = 4_096
"""What they take, but for an exception's texts and a stack."""

RESOURCE_CHARACTERS: Final = 1_024

BATCHES: Final = 4
"""At least so many fit into the buffer."""


def _make_resource(config: Config) -> Resource:
    """Return what the SDK's detectors find, and what the settings add.

    They read ``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES`` and
    ``OTEL_EXPERIMENTAL_RESOURCE_DETECTORS``. They also start threads, so this is
    nothing for a forked child's first moments.
    """
    attributes = dict(config.resource_attributes)
    if config.service_name is not None:
        attributes["service.name"] = config.service_name
    return Resource.create(attributes)


class Shared(NamedTuple):
    """What all records of a TaskLog share.

    Attributes:
        resource: The resource's attributes, as they go out.
        schema_url: Its schema.
        names: Decides what the keys of attributes become.
        cleaner: Sees to what goes out.
    """

    resource: Mapping[str, Value]
    schema_url: str
    names: AttributeNames
    cleaner: Cleaner


def make_shared(config: Config) -> Shared:
    """Return what is the same for all records, and so made once.

    The limits in the settings are for a whole record. What the resource and our own
    attributes take of them is not the application's.
    """
    resource = _make_resource(config)
    redactor = Redactor(config.redact_keys, config.redact_patterns)
    names = AttributeNames(redactor.is_secret, others=resource.attributes)
    attributes = config.attribute_count_limit
    if attributes is None:
        attributes = max(ATTRIBUTES - len(resource.attributes) - OWN_ATTRIBUTES, 0)
    cleaned = _cleaned(resource, names)
    shared = len(key_values(b"", cleaned))
    own = min(OWN_BYTES, config.attributes_bytes // 2)
    limits = Limits(
        attributes=attributes,
        value_characters=config.attribute_value_length_limit,
        attributes_bytes=max(config.attributes_bytes - own - shared, own),
        body_bytes=config.body_bytes,
    )
    cleaner = Cleaner(names, redactor, limits)
    return Shared(cleaned, resource.schema_url, names, cleaner)


def _cleaned(resource: Resource, names: AttributeNames) -> dict[str, Value]:
    """Return the attributes of a resource. Loki refuses an index label that is longer."""
    cleaned: dict[str, Value] = {}
    for key, given in resource.attributes.items():
        name, secret = names[key]
        value = REDACTED if secret else snapshot(given)
        if type(value) is str:
            value = clean_text(cut(value, RESOURCE_CHARACTERS))
        cleaned[name] = value
    return cleaned


def make_intake(
    config: Config,
    *,
    export_level: int,
    start: Callable[[], bool],
    followed: Callable[[], bool],
    own_threads: Collection[int | None],
) -> Intake:
    """Return an empty intake; `Intake` says what is what."""
    return Intake(
        limits=(config.buffer_records, config.buffer_bytes),
        export_level=export_level,
        start=start,
        followed=followed,
        drop_newest=config.drop_policy == "newest",
        block_seconds=config.block_seconds,
        own_threads=own_threads,
    )


def make_ring(config: Config, intake: Intake, resolve: Resolver) -> Ring:
    """Return an empty ring, which shows what waits in the intake, too."""
    return Ring(
        records=config.ring_records,
        size_bytes=config.ring_bytes,
        unfinished=intake.unfinished,
        finish=resolve,
    )


def make_outbox(
    config: Config, shared: Shared, reports: deque[tuple[str, str]], *, strict: bool
) -> Outbox:
    """Return an empty outbox.

    Args:
        config: The settings.
        shared: What all records share.
        reports: Takes a cause and a text when the disk fails.
        strict: Whether a ``spool_dir`` that can be no spool is an error. In a forked
            child it is only reported: nobody could catch it.

    Raises:
        ConfigError: It is *strict*, and there can be no spool.
    """
    encoder = Encoder(
        shared.resource,
        schema_url=shared.schema_url,
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
    outbox = Outbox(
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
    outbox.shown = lambda words: visible(shared.cleaner.text(words))
    return outbox


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
        console = ConsoleLogRecordExporter(
            out=sys.stdout,
            formatter=lambda record: printable_json(record.to_json(indent=None)) + "\n",
        )
        return ExporterSender(console)
    return ExporterSender(config.exporter)


def _make_otlp_sender(config: Config) -> Sender:
    if config.protocol == GRPC:
        from otel_tasklog.delivery._grpc import (
            GrpcSender,
        )

        return GrpcSender(config)
    return HttpSender(config)
