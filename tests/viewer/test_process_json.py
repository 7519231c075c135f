"""What a process says of itself, and does not say."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from otel_tasklog import Config, TaskLog
from otel_tasklog.viewer._openapi import DOCUMENT
from otel_tasklog.viewer._process_json import WORD_CHARACTERS, WORDS, process_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Harness


@pytest.fixture
def ask() -> Iterator[Callable[..., dict[str, Any]]]:
    """Have a TaskLog with these settings say which process it is."""
    made: list[TaskLog] = []

    def ask(**settings: Any) -> dict[str, Any]:
        made.append(TaskLog(Config(**settings)))
        return dict(process_json(made[-1]))

    yield ask
    for tasklog in made:
        tasklog.close(0)


def test_it_is_as_the_document_says(ask: Callable[..., dict[str, Any]]) -> None:
    schema = {**DOCUMENT["components"]["schemas"]["Process"]}
    instance = {"service.instance.id": "i-1"}
    answer = ask(service_name="shop", resource_attributes=instance)
    Draft202012Validator(schema).validate(answer)
    assert (answer["pid"], answer["service_name"]) == (os.getpid(), "shop")
    assert (answer["service_instance_id"], answer["api"]) == ("i-1", 1)
    assert answer["endpoint"] == "http://localhost:4318/v1/logs"
    assert answer["uptime_seconds"] >= 0
    assert answer["lag_seconds"] == 0.0
    Draft202012Validator(schema).validate(ask(exporter=None))


@pytest.mark.e2e
def test_it_says_where_its_monitors_are(harness: Harness) -> None:
    schema = {**DOCUMENT["components"]["schemas"]["Process"]}

    async def main() -> None:
        monitors = [
            harness.tasklog.monitor(port=0, web_port=0),
            harness.tasklog.monitor(port=0, web=False),
        ]
        async with monitors[0], monitors[1]:
            answer = process_json(harness.tasklog)
            Draft202012Validator(schema).validate(answer)
        assert answer["monitors"] == [
            {"host": "127.0.0.1", "port": each.port, "web_port": each.web_port or None}
            for each in monitors
        ]
        assert monitors[1].web_port == 0
        assert process_json(harness.tasklog)["monitors"] == []

    asyncio.run(main())


@pytest.mark.parametrize("exporter", [None, "console"])
def test_an_endpoint_that_nothing_is_sent_to_is_not_named(
    ask: Callable[..., dict[str, Any]], exporter: str | None
) -> None:
    assert "endpoint" not in ask(exporter=exporter)


def test_lost_is_what_was_dropped_or_refused(make: Callable[..., Harness]) -> None:
    harness = make(schedule_delay_seconds=3_600.0)
    harness.log.info("x")
    harness.tasklog.close(0)
    answer = process_json(harness.tasklog)
    stats = harness.tasklog.stats()
    assert answer["lost"] == stats.dropped + stats.rejected
    assert (answer["captured"], answer["pending"]) == (1, stats.pending)


def test_the_command_line_is_shown_without_secrets(
    ask: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without redact_patterns, which are for records."""
    words = [
        "python", "-m", "shop", "--password", "hunter2", "--api-key=hunter2",
        "--secret", "--verbose", "postgres://bob:hunter2@db/x", "token=hunter2",
        "--mine", "m-hunter2", "--password", "-hunter-with-a-dash",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "orig_argv", words)
    answer = ask(redact_patterns=[re.compile("m-hunter2")])
    assert answer["command"] == [
        "python", "-m", "shop", "--password", "[redacted]", "--api-key=[redacted]",
        "--secret", "--verbose", "postgres://bob:[redacted]@db/x", "token=[redacted]",
        "--mine", "[redacted]", "--password", "-hunter-with-a-dash",
    ]  # fmt: skip


def test_a_long_command_line_is_cut(
    ask: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["x" * 10_000] * 10_000)
    command = ask()["command"]
    assert len(command) <= WORDS
    assert all(len(word) < 2 * WORD_CHARACTERS for word in command)
