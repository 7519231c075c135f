"""Settings: who wins, what is refused, and what the refusal says."""

from __future__ import annotations

import dataclasses
import typing

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter

from otel_tasklog import Config, ConfigError
from otel_tasklog._config import Settings
from otel_tasklog.store._query import Filters, Query

if typing.TYPE_CHECKING:
    from pathlib import Path


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
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317",
      "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "endpoint", "http://c:4317"),
    ({"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "grpc"}, "endpoint",
     "http://localhost:4317"),
    ({"OTEL_EXPORTER_OTLP_PROTOCOL": "GRPC"}, "protocol", "grpc"),
    ({"OTEL_EXPORTER_OTLP_INSECURE": "True"}, "insecure", True),
    ({"OTEL_EXPORTER_OTLP_INSECURE": "yes"}, "insecure", False),
    ({"OTEL_EXPORTER_OTLP_TIMEOUT": "2500"}, "timeout_seconds", 2.5),
    ({"OTEL_EXPORTER_OTLP_TIMEOUT": "0"}, "timeout_seconds", 1e6),
    ({"OTEL_BLRP_EXPORT_TIMEOUT": "500"}, "export_timeout_seconds", 0.5),
    ({"OTEL_BLRP_EXPORT_TIMEOUT": "0"}, "export_timeout_seconds", 1e6),
    ({"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}, "compression", "gzip"),
    ({"OTEL_EXPORTER_OTLP_COMPRESSION": "none"}, "compression", "none"),
    ({"OTEL_EXPORTER_OTLP_COMPRESSION": ""}, "compression", "none"),
    ({"OTEL_BLRP_SCHEDULE_DELAY": "200"}, "schedule_delay_seconds", 0.2),
    ({"OTEL_BLRP_MAX_QUEUE_SIZE": "5000"}, "buffer_records", 5_000),
    ({"OTEL_BLRP_MAX_QUEUE_SIZE": "100"}, "batch_records", 100),
    ({"OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "64"}, "batch_records", 64),
    ({"OTEL_LOGS_EXPORTER": "none"}, "exporter", None),
    ({"OTEL_LOGS_EXPORTER": "Console"}, "exporter", "console"),
    ({"OTEL_LOGS_EXPORTER": "otlp"}, "exporter", "otlp"),
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


def test_the_variable_of_what_is_given_is_not_looked_at() -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2s",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "nowhere",
        "OTEL_LOGS_EXPORTER": "zipkin",
    }
    config = Config.from_env(
        environ, timeout_seconds=7.0, endpoint="http://c", exporter="none"
    )
    assert config.exporter is None


def test_with_a_provider_the_exporters_are_the_providers() -> None:
    provider = LoggerProvider(shutdown_on_exit=False)
    environ = {"OTEL_LOGS_EXPORTER": "console"}
    config = Config.from_env(environ, logger_provider=provider)
    assert config.exporter == "otlp"
    environ["OTEL_SDK_DISABLED"] = "true"
    assert Config.from_env(environ, logger_provider=provider).exporter is None


@pytest.mark.parametrize(
    ("protocol", "usual"),
    [
        ("http/protobuf", "http://localhost:4318/v1/logs"),
        ("grpc", "http://localhost:4317"),
    ],
)
def test_each_protocol_has_its_usual_endpoint(protocol: str, usual: str) -> None:
    assert Config(protocol=protocol).endpoint == usual
    assert Config.from_env({}, protocol=protocol).endpoint == usual


@pytest.mark.parametrize(
    "endpoint",
    ["http://c:4317", "https://c/", "c:4317", "[::1]:4317", "10.0.0.1:4317",
     "unix:///run/otlp", "dns:///c:4317"],
)  # fmt: skip
def test_grpc_takes_a_url_or_a_form_of_its_own(endpoint: str) -> None:
    config = Config.from_env({}, endpoint=endpoint, protocol="grpc")
    assert config.endpoint == endpoint


def test_another_way_out_does_not_care_for_the_connection() -> None:
    exporter = InMemoryLogRecordExporter()
    for settings in ({"exporter": exporter}, {"exporter": None}):
        config = Config.from_env(
            {
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "nowhere",
                "OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such/file",
            },
            **settings,
        )
        assert config.exporter is settings["exporter"]


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
    ({"protocol": "http/json"}, "as JSON is not sent"),
    ({"protocol": []}, "protocol"),
    ({"protocol": "grpc", "endpoint": "http://c:4318/v1/logs"}, "no path"),
    ({"protocol": "grpc", "endpoint": "http://c:4317?x=1"}, "no path"),
    ({"protocol": "grpc", "endpoint": "collector"}, "a URL such as"),
    ({"protocol": "grpc", "endpoint": "htp://c:4317"}, "a URL such as"),
    ({"protocol": "grpc", "endpoint": "http://user:hunter2@c"}, "use headers="),
    ({"protocol": "grpc", "endpoint": 5}, "endpoint"),
    ({"protocol": "grpc", "headers": {"a~b": "x"}}, "as gRPC has it"),
    ({"protocol": "grpc", "headers": {"Grpc-Timeout": "x"}}, "as gRPC has it"),
    ({"protocol": "grpc", "headers": {"Data-Bin": "x"}}, "as gRPC has it"),
    ({"protocol": "grpc", "headers": {"a": "\t"}}, "headers"),
    ({"insecure": "yes"}, "insecure"),
    ({"export_timeout_seconds": 0}, "more than 0"),
    ({"timeout_seconds": 1e7}, "at most 1,000,000"),
    ({"exporter": "zipkin"}, "'otlp', 'console' and 'none'"),
    ({"compression": "br"}, "'none' or 'gzip'"),
    ({"level": "LOUD"}, "level='LOUD'"),
    ({"export_level": "LOUD"}, "export_level"),
    ({"loggers": "shop"}, "a sequence"),
    ({"include": ["tread"]}, "tread"),
    ({"include": "code"}, "a sequence"),
    ({"console": "yes"}, "console"),
    ({"exporter": object}, "exporter"),
    ({"ring_records": 0}, "at least 1"),
    ({"buffer_bytes": 1.5}, "whole number"),
    ({"timeout_seconds": -1}, "timeout_seconds"),
    ({"timeout_seconds": 0}, "more than 0"),
    ({"exit_timeout_seconds": float("nan")}, "exit_timeout_seconds"),
    ({"batch_records": 10, "buffer_records": 5}, "at most buffer_records"),
    ({"headers": {"a": "b\nc"}}, "headers"),
    ({"levle": "INFO"}, "did you mean 'level'"),
    ({"headers": {"a": 1}}, "headers"),
    ({"headers": {1: "a"}}, "headers"),
    ({"service_name": 5}, "service_name"),
    ({"uncaught": "no"}, "True or False"),
    ({"handle_sigterm": "no"}, "True or False"),
    ({"monitor": 1}, "True or False"),
    ({"task_lifecycle": 1}, "True or False"),
    ({"blocked_after_seconds": 0}, "at least 0.01 seconds, or None"),
    ({"blocked_after_seconds": -1.0}, "at least 0.01 seconds, or None"),
    ({"blocked_after_seconds": True}, "at least 0.01 seconds, or None"),
    ({"blocked_after_seconds": "1"}, "at least 0.01 seconds, or None"),
    ({"blocked_after_seconds": float("inf")}, "at least 0.01 seconds, or None"),
    ({"ring_records": True}, "whole number"),
    ({"timeout_seconds": True}, "a number of seconds"),
    ({"timeout_seconds": "5"}, "a number of seconds"),
]


@pytest.mark.parametrize(("settings", "message"), WRONG, ids=lambda v: str(v)[:80])
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
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
        {"OTEL_EXPORTER_OTLP_COMPRESSION": "deflate"},
        {"OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such/file"},
        {"OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY": "/no/such/file"},
        {"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "/no/such/file"},
        {"OTEL_EXPORTER_OTLP_LOGS_TIMEOUT": "-1"},
        {"OTEL_BLRP_EXPORT_TIMEOUT": "30s"},
        {"OTEL_BLRP_SCHEDULE_DELAY": "-1"},
        {"OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "0"},
        {"OTEL_LOGS_EXPORTER": "zipkin"},
        {"OTEL_LOGS_EXPORTER": "console,otlp"},
        {"OTEL_TASKLOG_ATTACH": "udp"},
        {"OTEL_TASKLOG_BLOCKED_AFTER_SECONDS": "250ms"},
        {"OTEL_TASKLOG_BLOCKED_AFTER_SECONDS": "nan"},
        {"OTEL_TASKLOG_BLOCKED_AFTER_SECONDS": "0.001"},
        {"OTEL_TASKLOG_MONITOR": "20101"},
    ],
    ids=lambda environ: "=".join(*environ.items()),
)
def test_a_wrong_variable_is_refused_by_its_name(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(environ))):
        Config.from_env(environ)


@pytest.mark.parametrize(
    ("text", "monitor"),
    [("", False), ("0", False), ("off", False), ("1", True), ("True", True)],
)
def test_a_variable_starts_the_monitor(text: str, *, monitor: bool) -> None:
    assert Config.from_env({"OTEL_TASKLOG_MONITOR": text}).monitor is monitor
    assert Config.from_env({"OTEL_TASKLOG_MONITOR": text}, monitor=False).monitor is (
        False
    )


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 0.25), ("0", None), ("0.0", None), ("1.5", 1.5)]
)
def test_a_variable_says_what_is_blocked(text: str, seconds: float | None) -> None:
    config = Config.from_env({"OTEL_TASKLOG_BLOCKED_AFTER_SECONDS": text})
    assert config.blocked_after_seconds == seconds


