"""Levels that are changed at run time, and go back."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from otel_tasklog import ClosedError, ConfigError
from otel_tasklog.live._levels import Levels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Harness

INFO, DEBUG = logging.INFO, logging.DEBUG


@pytest.fixture
def logger(request: pytest.FixtureRequest) -> Iterator[logging.Logger]:
    found = logging.getLogger(f"levels.{request.node.name}")
    found.setLevel(INFO)
    yield found
    found.setLevel(logging.NOTSET)


def until(condition: Callable[[], bool]) -> bool:
    """Return whether it comes true within 20 s."""
    ends = time.monotonic() + 20
    while not condition() and time.monotonic() < ends:
        time.sleep(0.005)
    return condition()


def threads() -> set[str]:
    return {each.name for each in threading.enumerate()} & {"otel_tasklog levels"}


def test_a_level_goes_back_by_itself_and_its_thread_ends(
    harness: Harness, logger: logging.Logger
) -> None:
    harness.tasklog.set_level(logger.name, "debug", for_seconds=0.05)
    assert logger.level == DEBUG
    assert until(lambda: logger.level == INFO)
    assert until(lambda: not threads())


def test_without_a_time_no_thread_is_needed_and_a_reset_gives_it_back(
    harness: Harness, logger: logging.Logger
) -> None:
    harness.tasklog.set_level(logger, 7)
    assert (logger.level, threads()) == (7, set())
    harness.tasklog.reset_level(logger)
    harness.tasklog.reset_level(logger.name)  # again: nothing
    assert logger.level == INFO


def test_all_levels_go_back_when_the_log_is_closed(
    make: Callable[..., Harness], logger: logging.Logger
) -> None:
    harness = make()
    inheriting = logger.getChild("inheriting")
    harness.tasklog.set_level(logger, "ERROR")
    harness.tasklog.set_level(inheriting, "DEBUG", for_seconds=3_600)
    harness.tasklog.close()
    assert (logger.level, inheriting.level) == (INFO, logging.NOTSET)
    assert until(lambda: not threads())
    with pytest.raises(ClosedError, match="set_level"):
        harness.tasklog.set_level(logger, "DEBUG")


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "5"], ids=str)
def test_a_time_that_is_none_is_refused(
    harness: Harness, logger: logging.Logger, seconds: Any
) -> None:
    with pytest.raises(ConfigError, match="for_seconds="):
        harness.tasklog.set_level(logger, DEBUG, for_seconds=seconds)
    assert logger.level == INFO


@pytest.mark.parametrize("wrong", [3, None], ids=str)
def test_what_is_no_logger_is_refused(harness: Harness, wrong: Any) -> None:
    with pytest.raises(ConfigError, match="expected a Logger or its name"):
        harness.tasklog.set_level(wrong, DEBUG)
    with pytest.raises(ConfigError, match="expected a Logger or its name"):
        harness.tasklog.reset_level(wrong)


def test_a_level_that_does_not_exist_is_refused(
    harness: Harness, logger: logging.Logger
) -> None:
    with pytest.raises(ConfigError, match="level='LOUD'"):
        harness.tasklog.set_level(logger, "LOUD")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def levels(clock: Clock) -> Iterator[Levels]:
    """Its thread is asleep for long, and the test looks in its place."""
    levels = Levels(clock)
    yield levels
    levels.close()


def test_a_second_change_counts_from_now_and_the_first_level_comes_back(
    levels: Levels, clock: Clock, logger: logging.Logger
) -> None:
    levels.change(logger, DEBUG, 10)
    clock.now += 8
    levels.change(logger, 5, 10)
    clock.now += 8
    assert levels.put_back_due() == 2
    assert logger.level == 5
    clock.now += 2
    assert levels.put_back_due() is None
    assert logger.level == INFO


def test_what_somebody_else_has_set_meanwhile_stays(
    levels: Levels, clock: Clock, logger: logging.Logger
) -> None:
    levels.change(logger, DEBUG, 10)
    logger.setLevel(logging.ERROR)
    clock.now += 10
    assert levels.put_back_due() is None
    assert logger.level == logging.ERROR


def test_what_somebody_else_has_set_is_what_a_later_change_goes_back_to(
    levels: Levels, clock: Clock, logger: logging.Logger
) -> None:
    levels.change(logger, DEBUG, 10)
    logger.setLevel(logging.ERROR)
    levels.change(logger, DEBUG, 10)
    clock.now += 10
    assert levels.put_back_due() is None
    assert logger.level == logging.ERROR


def test_each_goes_back_at_its_own_time_the_next_one_first(
    levels: Levels, clock: Clock, logger: logging.Logger
) -> None:
    child = logger.getChild("child")
    levels.change(logger, DEBUG, 20)
    levels.change(child, DEBUG, 5)
    assert levels.put_back_due() == 5
    clock.now += 5
    assert levels.put_back_due() == 15
    assert (logger.level, child.level) == (DEBUG, logging.NOTSET)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_level_goes_back_on_both_sides_of_a_fork(
    harness: Harness, logger: logging.Logger
) -> None:
    """Python 3.12 would warn of the thread, which here is an error."""
    harness.tasklog.set_level(logger, DEBUG, for_seconds=0.2)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if until(lambda: logger.level == INFO) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert until(lambda: logger.level == INFO)
