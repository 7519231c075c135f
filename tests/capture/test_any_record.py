"""Whatever a record holds: the caller is unharmed, and the record is delivered."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from hostile_exceptions import EXCEPTIONS
from hostile_values import HEAVY, HOSTILE, INNER_LOGGER, PLAIN, Interrupting
from hypothesis import HealthCheck, example, given, settings
from log_records import LOGGER, Made, made_of, records
from loki_rules import LokiRules

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Harness

    from otel_tasklog import TaskRecord


def newest(harness: Harness) -> TaskRecord:
    """Return the last record that no value logged while it was read."""
    return next(r for r in harness.tasklog.query() if r.logger != INNER_LOGGER)


def check(harness: Harness, record: logging.LogRecord) -> TaskRecord:
    """Log a record; assert all that holds for any."""
    before = harness.tasklog.stats()
    harness.sender.accepted.clear()
    assert harness.tasklog.handler.handle(record)
    at_once = newest(harness)
    assert harness.tasklog.flush(30)
    assert newest(harness) == at_once
    after = harness.tasklog.stats()
    captured = after.captured - before.captured
    assert after.delivered - before.delivered == captured == len(harness.sender.records)
    rules = LokiRules()
    objections = [
        each for body in harness.sender.accepted for each in rules.judge(body)
    ]
    assert [(each.rule, each.why) for each in objections] == []
    return at_once


@pytest.mark.timeout(300)
@settings(
    max_examples=300,
    # All examples go into one ring, as all records of a process do.
    suppress_health_check=[HealthCheck.function_scoped_fixture, *HealthCheck],
)
@given(records())
@example(made_of(1, 1))
def test_any_record_is_captured_at_once_and_delivered(
    harness: Harness, made: Made
) -> None:
    check(harness, made.record)
    harness.tasklog.clear()


@pytest.mark.parametrize("place", ["extra", "msg", "args", "name", "nested"])
@pytest.mark.parametrize(
    "maker",
    [
        pytest.param(maker, id=f"{group} {index}")
        for group, makers in (("plain", PLAIN), ("hostile", HOSTILE), ("heavy", HEAVY))
        for index, maker in enumerate(makers)
    ],
)
def test_an_odd_object_harms_nothing(
    harness: Harness, maker: Callable[[], object], place: str
) -> None:
    record = logging.LogRecord(LOGGER, 20, "p", 1, "text", None, None)
    odd = maker()
    places: dict[str, dict[str, Any]] = {
        "extra": {"k": odd}, "msg": {"msg": odd}, "args": {"msg": "%s", "args": (odd,)},
        "name": {"name": odd}, "nested": {"k": [{"k": (odd,)}]},
    }  # fmt: skip
    vars(record).update(good=1, **places[place])
    if place == "name" and maker in HEAVY:
        # It is read when the record is finished: one that grows meanwhile, grows.
        assert harness.tasklog.handler.handle(record)
        assert newest(harness).attributes["good"] == 1
        return
    assert check(harness, record).attributes["good"] == 1


@pytest.mark.parametrize(
    "maker", [pytest.param(maker, id=f"{n}") for n, maker in enumerate(EXCEPTIONS)]
)
def test_an_odd_exception_harms_nothing(
    harness: Harness, maker: Callable[[], BaseException]
) -> None:
    error = maker()
    record = logging.LogRecord(
        LOGGER, 40, "p", 1, "text", None, (type(error), error, error.__traceback__)
    )
    vars(record).update(good=1)
    captured = check(harness, record)
    assert captured.attributes["good"] == 1
    assert captured.exception_type


@pytest.mark.parametrize("place", ["extra", "msg", "args"])
@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), SystemExit(1), GeneratorExit()],
    ids=lambda e: f"{e!r}",
)
def test_what_is_no_exception_passes_and_costs_nothing_else(
    harness: Harness, error: BaseException, place: str
) -> None:
    harness.log.info("before")
    record = logging.LogRecord(LOGGER, 20, "p", 1, "text", None, None)
    odd = Interrupting(error)
    places: dict[str, dict[str, Any]] = {
        "extra": {"k": odd}, "msg": {"msg": odd}, "args": {"msg": "%s", "args": (odd,)},
    }  # fmt: skip
    vars(record).update(places[place])
    with pytest.raises(type(error)):
        harness.tasklog.handler.handle(record)
    harness.log.info("after")
    assert harness.tasklog.flush(30)
    assert [r.body for r in harness.sender.records] == ["before", "after"]
    assert harness.tasklog.stats().captured == 2
