"""What the environment says: OpenTelemetry's variables as settings.

The only knowledge of their names, spelling and units. ``os.environ`` is not read
here, but what `Config.from_env` is given.

See https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote

from opentelemetry.metrics import MeterProvider, get_meter_provider

from otel_tasklog._connection import HTTP, LOGS_PATH, LONGEST_TIMEOUT_SECONDS
from otel_tasklog._errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["VARIABLES", "settings_from"]


class Variable(NamedTuple):
    """A setting, the variables that say it by precedence, and how they do."""

    setting: str
    names: tuple[str, ...]
    read: Callable[[str], object]
    expected: str = ""


def _milliseconds(text: str) -> float:
    return int(text) / 1000


def _timeout(text: str) -> float:
    # Of a time-out, though not of a delay, 0 says that there is none.
    return _milliseconds(text) or LONGEST_TIMEOUT_SECONDS


def _yes(text: str) -> bool:
    # The specification knows only "true"; all else is false.
    return text.lower() == "true"


# Variables that are ours alone are as forgiving as variables usually are.
_SWITCH: Final = {
    **dict.fromkeys(("0", "false", "no", "off"), False),
    **dict.fromkeys(("1", "true", "yes", "on"), True),
}
_ATTACH: Final[dict[str, bool | str]] = {**_SWITCH, "unix": "unix", "tcp": "tcp"}


def _one_of(known: Mapping[str, object]) -> Callable[[str], object]:
    def read(text: str) -> object:
        if text.lower() not in known:
            raise ValueError(text)
        return known[text.lower()]

    return read


def _seconds_or_none(text: str) -> float | None:
    return float(text) or None


def _global_meter_provider(text: str) -> MeterProvider | None:
    return get_meter_provider() if _yes(text) else None


def _header_list(text: str) -> dict[str, str]:
    """Read ``key=value,key=value`` with percent-encoded values (W3C Baggage)."""
    headers: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise ValueError(pair.partition("=")[0])
        headers[name.strip().lower()] = unquote(value.strip())
    return headers


def _otlp(name: str) -> tuple[str, str]:
    return f"OTEL_EXPORTER_OTLP_LOGS_{name}", f"OTEL_EXPORTER_OTLP_{name}"


_WHOLE_MILLISECONDS: Final = "milliseconds, as a whole number"
_WHOLE: Final = "a whole number"

VARIABLES: Final = [
    Variable("protocol", _otlp("PROTOCOL"), str.lower),
    Variable("endpoint", _otlp("ENDPOINT"), str),
    Variable(
        "headers", _otlp("HEADERS"), _header_list, "key=value pairs, joined by commas"
    ),
    Variable("compression", _otlp("COMPRESSION"), str.lower),
    Variable("certificate_file", _otlp("CERTIFICATE"), str),
    Variable("client_key_file", _otlp("CLIENT_KEY"), str),
    Variable("client_certificate_file", _otlp("CLIENT_CERTIFICATE"), str),
    Variable("insecure", _otlp("INSECURE"), _yes),
    Variable("timeout_seconds", _otlp("TIMEOUT"), _timeout, _WHOLE_MILLISECONDS),
    Variable("exporter", ("OTEL_LOGS_EXPORTER",), str.lower),
    Variable(
        "meter_provider",
        ("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED",),
        _global_meter_provider,
    ),
    Variable(
        "export_timeout_seconds",
        ("OTEL_BLRP_EXPORT_TIMEOUT",),
        _timeout,
        _WHOLE_MILLISECONDS,
    ),
    Variable(
        "schedule_delay_seconds",
        ("OTEL_BLRP_SCHEDULE_DELAY",),
        _milliseconds,
        _WHOLE_MILLISECONDS,
    ),
    Variable(
        "attribute_count_limit",
        ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"),
        int,
        _WHOLE,
    ),
    Variable(
        "attribute_value_length_limit",
        (
            "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        ),
        int,
        _WHOLE,
    ),
    Variable("buffer_records", ("OTEL_BLRP_MAX_QUEUE_SIZE",), int, _WHOLE),
    Variable("attach", ("OTEL_TASKLOG_ATTACH",), _one_of(_ATTACH), "0, 1, unix or tcp"),
    Variable("monitor", ("OTEL_TASKLOG_MONITOR",), _one_of(_SWITCH), "0 or 1"),
    Variable(
        "blocked_after_seconds",
        ("OTEL_TASKLOG_BLOCKED_AFTER_SECONDS",),
        _seconds_or_none,
        "seconds, 0 for none",
    ),
    Variable("batch_records", ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",), int, _WHOLE),
]


def settings_from(
    environ: Mapping[str, str], explicit: Mapping[str, object]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the settings found, and the variable that each was found in.

    Args:
        environ: The variables; one with an empty text counts as not set.
        explicit: What the caller decided; its variables are not looked at.

    Raises:
        ConfigError: A variable cannot be read.
    """
    found: dict[str, Any] = {}
    found_in: dict[str, str] = {}
    decided = set(explicit)
    if explicit.get("logger_provider") is not None:
        decided.add("exporter")  # it is the way out
    for setting, names, read, expected in VARIABLES:
        texts = ((name, environ.get(name, "").strip()) for name in names)
        name, text = next((pair for pair in texts if pair[1]), ("", ""))
        if text and setting not in decided:
            try:
                found[setting] = read(text)
            except ValueError:
                shown = "..." if setting == "headers" else text
                raise ConfigError(name, shown, expected) from None
            found_in[setting] = name
    protocol = explicit.get("protocol", found.get("protocol", HTTP))
    if found_in.get("endpoint") == "OTEL_EXPORTER_OTLP_ENDPOINT" and protocol == HTTP:
        # A base, unlike the one for logs, which is used as it is.
        found["endpoint"] = f"{found['endpoint'].rstrip('/')}/{LOGS_PATH}"
    if (
        _yes(environ.get("OTEL_SDK_DISABLED", "").strip())
        and "exporter" not in explicit
    ):
        found["exporter"] = None
    return found, found_in
