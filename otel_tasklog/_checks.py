"""What all numbers and switches among the settings must be, by their names."""

from __future__ import annotations

from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from otel_tasklog._connection import LONGEST_TIMEOUT_SECONDS
from otel_tasklog._errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["check_numbers", "check_switches", "spool_directory"]

_SWITCHES: Final = ("handle_sigterm", "spool_fsync", "uncaught", "monitor")


def check_switches(settings: Mapping[str, object]) -> None:
    """Refuse what is neither on nor off.

    Raises:
        ConfigError: A switch is no bool.
    """
    for setting in _SWITCHES:
        if not isinstance(settings[setting], bool):
            raise ConfigError(setting, settings[setting], "True or False")


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
