"""Each variable of OpenTelemetry, set in the environment: a receiver sees its effect.

Over OTLP/HTTP and OTLP/gRPC, on real sockets.
"""

from __future__ import annotations

import json
import re
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from opentelemetry.metrics import get_meter_provider
from otlp_peers import GRPC_METHOD, HttpPeer, Relay

from otel_tasklog import Config
from otel_tasklog._assemble import make_sender
from otel_tasklog._environ import VARIABLES
from otel_tasklog.delivery._senders import Misconfigured, Retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from contract.conftest import Authority, Peer, Program
    from opentelemetry.metrics import MeterProvider
    from otlp_peers import Request

    Start = Callable[[dict[str, str]], Program]

OTLP = "OTEL_EXPORTER_OTLP_"
HTTP, GRPC = "http/protobuf", "grpc"
NOWHERE = "http://127.0.0.1:1"


class Case(NamedTuple):
    """One variable, or two that belong together.

    Attributes:
        values: What they are set to, by what comes after ``OTEL_EXPORTER_OTLP_``.
        sees: Whether a request shows it.
        wrong: Values that would keep the record, or its effect, from arriving.
        others: What else has to be set.
        protocols: Over which protocols it has an effect.
        tls: Whether the receiver has TLS, and whether it asks for a certificate.
    """

    values: dict[str, str]
    sees: Callable[[Request], object]
    wrong: dict[str, str]
    others: dict[str, str] = {}  # noqa: RUF012 - nobody changes it
    protocols: tuple[str, ...] = (HTTP, GRPC)
    tls: str = ""


CASES = {
    "endpoint, a base": Case(
        {"ENDPOINT": "{scheme}://127.0.0.1:{port}"},
        lambda request: request.path in {"/v1/logs", "/", GRPC_METHOD},
        {"ENDPOINT": NOWHERE},
    ),
    "endpoint, host and port": Case(
        {"ENDPOINT": "127.0.0.1:{port}"},
        lambda request: request.path == GRPC_METHOD,
        {"ENDPOINT": NOWHERE},
        {"INSECURE": "true"},
        (GRPC,),
    ),
    "protocol": Case(
        {"PROTOCOL": "{protocol}"}, lambda _: True, {"PROTOCOL": "{other_protocol}"}
    ),
    "protocol, in capitals": Case(
        {"PROTOCOL": "{PROTOCOL}"}, lambda _: True, {"PROTOCOL": "{other_protocol}"}
    ),
    "headers": Case(
        {"HEADERS": "X-Token=a%20b%2Cc, other=1"},
        lambda request: (
            (request.headers["x-token"], request.headers["other"]) == ("a b,c", "1")
        ),
        {"HEADERS": "x-token=wrong"},
    ),
    "certificate": Case(
        {"CERTIFICATE": "{authority}"},
        lambda _: True,
        {"CERTIFICATE": "/no/such/file"},
        tls="server",
    ),
    "client key and certificate": Case(
        {"CLIENT_KEY": "{client_key}", "CLIENT_CERTIFICATE": "{client_certificate}"},
        lambda _: True,
        {"CLIENT_KEY": "/no/such/file", "CLIENT_CERTIFICATE": "/no/such/file"},
        tls="mutual",
    ),
    "insecure": Case(
        {"INSECURE": "true"},
        lambda _: True,
        {"INSECURE": "false"},
        {"ENDPOINT": "127.0.0.1:{port}"},
        (GRPC,),
    ),
}


def variables_of(
    case: Case, signal: str, peer: Peer, authority: Authority
) -> dict[str, str]:
    names = {
        "scheme": "https" if case.tls else "http",
        "port": peer.port,
        "protocol": peer.protocol,
        "PROTOCOL": peer.protocol.upper(),
        "other_protocol": GRPC if peer.protocol == HTTP else HTTP,
        "authority": authority.certificate,
        "client_key": authority.client_key,
        "client_certificate": authority.client_certificate,
    }
    found = {
        f"{OTLP}ENDPOINT": "{scheme}://127.0.0.1:{port}",
        f"{OTLP}PROTOCOL": "{protocol}",
        f"{OTLP}CERTIFICATE": "{authority}" if case.tls else "",
    }
    found |= {f"{OTLP}{name}": value for name, value in case.others.items()}
    if signal:
        found |= {f"{OTLP}{name}": value for name, value in case.wrong.items()}
    found |= {f"{OTLP}{signal}{name}": value for name, value in case.values.items()}
    return {name: value.format_map(names) for name, value in found.items()}


