"""OTLP/gRPC against a real server."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trustme
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped]
    RetryInfo,
)
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceResponse,
)
from otlp_peers import GRPC_METHOD, GrpcPeer, HttpPeer

from otel_tasklog import Config, MissingExtraError, TaskLog
from otel_tasklog.delivery import _grpc
from otel_tasklog.delivery._grpc import GrpcSender
from otel_tasklog.delivery._http import HttpSender
from otel_tasklog.delivery._senders import (
    Accepted,
    Misconfigured,
    Rejected,
    Retry,
    TooLarge,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from otlp_peers import Request

    from otel_tasklog.delivery._senders import Outcome


@pytest.fixture
def peer() -> Iterator[GrpcPeer]:
    with GrpcPeer() as peer:
        yield peer


@pytest.fixture
def make_sender() -> Iterator[Callable[..., GrpcSender]]:
    made: list[GrpcSender] = []

    def make(endpoint: str, **settings: Any) -> GrpcSender:
        made.append(GrpcSender(Config(endpoint=endpoint, protocol="grpc", **settings)))
        return made[-1]

    yield make
    for sender in made:
        sender.close()


def retry_info(*, seconds: int = 0, nanos: int = 0) -> bytes:
    status = Status(message="what else it says")
    status.details.add().Pack(Status())  # one of another type before it
    delay = {"seconds": seconds, "nanos": nanos}
    status.details.add().Pack(RetryInfo(retry_delay=delay))
    return bytes(status.SerializeToString())


CODES: dict[str, type[Outcome]] = {
    "CANCELLED": Retry,
    "UNKNOWN": Rejected,
    "INVALID_ARGUMENT": Rejected,
    "DEADLINE_EXCEEDED": Retry,
    "NOT_FOUND": Rejected,
    "ALREADY_EXISTS": Rejected,
    "PERMISSION_DENIED": Misconfigured,
    "UNAUTHENTICATED": Misconfigured,
    "RESOURCE_EXHAUSTED": Rejected,
    "FAILED_PRECONDITION": Rejected,
    "ABORTED": Retry,
    "OUT_OF_RANGE": Retry,
    "UNIMPLEMENTED": Misconfigured,
    "INTERNAL": Rejected,
    "UNAVAILABLE": Retry,
    "DATA_LOSS": Retry,
}


def test_every_code_is_in_the_table() -> None:
    assert {"OK", *CODES} == {code.name for code in grpc.StatusCode}


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_one_outcome(
    peer: GrpcPeer, make_sender: Callable[..., GrpcSender], code: str
) -> None:
    peer.decide = lambda _, call: call.abort(grpc.StatusCode[code], "the reason")
    sender = make_sender(peer.endpoint)
    first, second = sender.send(b"body"), sender.send(b"body")
    assert first == second  # also over the connection that the first has left
    assert type(first) is CODES[code]
    assert first.message == f"{peer.endpoint}: {code}: the reason" + (
        f"; {_grpc._MENDS[code]}" if code in _grpc._MENDS else ""
    )
    assert [request.body for request in peer.requests] == [b"body", b"body"]
    if isinstance(first, Rejected):
        assert first.reason == f"grpc {code}"


def test_a_mend_is_named(
    peer: GrpcPeer, make_sender: Callable[..., GrpcSender]
) -> None:
    peer.decide = lambda _, call: call.abort(
        grpc.StatusCode.UNAUTHENTICATED, "\x1b[31mno\ntoken"
    )
    outcome = make_sender(peer.endpoint).send(b"body")
    assert isinstance(outcome, Misconfigured)
    assert "check the authorization in headers=" in outcome.message
    assert outcome.message.isprintable()  # on its way to a terminal


PARTIAL = ExportLogsServiceResponse()
PARTIAL.partial_success.rejected_log_records = 3
PARTIAL.partial_success.error_message = "too old"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", Accepted()),
        (PARTIAL.SerializeToString(), Accepted(3, "too old")),
        (b"\xff garbage", Accepted()),
    ],
    ids=["empty", "partial success", "garbage"],
)
def test_an_answer_may_refuse_some_records(
    peer: GrpcPeer,
    make_sender: Callable[..., GrpcSender],
    answer: bytes,
    expected: Accepted,
) -> None:
    peer.decide = lambda *_: answer
    assert make_sender(peer.endpoint).send(b"body") == expected


@pytest.mark.parametrize(
    "code", ["RESOURCE_EXHAUSTED", "OUT_OF_RANGE", "INVALID_ARGUMENT"]
)
@pytest.mark.parametrize(
    "text",
    [
        "grpc: received message larger than max (5000000 vs. 4194304)",
        "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes",
    ],
    ids=["grpc", "tonic"],
)
def test_what_a_receiver_finds_too_large_is_halved(
    peer: GrpcPeer, make_sender: Callable[..., GrpcSender], code: str, text: str
) -> None:
    peer.decide = lambda _, call: call.abort(grpc.StatusCode[code], text)
    assert isinstance(make_sender(peer.endpoint).send(b"body"), TooLarge)


def test_a_server_with_a_small_limit_finds_it_too_large(
    peer: GrpcPeer, make_sender: Callable[..., GrpcSender]
) -> None:
    outcome = make_sender(peer.endpoint).send(b"x" * 5_000_000)
    assert isinstance(outcome, TooLarge), outcome


@pytest.mark.parametrize(
    ("details", "after_seconds"),
    [
        (retry_info(seconds=3), 3.0),
        (retry_info(nanos=250_000_000), 0.25),
        (retry_info(seconds=100_000), 300.0),
        (retry_info(), None),
        (retry_info(seconds=-1), None),
    ],
    ids=["seconds", "nanos", "too long", "zero", "negative"],
)
@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_a_retry_info_is_honoured_within_reason(
    peer: GrpcPeer,
    make_sender: Callable[..., GrpcSender],
    code: str,
    details: bytes,
    after_seconds: float | None,
) -> None:
    def decide(_: Request, call: grpc.ServicerContext) -> bytes:
        call.set_trailing_metadata((("grpc-status-details-bin", details),))
        call.abort(grpc.StatusCode[code], "exceeds the rate")

    peer.decide = decide
    outcome = make_sender(peer.endpoint).send(b"body")
    assert isinstance(outcome, Retry)
    assert outcome.busy
    assert outcome.after_seconds == after_seconds


def test_status_details_that_nobody_can_read_are_none(
    peer: GrpcPeer, make_sender: Callable[..., GrpcSender]
) -> None:
    def decide(_: Request, call: grpc.ServicerContext) -> bytes:
        call.set_trailing_metadata((("grpc-status-details-bin", b"\xff"),))
        call.abort(grpc.StatusCode.UNAVAILABLE, "")

    peer.decide = decide
    outcome = make_sender(peer.endpoint).send(b"body")
    assert isinstance(outcome, Retry)
    assert not outcome.busy


def test_nobody_listening_is_a_retry_and_back_at_once_when_somebody_does(
    make_sender: Callable[..., GrpcSender],
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refuses
        port = taken.getsockname()[1]
        sender = make_sender(f"http://127.0.0.1:{port}")
        assert isinstance(sender.send(b"x"), Retry)
    with GrpcPeer(address=f"127.0.0.1:{port}"):
        assert sender.send(b"x") == Accepted()  # gRPC itself would wait a second


@pytest.mark.parametrize("error", [0, 2, 7, 8, 11])
def test_a_stream_that_is_cut_off_is_a_retry(
    make_sender: Callable[..., GrpcSender], error: int
) -> None:
    def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
        head = len(payload).to_bytes(3, "big") + bytes([kind, flags])
        return head + stream.to_bytes(4, "big") + payload

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(frame(4, 0, 0) + frame(4, 1, 0))  # SETTINGS, and yes
            while b"the body" not in connection.recv(65_536):
                pass
            connection.sendall(frame(3, 0, 1, error.to_bytes(4, "big")))  # RST_STREAM
            while connection.recv(65_536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=serve)
        serving.start()
        sender = make_sender(f"http://127.0.0.1:{listener.getsockname()[1]}")
        outcome = sender.send(b"the body")
        sender.close()
        serving.join(10)
    assert isinstance(outcome, Retry), outcome


def test_a_peer_that_never_answers_is_a_retry_in_time(
    make_sender: Callable[..., GrpcSender],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        outcome = make_sender(endpoint, timeout_seconds=0.05).send(b"x")
        assert isinstance(outcome, Retry)
        assert "DEADLINE_EXCEEDED" in outcome.message


def test_an_address_of_nobody_names_the_mistake(
    make_sender: Callable[..., GrpcSender],
) -> None:
    outcome = make_sender("http://collector.invalid:4317").send(b"x")
    assert isinstance(outcome, Misconfigured)
    assert "is that the host's name?" in outcome.message


def test_the_port_of_http_names_the_mistake(
    make_sender: Callable[..., GrpcSender],
) -> None:
    with HttpPeer() as other:
        outcome = make_sender(f"http://127.0.0.1:{other.port}").send(b"x")
    assert isinstance(outcome, Misconfigured)
    assert "usually 4317" in outcome.message


def test_tls_to_a_plain_port_names_the_mistake(
    peer: GrpcPeer, make_sender: Callable[..., GrpcSender]
) -> None:
    outcome = make_sender(f"https://127.0.0.1:{peer.port}").send(b"x")
    assert isinstance(outcome, Misconfigured)
    assert "is it https" in outcome.message


def test_it_speaks_over_a_unix_socket(
    tmp_path_factory: pytest.TempPathFactory, make_sender: Callable[..., GrpcSender]
) -> None:
    address = f"unix:{tmp_path_factory.mktemp('s')}/otlp"
    with GrpcPeer(address=address) as peer:
        assert make_sender(address, insecure=True).send(b"body") == Accepted()
    assert peer.requests[0].path == GRPC_METHOD


@pytest.mark.parametrize(
    ("endpoint", "target"),
    [
        ("http://collector:4317", ("collector:4317", False)),
        ("https://collector:4317/", ("collector:4317", True)),
        ("http://collector", ("collector:80", False)),
        ("https://collector", ("collector:443", True)),
        ("http://[::1]:4317", ("[::1]:4317", False)),
        ("collector:4317", ("collector:4317", True)),
        ("unix:///run/otlp", ("unix:///run/otlp", True)),
    ],
)
def test_an_endpoint_says_where_and_whether_with_tls(
    endpoint: str, target: tuple[str, bool]
) -> None:
    config = Config(endpoint=endpoint, protocol="grpc")
    assert _grpc.target_of(config) == target


def test_metadata_is_in_lower_case(
    peer: GrpcPeer, make_sender: Callable[..., GrpcSender]
) -> None:
    make_sender(peer.endpoint, headers={"X-Scope-OrgID": "Tenant"}).send(b"body")
    headers = peer.requests[0].headers
    assert headers["x-scope-orgid"] == "Tenant"
    assert headers["user-agent"].startswith("otel-tasklog/")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(MissingExtraError, match=r"otel-tasklog\[otlp\]"):
        TaskLog(Config(protocol="grpc"))


def test_closing_ends_a_call_that_is_being_made(
    peer: GrpcPeer, make_sender: Callable[..., GrpcSender]
) -> None:
    answer = threading.Event()

    def decide(*_: object) -> bytes:
        answer.wait(10)
        return b""

    peer.decide = decide
    sender = make_sender(peer.endpoint)
    outcomes: list[Outcome] = []
    calling = threading.Thread(target=lambda: outcomes.append(sender.send(b"body")))
    calling.start()
    peer.requests.wait_for(1)
    sender.close()
    calling.join(5)
    answer.set()
    assert not calling.is_alive()
    assert isinstance(outcomes[0], Retry)
    assert isinstance(sender.send(b"body"), Retry)  # and opens nothing any more
    assert len(peer.requests) == 1


def test_files_that_have_gone_are_named(
    tmp_path: Path, make_sender: Callable[..., GrpcSender]
) -> None:
    file = tmp_path / "authority.pem"
    trustme.CA().cert_pem.write_to_path(file)
    sender = make_sender("https://127.0.0.1:1", certificate_file=file)
    file.unlink()
    outcome = sender.send(b"body")
    assert isinstance(outcome, Misconfigured)
    assert str(file) in outcome.message


def test_what_grpc_says_is_no_record_of_ours() -> None:
    """At DEBUG, with gRPC's loggers on, no delivery causes a record."""
    with GrpcPeer() as peer:
        tasklog = TaskLog(Config(endpoint=peer.endpoint, protocol="grpc"))
        root = logging.getLogger()
        root.addHandler(tasklog.handler)
        root.setLevel(logging.DEBUG)
        codes = iter([grpc.StatusCode.UNAVAILABLE])

        def decide(_: Request, call: grpc.ServicerContext) -> bytes:
            if code := next(codes, None):
                call.abort(code, "later")
            return b""

        peer.decide = decide
        for number in range(3):
            logging.getLogger("mine").info("record %d", number)
            assert tasklog.flush()
        root.removeHandler(tasklog.handler)
        tasklog.close()
    names = {record.logger for record in tasklog.query()}
    assert names == {"mine"}
    assert tasklog.stats().delivered == 3


def test_http_to_a_port_of_grpc_says_so(peer: GrpcPeer) -> None:
    sender = HttpSender(Config(endpoint=f"{peer.endpoint}/v1/logs"))
    outcome = sender.send(b"")
    sender.close()
    assert isinstance(outcome, Misconfigured)
    assert "speaks HTTP/2" in outcome.message
    assert "4318" in outcome.message
