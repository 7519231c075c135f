from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Harness


@pytest.fixture
def _same_structlog_afterwards() -> Iterator[None]:
    """Undo `structlog.configure`, and `LoggerFactory`, which sets a logger class."""
    import structlog
    from structlog_setups import NAME

    before = logging.getLoggerClass()
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.setLoggerClass(before)
    logging.Logger.manager.loggerDict.pop(NAME, None)  # it keeps its class


@pytest.fixture
def root(harness: Harness) -> Harness:
    """A harness whose handler is the root logger's only one."""
    logger = logging.getLogger()
    logger.handlers[:] = [harness.tasklog.handler]
    logger.setLevel(logging.INFO)
    return harness
