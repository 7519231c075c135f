"""What the environment says: OpenTelemetry's variables as settings.

The only knowledge of their names, spelling and units. ``os.environ`` is not read
here, but what `Config.from_env` is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from otel_tasklog._errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["LOGS_PATH", "settings_from"]

LOGS_PATH: Final = "v1/logs"


def _milliseconds(text: str) -> float:
    return int(text) / 1000


def _yes(text: str) -> bool:
    # The specification knows only "true"; all else is false.
    return text.strip().lower() == "true"


def _header_list(text: str) -> dict[str, str]:
    """Read ``key=value,key=value`` with percent-encoded values (W3C Baggage)."""
    headers: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise ValueError(pair.partition("=")[0])
        headers[name.strip().lower()] = unquote(value.strip())
    return headers


# (setting, variables by precedence, how to read, what is expected of the text)
_VARIABLES: Final[list[tuple[str, tuple[str, ...], Callable[[str], object], str]]] = [
    ("protocol", ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"),
     str, "'http/protobuf'"),
    ("headers", ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"),
     _header_list, "key=value pairs, separated by commas"),
    ("timeout_seconds",
     ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"),
     _milliseconds, "milliseconds, as a whole number"),
    ("compression",
     ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"),
     str, "'none' or 'gzip'"),
    ("schedule_delay_seconds", ("OTEL_BLRP_SCHEDULE_DELAY",), _milliseconds,
     "milliseconds, as a whole number"),
    ("buffer_records", ("OTEL_BLRP_MAX_QUEUE_SIZE",), int, "a whole number"),
    ("batch_records", ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",), int, "a whole number"),
]  # fmt: skip


def settings_from(
    environ: Mapping[str, str],
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the settings found, and the variable that each was found in."""
    found: dict[str, Any] = {}
    found_in: dict[str, str] = {}
    for setting, variables, read, expected in _VARIABLES:
        texts = ((name, environ.get(name, "").strip()) for name in variables)
        variable, text = next((pair for pair in texts if pair[1]), ("", ""))
        if text:
            shown = "..." if setting == "headers" else text
            try:
                found[setting] = read(text)
            except ValueError:
                raise ConfigError(variable, shown, expected) from None
            found_in[setting] = variable
    if endpoint := environ.get("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "").strip():
        found["endpoint"] = endpoint  # as it is, unlike the base URL
        found_in["endpoint"] = "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"
    elif base := environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip():
        found["endpoint"] = f"{base.rstrip('/')}/{LOGS_PATH}"
        found_in["endpoint"] = "OTEL_EXPORTER_OTLP_ENDPOINT"
    if _yes(environ.get("OTEL_SDK_DISABLED", "")):
        found["exporter"] = None
    return found, found_in