def over(*cases: str) -> pytest.MarkDecorator:
    """Run a test for each case, over each protocol that the case is about."""
    rows = [(name, protocol) for name in cases for protocol in CASES[name].protocols]
    return pytest.mark.parametrize(("case", "make_peer"), rows, indirect=["make_peer"])


@pytest.mark.parametrize("signal", ["", "LOGS_"], ids=["general", "for logs"])
@over(*CASES)
def test_a_variable_has_its_effect_and_the_one_for_logs_wins(
    make_peer: Callable[..., Peer],
    start: Start,
    authority: Authority,
    case: str,
    signal: str,
) -> None:
    row = CASES[case]
    with make_peer(authority if row.tls else None, mutual=row.tls == "mutual") as peer:
        program = start(variables_of(row, signal, peer, authority))
        program.log.info("a record")
        assert program.tasklog.flush(), program.tasklog.stats().last_error
        assert peer.requests.bodies == ["a record"]
        assert row.sees(peer.requests[0])


@over("certificate", "client key and certificate", "insecure")
def test_without_the_variable_there_is_no_connection(
    make_peer: Callable[..., Peer], authority: Authority, case: str
) -> None:
    row = CASES[case]
    with make_peer(authority if row.tls else None, mutual=row.tls == "mutual") as peer:
        variables = variables_of(row, "", peer, authority)
        for name in row.values:
            del variables[OTLP + name]
        sender = make_sender(Config.from_env(variables))
        assert sender is not None
        outcome = sender.send(b"")
        sender.close()
        # A receiver that misses a certificate may just hang up.
        assert isinstance(outcome, Misconfigured | Retry), outcome
        assert row.tls == "mutual" or isinstance(outcome, Misconfigured)
        assert not peer.requests


def where(peer: Peer) -> dict[str, str]:
    return {
        f"{OTLP}ENDPOINT": f"http://127.0.0.1:{peer.port}",
        f"{OTLP}PROTOCOL": peer.protocol,
    }


def test_the_variable_for_logs_replaces_the_general_headers_as_a_whole(
    peer: Peer, start: Start
) -> None:
    program = start(
        where(peer) | {f"{OTLP}HEADERS": "a=1,b=2", f"{OTLP}LOGS_HEADERS": "b=3"}
    )
    program.log.info("a record")
    assert program.tasklog.flush()
    headers = peer.requests[0].headers
    assert headers["b"] == "3"
    assert "a" not in headers


PATHS = [
    ("", "ENDPOINT", "/v1/logs"),
    ("/", "ENDPOINT", "/v1/logs"),
    ("/otlp", "ENDPOINT", "/otlp/v1/logs"),
    ("/otlp/", "ENDPOINT", "/otlp/v1/logs"),
    ("/v1/logs", "ENDPOINT", "/v1/logs/v1/logs"),
    ("", "LOGS_ENDPOINT", "/"),
    ("/as/is", "LOGS_ENDPOINT", "/as/is"),
    ("/as/is/", "LOGS_ENDPOINT", "/as/is/"),
]


@pytest.mark.parametrize(("given", "name", "path"), PATHS, ids=str)
def test_a_base_gets_the_path_of_logs_and_the_endpoint_of_logs_stays_as_it_is(
    start: Start, given: str, name: str, path: str
) -> None:
    with HttpPeer() as peer:
        program = start({OTLP + name: f"http://127.0.0.1:{peer.port}{given}"})
        program.log.info("a record")
        assert program.tasklog.flush()
        assert peer.requests[0].path == path


