"""Every setting, checked once.

`Config` is a frozen value; the environment is read in `Config.from_env` alone.
What `install` is given wins over the environment, and that over the defaults.
OpenTelemetry's milliseconds become seconds here.
"""

from __future__ import annotations

import dataclasses
import difflib
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict
from urllib.parse import urlsplit

from otel_tasklog._environ import LOGS_PATH, settings_from
from otel_tasklog._errors import ConfigError

if TYPE_CHECKING:
    from typing import Unpack

    from opentelemetry.sdk._logs.export import LogRecordExporter

__all__ = ["Config", "Settings"]

Include: TypeAlias = Literal["asyncio", "code", "thread", "process"]
INCLUDABLE: Final = frozenset({"asyncio", "code", "thread", "process"})
VERSION: Final = "0.1.0"
DEFAULT_ENDPOINT: Final = "http://localhost:4318/v1/logs"
DEFAULT_BATCH_RECORDS: Final = 512
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class Settings(TypedDict, total=False):
    """The keywords of `install`; `Config` says what each means."""

    service_name: str | None
    resource_attributes: Mapping[str, str | int | float | bool]
    endpoint: str
    protocol: str
    headers: Mapping[str, str]
    compression: str
    timeout_seconds: float
    max_retry_after_seconds: float
    level: int | str | None
    export_level: int | str
    loggers: Sequence[str | logging.Logger]
    exporter: LogRecordExporter | Literal["otlp"] | None
    console: bool | Literal["auto"]
    include: Sequence[Include]
    ring_records: int
    ring_bytes: int
    buffer_records: int
    buffer_bytes: int
    batch_records: int
    batch_bytes: int
    schedule_delay_seconds: float
    exit_timeout_seconds: float
    handle_sigterm: bool
    monitor: bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The settings of one TaskLog.

    Attributes:
        service_name: ``service.name`` of the resource. The SDK's detectors read
            ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` for the rest.
        resource_attributes: Added to the resource.
        endpoint: Where to send, the full URL. `from_env` adds ``/v1/logs`` to one
            without a path.
        protocol: ``"http/protobuf"``.
        headers: Sent with each request, for authorization for example.
        compression: ``"none"`` or ``"gzip"``.
        timeout_seconds: For connecting, and again for the answer.
        max_retry_after_seconds: A receiver may ask for a longer pause in vain.
        level: Sets the root logger's level until `close`; None leaves it.
        export_level: What is below it stays in the ring and is not sent.
        loggers: Where to attach the handler; the root logger by default.
        exporter: ``"otlp"``; an SDK ``LogRecordExporter`` to send through
            instead; or None to keep records in the ring only.
        console: A handler on the root logger silences Python's output of last
            resort. ``"auto"`` puts an equal one beside ours if the root had no
            handler; True always; False never.
        include: What else goes out with each record: the ``"asyncio"`` task, the
            ``"code"`` location, the ``"thread"``, the ``"process"``.
        ring_records: How many records the ring keeps.
        ring_bytes: How many bytes they may take, estimated.
        buffer_records: How many records may wait for the receiver.
        buffer_bytes: How many bytes they may take.
        batch_records: At most so many records a request.
        batch_bytes: At most so many bytes a request, before compression.
        schedule_delay_seconds: How long a record waits for others.
        exit_timeout_seconds: How long the program's end may wait for delivery.
        handle_sigterm: Whether a SIGTERM nobody handles delivers before it ends.
        monitor: Whether to start aiomonitor with our commands.
    """

    service_name: str | None = None
    resource_attributes: Mapping[str, str | int | float | bool] = dataclasses.field(
        default_factory=dict[str, str | int | float | bool]
    )
    endpoint: str = DEFAULT_ENDPOINT
    protocol: str = "http/protobuf"
    headers: Mapping[str, str] = dataclasses.field(
        default_factory=dict[str, str], repr=False
    )
    compression: str = "none"
    timeout_seconds: float = 10.0
    max_retry_after_seconds: float = 300.0
    level: int | str | None = None
    export_level: int | str = logging.NOTSET
    loggers: Sequence[str | logging.Logger] = ("",)
    exporter: LogRecordExporter | Literal["otlp"] | None = "otlp"
    console: bool | Literal["auto"] = "auto"
    include: Sequence[Include] = ("asyncio", "code")
    ring_records: int = 20_000
    ring_bytes: int = 32 * 1024 * 1024
    buffer_records: int = 65_536
    buffer_bytes: int = 96 * 1024 * 1024
    batch_records: int = DEFAULT_BATCH_RECORDS
    batch_bytes: int = 1024 * 1024
    schedule_delay_seconds: float = 1.0
    exit_timeout_seconds: float = 5.0
    handle_sigterm: bool = True
    monitor: bool = False

    def __post_init__(self) -> None:
        _check_endpoint(self.endpoint)
        # Another way out than ours does not care for ours' protocol.
        if self.exporter == "otlp" and self.protocol != "http/protobuf":
            raise ConfigError(
                "protocol",
                self.protocol,
                "'http/protobuf'; for gRPC pass "
                "exporter=opentelemetry.exporter.otlp.proto.grpc._log_exporter"
                ".OTLPLogExporter()",
            )
        if self.compression not in {"none", "gzip"}:
            raise ConfigError("compression", self.compression, "'none' or 'gzip'")
        if not isinstance(self.console, bool) and self.console != "auto":
            raise ConfigError("console", self.console, "True, False or 'auto'")
        if not _is_sequence(self.include) or not INCLUDABLE.issuperset(self.include):
            raise ConfigError(
                "include", self.include, f"a sequence out of {sorted(INCLUDABLE)}"
            )
        if self.exporter not in ("otlp", None) and not callable(
            getattr(self.exporter, "export", None)
        ):
            raise ConfigError(
                "exporter", self.exporter, "'otlp', None or an SDK LogRecordExporter"
            )
        _check_names(self)
        _check_numbers(self)

    @property
    def export_levelno(self) -> int:
        """The export level as a number."""
        return level_number("export_level", self.export_level)

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str], **explicit: Unpack[Settings]
    ) -> Config:
        """Return the settings: explicit ones, else the environment's, else defaults.

        Args:
            environ: ``os.environ``, or what a test says it is. A variable that is
                set to the empty text counts as not set.
            **explicit: What the caller decided.

        Raises:
            ConfigError: A setting or variable cannot have its value, or there is
                no such setting.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        check_names(explicit, known)
        found, variables = settings_from(environ)
        settings: dict[str, Any] = {**found, **explicit}
        if "endpoint" in explicit:
            _check_endpoint(explicit["endpoint"])
            settings["endpoint"] = _with_path(explicit["endpoint"])
        if "batch_records" not in settings and "buffer_records" in settings:
            settings["batch_records"] = min(
                DEFAULT_BATCH_RECORDS, settings["buffer_records"]
            )
        try:
            return cls(**settings)
        except ConfigError as error:
            if error.setting in explicit or error.setting not in variables:
                raise
            # Name what the person can change.
            variable = variables[error.setting]
            raise ConfigError(variable, error.got, error.expected) from None


def level_number(setting: str, level: int | str) -> int:
    """Return a level's number.

    Raises:
        ConfigError: There is no level of that name.
    """
    if isinstance(level, int):
        return level
    if not isinstance(level, str):
        raise ConfigError(setting, level, "a number or a level's name")
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        names = ", ".join(logging.getLevelNamesMapping())
        raise ConfigError(setting, level, f"a number or one of {names}")
    return number


def check_names(given: Mapping[str, object], known: Collection[str]) -> None:
    """Refuse a keyword that does not exist, and say which was meant.

    Raises:
        ConfigError: There is no such setting.
    """
    for name, value in given.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"one of {sorted(known)}"
            raise ConfigError(name, value, f"a setting that exists; {hint}")


def _is_sequence(value: object) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str)


def _check_endpoint(endpoint: str) -> None:
    try:
        parts = urlsplit(endpoint)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname)
        good = good and parts.port != 0
    except (ValueError, AttributeError, TypeError):  # a port that is none, no text
        good = False
    if not good:
        raise ConfigError("endpoint", endpoint, "a URL such as 'http://localhost:4318'")
    if "@" in urlsplit(endpoint).netloc:
        raise ConfigError("endpoint", "...@...", "no credentials; use headers=")


def _with_path(endpoint: str) -> str:
    if urlsplit(endpoint).path in {"", "/"}:
        return f"{endpoint.rstrip('/')}/{LOGS_PATH}"
    return endpoint


def _check_names(config: Config) -> None:
    if config.level is not None:
        level_number("level", config.level)
    level_number("export_level", config.export_level)
    for setting in ("headers", "resource_attributes"):
        if not isinstance(getattr(config, setting), Mapping):
            raise ConfigError(setting, "...", "a mapping")
    if not _is_sequence(config.loggers):
        raise ConfigError("loggers", config.loggers, "a sequence of logger names")
    for logger in config.loggers:
        if not isinstance(logger, str | logging.Logger):
            raise ConfigError("loggers", logger, "a logger or its name")
    for name, value in config.headers.items():
        # As HTTP has it; what the client would refuse would be refused for ever.
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ConfigError(
                "headers", {name: "..."}, "a header's name, and a text on one line"
            )


def _check_numbers(config: Config) -> None:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name.endswith(("_records", "_bytes")) and not (
            isinstance(value, int) and value >= 1
        ):
            raise ConfigError(field.name, value, "a whole number, at least 1")
        if field.name.endswith("_seconds") and not (
            isinstance(value, int | float) and 0 <= value < float("inf")
        ):
            raise ConfigError(field.name, value, "seconds, 0 or more")
    if not config.timeout_seconds:
        raise ConfigError("timeout_seconds", 0, "more than 0 seconds")
    if config.batch_records > config.buffer_records:
        raise ConfigError(
            "batch_records",
            config.batch_records,
            f"at most buffer_records ({config.buffer_records})",
        )
