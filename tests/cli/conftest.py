"""The commands, and a process that they ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from served import Served, runtime_dir, serve

from otel_tasklog.cli._commands import make_cli
from otel_tasklog.cli._failures import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Ran(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    output: str
    errors: str


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command in this process."""

    def command(*arguments: str) -> Ran:
        status = run(make_cli(), arguments)
        return Ran(status, *capsys.readouterr())

    return command


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """An empty directory of access points; its variable is set here, too."""
    with runtime_dir() as environ:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        yield environ


@pytest.fixture
def served(runtime: dict[str, str]) -> Iterator[Served]:
    """A TaskLog of the service ``shop`` with an access point there."""
    with serve(runtime) as served:
        yield served
