from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING

import hypothesis
import pytest

import otel_tasklog
from otel_tasklog import Config, TaskLog, TaskLogHandler
from otel_tasklog.testing import MemorySender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

hypothesis.settings.register_profile(
    "ci", derandomize=True, deadline=None, print_blob=True
)
hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on what the person who runs it has set."""
    for name in list(os.environ):
        if name.startswith("OTEL_") or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_TASKLOG_ATTACH", "0")  # unless a test says otherwise
    # A machine that is busy may block a loop: what it says would be one record more.
    monkeypatch.setenv("OTEL_TASKLOG_BLOCKED_AFTER_SECONDS", "0")


@pytest.fixture(autouse=True)
def _same_logging_afterwards() -> Iterator[None]:
    """Each test leaves the loggers' handlers, and the installation, as it found them."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers.copy()
    yield
    with contextlib.suppress(otel_tasklog.NotInstalledError):
        otel_tasklog.current().close(0)
    root.setLevel(level)
    root.handlers[:] = handlers
    for logger in root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            ours = [h for h in logger.handlers if isinstance(h, TaskLogHandler)]
            for handler in ours:  # a later test would be told of records sent twice
                logger.removeHandler(handler)


class Said(logging.Handler):
    """What the library said of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def said() -> Iterator[list[str]]:
    handler, log = Said(), logging.getLogger("otel_tasklog")
    log.addHandler(handler)
    yield handler.lines
    log.removeHandler(handler)


class Harness:
    """A TaskLog that sends into memory, and a logger that feeds it alone."""

    def __init__(self, tasklog: TaskLog, sender: MemorySender, name: str) -> None:
        self.tasklog = tasklog
        self.sender = sender
        self.log = logging.getLogger(name)
        self.log.propagate = False
        self.log.setLevel(1)
        self.log.handlers[:] = [tasklog.handler]

    def last(self) -> otel_tasklog.TaskRecord:
        return self.tasklog.query(limit=1)[0]


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Harness]]:
    """Make a harness from settings and, with outcomes=, a script for its sender."""
    made: list[Harness] = []

    def factory(outcomes: object = (), **settings: object) -> Harness:
        sender = MemorySender(outcomes)  # type: ignore[arg-type]
        tasklog = TaskLog(Config(**settings), sender=sender)  # type: ignore[arg-type]
        name = f"test.{request.node.name}.{len(made)}"
        made.append(Harness(tasklog, sender, name))
        return made[-1]

    yield factory
    for harness in made:
        harness.log.handlers.clear()
        harness.tasklog.close(1.0)


@pytest.fixture
def harness(make: Callable[..., Harness]) -> Harness:
    return make()