@pytest.mark.parametrize("signal", ["", "LOGS_"], ids=["general", "for logs"])
@pytest.mark.parametrize("compression", ["gzip", "none", "GZIP", ""])
def test_compression_is_seen_on_the_wire(
    peer: Peer, start: Start, signal: str, compression: str
) -> None:
    with Relay(peer.port) as relay:
        program = start(
            {
                f"{OTLP}ENDPOINT": f"http://127.0.0.1:{relay.port}",
                f"{OTLP}PROTOCOL": peer.protocol,
                f"{OTLP}{signal}COMPRESSION": compression,
            }
        )
        program.log.info("plain text " * 100)
        assert program.tasklog.flush()
        program.tasklog.close()
        assert peer.requests.bodies == ["plain text " * 100]
        assert (b"plain text plain" in relay.sent) == (compression.lower() != "gzip")


@pytest.mark.parametrize(
    "variables",
    [
        {f"{OTLP}TIMEOUT": "50"},
        {f"{OTLP}TIMEOUT": "60000", f"{OTLP}LOGS_TIMEOUT": "50"},
        {f"{OTLP}TIMEOUT": "60000", "OTEL_BLRP_EXPORT_TIMEOUT": "50"},
    ],
    ids=lambda variables: list(variables)[-1],
)
@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_a_receiver_that_never_answers_is_given_up_in_time(
    protocol: str, variables: dict[str, str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        config = Config.from_env(
            {f"{OTLP}ENDPOINT": endpoint, f"{OTLP}PROTOCOL": protocol, **variables}
        )
        sender = make_sender(config)
        assert sender is not None
        before = time.monotonic()
        outcome = sender.send(b"")
        took = time.monotonic() - before
        sender.close()
    assert isinstance(outcome, Retry)
    assert 0.04 < took < 5.0


def test_the_queue_holds_at_most_its_size(peer: Peer, start: Start) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: refuses
        program = start(
            {
                f"{OTLP}ENDPOINT": f"http://127.0.0.1:{closed.getsockname()[1]}",
                f"{OTLP}PROTOCOL": peer.protocol,
                "OTEL_BLRP_MAX_QUEUE_SIZE": "10",
            }
        )
        for number in range(100):
            program.log.info("record %d", number)
        assert not program.tasklog.flush(0.2)
        stats = program.tasklog.stats()
    assert stats.pending <= 10
    assert stats.dropped_by == {"buffer_full": 100 - stats.pending}


def test_a_request_has_at_most_a_batch(peer: Peer, start: Start) -> None:
    program = start(where(peer) | {"OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "4"})
    for number in range(10):
        program.log.info("record %d", number)
    assert program.tasklog.flush()
    assert [len(request.records) for request in peer.requests] == [4, 4, 2]


def test_a_record_waits_for_others_as_long_as_the_delay(
    peer: Peer, start: Start
) -> None:
    program = start(where(peer) | {"OTEL_BLRP_SCHEDULE_DELAY": "0"})
    for count in (1, 2, 3):
        program.log.info("record %d", count)
        peer.requests.wait_for(count)  # nobody flushes
    patient = start(where(peer) | {"OTEL_BLRP_SCHEDULE_DELAY": "3600000"})
    patient.log.info("first")
    program.log.handlers[:] = [program.tasklog.handler]
    program.log.info("record 4")
    peer.requests.wait_for(4)
    patient.log.handlers[:] = [patient.tasklog.handler]
    patient.log.info("second")
    assert patient.tasklog.flush()
    assert peer.requests[-1].bodies == ["first", "second"]


def test_the_resource_is_what_the_environment_says(peer: Peer, start: Start) -> None:
    program = start(
        where(peer)
        | {
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,region=north%20east",
        }
    )
    program.log.info("a record")
    assert program.tasklog.flush()
    resource = peer.requests[0].resource
    assert (resource["service.name"], resource["region"]) == ("shop", "north east")


@pytest.mark.parametrize(
    ("variables", "delivered"),
    [
        ({"OTEL_LOGS_EXPORTER": "otlp"}, 1),
        ({"OTEL_LOGS_EXPORTER": "OTLP"}, 1),
        ({"OTEL_LOGS_EXPORTER": ""}, 1),
        ({"OTEL_LOGS_EXPORTER": "none"}, 0),
        ({"OTEL_SDK_DISABLED": "TRUE"}, 0),
        ({"OTEL_SDK_DISABLED": "false"}, 1),
        ({"OTEL_SDK_DISABLED": "yes"}, 1),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_LOGS_EXPORTER": "otlp"}, 0),
    ],
    ids=str,
)
def test_nothing_is_sent_if_that_is_asked_for(
    peer: Peer,
    start: Start,
    variables: dict[str, str],
    delivered: int,
) -> None:
    program = start(where(peer) | variables)
    program.log.info("a record")
    assert program.tasklog.flush()
    assert peer.requests.bodies == ["a record"] * delivered
    assert [record.body for record in program.tasklog.query()] == ["a record"]


def test_records_are_printed_if_that_is_asked_for(
    peer: Peer, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    program = start(
        where(peer) | {"OTEL_LOGS_EXPORTER": "console", "OTEL_SERVICE_NAME": "shop"}
    )
    program.log.warning("a record", extra={"amount": 12})
    assert program.tasklog.flush()
    printed = json.loads(capsys.readouterr().out)
    assert printed["body"] == "a record"
    assert printed["severity_text"] == "WARNING"
    assert printed["attributes"]["amount"] == 12
    assert printed["resource"]["attributes"]["service.name"] == "shop"
    assert not peer.requests


@pytest.mark.parametrize(
    ("value", "expected"),
    [("TRUE", get_meter_provider()), ("1", None), ("", None)],
    ids=["true", "not true", "empty"],
)
def test_the_global_meter_provider_is_taken_if_that_is_asked_for(
    peer: Peer, start: Start, value: str, expected: MeterProvider | None
) -> None:
    variable = "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"
    program = start(where(peer) | {variable: value})
    assert program.tasklog.config.meter_provider is expected


@pytest.mark.parametrize(
    "prefix", ["OTEL_LOGRECORD_ATTRIBUTE", "OTEL_ATTRIBUTE"], ids=str
)
def test_a_record_has_at_most_so_many_attributes_and_they_are_so_long(
    peer: Peer, start: Start, prefix: str
) -> None:
    program = start(
        where(peer)
        | {f"{prefix}_COUNT_LIMIT": "2", f"{prefix}_VALUE_LENGTH_LIMIT": "3"}
    )
    given = {"text": "abcdef", "data": b"abcdef", "more": 1, "most": 2}
    program.log.info("message", extra=given)
    assert program.tasklog.flush()
    (record,) = peer.requests[0].records
    values = {each.key: each.value for each in record.attributes}
    assert values["text"].string_value == "abc"
    assert values["data"].bytes_value == b"abc"
    assert not {"more", "most"} & values.keys()
    assert program.tasklog.stats().dropped_attributes == 2


def test_the_limits_of_records_win_over_those_of_all_signals() -> None:
    names = "ATTRIBUTE_COUNT_LIMIT", "ATTRIBUTE_VALUE_LENGTH_LIMIT"
    general = {f"OTEL_{name}": "7" for name in names}
    config = Config.from_env(
        general | {f"OTEL_LOGRECORD_{name}": "9" for name in names}
    )
    assert config.attribute_count_limit == config.attribute_value_length_limit == 9


def test_our_own_variable_says_whether_there_is_an_access_point() -> None:
    """Its values are in ``tests/viewer/test_access_point.py``."""
    assert Config.from_env({"OTEL_TASKLOG_ATTACH": "off"}).attach is False
    assert Config.from_env({"OTEL_TASKLOG_ATTACH": ""}).attach is None
    assert Config.from_env({"OTEL_TASKLOG_ATTACH": "off"}, attach="tcp").attach == "tcp"


def test_our_own_variables_start_a_monitor_and_watch_the_loop() -> None:
    """Their values are in ``tests/test_config.py``."""
    config = Config.from_env(
        {"OTEL_TASKLOG_MONITOR": "1", "OTEL_TASKLOG_BLOCKED_AFTER_SECONDS": "0.5"}
    )
    assert config.monitor is True
    assert config.blocked_after_seconds == 0.5
    off = Config.from_env({"OTEL_TASKLOG_BLOCKED_AFTER_SECONDS": "0"})
    assert off.blocked_after_seconds is None


def test_every_variable_has_a_test() -> None:
    text = Path(__file__).read_text("utf-8")
    for variable in VARIABLES:
        for name in variable.names:
            said = name.removeprefix(OTLP).removeprefix("LOGS_")
            said = re.sub("^OTEL_(LOGRECORD_)?ATTRIBUTE", "", said)
            assert said in text, name
