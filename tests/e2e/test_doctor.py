"""``otel-tasklog doctor`` against everything that can be wrong with a receiver."""

from __future__ import annotations

import datetime
import http.server
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
import pytest
import trustme
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from otlp_peers import GrpcPeer, HttpPeer, Relay
from otlp_sockets import OK, Connection, SocketPeer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e

COMMAND = [sys.executable, "-m", "otel_tasklog", "doctor"]
AUTHORIZATION = "Bearer geheim-4711"
PROTOBUF = {"Content-Type": "application/x-protobuf"}


class Diagnosis:
    """What the doctor said of an endpoint."""

    def __init__(self, *options: str, **environ: str) -> None:
        self.done = subprocess.run(
            [*COMMAND, "--json", *options],
            capture_output=True, text=True, check=False, timeout=50,
            env={**os.environ, "OTEL_SERVICE_NAME": "shop", **environ},
        )  # fmt: skip
        self.status = self.done.returncode
        self.findings: list[dict[str, str]] = [
            json.loads(line) for line in self.done.stdout.splitlines()
        ]

    def of(self, check: str) -> dict[str, str]:
        """Return the last finding of a check."""
        found = [each for each in self.findings if each["check"] == check]
        assert found, self
        return found[-1]

    def assert_fails(self, check: str, cause: str, mend: str) -> None:
        """Check what the first failed line says."""
        bad = [each for each in self.findings if each["result"] == "failed"]
        assert bad, self
        assert bad[0]["check"] == check, self
        assert re.search(cause, bad[0]["said"]), self
        assert re.search(mend, bad[0]["mend"]), self
        assert self.status == 1

    def __repr__(self) -> str:
        lines = "\n".join(str(tuple(each.values())) for each in self.findings)
        return f"{self.status}\n{lines}\n{self.done.stderr}"


class Authority(NamedTuple):
    """Who signs receivers, and the file that says whom to trust."""

    ca: trustme.CA
    file: str

    def server(self, *names: str, **options: Any) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        self.ca.issue_cert(*names, **options).configure_cert(context)
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    ca = trustme.CA()
    file = tmp_path_factory.mktemp("authority") / "authority.pem"
    ca.cert_pem.write_to_path(file)
    return Authority(ca, str(file))


@pytest.fixture
def http_peer() -> Iterator[HttpPeer]:
    with HttpPeer() as peer:
        yield peer


@pytest.fixture
def grpc_peer() -> Iterator[GrpcPeer]:
    with GrpcPeer() as peer:
        yield peer


