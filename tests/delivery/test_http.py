"""OTLP/HTTP against receivers that misbehave, on real sockets."""

from __future__ import annotations

import json
import queue
import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceResponse,
)
from otlp_peers import HttpPeer
from otlp_sockets import OK, Connection, SocketPeer

from otel_tasklog import Config
from otel_tasklog.delivery._http import HttpSender, _target
from otel_tasklog.delivery._http_client import Answer
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

    from otlp_peers import HttpAnswer

BOUND_SECONDS = 5.0
"""Far more than the time-outs of these tests, far less than for ever."""


@pytest.fixture
def make_sender() -> Iterator[Callable[..., HttpSender]]:
    made: list[HttpSender] = []

    def make(endpoint: str, **settings: Any) -> HttpSender:
        made.append(HttpSender(Config(endpoint=endpoint, **settings)))
        return made[-1]

    yield make
    for sender in made:
        sender.close()


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    with HttpPeer() as peer:
        yield peer


def answers(data: bytes) -> Callable[[Connection], None]:
    def script(connection: Connection) -> None:
        connection.request()
        connection.say(data)

    return script


# Time


@pytest.mark.parametrize(
    "setting", ["timeout_seconds", "export_timeout_seconds"], ids=str
)
def test_a_head_that_trickles_for_ever_is_a_retry_in_time(
    make_sender: Callable[..., HttpSender], setting: str
) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.trickle(b"HTTP/1.1 100 Continue\r\n\r\n")

    with SocketPeer(script) as peer:
        began = time.monotonic()
        outcome = make_sender(peer.endpoint, **{setting: 0.2}).send(b"x")
        assert time.monotonic() - began < BOUND_SECONDS
    assert isinstance(outcome, Retry)
    assert not outcome.busy


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", Accepted()),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", Accepted()),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", Misconfigured),
        (b"HTTP/1.1 413 No\r\n\r\n", TooLarge),
        (b"HTTP/1.1 400 No\r\n\r\n", Retry),
        (b"HTTP/1.1 422 No\r\n\r\n", Rejected),
    ],
    ids=["200", "200 with a length", "200 of html", "413", "400", "422"],
)
def test_a_body_that_trickles_for_ever_changes_nothing_that_the_head_said(
    make_sender: Callable[..., HttpSender], head: bytes, expected: Any
) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.say(head)
        connection.trickle(b"x")

    with SocketPeer(script) as peer:
        began = time.monotonic()
        outcome = make_sender(peer.endpoint, timeout_seconds=0.2).send(b"x")
        assert time.monotonic() - began < BOUND_SECONDS
    assert outcome == expected or isinstance(outcome, expected)


def test_a_receiver_that_does_not_read_is_a_retry_in_time(
    make_sender: Callable[..., HttpSender],
) -> None:
    with SocketPeer(Connection.hang) as peer:
        began = time.monotonic()
        sender = make_sender(peer.endpoint, timeout_seconds=0.2)
        outcome = sender.send(b"x" * 30_000_000)
        assert time.monotonic() - began < BOUND_SECONDS
    assert isinstance(outcome, Retry)


def test_redirects_share_the_time_of_one_attempt(
    make_sender: Callable[..., HttpSender],
) -> None:
    def script(connection: Connection) -> None:
        for _ in range(3):
            connection.request()
            connection.hang(0.2)
            connection.say(
                b"HTTP/1.1 307 There\r\nLocation: /a\r\nContent-Length: 0\r\n\r\n"
            )
        connection.hang()

    with SocketPeer(script) as peer:
        began = time.monotonic()
        outcome = make_sender(peer.endpoint, export_timeout_seconds=0.3).send(b"x")
        assert time.monotonic() - began < BOUND_SECONDS
    assert isinstance(outcome, Retry)


