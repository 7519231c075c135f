"""What the doctor's checks find, one by one; ``e2e/test_doctor.py`` has all of it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import sys
import threading
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest
from otlp_peers import HttpPeer

from otel_tasklog import Config, ConfigError
from otel_tasklog._assemble import make_sender
from otel_tasklog.cli._background import within
from otel_tasklog.cli._checks_environment import (
    HONOURED,
    check_variables,
    check_versions,
)
from otel_tasklog.cli._checks_network import check_network
from otel_tasklog.cli._checks_probe import check_probe
from otel_tasklog.cli._checks_settings import check_settings
from otel_tasklog.cli._checks_spool import check_spool
from otel_tasklog.cli._doctor import diagnose, show
from otel_tasklog.cli._findings import Finding, failed, ok, warning
from otel_tasklog.cli._way import Proxy, Way, way_to
from otel_tasklog.delivery._owners import Owners
from otel_tasklog.delivery._senders import Accepted

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def said(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    return [(each.result, each.said) for each in findings]


# The settings


def test_each_setting_says_where_it_comes_from() -> None:
    findings, config = check_settings(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
            "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT": "2500",
            "OTEL_BLRP_MAX_QUEUE_SIZE": "100",
            "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true",
        },
        {"headers": {"authorization": "geheim"}},
    )
    assert config is not None
    assert [(each.check, each.said) for each in findings] == [
        (
            "endpoint",
            "http://collector:4318/v1/logs (from OTEL_EXPORTER_OTLP_ENDPOINT)",
        ),
        ("protocol", "http/protobuf (default)"),
        ("headers", "authorization=... (from --header)"),
        ("compression", "none (default)"),
        ("timeout_seconds", "2.5 (from OTEL_EXPORTER_OTLP_LOGS_TIMEOUT)"),
        (
            "meter_provider",
            "the global MeterProvider (from OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED)",
        ),
        ("buffer_records", "100 (from OTEL_BLRP_MAX_QUEUE_SIZE)"),
        (
            "level",
            (
                "set by no variable: without level= in install(), "
                "the root logger lets WARNING and above through"
            ),
        ),
    ]


@pytest.mark.parametrize(
    ("environ", "first"),
    [
        (
            {"OTEL_SDK_DISABLED": "True", "OTEL_LOGS_EXPORTER": "otlp"},
            "a program with OTEL_SDK_DISABLED=True keeps records in memory",
        ),
        (
            {"OTEL_LOGS_EXPORTER": "none"},
            "a program with OTEL_LOGS_EXPORTER=none keeps records in memory",
        ),
        (
            {"OTEL_LOGS_EXPORTER": "console"},
            "a program with OTEL_LOGS_EXPORTER=console prints records",
        ),
    ],
    ids=["disabled", "none", "console"],
)
def test_that_nothing_is_sent_is_said_first(
    environ: dict[str, str], first: str
) -> None:
    findings, config = check_settings(environ, {})
    assert said(findings)[0] == ("warning", f"{first} and sends none")
    assert config is not None
    assert config.exporter == "otlp"  # the rest is looked at all the same


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_LOGS_EXPORTER": "zipkin"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"},
        # Looked at once the exporter is not "none".
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318", "OTEL_SDK_DISABLED": "true"},
    ],
    ids=["exporter", "protocol", "endpoint", "disabled"],
)
def test_a_variable_that_install_refuses_has_failed(environ: dict[str, str]) -> None:
    findings, config = check_settings(environ, {})
    assert config is None
    assert findings[-1].result == "failed"
    assert next(iter(environ)) in findings[-1].said
    assert next(iter(environ)) in findings[-1].mend


def test_a_header_that_cannot_be_sent_is_not_shown() -> None:
    findings, _ = check_settings({"OTEL_EXPORTER_OTLP_HEADERS": "a=geheim%0a"}, {})
    assert findings[-1].result == "failed"
    assert "geheim" not in findings[-1].said


def test_an_option_that_cannot_be_is_the_callers_error() -> None:
    with pytest.raises(ConfigError, match="endpoint"):
        check_settings({}, {"endpoint": "collector"})


# The variables


def test_variables_that_count_do_not_count_or_are_unknown_are_told_apart() -> None:
    general = "OTEL_EXPORTER_OTLP_ENDPOINT"
    for_logs = "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"
    others = [
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
        "OTEL_TASKLOG_LOKI_TENANT",
        "OTEL_TRACES_SAMPLER",
    ]
    environ = dict.fromkeys(
        [
            *others,
            "OTEL_SERVICE_NAME",
            general,
            for_logs,
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "OTEL_LOG_LEVEL",
            "OTEL_COMPANY_REGION",
            "PATH",
        ],
        "x",
    )
    environ["OTEL_LOGS_EXPORTER"] = " "
    assert said(check_variables(environ, {"timeout_seconds"})) == [
        ("ok", "honoured: OTEL_EXPORTER_OTLP_LOGS_ENDPOINT, OTEL_SERVICE_NAME"),
        ("ok", "empty, which counts as not set: OTEL_LOGS_EXPORTER"),
        (
            "ok",
            f"{general} is not looked at, as there is {for_logs}",
        ),
        (
            "ok",
            "OTEL_EXPORTER_OTLP_TIMEOUT is not looked at, as there is --timeout",
        ),
        ("warning", "OTEL_COMPANY_REGION is not known here, and does nothing to logs"),
        ("warning", "OTEL_LOG_LEVEL does nothing here"),
        (
            "ok",
            f"nothing to do with logs: {', '.join(others)}",
        ),
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("OTEL_EXPORTER_OTLP_ENPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("OTEL_EXPORTER_OTLP_LOG_HEADERS", "OTEL_EXPORTER_OTLP_LOGS_HEADERS"),
        ("OTEL_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("OTEL_SERVICENAME", "OTEL_SERVICE_NAME"),
        ("OTEL_RESOURCE_ATTRIBUTE", "OTEL_RESOURCE_ATTRIBUTES"),
        ("OTEL_TRACE_SAMPLER", "OTEL_TRACES_SAMPLER"),
        (
            "OTEL_PYTHON_SDK_INTERNAL_METRIC_ENABLED",
            "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED",
        ),
    ],
)
def test_a_slip_is_recognised(name: str, meant: str) -> None:
    [_, found] = check_variables({name: "x"}, ())
    assert (found.result, found.mend) == ("warning", f"did you mean {meant}?")


@pytest.mark.parametrize("name", sorted(HONOURED))
def test_no_variable_that_counts_is_taken_for_a_slip(name: str) -> None:
    assert said(check_variables({name: "x"}, ())) == [("ok", f"honoured: {name}")]


# The versions


def test_what_is_installed_here_is_what_is_needed() -> None:
    versions, *unmet, extras = check_versions()
    assert unmet == []
    assert f"opentelemetry-sdk {metadata.version('opentelemetry-sdk')}" in versions.said
    assert "Python 3." in versions.said
    assert "cli (click 8." in extras.said


def test_what_is_not_what_is_needed_has_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needed = {
        "otel-tasklog": [
            "opentelemetry-sdk>=99",
            "click<9,>=8.1; extra == 'cli'",
            "rich<1; extra == 'cli'",
            "nothing-of-that-name>=1; extra == 'void'",
            "uvloop>=99; sys_platform == 'amiga'",
        ],
        "opentelemetry-sdk": ["opentelemetry-api==1.0.0", "click>99; extra == 'x'"],
    }
    monkeypatch.setattr(metadata, "requires", needed.get)
    here = metadata.version("opentelemetry-sdk")
    [first, sdk, api, rich, last] = check_versions()
    assert first.result == "ok"
    assert (sdk.result, sdk.said, sdk.mend) == (
        "failed",
        f"opentelemetry-sdk {here}, but otel-tasklog needs opentelemetry-sdk>=99",
        "pip install 'opentelemetry-sdk>=99'",
    )
    assert (api.result, api.mend) == (
        "failed",
        "pip install 'opentelemetry-api==1.0.0'",
    )
    assert (rich.result, rich.mend) == ("warning", "pip install 'rich<1'")
    assert last.said.endswith("; not installed: void")


@pytest.mark.parametrize(
    ("there", "bound"),
    [
        ("1.39", ">=1.39.0"),
        ("0.60b0", ">=0.60b0"),
        ("8.4.1", "<9"),
        ("0.8", "<=0.8.0"),
        ("1.45.2", "==1.45.2"),
        ("1.10", ">1.9"),
    ],
)
def test_a_version_is_within_a_bound(
    monkeypatch: pytest.MonkeyPatch, there: str, bound: str
) -> None:
    assert unmet(monkeypatch, there, bound) == []


@pytest.mark.parametrize(
    ("there", "bound"),
    [("1.9", ">=1.39"), ("9.0.0", "<9,>=8"), ("2", ">2.0"), ("1.45.1", "==1.45.2")],
)
def test_a_version_is_outside_of_a_bound(
    monkeypatch: pytest.MonkeyPatch, there: str, bound: str
) -> None:
    assert unmet(monkeypatch, there, bound) == [f"pip install 'thing{bound}'"]


def unmet(monkeypatch: pytest.MonkeyPatch, there: str, bound: str) -> list[str]:
    needed = {"otel-tasklog": [f"thing{bound}"]}
    monkeypatch.setattr(metadata, "requires", needed.get)
    monkeypatch.setattr(metadata, "version", lambda _name: there)
    return [each.mend for each in check_versions() if each.result == "failed"]


# The way


@pytest.mark.parametrize(
    ("settings", "way"),
    [
        ({"endpoint": "http://c/v1/logs"}, ("c", 80, False)),
        ({"endpoint": "https://c/v1/logs"}, ("c", 443, True)),
        ({"endpoint": "https://[::1]:5/v1/logs"}, ("::1", 5, True)),
        ({"protocol": "grpc"}, ("localhost", 4317, False)),
        ({"protocol": "grpc", "endpoint": "https://c"}, ("c", 443, True)),
        ({"protocol": "grpc", "endpoint": "c:4317"}, ("c", 4317, True)),
        (
            {"protocol": "grpc", "endpoint": "c:4317", "insecure": True},
            ("c", 4317, False),
        ),
        ({"protocol": "grpc", "endpoint": "dns:///c:4317"}, ("c", 4317, True)),
        ({"protocol": "grpc", "endpoint": "dns:c:4317"}, ("c", 4317, True)),
        ({"protocol": "grpc", "endpoint": "unix:/run/c.sock"}, None),
        ({"protocol": "grpc", "endpoint": "ipv4:127.0.0.1:4317"}, None),
    ],
    ids=lambda each: str(list(each.values())) if isinstance(each, dict) else "way",
)
def test_an_endpoint_is_a_host_a_port_and_tls(
    settings: dict[str, Any], way: tuple[str, int, bool] | None
) -> None:
    found = way_to(Config(**settings))
    assert (found and found[:3]) == way


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({"http_proxy": "http://p:1"}, ("http_proxy", "p", 1)),
        ({"http_proxy": "http://p:1", "https_proxy": "http://u:w@q"},
         ("https_proxy", "q", 80)),
        ({"grpc_proxy": "http://p:1", "no_proxy": "a, example"}, None),
        ({"grpc_proxy": "http://p:1", "no_proxy": "c.example", "no_grpc_proxy": "x"},
         ("grpc_proxy", "p", 1)),
        ({"HTTP_PROXY": "http://p:1"}, None),
    ],
    ids=["http", "https first", "excepted", "gRPC's exceptions", "in capitals"],
)  # fmt: skip
def test_grpc_has_variables_of_its_own_for_proxies(
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    proxy: tuple[str, str, int] | None,
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    way = way_to(Config(protocol="grpc", endpoint="http://c.example:4317"))
    assert way is not None
    assert (way.proxy and way.proxy[:3]) == proxy


def test_a_socket_speaks_with_the_receiver_only_if_no_proxy_reads_along() -> None:
    proxy = Proxy("HTTP_PROXY", "p", 1, tls=False, credentials="")
    direct = Way("c", 2, tls=False, grpc=False, proxy=None)
    assert direct.can_dial
    assert direct.first == ("c", 2)
    read = direct._replace(proxy=proxy)
    assert not read.can_dial
    assert read.first == ("p", 1)
    assert read._replace(tls=True).can_dial
    assert not read._replace(tls=True, proxy=proxy._replace(tls=True)).can_dial


# The connection


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is an address there")
def test_one_address_of_several_that_listens_is_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def two(*_: object, **__: object) -> list[Any]:
            kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
            return [(*kind, (host, port)) for host in ("127.0.0.2", "127.0.0.1")]

        monkeypatch.setattr(
            "otel_tasklog.cli._checks_network.socket.getaddrinfo",
            lambda host, *rest, **more: (
                two() if host == "both" else _getaddrinfo(host, *rest, **more)
            ),
        )
        way = Way("both", port, tls=False, grpc=False, proxy=None)
        found = said(check_network(way, 5.0))
    assert found == [
        ("ok", "both is 127.0.0.2, 127.0.0.1"),
        ("ok", f"127.0.0.1:{port} takes connections"),
        (
            "ok",
            f"nothing listens at 127.0.0.2:{port} (connection refused); another is used",
        ),
    ]


_getaddrinfo = socket.getaddrinfo


def test_a_look_up_that_does_not_return_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = threading.Event()

    def stuck(*_: object, **__: object) -> list[Any]:
        over.wait(20)
        return []

    monkeypatch.setattr("otel_tasklog.cli._checks_network.socket.getaddrinfo", stuck)
    way = Way("c", 1, tls=False, grpc=False, proxy=None)
    [found] = check_network(way, 0.05)
    over.set()
    assert (found.check, found.result) == ("name", "failed")
    assert "did not look up 'c' in 0.05 s" in found.said


def test_work_in_another_thread_returns_or_raises() -> None:
    assert within(5, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)


def test_a_proxy_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "socks5://user:hunter2@proxy:1080")
    last = list(diagnose({}, {}, send=True))[-1]
    assert (last.check, last.result) == ("proxy", "failed")
    assert last.mend == "correct HTTP_PROXY"
    assert "hunter2" not in last.said


# The probe


class Answering:
    """Answers everything with one outcome."""

    def __init__(self, outcome: Accepted) -> None:
        self._outcome = outcome

    def send(self, body: bytes) -> Accepted:
        assert body
        return self._outcome

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("date", "clock"),
    [
        (None, "not compared: the answer has no date"),
        ("yesterday", "not compared: the answer's date is 'yesterday'"),
    ],
)
def test_a_clock_that_does_not_show_is_not_compared(
    date: str | None, clock: str
) -> None:
    config = Config(service_name="shop")
    sender = Answering(Accepted(status=200, date=date))
    assert said(check_probe(sender, config, None, 5.0))[-1] == ("ok", clock)


def test_what_a_receiver_remarks_is_a_warning() -> None:
    config = Config(service_name="shop")
    sender = Answering(Accepted(status=200, message="use less"))
    probe, _ = check_probe(sender, config, None, 5.0)
    assert probe.result == "warning"
    assert probe.said.endswith("it says: use less")


def test_the_probe_goes_the_way_of_all_records() -> None:
    with HttpPeer() as peer:
        config = Config(endpoint=peer.endpoint, compression="gzip", service_name="s")
        sender = make_sender(config)
        assert sender is not None
        probe, clock = check_probe(sender, config, way_to(config), 5.0)
        sender.close()
        [request] = peer.requests
    assert (probe.result, clock.result) == ("ok", "ok")
    assert request.headers["content-encoding"] == "gzip"
    assert request.headers["user-agent"].startswith("otel-tasklog/")
    [scope_logs] = request.message.resource_logs[0].scope_logs
    assert scope_logs.scope.name == "otel_tasklog.doctor"


# The spool


def test_a_spool_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    first, *_ = check_spool(Config(spool_dir=directory, spool_bytes=2**20))
    assert (first.result, first.said) == (
        "ok",
        f"{directory} is not there, and will be made",
    )
    assert not directory.exists()


def test_what_lies_in_a_spool_is_counted_and_left(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    owners = Owners(tmp_path, pytest.fail)
    segment = owners.create()
    segment.append(b"0123456789", 3, unread=False)
    settled = segment.append(b"abc", 1, unread=False)
    segment.settle(settled)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    config = Config(spool_dir=tmp_path, spool_bytes=2**20)
    found = said(check_spool(config))
    assert found[0] == ("ok", f"{tmp_path} is there")
    assert found[-1] == (
        "ok",
        "3 records in it to be sent, 10 bytes, of 1 living or dead processes",
    )
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    with segment.path.open("ab") as file:
        file.write(b"torn")
    assert said(check_spool(config))[-1][0] == "warning"
    owners.release()


def test_a_spool_that_others_may_write_to_has_failed(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    [found] = check_spool(Config(spool_dir=tmp_path))
    assert found.result == "failed"
    assert "no other user may write" in found.said


def test_a_disk_without_room_for_the_spool_is_a_warning(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    _, room, _ = check_spool(Config(spool_dir=tmp_path, spool_bytes=2**62))
    assert room.result == "warning"
    assert "spool_bytes=" in room.mend


# What is printed


def shown(findings: list[Finding], *, as_json: bool) -> tuple[int, list[str]]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        status = show(findings, as_json=as_json)
    return status, out.getvalue().splitlines()


FINDINGS = [
    ok("name", "c is ::1"),
    warning("clock", "late", "set it"),
    failed("probe", "it says \x1b[2J\nok       probe", "mend\x9b it"),
]


def test_a_finding_is_a_line_and_what_to_do_another() -> None:
    assert shown(FINDINGS, as_json=False) == (
        1,
        [
            "ok       name             c is ::1",
            "warning  clock            late",
            "         -> set it",
            "failed   probe            it says \\x1b[2J\\nok       probe",
            "         -> mend\\x9b it",
            "",
            "1 ok, 1 warning, 1 failed",
        ],
    )


def test_as_json_each_finding_is_an_object_on_a_line() -> None:
    status, lines = shown(FINDINGS, as_json=True)
    assert status == 1
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert [json.loads(line) for line in lines][2] == {
        "check": "probe",
        "result": "failed",
        "said": "it says \x1b[2J\nok       probe",
        "mend": "mend\x9b it",
    }


def test_warnings_alone_are_no_failure() -> None:
    assert shown(FINDINGS[:2], as_json=False)[0] == 0


def test_options_that_name_settings_are_not_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1")
    findings = list(
        check_settings(os.environ, {"endpoint": "http://b:2", "timeout_seconds": 3})[0]
    )
    assert findings[0].said == "http://b:2/v1/logs (from --endpoint)"
    assert "3 (from --timeout)" in [finding.said for finding in findings]