def test_a_healthy_receiver_of_http_takes_the_probe(http_peer: HttpPeer) -> None:
    said = Diagnosis(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{http_peer.port}")
    assert said.status == 0, said
    assert {each["result"] for each in said.findings} == {"ok"}, said
    assert said.of("endpoint")["said"] == (
        f"{http_peer.endpoint} (from OTEL_EXPORTER_OTLP_ENDPOINT)"
    )
    [record] = http_peer.requests[0].records
    assert record.attributes[0].key == "otel_tasklog.probe"
    assert record.attributes[0].value.string_value in said.of("probe")["said"]
    assert record.body.string_value.startswith("otel-tasklog doctor")
    assert http_peer.requests[0].resource["service.name"] == "shop"
    assert "0 s apart" in said.of("clock")["said"] or "1 s" in said.of("clock")["said"]


def test_a_healthy_receiver_of_grpc_takes_the_probe(grpc_peer: GrpcPeer) -> None:
    said = Diagnosis("--protocol", "grpc", "--endpoint", grpc_peer.endpoint)
    assert said.status == 0, said
    assert "accepted" in said.of("probe")["said"]
    assert len(grpc_peer.requests[0].records) == 1


def test_with_no_send_nothing_is_sent(http_peer: HttpPeer) -> None:
    said = Diagnosis("--endpoint", http_peer.endpoint, "--no-send")
    assert said.status == 0, said
    assert "takes connections" in said.of("connection")["said"]
    assert not http_peer.requests


def test_what_is_printed_for_people_has_no_colours_in_a_pipe(
    http_peer: HttpPeer,
) -> None:
    done = subprocess.run(
        [*COMMAND, "--endpoint", http_peer.endpoint],
        capture_output=True, text=True, check=False, timeout=50,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert any(line.startswith("ok       probe ") for line in lines)
    assert any(line.startswith("         -> set OTEL_SERVICE_NAME") for line in lines)
    assert re.fullmatch(r"\d+ ok, 1 warning, 0 failed", lines[-1])


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_nothing_listens(protocol: str) -> None:
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{refusing.getsockname()[1]}"
        said = Diagnosis("--endpoint", endpoint, "--protocol", protocol)
    said.assert_fails("connection", "nothing listens at 127", "start the receiver")
    assert "probe" not in str(said.findings)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_name_that_is_not_known(protocol: str) -> None:
    said = Diagnosis("--endpoint", "http://nowhere.invalid:1", "--protocol", protocol)
    said.assert_fails("name", "'nowhere.invalid' has no address", "the endpoint")


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def test_a_web_server_is_no_receiver() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        over_http = Diagnosis("--endpoint", endpoint)
        over_grpc = Diagnosis("--endpoint", endpoint, "--protocol", "grpc")
        server.shutdown()
        thread.join()
    over_http.assert_fails("probe", "that is no receiver of OTLP: .* 501", "web server")
    over_grpc.assert_fails("probe", "speaks HTTP/1, and OTLP/gRPC", "protocol http/pro")


def test_a_port_of_grpc_speaks_no_http_1(grpc_peer: GrpcPeer) -> None:
    said = Diagnosis("--endpoint", grpc_peer.endpoint)
    said.assert_fails("probe", "speaks HTTP/2 alone", "usually 4318, or protocol grpc")


def test_a_port_that_speaks_something_else_is_quoted() -> None:
    def greet(connection: Connection) -> None:
        connection.say(b"SSH-2.0-OpenSSH_9.9\x1b[2J\r\n")

    with SocketPeer(*[greet] * 9) as peer:
        said = Diagnosis("--endpoint", peer.endpoint)
    said.assert_fails("probe", "speaks no HTTP; it says 'SSH-2.0-Open", "correct the p")
    assert "\x1b" not in said.done.stdout


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("listens", [HttpPeer, GrpcPeer], ids=["http", "grpc"])
def test_tls_to_a_port_without_it(
    protocol: str, listens: Callable[[], HttpPeer | GrpcPeer]
) -> None:
    with listens() as peer:
        said = Diagnosis(
            "--endpoint", f"https://127.0.0.1:{peer.port}", "--protocol", protocol,
            "--timeout", "2",
        )  # fmt: skip
    spoken = "HTTP/1" if isinstance(peer, HttpPeer) else "HTTP/2"
    said.assert_fails("TLS", f"speaks {spoken} without TLS", "use http://127.0.0.1")


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_no_tls_to_a_port_of_it(protocol: str, authority: Authority) -> None:
    with HttpPeer(authority.server("127.0.0.1")) as peer:
        said = Diagnosis("--endpoint", peer.endpoint.removesuffix("/v1/logs"),
                         "--protocol", protocol)  # fmt: skip
    said.assert_fails("probe", "speaks TLS: ", f"use https://127.0.0.1:{peer.port}")


def test_a_trusted_certificate_is_told_of(authority: Authority) -> None:
    with HttpPeer(authority.server("127.0.0.1", common_name="collector")) as peer:
        endpoint = f"https://127.0.0.1:{peer.port}"
        said = Diagnosis("--endpoint", endpoint, "--certificate", authority.file)
    assert said.status == 0, said
    assert re.search(
        r"TLSv1\.\d; certificate of collector, for 127\.0\.0\.1, signed by "
        r"trustme.*, valid until \d{4}-\d\d-\d\d",
        said.of("TLS")["said"],
    ), said


def test_a_receiver_of_grpc_behind_tls_takes_the_probe(authority: Authority) -> None:
    made = authority.ca.issue_cert("127.0.0.1")
    chain = b"".join(pem.bytes() for pem in made.cert_chain_pems)
    tls = grpc.ssl_server_credentials([(made.private_key_pem.bytes(), chain)])
    with GrpcPeer(tls) as peer:
        options = ("--endpoint", f"https://127.0.0.1:{peer.port}")
        trusted = Diagnosis(
            *options, "--protocol", "grpc", "--certificate", authority.file
        )
        distrusted = Diagnosis(*options, "--protocol", "grpc")
        over_http = Diagnosis(*options, "--certificate", authority.file)
    assert trusted.status == 0, trusted
    assert "for 127.0.0.1" in trusted.of("TLS")["said"]
    assert distrusted.of("TLS")["result"] == "warning"
    distrusted.assert_fails("probe", "TLS failed", "the line on TLS")
    over_http.assert_fails("probe", "HTTP/2 alone", "protocol grpc")


def test_grpc_to_a_port_of_https(authority: Authority) -> None:
    with HttpPeer(authority.server("127.0.0.1")) as peer:
        said = Diagnosis(
            "--endpoint", f"https://127.0.0.1:{peer.port}", "--protocol", "grpc",
            "--certificate", authority.file, "--timeout", "3",
        )  # fmt: skip
    said.assert_fails("TLS", "TLS, but not HTTP/2", "usually 4317")


def test_an_authority_that_is_not_trusted(authority: Authority, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    with HttpPeer(authority.server("127.0.0.1")) as peer:
        endpoint = f"https://127.0.0.1:{peer.port}"
        said = Diagnosis("--endpoint", endpoint)
        wrong = Diagnosis("--endpoint", endpoint, "--certificate", str(other))
    cause = r"authority of the certificate is not trusted here \(certificate of trustme"
    said.assert_fails("TLS", cause, "set OTEL_EXPORTER_OTLP_CERTIFICATE")
    wrong.assert_fails("TLS", cause, f"authority's certificate into {other}")


def test_a_certificate_that_has_expired(authority: Authority) -> None:
    ended = datetime.datetime(2024, 2, 3, tzinfo=datetime.UTC)
    with HttpPeer(authority.server("127.0.0.1", not_after=ended)) as peer:
        endpoint = f"https://127.0.0.1:{peer.port}"
        said = Diagnosis("--endpoint", endpoint, "--certificate", authority.file)
    said.assert_fails("TLS", "has expired .*valid until 2024-02-03", "renewed")


def test_a_certificate_that_expires_soon_is_a_warning(authority: Authority) -> None:
    ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3, hours=1)
    with HttpPeer(authority.server("127.0.0.1", not_after=ends)) as peer:
        endpoint = f"https://127.0.0.1:{peer.port}"
        said = Diagnosis("--endpoint", endpoint, "--certificate", authority.file)
    assert said.status == 0, said
    assert said.of("TLS")["said"] == "the certificate expires in 3 days"


def test_a_certificate_for_another_host(authority: Authority) -> None:
    with HttpPeer(authority.server("collector.example")) as peer:
        endpoint = f"https://127.0.0.1:{peer.port}"
        said = Diagnosis("--endpoint", endpoint, "--certificate", authority.file)
    cause = r"is not for 127.0.0.1 \(.*, for collector.example, signed"
    said.assert_fails("TLS", cause, "use a name in the endpoint")


def test_a_receiver_that_asks_who_we_are(authority: Authority) -> None:
    context = authority.server("127.0.0.1")
    authority.ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    with HttpPeer(context) as peer:
        endpoint = f"https://127.0.0.1:{peer.port}"
        said = Diagnosis("--endpoint", endpoint, "--certificate", authority.file)
    said.assert_fails("probe", "broke TLS off: .*CERTIFICATE_REQ", "CLIENT_CERTIFICATE")


@pytest.mark.parametrize(
    ("answer", "cause", "mend"),
    [
        ((401, {}, b"who?"), "another authorization: .* 401 who", "OTLP_HEADERS"),
        ((403, {}, b""), "another authorization: .* 403", "OTLP_HEADERS"),
        ((404, {}, b"page not found"), "no.* that path: .* 404", "pipeline for logs"),
        ((405, {}, b""), "no POST is taken", "/v1/logs"),
        ((413, {}, b""), "too large", "raise its limit"),
        ((415, {}, b""), "protobuf is not taken", "as JSON is not sent"),
        ((429, {"Retry-After": "60"}, b""), "takes nothing now: .* 429", "load"),
        ((503, {}, b"later"), "takes nothing now: .* 503 later", "goes on trying"),
        ((302, {"Location": "https://elsewhere.example/v1/logs"}, b""),
         "is elsewhere: .* redirects to https://elsewhere.example", "set the endpoint"),
        ((200, {"Content-Type": "text/html"}, b"<html>Log in"),
         "no receiver of OTLP: .* web page", "log in"),
        ((400, {}, b"bad timestamp"), "refuses the record: .* bad timestamp", "log"),
        ((500, {}, b"oops"), "refuses the record: .* 500 oops", "its log"),
        ((200, PROTOBUF, ExportLogsServiceResponse(
            partial_success=ExportLogsPartialSuccess(
                        rejected_log_records=1, error_message="too old"
                    ),
        ).SerializeToString()),
         "answered 200, but refuses the record: too old", "limits and validation"),
    ],
    ids=[
        "401", "403", "404", "405", "413", "415", "429", "503", "302", "web page",
        "400", "500", "partial success",
    ],
)  # fmt: skip
def test_an_answer_that_is_no_yes(
    http_peer: HttpPeer,
    answer: tuple[int, dict[str, str], bytes],
    cause: str,
    mend: str,
) -> None:
    http_peer.answer = answer
    said = Diagnosis("--endpoint", http_peer.endpoint)
    said.assert_fails("probe", cause, mend)


def test_a_path_that_is_not_there_is_completed(http_peer: HttpPeer) -> None:
    http_peer.answer = (404, {}, b"")
    base = f"http://127.0.0.1:{http_peer.port}"
    said = Diagnosis(OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=f"{base}/otlp")
    said.assert_fails(
        "probe", "nothing takes logs at that path", "use .*/otlp/v1/logs$"
    )


def test_a_path_that_is_there_twice_is_named(http_peer: HttpPeer) -> None:
    http_peer.answer = (404, {}, b"")
    base = f"http://127.0.0.1:{http_peer.port}"
    said = Diagnosis(OTEL_EXPORTER_OTLP_ENDPOINT=f"{base}/v1/logs")
    said.assert_fails(
        "probe", "nothing takes logs at that path", f"ENDPOINT has .* to {base}$"
    )


@pytest.mark.parametrize(
    ("code", "cause", "mend"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "another authorization", "OTLP_HEADERS"),
        (grpc.StatusCode.UNIMPLEMENTED, "nobody takes logs there", "pipeline for logs"),
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT: no", "see what it says"),
    ],
    ids=["unauthenticated", "unimplemented", "invalid"],
)
def test_a_code_that_is_no_yes(
    grpc_peer: GrpcPeer, code: grpc.StatusCode, cause: str, mend: str
) -> None:
    def refuse(_request: object, context: grpc.ServicerContext) -> bytes:
        context.abort(code, "no")
        raise AssertionError

    grpc_peer.decide = refuse
    said = Diagnosis("--endpoint", grpc_peer.endpoint, "--protocol", "grpc")
    said.assert_fails("probe", cause, mend)


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_receiver_that_never_answers(protocol: str) -> None:
    with SocketPeer(*[Connection.hang] * 9) as peer:
        said = Diagnosis(
            "--endpoint", peer.endpoint.removesuffix("/v1/logs"),
            "--protocol", protocol, "--timeout", "0.5",
        )  # fmt: skip
    said.assert_fails("probe", "did not answer in time", "OTEL_EXPORTER_OTLP_TIMEOUT")


def test_no_answer_to_a_handshake() -> None:
    with SocketPeer(*[Connection.hang] * 9) as peer:
        endpoint = peer.endpoint.replace("http", "https", 1)
        said = Diagnosis("--endpoint", endpoint, "--timeout", "0.5")
    said.assert_fails("TLS", r"did not answer the handshake in 0\.5 s", "port of TLS")


@pytest.mark.parametrize(
    ("hours", "cause", "mend"),
    [(-2, "7,[12].. s ahead", "10 minutes ahead"), (2, "7,[12].. s behind", "an hour")],
    ids=["ahead", "behind"],
)
def test_clocks_that_differ_are_a_warning(hours: int, cause: str, mend: str) -> None:
    there = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)
    date = there.strftime("%a, %d %b %Y %H:%M:%S GMT").encode()

    def answer(connection: Connection) -> None:
        connection.request()
        connection.say(OK.replace(b"OK\r\n", b"OK\r\nDate: " + date + b"\r\n"))

    def nothing(_connection: Connection) -> None:
        pass

    with SocketPeer(nothing, answer) as peer:
        said = Diagnosis("--endpoint", peer.endpoint)
    assert said.status == 0, said
    clock = said.of("clock")
    assert clock["result"] == "warning"
    assert re.search(cause, clock["said"]), clock
    assert mend in clock["mend"]