def test_headers_are_never_shown() -> None:
    config = Config(headers={"authorization": "Bearer hunter2"})
    assert "hunter2" not in repr(config)
    with pytest.raises(ConfigError) as caught:
        Config(headers={"authorization": "hunter2\nx"})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        Config.from_env({"OTEL_EXPORTER_OTLP_HEADERS": "hunter2"})
    assert "hunter2" not in str(caught.value)


class Files(typing.NamedTuple):
    """What a person may have on disk; keys and certificates of two."""

    authority: Path
    key: Path
    certificate: Path
    other_key: Path
    locked_key: Path
    junk: Path
    nothing: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    made = Files(*(tmp_path_factory.mktemp("tls") / name for name in Files._fields))
    ca = trustme.CA()
    one, other = ca.issue_cert("one@example.org"), ca.issue_cert("other@example.org")
    ca.cert_pem.write_to_path(made.authority)
    one.private_key_pem.write_to_path(made.key)
    one.cert_chain_pems[0].write_to_path(made.certificate)
    other.private_key_pem.write_to_path(made.other_key)
    key = serialization.load_pem_private_key(one.private_key_pem.bytes(), None)
    made.locked_key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"hunter2"),
        )
    )
    made.junk.write_text("junk")
    return made


def test_files_for_tls_are_paths_or_texts(files: Files) -> None:
    config = Config(
        certificate_file=files.authority,
        client_key_file=str(files.key),
        client_certificate_file=files.certificate,
    )
    assert config.certificate_file == files.authority


