"""What all numbers and switches among the settings must be, by their names."""

from __future__ import annotations

from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from otel_tasklog._connection import (
    GRPC,
    HTTP,
    LONGEST_TIMEOUT_SECONDS,
    check_endpoint,
    check_files,
    check_headers,
)
from otel_tasklog._errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "check_connection",
    "check_limits",
    "check_numbers",
    "check_provider",
    "check_switches",
    "spool_directory",
]

LEAST_ATTRIBUTES_BYTES: Final = 8_192
LEAST_BODY_BYTES: Final = 256
_SWITCHES: Final = (
    "handle_sigterm", "spool_fsync", "uncaught", "monitor", "task_lifecycle",
)  # fmt: skip
LEAST_BLOCKED_SECONDS: Final = 0.01
"""Below it the watch itself would be what holds up the loop."""


def check_switches(settings: Mapping[str, object]) -> None:
    """Refuse what is neither on nor off.

    Raises:
        ConfigError: A switch is no bool, or ``attach`` none of what it can be, too.
    """
    for setting in _SWITCHES:
        if not isinstance(settings[setting], bool):
            raise ConfigError(setting, settings[setting], "True or False")
    attach = settings["attach"]
    if not isinstance(attach, bool) and attach not in (None, "unix", "tcp"):
        expected = "True, False, 'unix', 'tcp' or None"
        raise ConfigError("attach", attach, expected)


def check_numbers(settings: Mapping[str, object]) -> None:
    """Refuse what can be no size or duration.

    Raises:
        ConfigError: A setting named for its unit is no such number.
    """
    for name, value in settings.items():
        number = not isinstance(value, bool)
        if name.endswith(("_records", "_bytes")) and not (
            number and isinstance(value, int) and value >= 1
        ):
            raise ConfigError(name, value, "a whole number, at least 1")
        if not name.endswith("_seconds"):
            continue
        if name == "blocked_after_seconds":
            _check_blocked(value)
            continue
        if not (
            number and isinstance(value, int | float) and 0 <= value < float("inf")
        ):
            raise ConfigError(name, value, "a number of seconds, 0 or more")
        if name in {"timeout_seconds", "export_timeout_seconds"} and not (
            0 < value <= LONGEST_TIMEOUT_SECONDS
        ):
            raise ConfigError(
                name,
                value,
                f"more than 0 seconds, and at most {LONGEST_TIMEOUT_SECONDS:,.0f}",
            )


def _check_blocked(seconds: object) -> None:
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is not None and not (
        number and LEAST_BLOCKED_SECONDS <= seconds < float("inf")  # type: ignore[operator]
    ):
        expected = f"at least {LEAST_BLOCKED_SECONDS:g} seconds, or None"
        raise ConfigError("blocked_after_seconds", seconds, expected)


def check_connection(settings: Mapping[str, Any]) -> None:
    """Refuse what nothing can be sent with.

    Raises:
        ConfigError: A setting of the connection cannot have its value.
    """
    if settings["protocol"] not in (HTTP, GRPC):
        raise ConfigError(
            "protocol",
            settings["protocol"],
            f"{HTTP!r} or {GRPC!r}; OTLP as JSON is not sent, and a Collector that "
            f"receives it takes {HTTP!r} at the same URL",
        )
    check_endpoint(settings["endpoint"], settings["protocol"])
    check_headers(settings["headers"], settings["protocol"])
    if settings["compression"] not in ("none", "gzip"):
        raise ConfigError("compression", settings["compression"], "'none' or 'gzip'")
    if settings["insecure"] is not None and not isinstance(settings["insecure"], bool):
        raise ConfigError("insecure", settings["insecure"], "True, False or None")
    check_files(
        certificate_file=settings["certificate_file"],
        client_key_file=settings["client_key_file"],
        client_certificate_file=settings["client_certificate_file"],
    )


def check_provider(settings: Mapping[str, Any]) -> None:
    """Refuse what says otherwise than a ``logger_provider``.

    Raises:
        ConfigError: It is none; or something else is to be the way out, too, or the
            resource.
    """
    provider, exporter = settings["logger_provider"], settings["exporter"]
    if not callable(getattr(provider, "get_logger", None)):
        raise ConfigError("logger_provider", provider, "a LoggerProvider or None")
    if exporter not in ("otlp", None):
        expected = "one way out: this, or logger_provider="
        raise ConfigError("exporter", exporter, expected)
    for setting in ("service_name", "resource_attributes"):
        if settings[setting]:
            raise ConfigError(
                setting,
                settings[setting],
                "none: with logger_provider= the provider's resource is sent",
            )


def check_limits(settings: Mapping[str, object]) -> None:
    """Refuse what can be no limit of a record.

    Raises:
        ConfigError: A limit is no whole number, or leaves no room for what is ours.
    """
    for name, least, none in (
        ("attribute_count_limit", 0, True),
        ("attribute_value_length_limit", 0, False),
        ("attributes_bytes", LEAST_ATTRIBUTES_BYTES, False),
        ("body_bytes", LEAST_BODY_BYTES, False),
    ):
        value = settings[name]
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not (none and value is None) and not (whole and value >= least):  # type: ignore[operator]
            expected = f"a whole number, at least {least}" + " or None" * none
            raise ConfigError(name, value, expected)


def spool_directory(settings: Mapping[str, object]) -> Path | None:
    """Return where the spool is to be. A daemon may change its own directory later.

    Raises:
        ConfigError: It is nothing that a directory can be called, or there is not
            enough room in it for a batch.
    """
    directory, size, least = (
        settings[each] for each in ("spool_dir", "spool_bytes", "batch_bytes")
    )
    if directory is None:
        return None
    try:
        name = fspath(cast("str", directory))
        known = "\0" not in name and name != ""
    except TypeError:  # nothing that has a path, or one of bytes
        known = False
    if not known:
        raise ConfigError("spool_dir", directory, "a directory or None")
    if isinstance(size, int) and isinstance(least, int) and size < least:
        raise ConfigError("spool_bytes", size, f"at least batch_bytes ({least})")
    return Path(cast("str", directory)).absolute()
