"""Settings: who wins, what is refused, and what the refusal says."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from otel_tasklog import Config, ConfigError
from otel_tasklog._config import Settings
from otel_tasklog.store._query import Filters, Query


def test_install_takes_exactly_the_settings_there_are() -> None:
    fields = {field.name for field in dataclasses.fields(Config)}
    assert set(Settings.__annotations__) == fields


def test_query_takes_exactly_the_filters_there_are() -> None:
    fields = {field.name for field in dataclasses.fields(Query)}
    assert set(Filters.__annotations__) == fields


def test_every_setting_is_documented() -> None:
    for field in dataclasses.fields(Config):
        assert f"{field.name}: " in str(Config.__doc__), field.name


def test_the_defaults_hold_a_minute_of_a_thousand_kilobytes_a_second() -> None:
    config = Config()
    assert config.buffer_records >= 60_000
    assert config.buffer_bytes >= 60_000 * 1_024


VARIABLES: list[tuple[dict[str, str], str, object]] = [
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "endpoint",
     "http://c:4318/v1/logs"),
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c/otlp/"}, "endpoint",
     "http://c/otlp/v1/logs"),
    ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://c/as/is",
      "OTEL_EXPORTER_OTLP_ENDPOINT": "http://other"}, "endpoint", "http://c/as/is"),
    ({"OTEL_EXPORTER_OTLP_HEADERS": "A=b, c=d%20e ,"}, "headers",
     {"a": "b", "c": "d e"}),
    ({"OTEL_EXPORTER_OTLP_LOGS_HEADERS": "x=1",
      "OTEL_EXPORTER_OTLP_HEADERS": "a=b"}, "headers", {"x": "1"}),
    ({"OTEL_EXPORTER_OTLP_TIMEOUT": "2500"}, "timeout_seconds", 2.5),
    ({"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}, "compression", "gzip"),
    ({"OTEL_EXPORTER_OTLP_COMPRESSION": "none"}, "compression", "none"),
    ({"OTEL_EXPORTER_OTLP_COMPRESSION": ""}, "compression", "none"),
    ({"OTEL_BLRP_SCHEDULE_DELAY": "200"}, "schedule_delay_seconds", 0.2),
    ({"OTEL_BLRP_MAX_QUEUE_SIZE": "5000"}, "buffer_records", 5_000),
    ({"OTEL_BLRP_MAX_QUEUE_SIZE": "100"}, "batch_records", 100),
    ({"OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "64"}, "batch_records", 64),
    ({"OTEL_SDK_DISABLED": "true"}, "exporter", None),
    ({"OTEL_SDK_DISABLED": "1"}, "exporter", "otlp"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("environ", "setting", "value"), VARIABLES, ids=lambda v: str(v)[:60]
)
def test_the_environment_fills_what_is_not_given(
    environ: dict[str, str], setting: str, value: object
) -> None:
    assert getattr(Config.from_env(environ), setting) == value


def test_what_is_given_wins_over_the_environment() -> None:
    config = Config.from_env(
        {"OTEL_EXPORTER_OTLP_TIMEOUT": "1", "OTEL_SDK_DISABLED": "true"},
        timeout_seconds=7.0,
        exporter="otlp",
    )
    assert (config.timeout_seconds, config.exporter) == (7.0, "otlp")


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://c:4318", "http://c:4318/v1/logs"),
        ("http://c:4318/", "http://c:4318/v1/logs"),
        ("https://c/otlp/v1/logs", "https://c/otlp/v1/logs"),
        ("https://c/custom", "https://c/custom"),
    ],
)
def test_an_endpoint_is_a_base_url_or_a_full_one(given: str, url: str) -> None:
    assert Config.from_env({}, endpoint=given).endpoint == url


WRONG: list[tuple[dict[str, typing.Any], str]] = [
    ({"endpoint": "localhost:4318"}, r"endpoint='localhost:4318': expected a URL"),
    ({"endpoint": "ftp://x"}, "endpoint"),
    ({"endpoint": "http://[::1/v1"}, "endpoint"),
    ({"endpoint": "http://x:port"}, "endpoint"),
    ({"endpoint": 5}, "endpoint"),
    ({"endpoint": "http://user:hunter2@c"}, "use headers="),
    ({"level": 3.5}, "level"),
    ({"export_level": None}, "export_level"),
    ({"headers": None}, "headers"),
    ({"headers": {"bad name": "x"}}, "headers"),
    ({"headers": {"a": "secret\r"}}, "headers"),
    ({"headers": {"a": "€"}}, "headers"),
    ({"include": None}, "include"),
    ({"loggers": None}, "loggers"),
    ({"loggers": [None]}, "loggers"),
    ({"resource_attributes": None}, "resource_attributes"),
    ({"console": 1}, "console"),
    ({"console": []}, "console"),
    ({"protocol": "grpc"}, "exporter="),
    ({"compression": "br"}, "'none' or 'gzip'"),
    ({"level": "LOUD"}, "level='LOUD'"),
    ({"export_level": "LOUD"}, "export_level"),
    ({"loggers": "shop"}, "a sequence"),
    ({"include": ["tread"]}, "tread"),
    ({"include": "code"}, "a sequence"),
    ({"console": "yes"}, "console"),
    ({"exporter": object()}, "exporter"),
    ({"ring_records": 0}, "at least 1"),
    ({"buffer_bytes": 1.5}, "whole number"),
    ({"timeout_seconds": -1}, "timeout_seconds"),
    ({"timeout_seconds": 0}, "more than 0"),
    ({"exit_timeout_seconds": float("nan")}, "exit_timeout_seconds"),
    ({"batch_records": 10, "buffer_records": 5}, "at most buffer_records"),
    ({"headers": {"a": "b\nc"}}, "headers"),
    ({"levle": "INFO"}, "did you mean 'level'"),
]


@pytest.mark.parametrize(("settings", "message"), WRONG, ids=lambda v: str(v)[:40])
def test_what_cannot_be_is_refused_by_name_and_value(
    settings: dict[str, typing.Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Config.from_env({}, **settings)


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_EXPORTER_OTLP_TIMEOUT": "2s"},
        {"OTEL_BLRP_MAX_QUEUE_SIZE": "many"},
        {"OTEL_EXPORTER_OTLP_HEADERS": "secret-without-a-name"},
        {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "localhost"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_EXPORTER_OTLP_COMPRESSION": "deflate"},
    ],
    ids=lambda environ: next(iter(environ)),
)
def test_a_wrong_variable_is_refused_by_its_name(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(environ))):
        Config.from_env(environ)


def test_headers_are_never_shown() -> None:
    config = Config(headers={"authorization": "Bearer hunter2"})
    assert "hunter2" not in repr(config)
    with pytest.raises(ConfigError) as caught:
        Config(headers={"authorization": "hunter2\nx"})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        Config.from_env({"OTEL_EXPORTER_OTLP_HEADERS": "hunter2"})
    assert "hunter2" not in str(caught.value)
