"""The public surface: what is exported, what importing costs."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import otel_tasklog

HEAVY = ("grpc", "aiohttp", "aiomonitor", "structlog", "rich", "click", "requests",
         "urllib3", "google.protobuf")  # fmt: skip


def test_all_is_sorted_and_importable() -> None:
    """Constants first, as the linter sorts them."""
    names = otel_tasklog.__all__
    assert names == sorted(names, key=lambda name: (not name.isupper(), name))
    for name in names:
        assert getattr(otel_tasklog, name).__doc__, name


def test_the_version_is_the_distributions() -> None:
    assert importlib.metadata.version("otel-tasklog") == otel_tasklog.__version__


def test_importing_brings_nothing_heavy() -> None:
    code = "import sys, otel_tasklog; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert [name for name in HEAVY if name in loaded] == []
