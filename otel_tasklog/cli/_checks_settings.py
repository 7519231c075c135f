"""The settings of the connection, and where each came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from otel_tasklog._config import Config
from otel_tasklog._environ import VARIABLES, settings_from
from otel_tasklog._errors import ConfigError
from otel_tasklog.cli._findings import Finding, failed, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_tasklog._settings import Settings

__all__ = ["OPTIONS", "check_settings"]

OPTIONS: Final = {
    "endpoint": "--endpoint",
    "protocol": "--protocol",
    "headers": "--header",
    "certificate_file": "--certificate",
    "timeout_seconds": "--timeout",
    "spool_dir": "--spool-dir",
}
"""The options that stand for settings."""

_LEVEL: Final = ok(
    "level",
    "set by no variable: without level= in install(), the root logger lets WARNING and "
    "above through",
)
"""What most often keeps records from being there, and what only the program knows."""

_ALWAYS: Final = ("endpoint", "protocol", "headers", "compression", "timeout_seconds")


def check_settings(
    environ: Mapping[str, str], given: Settings
) -> tuple[list[Finding], Config | None]:
    """Return what a program with these variables would send with.

    If it would send nothing, that is the first finding. The others, and the settings,
    are what they were if it would: only so can the rest be looked at.

    Args:
        environ: The variables.
        given: What the options decided.

    Returns:
        The findings, and the settings; or None if `install` would refuse them.

    Raises:
        ConfigError: An option has a value that it cannot have.
    """
    findings: list[Finding] = []
    sending: Settings = {**given, "exporter": "otlp"}
    try:
        config = Config.from_env(environ, **given)
        if config.exporter != "otlp":
            findings.append(_nothing_sent(environ, config))
            config = Config.from_env(environ, **sending)
    except ConfigError as error:
        if error.setting in given:
            raise
        findings.append(
            failed(
                "settings",
                f"install() would refuse {error}",
                f"correct {error.setting}, or unset it",
            )
        )
        return findings, None
    _, found_in = settings_from(environ, sending)
    findings += _lines(given, found_in, config)
    return findings, config


def _nothing_sent(environ: Mapping[str, str], config: Config) -> Finding:
    variable = "OTEL_LOGS_EXPORTER"
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        variable = "OTEL_SDK_DISABLED"
    does = "prints records and sends none"
    if config.exporter is None:
        does = "keeps records in memory and sends none"
    return warning(
        "exporter",
        f"a program with {variable}={environ[variable].strip()} {does}",
        f"unset {variable} to have them sent; what follows is as if it were unset",
    )


def _lines(
    given: Settings, found_in: Mapping[str, str], config: Config
) -> Iterator[Finding]:
    set_by_variables = [each.setting for each in VARIABLES if each.setting in found_in]
    for setting in dict.fromkeys((*_ALWAYS, *given, *set_by_variables)):
        where = "default"
        if setting in given:
            where = f"from {OPTIONS[setting]}"
        elif setting in found_in:
            where = f"from {found_in[setting]}"
        yield ok(setting, f"{_shown(setting, config)} ({where})")
    yield _LEVEL


def _shown(setting: str, config: Config) -> str:
    value: Any = getattr(config, setting)
    if setting == "headers":
        # A header's value may be a password, whatever its name.
        return ", ".join(f"{name}=..." for name in config.headers) or "none"
    if setting == "meter_provider":
        return "none" if value is None else "the global MeterProvider"
    return f"{value:g}" if isinstance(value, float) else str(value)
