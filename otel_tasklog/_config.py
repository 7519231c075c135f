"""Every setting, checked once.

`Config` is a frozen value; the environment is read in `Config.from_env` alone.
What `install` is given wins over the environment, and that over the defaults.
OpenTelemetry's milliseconds become seconds here.
"""

from __future__ import annotations

import dataclasses
import difflib
import logging
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from otel_tasklog._checks import (
    check_connection,
    check_limits,
    check_numbers,
    check_provider,
    check_switches,
    spool_directory,
)
from otel_tasklog._connection import (
    DEFAULT_ENDPOINTS,
    GRPC,
    HTTP,
    with_path,
)
from otel_tasklog._environ import settings_from
from otel_tasklog._errors import ConfigError
from otel_tasklog._secrets import SECRET_KEYS, check_redaction
from otel_tasklog._settings import HandlerSettings, Settings

if TYPE_CHECKING:
    import re
    from typing import Unpack

    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk._logs.export import LogRecordExporter

    from otel_tasklog._connection import FilePath
    from otel_tasklog._settings import Include

__all__ = ["Config", "HandlerSettings", "Settings"]

INCLUDED: Final[Sequence[Include]] = ("asyncio", "code")
INCLUDABLE: Final = frozenset({"asyncio", "code", "thread", "process"})
VERSION: Final = "0.1.0"
DEFAULT_BATCH_RECORDS: Final = 2_048


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The settings of one TaskLog.

    Attributes:
        service_name: ``service.name`` of the resource. The SDK's detectors read
            ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` for the rest.
        resource_attributes: Added to the resource.
        endpoint: Where to send: for HTTP the full URL, to which `from_env` adds
            ``/v1/logs`` if it has no path; for gRPC a URL without a path, or one of
            gRPC's own forms. ``""`` is the protocol's usual port on this machine.
        protocol: ``"http/protobuf"`` or ``"grpc"``.
        headers: Sent with each request, for authorization for example.
        compression: ``"none"`` or ``"gzip"``.
        certificate_file: Whom to trust, instead of the authorities that everybody
            trusts; PEM.
        client_key_file: The key to `client_certificate_file`; PEM.
        client_certificate_file: What to show to a receiver that asks who we are;
            PEM, with the certificates between it and the authority.
        insecure: Whether gRPC goes without TLS, for an endpoint that is no URL;
            None is False. In a URL the scheme says it.
        timeout_seconds: HTTP: for connecting, again for sending, and again for the
            whole answer; gRPC: for all of it.
        export_timeout_seconds: For one attempt to send a batch, with its redirects.
        max_retry_after_seconds: A receiver may ask for a longer pause in vain.
        level: Sets the root logger's level until `close`; None leaves it.
        export_level: What is below it stays in the ring and is not sent.
        loggers: Where to attach the handler; the root logger by default.
        exporter: ``"otlp"``; ``"console"`` to print the records as JSON instead; an
            SDK ``LogRecordExporter`` to send through; or None, or ``"none"``, to keep
            records in the ring only.
        logger_provider: Send the records through its loggers, and so through the
            processors of an OpenTelemetry set-up that the application has already,
            instead of sending them ourselves.
        meter_provider: Shows delivery in its metrics; None does not.
        console: A handler on the root logger silences Python's output of last
            resort. ``"auto"`` puts an equal one beside ours if the root has no other
            handler; True always; False never.
        include: What else goes out with each record: the ``"asyncio"`` task, the
            ``"code"`` location, the ``"thread"``, the ``"process"``.
        redact_keys: Regular expressions. The value of a key in which one is found is
            not shown to anybody; none of them switches that off.
        redact_patterns: What is taken out of texts: names out of
            `otel_tasklog.SECRET_PATTERNS`, or compiled regular expressions.
        attribute_count_limit: How many attributes of the application a record may
            have, each leaf of a nested mapping counted. None is what leaves 96 in
            all, with those of the resource and ours.
        attribute_value_length_limit: A longer text is cut to so many characters, bytes
            to so many bytes.
        attributes_bytes: What all attributes of a record may take, with the resource's
            and ours.
        body_bytes: What its body may take.
        ring_records: How many records the ring keeps.
        ring_bytes: How many bytes they may take, estimated.
        buffer_records: How many records may wait for the receiver.
        buffer_bytes: How many bytes they may take.
        drop_policy: What goes when more come than fit: the ``"oldest"``, or the
            ``"newest"``.
        block_seconds: How long a log call may wait for room first. Never one on a
            thread that runs an event loop.
        spool_dir: A directory for what is to be sent, so that it outlives the process
            and an outage longer than the buffer. Any number of processes of one user
            may share it.
        spool_bytes: How many bytes one process may keep there.
        spool_interval_seconds: How long a record may be in memory alone.
        spool_fsync: Whether to wait for the disk each time, for what the loss of the
            machine would cost.
        batch_records: At most so many records a request.
        batch_bytes: At most so many bytes a request, before compression.
        schedule_delay_seconds: How long a record waits for others.
        exit_timeout_seconds: How long the program's end may wait for delivery.
        handle_sigterm: Whether a SIGTERM nobody handles delivers before it ends.
        uncaught: Whether exceptions that nobody catches become records: what
            reaches ``sys.excepthook`` and ``threading.excepthook``, and what asyncio
            hands to the loop's exception handler, with its task's identity.
        attach: Whether ``otel-tasklog`` in another terminal may ask this process,
            through an access point of its user's; ``"unix"`` for a unix-domain
            socket, ``"tcp"`` for a port of the loopback with a token. None is True
            if the extra is installed. Of `install` and handlers alone.
        monitor: Whether to start aiomonitor with our commands. Of `install` alone.
        blocked_after_seconds: A task that holds up its event loop for so long has it
            said in its own log; None watches nothing.
        task_lifecycle: Whether the begin and the end of each asyncio task are records.
    """

    service_name: str | None = None
    resource_attributes: Mapping[str, str | int | float | bool] = dataclasses.field(
        default_factory=dict[str, str | int | float | bool]
    )
    endpoint: str = ""
    protocol: str = HTTP
    headers: Mapping[str, str] = dataclasses.field(
        default_factory=dict[str, str], repr=False
    )
    compression: str = "none"
    certificate_file: FilePath | None = None
    client_key_file: FilePath | None = None
    client_certificate_file: FilePath | None = None
    insecure: bool | None = None
    timeout_seconds: float = 10.0
    export_timeout_seconds: float = 30.0
    max_retry_after_seconds: float = 300.0
    level: int | str | None = None
    export_level: int | str = logging.NOTSET
    loggers: Sequence[str | logging.Logger] = ("",)
    exporter: LogRecordExporter | Literal["otlp", "console", "none"] | None = "otlp"
    logger_provider: LoggerProvider | None = None
    meter_provider: MeterProvider | None = None
    console: bool | Literal["auto"] = "auto"
    include: Sequence[Include] = INCLUDED
    redact_keys: Sequence[str] = SECRET_KEYS
    redact_patterns: Sequence[str | re.Pattern[str]] = ()
    attribute_count_limit: int | None = None
    attribute_value_length_limit: int = 16_384
    attributes_bytes: int = 48 * 1024
    body_bytes: int = 200 * 1024
    ring_records: int = 20_000
    ring_bytes: int = 32 * 1024 * 1024
    buffer_records: int = 65_536
    buffer_bytes: int = 96 * 1024 * 1024
    drop_policy: Literal["oldest", "newest"] = "oldest"
    block_seconds: float = 0.0
    spool_dir: FilePath | None = None
    spool_bytes: int = 256 * 1024 * 1024
    spool_interval_seconds: float = 0.2
    spool_fsync: bool = False
    batch_records: int = DEFAULT_BATCH_RECORDS
    batch_bytes: int = 1024 * 1024
    schedule_delay_seconds: float = 1.0
    exit_timeout_seconds: float = 5.0
    handle_sigterm: bool = True
    uncaught: bool = False
    attach: bool | Literal["unix", "tcp"] | None = None
    monitor: bool = False
    blocked_after_seconds: float | None = 0.25
    task_lifecycle: bool = False

    def __post_init__(self) -> None:
        if self.exporter == "none":
            object.__setattr__(self, "exporter", None)
        if self.endpoint == "":
            usual = DEFAULT_ENDPOINTS[GRPC if self.protocol == GRPC else HTTP]
            object.__setattr__(self, "endpoint", usual)
        settings = {
            each.name: getattr(self, each.name) for each in dataclasses.fields(self)
        }
        # Another way out than ours does not care for what ours needs.
        if self.exporter == "otlp" and self.logger_provider is None:
            check_connection(settings)
        _check_choices(self)
        if self.logger_provider is not None:
            check_provider(settings)
        _check_names(self)
        check_switches(settings)
        object.__setattr__(self, "spool_dir", spool_directory(settings))
        check_numbers(settings)
        check_limits(settings)
        check_redaction(settings)
        if self.batch_records == DEFAULT_BATCH_RECORDS > self.buffer_records:
            object.__setattr__(self, "batch_records", self.buffer_records)
        if self.batch_records > self.buffer_records:
            raise ConfigError(
                "batch_records",
                self.batch_records,
                f"at most buffer_records ({self.buffer_records})",
            )

    @property
    def export_levelno(self) -> int:
        """The export level as a number; without any, one below all there are."""
        return level_number("export_level", self.export_level) or -sys.maxsize

    @property
    def take_delay_seconds(self) -> float:
        """How long a record may wait for the worker."""
        if self.spool_dir is None:
            return self.schedule_delay_seconds
        return min(self.schedule_delay_seconds, self.spool_interval_seconds)

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
        found, variables = settings_from(environ, explicit)
        settings: dict[str, Any] = {**found, **explicit}
        endpoint = explicit.get("endpoint")
        if endpoint and settings.get("protocol", HTTP) == HTTP:
            settings["endpoint"] = with_path(endpoint)
        try:
            return cls(**settings)
        except ConfigError as error:
            if error.setting in explicit or error.setting not in variables:
                raise
            # Name what the person can change.
            variable = variables[error.setting]
            got = environ[variable] if error.setting == "endpoint" else error.got
            shown = error.got if "@" in str(got) else got  # no credentials
            raise ConfigError(variable, shown, error.expected) from None


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


def _check_choices(config: Config) -> None:
    if not isinstance(config.console, bool) and config.console != "auto":
        raise ConfigError("console", config.console, "True, False or 'auto'")
    if config.drop_policy not in ("oldest", "newest"):
        raise ConfigError("drop_policy", config.drop_policy, "'oldest' or 'newest'")
    if not _is_sequence(config.include) or not INCLUDABLE.issuperset(config.include):
        raise ConfigError(
            "include", config.include, f"a sequence out of {sorted(INCLUDABLE)}"
        )
    if config.exporter not in ("otlp", "console", None) and not callable(
        getattr(config.exporter, "export", None)
    ):
        raise ConfigError(
            "exporter",
            config.exporter,
            "one of 'otlp', 'console' and 'none', or an SDK LogRecordExporter",
        )
    if config.meter_provider is not None and not callable(
        getattr(config.meter_provider, "get_meter", None)
    ):
        raise ConfigError(
            "meter_provider", config.meter_provider, "a MeterProvider or None"
        )


def _check_names(config: Config) -> None:
    if config.level is not None:
        level_number("level", config.level)
    level_number("export_level", config.export_level)
    if not isinstance(config.service_name, str | None):
        raise ConfigError("service_name", config.service_name, "a text or None")
    if not isinstance(config.resource_attributes, Mapping):
        raise ConfigError("resource_attributes", "...", "a mapping")
    if not _is_sequence(config.loggers):
        raise ConfigError("loggers", config.loggers, "a sequence of logger names")
    for logger in config.loggers:
        if not isinstance(logger, str | logging.Logger):
            raise ConfigError("loggers", logger, "a logger or its name")