@pytest.mark.parametrize(
    ("given", "wrong", "expected"),
    [
        ({"certificate_file": "nothing"}, "certificate_file", "No such file"),
        ({"certificate_file": "junk"}, "certificate_file", "as PEM"),
        ({"client_key_file": "key"}, "client_key_file", "together"),
        (
            {"client_certificate_file": "certificate"},
            "client_certificate_file",
            "together",
        ),
        (
            {"client_key_file": "other_key", "client_certificate_file": "certificate"},
            "client_key_file",
            "the key of client_certificate_file",
        ),
        (
            {"client_key_file": "locked_key", "client_certificate_file": "certificate"},
            "client_key_file",
            "without a password",
        ),
        (
            {"client_key_file": "key", "client_certificate_file": "junk"},
            "client_key_file",
            "both as PEM",
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_files_that_no_connection_can_be_made_with_are_refused(
    files: Files, protocol: str, given: dict[str, str], wrong: str, expected: str
) -> None:
    paths: dict[str, typing.Any] = {
        setting: getattr(files, name) for setting, name in given.items()
    }
    with pytest.raises(ConfigError, match=expected) as caught:
        Config(protocol=protocol, **paths)
    assert caught.value.setting == wrong


def test_a_variable_is_shown_as_it_was_set() -> None:
    """Not with the path that it would have got."""
    name = "OTEL_EXPORTER_OTLP_ENDPOINT"
    with pytest.raises(ConfigError, match=f"{name}='127.0.0.1:4318': expected a URL"):
        Config.from_env({name: "127.0.0.1:4318"})
    with pytest.raises(ConfigError) as caught:
        Config.from_env({name: "http://user:hunter2@c"})
    assert "hunter2" not in str(caught.value)
