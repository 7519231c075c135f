"""The keywords of `install` and of handlers; `Config` says what each means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict

if TYPE_CHECKING:
    import logging
    import re
    from collections.abc import Mapping, Sequence

    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk._logs.export import LogRecordExporter

    from otel_tasklog._connection import FilePath

__all__ = ["HandlerSettings", "Include", "Settings"]

Include: TypeAlias = Literal["asyncio", "code", "thread", "process"]


class HandlerSettings(TypedDict, total=False):
    """The keywords of a `TaskLogHandler`; `Config` says what each means."""

    service_name: str | None
    resource_attributes: Mapping[str, str | int | float | bool]
    endpoint: str
    protocol: str
    headers: Mapping[str, str]
    compression: str
    certificate_file: FilePath | None
    client_key_file: FilePath | None
    client_certificate_file: FilePath | None
    insecure: bool | None
    timeout_seconds: float
    export_timeout_seconds: float
    max_retry_after_seconds: float
    export_level: int | str
    exporter: LogRecordExporter | Literal["otlp", "console", "none"] | None
    logger_provider: LoggerProvider | None
    meter_provider: MeterProvider | None
    console: bool | Literal["auto"]
    include: Sequence[Include]
    redact_keys: Sequence[str]
    redact_patterns: Sequence[str | re.Pattern[str]]
    attribute_count_limit: int | None
    attribute_value_length_limit: int
    attributes_bytes: int
    body_bytes: int
    ring_records: int
    ring_bytes: int
    buffer_records: int
    buffer_bytes: int
    drop_policy: Literal["oldest", "newest"]
    block_seconds: float
    spool_dir: FilePath | None
    spool_bytes: int
    spool_interval_seconds: float
    spool_fsync: bool
    batch_records: int
    batch_bytes: int
    schedule_delay_seconds: float
    exit_timeout_seconds: float
    handle_sigterm: bool
    uncaught: bool
    attach: bool | Literal["unix", "tcp"] | None
    blocked_after_seconds: float | None
    task_lifecycle: bool


class Settings(HandlerSettings, total=False):
    """The keywords of `install`, to which loggers and event loop are left, too."""

    level: int | str | None
    loggers: Sequence[str | logging.Logger]
    monitor: bool
