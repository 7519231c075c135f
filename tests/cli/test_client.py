"""Asking a process: what it answers, and what else may listen there."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click
import hypothesis
import pytest
from hypothesis import strategies as st
from served import listen

from otel_tasklog import QueryError
from otel_tasklog.cli import _replies
from otel_tasklog.cli._client import open_peer, open_place
from otel_tasklog.cli._failures import Failure, Unreachable
from otel_tasklog.viewer._places import DIRECTORY_VARIABLE, Address, Place
from otel_tasklog.viewer._process_json import API

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from served import Served

PROCESS = {
    "api": API,
    "pid": 7,
    "service_name": "shop",
    "version": "9.9",
    "uptime_seconds": 1.5,
    "kept": 3,
    "captured": 4,
    "lag_seconds": None,
}

WRONG: list[dict[str, object]] = [
    {"pid": "7"},
    {"service_name": None},
    {"version": 1},
    {"uptime_seconds": float("nan")},
    {"lag_seconds": float("inf")},
    {"kept": 0.5},
    {"captured": []},
]


@pytest.fixture
def place(runtime: dict[str, str]) -> Place:
    """Where nothing listens yet."""
    return Place(os.getpid(), Path(runtime[DIRECTORY_VARIABLE]) / "x.sock")


def http(
    body: bytes, status: str = "200 OK", *headers: str, length: int | None = None
) -> bytes:
    size = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {size}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def asked(connection: socket.socket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request:
        part = connection.recv(65_536)
        if not part:
            raise ConnectionResetError
        request += part
    return request


def answering(answer: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        asked(connection)
        connection.sendall(answer)

    return talk


def refusal(place: Place) -> Unreachable:
    with pytest.raises(Unreachable) as caught:
        open_place(place, seconds=5)
    assert caught.value.message.isprintable()
    return caught.value


def test_a_process_says_who_it_is(served: Served) -> None:
    served.log.info("one")
    peer = open_place(served.place)
    assert peer.name == served.name == f"shop/{os.getpid()}"
    assert peer.place is served.place
    assert peer.info.pid == os.getpid()
    assert (peer.info.kept, peer.info.captured) == (1, 1)
    assert peer.info.uptime_seconds >= 0
    assert peer.info.lag_seconds is None  # nothing is exported
    assert peer.info.answer["api"] == API
    peer.close()


def test_a_route_is_asked_with_the_parameters_that_are_not_none(served: Served) -> None:
    for number in range(3):
        served.log.info("number %d", number)
    peer = open_place(served.place)
    found = peer.get("/v1/records", q="number", limit=2, order="oldest", cursor=None)
    assert [each["message"] for each in found["records"]] == ["number 0", "number 1"]
    around = peer.get("/v1/context/1", before=0, after=0, same_task=False)
    assert [each["sequence"] for each in around["records"]] == [1]
    peer.close()


def test_a_mistake_in_a_query_is_shown_where_it_is(served: Served) -> None:
    peer = open_place(served.place)
    with pytest.raises(QueryError) as caught:
        peer.get("/v1/records", q="timeout levle:error")
    peer.close()
    assert caught.value.column == 9
    assert "did you mean 'level'" in str(caught.value)


def test_what_the_shell_passed_that_is_no_utf8_is_asked_for_as_a_question_mark(
    served: Served,
) -> None:
    served.log.info("really? yes")
    peer = open_place(served.place)
    assert len(peer.get("/v1/records", q="really\udcff")["records"]) == 1
    peer.close()


def test_what_is_refused_otherwise_is_bad_usage_or_not_found(served: Served) -> None:
    peer = open_place(served.place)
    with pytest.raises(click.UsageError, match="limit='0': expected"):
        peer.get("/v1/records", limit=0)
    with pytest.raises(Failure, match="no record with the sequence 99"):
        peer.get("/v1/context/99")
    peer.close()


def test_lines_come_as_they_are_logged(served: Served) -> None:
    served.log.info("before")
    peer = open_place(served.place)
    lines = peer.lines("/v1/tail", backlog=1)
    assert json.loads(next(lines))["message"] == "before"
    served.log.info("after")
    assert json.loads(next(lines))["message"] == "after"
    lines.close()  # type: ignore[attr-defined]
    assert peer.get("/v1/stats")["captured"] == 2
    peer.close()


def test_lines_may_be_split_anywhere_and_signs_of_life_are_left_out(
    place: Place,
) -> None:
    def talk(connection: socket.socket) -> None:
        if b"/v1/process" in asked(connection):
            connection.sendall(http(json.dumps(PROCESS).encode(), "200 OK"))
            asked(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in (b"\n", b"on", b"e\n\ntw", b"o\n", b"three"):
            connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        connection.sendall(b"0\r\n\r\n")

    with listen(place.path, talk):
        peer = open_place(place)
        assert [*peer.lines("/v1/tail")] == [b"one", b"two", b"three"]
        peer.close()


def test_a_process_that_ends_in_the_middle_of_an_answer_is_said_to(
    place: Place,
) -> None:
    def talk(connection: socket.socket) -> None:
        asked(connection)
        connection.sendall(http(json.dumps(PROCESS).encode()))
        asked(connection)
        connection.sendall(http(b'{"one":1}\n', length=1_000))

    with listen(place.path, talk):
        peer = open_place(place)
        with pytest.raises(Unreachable, match="broke off in the middle of an answer"):
            peer.get("/v1/stats")
        peer.close()
        peer = open_place(place)
        lines = peer.lines("/v1/tail")
        assert next(lines) == b'{"one":1}'
        with pytest.raises(Unreachable, match="the process has ended"):
            next(lines)
        peer.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="closes at once"),
        pytest.param(b"\x00\xffSSH-2.0-x\r\n\x1b[2J", id="no HTTP"),
        pytest.param(http(b"<html>\x1b[2J</html>"), id="HTML"),
        pytest.param(http(b"<html>", "404 Not Found"), id="HTML, not found"),
        pytest.param(http(b'{"error":"no"}', "404 No"), id="another API"),
        pytest.param(http(b"", "302 Found", "Location: http://1.1.1.1/"), id="redirect"),
        pytest.param(http(b""), id="nothing"),
        pytest.param(http(b"\xff\xfe\x00"), id="no text"),
        pytest.param(http(b"[" * 200_000), id="deep"),
        pytest.param(http(b'{"api":%s}' % (b"9" * 5_000)), id="a huge number"),
        pytest.param(http(b"[1,2]"), id="no object"),
        pytest.param(http(b'{"status":"ok"}'), id="another object"),
        *(
            pytest.param(http(json.dumps({**PROCESS, **wrong}).encode()), id=f"{wrong}")
            for wrong in WRONG
        ),
    ],
)  # fmt: skip
def test_something_else_that_listens_there_is_told_apart(
    place: Place, answer: bytes
) -> None:
    with listen(place.path, answering(answer)):
        refused = refusal(place)
    assert refused.state == "unknown"
    assert "no process with otel_tasklog answers there" in refused.message


@hypothesis.given(answer=st.binary() | st.binary().map(http))
@hypothesis.settings(
    max_examples=50,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
def test_no_answer_raises_anything_but_what_is_said(
    place: Place, answer: bytes
) -> None:
    with listen(place.path, answering(answer)):
        refusal(place)
    place.path.unlink()


def test_another_version_of_the_api_is_refused_with_both(place: Place) -> None:
    theirs = {"api": API + 1, "version": "7.0\x1b[2J"}
    with listen(place.path, answering(http(json.dumps(theirs).encode()))):
        refused = refusal(place)
    assert refused.state == "other version"
    assert f"version {API + 1} of the API (otel-tasklog 7.0\\x1b[2J)" in refused.message
    assert f"this command version {API} " in refused.message


def test_who_wants_a_token_says_so(place: Place) -> None:
    answer = http(b'{"error":"send the header\\u001b[2J"}', "401 Unauthorized")
    with listen(place.path, answering(answer)):
        refused = refusal(place)
    assert refused.state == "refused"
    assert "send the header\\x1b[2J" in refused.message


def test_one_that_never_answers_is_not_waited_for(place: Place) -> None:
    ended = threading.Event()
    with listen(place.path, lambda _: [ended.wait(10)].clear()):
        with pytest.raises(
            Unreachable, match=r"did not answer within 0\.1 s"
        ) as caught:
            open_place(place, seconds=0.1)
        ended.set()
    assert caught.value.state == "no answer"


def test_an_answer_without_end_is_not_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_replies, "REPLY_BYTES", 100_000)

    def talk(connection: socket.socket) -> None:
        asked(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"1" * 10_000)

    with listen(place.path, talk):
        assert "ask for less" in refusal(place).message


def test_an_answer_that_trickles_is_not_waited_for(place: Place) -> None:
    ended = threading.Event()

    def talk(connection: socket.socket) -> None:
        asked(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not ended.wait(0.01):
            connection.sendall(b"1")

    with listen(place.path, talk):
        with pytest.raises(Unreachable, match=r"did not answer within 0\.2 s"):
            open_place(place, seconds=0.2)
        ended.set()


@pytest.mark.parametrize("left", ["left behind", "removed"])
def test_a_socket_that_nobody_listens_on_is_gone(place: Place, left: str) -> None:
    with listen(place.path, answering(b"")):
        pass
    if left == "removed":
        place.path.unlink()
    with pytest.raises(Unreachable, match="nothing listens at ") as caught:
        open_peer(Address(uds=str(place.path)), place)
    assert caught.value.state == "gone"


def test_a_file_that_is_no_socket_is_refused(place: Place) -> None:
    place.path.write_text("{}")
    assert "is no socket" in refusal(place).message
    assert "No such file" in refusal(Place(1, place.path.parent / "y.sock")).message
    other = Place(1, place.path.parent / "y.json")
    other.path.write_text("{}")
    assert "is not what otel_tasklog writes" in refusal(other).message


def test_a_port_is_asked_with_its_token_and_without_the_proxies(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    requests: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        requests.append(asked(connection))
        connection.sendall(http(json.dumps(PROCESS).encode()))

    path = place.path.with_suffix(".json")
    with listen(None, talk) as port:
        path.write_text(json.dumps({"host": "127.0.0.1", "port": port, "token": "t0"}))
        peer = open_place(Place(7, path))
        peer.close()
    assert peer.name == "shop/7"
    assert b"authorization: bearer t0\r\n" in requests[0].lower()


def test_an_address_that_is_none_is_refused() -> None:
    for address in (
        Address(host="a\nb", port=1, token="t"),  # noqa: S106
        Address(uds="x" * 200),
    ):
        with pytest.raises(Unreachable, match="cannot be reached") as caught:
            open_peer(address, None)
        assert caught.value.message.isprintable()
    with (
        listen(None, answering(b"")) as port,
        pytest.raises(Unreachable, match="no process with otel_tasklog"),
    ):
        open_peer(Address(host="127.0.0.1", port=port, token="t\n"), None)  # noqa: S106


def test_a_name_is_printable_and_short(place: Place) -> None:
    hostile = {**PROCESS, "service_name": "\x1b[2J\u202e" + "x" * 10_000}
    with listen(place.path, answering(http(json.dumps(hostile).encode()))):
        peer = open_place(place)
        peer.close()
    assert peer.name.isprintable()
    assert len(peer.name) < 60