# Broken answers


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", Retry),
        (b"HTTP/1.1 200 O", Retry),
        (b"HTTP/1.1 503 No\r\nRetry-After: 3", Retry),
        (b"SSH-2.0-OpenSSH_9.6\r\n", Retry),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf", Accepted),
        (b"HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 9\r\n\r\n", Retry),
        (b"HTTP/1.1 413 No\r\nContent-Length: 99\r\n\r\nhalf", TooLarge),
        (b"HTTP/1.1 400 No\r\nContent-Length: 99\r\n\r\nhalf", Retry),
        (b"HTTP/1.1 401 No\r\nContent-Length: 99\r\n\r\nhalf", Misconfigured),
        (b"HTTP/1.1 422 No\r\nContent-Length: 99\r\n\r\nhalf", Rejected),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nnone", Accepted),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, Accepted),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", Accepted),
    ],
    ids=lambda value: value.decode()[:60] if isinstance(value, bytes) else None,
)
@pytest.mark.parametrize("end", ["close", "reset"])
def test_what_breaks_off_after_the_head_is_what_the_head_says(
    make_sender: Callable[..., HttpSender], data: bytes, expected: type, end: str
) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.say(data)
        if end == "reset":
            connection.reset()

    with SocketPeer(script) as peer:
        outcome = make_sender(peer.endpoint).send(b"x")
        assert peer.accepted == 1
    assert isinstance(outcome, expected), outcome
    if isinstance(outcome, Retry):
        assert outcome.after_seconds == (7.0 if b"Retry-After: 7" in data else None)


def test_an_answer_that_comes_before_the_request_was_read_counts(
    make_sender: Callable[..., HttpSender],
) -> None:
    def script(connection: Connection) -> None:
        connection.head()
        connection.say(
            b"HTTP/1.1 400 No\r\nConnection: close\r\nContent-Length: 28\r\n\r\n"
            b"http: request body too large"
        )

    with SocketPeer(script) as peer:
        outcome = make_sender(peer.endpoint).send(b"x" * 30_000_000)
    assert isinstance(outcome, TooLarge), outcome


# Kept connections


def test_a_connection_is_kept(make_sender: Callable[..., HttpSender]) -> None:
    def script(connection: Connection) -> None:
        while True:
            connection.request()
            connection.say(OK)

    with SocketPeer(script) as peer:
        sender = make_sender(peer.endpoint)
        assert [sender.send(b"x") for _ in range(3)] == [Accepted()] * 3
        assert peer.accepted == 1
        sender.close()