def test_no_secret_is_shown_even_if_the_receiver_repeats_it(
    http_peer: HttpPeer,
) -> None:
    http_peer.answer = (401, {}, b"not authorized: geheim-4711")
    for options in (["--header", f"Authorization={AUTHORIZATION}"], []):
        environ = {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization={AUTHORIZATION}"}
        said = Diagnosis("--endpoint", http_peer.endpoint, *options, **environ)
        assert http_peer.requests[-1].headers["authorization"] == AUTHORIZATION
        said.assert_fails("probe", "401 not authorized: ...", "OTLP_HEADERS")
        assert "geheim" not in said.done.stdout + said.done.stderr


def test_a_proxy_is_named_and_asked_for_a_tunnel(authority: Authority) -> None:
    with (
        HttpPeer(authority.server("127.0.0.1")) as peer,
        Relay(peer.port, is_proxy=True) as proxy,
    ):
        said = Diagnosis(
            "--endpoint", f"https://127.0.0.1:{peer.port}",
            "--certificate", authority.file,
            HTTPS_PROXY=f"http://user:hunter2@127.0.0.1:{proxy.port}",
        )  # fmt: skip
    assert said.status == 0, said
    assert f"lets through to 127.0.0.1:{peer.port}" in said.of("proxy")["said"]
    assert "for 127.0.0.1" in said.of("TLS")["said"]
    assert "hunter2" not in said.done.stdout


def test_a_proxy_that_refuses_the_tunnel(http_peer: HttpPeer) -> None:
    said = Diagnosis(
        "--endpoint", "https://collector.example",
        HTTPS_PROXY=f"http://127.0.0.1:{http_peer.port}",
    )  # fmt: skip
    said.assert_fails("proxy", "refuses a tunnel: .* 501", "NO_PROXY")


def test_what_install_would_refuse_is_named() -> None:
    said = Diagnosis(OTEL_EXPORTER_OTLP_TIMEOUT="10s")
    said.assert_fails("settings", "OTEL_EXPORTER_OTLP_TIMEOUT='10s'", "or unset it")


@pytest.mark.parametrize(
    "wrong",
    [
        ("--endpoint", "collector:4318"),
        ("--protocol", "http/json"),
        ("--header", "Authorization"),
        ("--header", "Authorization=a\nb"),
        ("--certificate", "/nowhere.pem"),
        ("--timeout", "0"),
        ("--spool-dir", ""),
        ("--verbose",),
    ],
    ids=" ".join,
)
def test_a_wrong_option_is_bad_usage(wrong: tuple[str, ...]) -> None:
    said = Diagnosis(*wrong)
    assert said.status == 2, said
    assert wrong[0] in said.done.stderr
    assert "Traceback" not in said.done.stderr


@pytest.mark.skipif(os.name == "nt", reason="no signal there is sent to one process")
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_control_c_ends_it_quietly(protocol: str) -> None:
    asked = threading.Event()

    def nothing(_connection: Connection) -> None:
        pass

    def hang(connection: Connection) -> None:
        asked.set()
        connection.hang()

    with SocketPeer(nothing, *[hang] * 9) as peer:
        process = subprocess.Popen(
            [*COMMAND, "--protocol", protocol,
             "--endpoint", peer.endpoint.removesuffix("/v1/logs")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert asked.wait(20)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (130, "")
