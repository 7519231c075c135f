"""What a process says of itself, to whoever chooses among several."""

from __future__ import annotations

import os
import platform
import sys
import time
from typing import TYPE_CHECKING, Final

from otel_tasklog._config import VERSION
from otel_tasklog.capture._redact import REDACTED, SECRET_PATTERNS, Redactor
from otel_tasklog.capture._values import cut
from otel_tasklog.viewer._record_json import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_tasklog._config import Config
    from otel_tasklog._tasklog import TaskLog

__all__ = ["API", "process_json"]

API: Final = 1
"""The form of all answers; another number if one changes so that clients break."""

WORDS: Final = 64
WORD_CHARACTERS: Final = 300
"""Of the command line: how many words are shown, and how much of each."""


def process_json(tasklog: TaskLog) -> dict[str, object]:
    """Return it as a value for `dumps`. Takes the worker's lock, as `stats` does."""
    stats, config, resource = tasklog.stats(), tasklog.config, tasklog.resource
    instance, endpoint = resource.get("service.instance.id"), _endpoint(config)
    return {
        "api": API,
        "pid": os.getpid(),
        "service_name": str(resource.get("service.name", "")),
        **({} if instance is None else {"service_instance_id": str(instance)}),
        "version": VERSION,
        "python": platform.python_version(),
        "started_ns": str(tasklog.started_ns),
        "uptime_seconds": max(time.time_ns() - tasklog.started_ns, 0) / 1e9,
        "command": _command(config, sys.orig_argv),
        "resource": plain(resource),
        "kept": stats.kept,
        "captured": stats.captured,
        "pending": stats.pending,
        "lag_seconds": stats.lag_seconds,
        "lost": stats.dropped + stats.rejected,
        "last_error": stats.last_error,
        "monitors": [
            {"host": each.host, "port": each.port, "web_port": each.web_port or None}
            for each in tasklog.monitors.copy()
        ],
        **({} if endpoint is None else {"endpoint": endpoint}),
    }


def _endpoint(config: Config) -> str | None:
    ours = config.exporter == "otlp" and config.logger_provider is None
    return config.endpoint if ours else None


def _command(config: Config, words: Iterable[str]) -> list[str]:
    """Return the command line without what looks secret, whatever the settings say."""
    own = (each for each in config.redact_patterns if not isinstance(each, str))
    redactor = Redactor(config.redact_keys, [*SECRET_PATTERNS, *own])
    shown: list[str] = []
    secret = False
    for word in words:
        text = redactor.text(cut(word, WORD_CHARACTERS))
        shown.append(REDACTED if secret and not word.startswith("-") else text)
        secret = word.startswith("-") and redactor.is_secret(word.lstrip("-"))
    return shown[:WORDS]