def test_what_keeps_it_takes_no_lock(
    make_sender: Callable[..., HttpSender], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fork may come at any moment, and the child would wait for it at its end."""

    def script(connection: Connection) -> None:
        for _ in range(2):
            connection.request()
            connection.say(OK)

    def locks(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(queue.LifoQueue, "get", locks)
    monkeypatch.setattr(queue.LifoQueue, "put", locks)
    with SocketPeer(script) as peer:
        sender = make_sender(peer.endpoint)
        assert [sender.send(b"x") for _ in range(2)] == [Accepted()] * 2
        assert peer.accepted == 1
        sender.close()


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_kept_connection_that_turns_out_closed_costs_nothing(
    make_sender: Callable[..., HttpSender], end: str
) -> None:
    bodies: list[bytes] = []

    def script(connection: Connection) -> None:
        bodies.append(connection.request())
        connection.say(OK)
        bodies.append(connection.request())  # as if the end had crossed it
        if end == "reset":
            connection.reset()

    def healthy(connection: Connection) -> None:
        bodies.append(connection.request())
        connection.say(OK)

    with SocketPeer(script, healthy) as peer:
        sender = make_sender(peer.endpoint)
        assert sender.send(b"one") == Accepted()
        assert sender.send(b"two") == Accepted()
        assert peer.accepted == 2
    assert bodies == [b"one", b"two", b"two"]


def test_a_kept_connection_that_is_long_closed_costs_nothing(
    make_sender: Callable[..., HttpSender],
) -> None:
    with SocketPeer(answers(OK), answers(OK)) as peer:
        sender = make_sender(peer.endpoint)
        assert sender.send(b"one") == Accepted()
        assert sender.send(b"two") == Accepted()


@pytest.mark.parametrize("some", [b"H", b"HTTP/1.1 200 OK\r\nContent-L"], ids=str)
def test_a_kept_connection_that_breaks_in_an_answer_is_an_outage(
    make_sender: Callable[..., HttpSender], some: bytes
) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.say(OK)
        connection.request()
        connection.say(some)

    with SocketPeer(script, answers(OK)) as peer:
        sender = make_sender(peer.endpoint)
        assert sender.send(b"one") == Accepted()
        assert isinstance(sender.send(b"two"), Retry)
        assert peer.accepted == 1


def test_a_new_connection_that_is_closed_is_an_outage(
    make_sender: Callable[..., HttpSender],
) -> None:
    with SocketPeer(answers(b""), answers(OK)) as peer:
        assert isinstance(make_sender(peer.endpoint).send(b"x"), Retry)
        assert peer.accepted == 1


# TLS


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    certificate = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(certificate)
    return context, certificate


def test_over_tls_time_is_kept_and_a_stale_connection_costs_nothing(
    make_sender: Callable[..., HttpSender], tls: tuple[ssl.SSLContext, Path]
) -> None:
    context, certificate = tls

    def script(connection: Connection) -> None:
        connection.request()
        connection.say(OK)
        connection.request()

    def slow(connection: Connection) -> None:
        connection.request()
        connection.say(OK)
        connection.request()
        connection.trickle(b"HTTP/1.1 100 Continue\r\n\r\n")

    with SocketPeer(script, slow, tls=context) as peer:
        sender = make_sender(
            peer.endpoint, certificate_file=certificate, timeout_seconds=1.0
        )
        assert sender.send(b"one") == Accepted()
        assert sender.send(b"x" * 1_000_000) == Accepted()
        began = time.monotonic()
        assert isinstance(sender.send(b"three"), Retry)
        assert time.monotonic() - began < BOUND_SECONDS


def test_a_receiver_that_hangs_up_in_the_handshake_is_an_outage(
    make_sender: Callable[..., HttpSender],
) -> None:
    with SocketPeer(lambda _: None) as peer:
        endpoint = peer.endpoint.replace("http:", "https:")
        assert isinstance(make_sender(endpoint).send(b"x"), Retry)


# Redirects


def to(location: str, status: int = 307) -> HttpAnswer:
    return status, {"Location": location}, b""


def paths(peer: HttpPeer) -> list[str]:
    return [request.path for request in peer.requests]


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize(
    "location",
    [
        "/there?a=b",
        "//127.0.0.1:{port}/there?a=b",
        "HTTP://127.0.0.1:{port}/there?a=b#part",
        "../there?a=b",
        "http://user:password@127.0.0.1:{port}/there?a=b",
    ],
    ids=["path", "no scheme", "whole", "relative", "credentials"],
)
def test_a_redirect_on_the_same_host_is_followed_with_the_same_post(
    peer: HttpPeer,
    make_sender: Callable[..., HttpSender],
    status: int,
    location: str,
) -> None:
    peer.answers["/v1/logs"] = to(location.format(port=peer.port), status)
    sender = make_sender(peer.endpoint, compression="gzip", headers={"x-token": "t"})
    assert sender.send(b"body") == Accepted()
    first, second = peer.requests
    assert (first.path, second.path) == ("/v1/logs", "/there?a=b")
    assert first.body == second.body == b"body"
    assert first.headers == second.headers
    assert second.headers["x-token"] == "t"


def test_the_standard_port_is_the_same_as_none() -> None:
    def target(url: str, location: str) -> str | None:
        return _target(Answer(307, {"Location": location}, b"", is_whole=True), url)

    assert target("http://a/x", "http://A.:80/y") == "http://a/y"
    assert target("https://a:443/x", "https://a/y") == "https://a:443/y"
    assert target("https://a/x", "https://a:80/y") is None


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{other}/v1/logs",
        "http://localhost:{port}/v1/logs",
        "https://127.0.0.1:{port}/v1/logs",
        "http://127.0.0.1:{port}@evil.example/v1/logs",
        "http://127.0.0.1:port/",
        "http://[::1/",
        "ftp://127.0.0.1:{port}/",
        "",
    ],
)
def test_a_redirect_to_another_place_is_told_not_followed(
    peer: HttpPeer,
    make_sender: Callable[..., HttpSender],
    status: int,
    location: str,
) -> None:
    with HttpPeer() as other:
        place = location.format(port=peer.port, other=other.port)
        peer.answer = to(place, status)
        outcome = make_sender(peer.endpoint).send(b"x")
        assert not other.requests
    assert isinstance(outcome, Misconfigured)
    assert f"it redirects to {place}: use that endpoint" in outcome.message
    assert len(peer.requests) == 1


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305])
def test_what_does_not_keep_the_post_is_not_followed(
    peer: HttpPeer, make_sender: Callable[..., HttpSender], status: int
) -> None:
    peer.answer = to("/there\x1b[31m", status)
    outcome = make_sender(peer.endpoint).send(b"x")
    assert isinstance(outcome, Misconfigured)
    assert outcome.message.isprintable()
    assert paths(peer) == ["/v1/logs"]


def test_five_redirects_are_followed_and_no_more(
    peer: HttpPeer, make_sender: Callable[..., HttpSender]
) -> None:
    peer.answers["/v1/logs"] = to("/1")
    for hop in range(1, 5):
        peer.answers[f"/{hop}"] = to(f"/{hop + 1}")
    assert make_sender(peer.endpoint).send(b"x") == Accepted()
    assert paths(peer)[1:] == [f"/{hop}" for hop in range(1, 6)]
    peer.answers["/5"] = to("/6")
    outcome = make_sender(peer.endpoint).send(b"x")
    assert isinstance(outcome, Misconfigured)
    assert "it redirects more than 5 times" in outcome.message
    assert "/6" not in paths(peer)


def test_what_has_moved_for_good_is_remembered_while_it_is_good(
    peer: HttpPeer, make_sender: Callable[..., HttpSender]
) -> None:
    peer.answers["/v1/logs"] = to("/a", 308)
    peer.answers["/a"] = to("/b", 308)
    sender = make_sender(peer.endpoint)
    assert sender.send(b"x") == sender.send(b"x") == Accepted()
    assert paths(peer) == ["/v1/logs", "/a", "/b", "/b"]
    peer.answers["/b"] = (503, {}, b"")
    assert isinstance(sender.send(b"x"), Retry)
    peer.answers["/b"] = (404, {}, b"")
    assert isinstance(sender.send(b"x"), Misconfigured)
    assert paths(peer)[4:] == ["/b", "/b"]
    del peer.answers["/v1/logs"]  # it has come back
    assert sender.send(b"x") == Accepted()
    assert paths(peer)[6:] == ["/v1/logs"]


def test_what_has_moved_for_now_is_asked_again(
    peer: HttpPeer, make_sender: Callable[..., HttpSender]
) -> None:
    peer.answers["/v1/logs"] = to("/a", 308)
    peer.answers["/a"] = to("/b", 307)
    peer.answers["/b"] = to("/c", 308)  # for good, but from a place that is for now
    sender = make_sender(peer.endpoint)
    assert sender.send(b"x") == sender.send(b"x") == Accepted()
    assert paths(peer) == ["/v1/logs", "/a", "/b", "/c", "/a", "/b", "/c"]


@given(location=st.text(), status=st.sampled_from([307, 308]))
def test_no_location_makes_it_fail_or_leave_its_host(
    location: str, status: int
) -> None:
    answer = Answer(status, {"Location": location}, b"", is_whole=True)
    target = _target(answer, "http://collector:4318/v1/logs")
    assert target is None or target.startswith("http://collector:4318")


# What it says


def test_a_partial_success_in_json_counts_as_well(
    peer: HttpPeer, make_sender: Callable[..., HttpSender]
) -> None:
    partial = {"rejectedLogRecords": "3", "errorMessage": "too old", "new": 1}
    answer = json.dumps({"partialSuccess": partial}).encode()
    peer.answer = (200, {"Content-Type": "application/json"}, answer)
    assert make_sender(peer.endpoint).send(b"x") == Accepted(3, "too old")


@pytest.mark.parametrize("answer", [b"{", b"[]", b"{}", b"null", b"\xff", b'{"a": 1}'])
def test_json_that_is_no_partial_success_is_none(
    peer: HttpPeer, make_sender: Callable[..., HttpSender], answer: bytes
) -> None:
    peer.answer = (200, {"Content-Type": "application/json"}, answer)
    assert make_sender(peer.endpoint).send(b"x") == Accepted()


def test_a_partial_success_rejects_no_negative_number_and_no_escape_gets_through(
    peer: HttpPeer, make_sender: Callable[..., HttpSender]
) -> None:
    response = ExportLogsServiceResponse()
    response.partial_success.rejected_log_records = -3
    response.partial_success.error_message = "\x1b[31m" + "x" * 1_000
    protobuf = {"Content-Type": "application/x-protobuf"}
    peer.answer = (200, protobuf, response.SerializeToString())
    outcome = make_sender(peer.endpoint).send(b"x")
    assert isinstance(outcome, Accepted)
    assert outcome.rejected == 0
    assert outcome.message.isprintable()
    assert len(outcome.message) < 400


@pytest.mark.parametrize(
    ("text", "expected"),
    [("http: request body too large", TooLarge), ("bad label", Rejected)],
    ids=["too large", "other"],
)
def test_an_error_of_otlp_is_read(
    peer: HttpPeer, make_sender: Callable[..., HttpSender], text: str, expected: type
) -> None:
    status = Status(code=3, message=text)
    status.details.add().Pack(Status())
    protobuf = {"Content-Type": "application/x-protobuf"}
    peer.answer = (400, protobuf, status.SerializeToString())
    outcome = make_sender(peer.endpoint).send(b"x")
    assert isinstance(outcome, expected)
    assert outcome.message == f"{peer.endpoint} answered 400 {text}"


@pytest.mark.parametrize("body", [b"", b"bad label", b"\x08\x03"], ids=repr)
def test_an_error_that_is_none_of_otlp_is_shown_as_it_is(
    peer: HttpPeer, make_sender: Callable[..., HttpSender], body: bytes
) -> None:
    peer.answer = (400, {"Content-Type": "application/x-protobuf"}, body)
    outcome = make_sender(peer.endpoint).send(b"x")
    assert isinstance(outcome, Rejected)
    said = "\\x08\\x03" if body == b"\x08\x03" else body.decode()
    assert outcome.message == f"{peer.endpoint} answered 400 {said}".strip()


@pytest.mark.parametrize("kind", ["text/html", " Text/HTML; charset=utf-8"])
def test_a_web_page_is_no_receiver_s_whatever_the_case(
    peer: HttpPeer, make_sender: Callable[..., HttpSender], kind: str
) -> None:
    peer.answer = (200, {"Content-Type": kind}, b"<html>")
    assert isinstance(make_sender(peer.endpoint).send(b"x"), Misconfigured)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (" 7 ", 7.0),
        ("1.5", None),
        ("", None),
        ("9" * 5_000, None),
        ("Fri, 31 Dec 99999999999 23:59:59 GMT", None),
        ("Fri, 31 Dec 1999 23:59:59 GMT", None),
        ("Friday, 31-Dec-99 23:59:59 GMT", None),
        ("²", None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_retry_after_that_is_none_is_none(
    make_sender: Callable[..., HttpSender], header: str, seconds: float | None
) -> None:
    answer = Answer(503, {"Retry-After": header}, b"", is_whole=True)
    outcome = make_sender("http://collector")._classify(answer, "http://collector")
    assert outcome == Retry("http://collector answered 503", seconds, busy=True)


@given(header=st.text())
def test_no_retry_after_makes_it_fail(header: str) -> None:
    sender = HttpSender(Config())
    answer = Answer(503, {"Retry-After": header}, b"", is_whole=True)
    outcome = sender._classify(answer, "http://collector")
    assert isinstance(outcome, Retry)
    assert outcome.after_seconds is None or 0 < outcome.after_seconds <= 300
    sender.close()


@given(
    status=st.integers(200, 599),
    kind=st.sampled_from(
        ["", "application/x-protobuf", "application/json", "text/html"]
    ),
    body=st.binary(),
    is_whole=st.booleans(),
)
def test_every_answer_has_an_outcome(
    status: int, kind: str, body: bytes, *, is_whole: bool
) -> None:
    sender = HttpSender(Config())
    answer = Answer(status, {"Content-Type": kind}, body, is_whole)
    outcome = sender._classify(answer, "http://collector")
    assert outcome.message.isprintable()
    assert isinstance(outcome, Accepted) == (
        200 <= status < 300 and kind != "text/html"
    )
    sender.close()


def test_a_proxy_that_refuses_the_tunnel_is_named(
    make_sender: Callable[..., HttpSender], monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(connection: Connection) -> None:
        connection.head()
        connection.say(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")

    with SocketPeer(script) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.endpoint.removesuffix("/v1/logs"))
        outcome = make_sender("https://collector.example/v1/logs").send(b"x")
    assert isinstance(outcome, Misconfigured)
    assert "407 Who are you" in outcome.message
