"""``--loki URL`` of the commands that show records."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import pytest
from loki_peer import LokiPeer, listening
from query_cases import HAS_RE2, sealed

from otel_tasklog.delivery._encode import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Ran  # type: ignore[attr-defined]

    from otel_tasklog.capture._record import Sealed

pytestmark = pytest.mark.skipif(
    not HAS_RE2, reason="google-re2 is not installed (extra: regex)"
)

NOW_NS: Final = time.time_ns()


def send(peer: LokiPeer, service: str, *records: Sealed, **resource: str) -> None:
    encoder = Encoder({"service.name": service, **resource}, include=())
    request = encoder.request({"log": [*map(encoder.record, records)]})
    assert peer.double.push(request) == (204, "")


@pytest.fixture
def peer() -> Iterator[LokiPeer]:
    with listening() as peer:
        for age, name in ((30, "shop"), (20, "mail"), (10, "shop")):
            record = sealed(
                message=f"{name} {age}", timestamp_ns=NOW_NS - age,
                task=("import-42", None, None), attributes={"user": "bob"},
            )  # fmt: skip
            send(peer, name, record)
        yield peer


def test_a_query_prints_what_a_process_would(
    peer: LokiPeer, command: Callable[..., Ran]
) -> None:
    ran = command("query", "--loki", peer.url, "task:import-42 since:1h")
    assert (ran.status, ran.errors) == (0, "")
    lines = ran.output.splitlines()
    assert [line.partition(" log: ")[2] for line in lines] == [
        "shop 30 user=bob", "mail 20 user=bob", "shop 10 user=bob",
    ]  # fmt: skip


def test_what_is_around_is_shown_as_a_process_would(
    command: Callable[..., Ran],
) -> None:
    """Each record once, and none of another process of the service."""
    with listening() as peer:
        for name in ("one", "two"):
            send(
                peer, "shop",
                *(
                    sealed(
                        message=f"{name} {number}",
                        attributes={"hit": number in (3, 4, 9)},
                        timestamp_ns=NOW_NS + number * 10,
                        task=(name, None, None),
                    )
                    for number in range(12)
                ),
                **{"service.instance.id": name},
            )  # fmt: skip
        ran = command("query", "--loki", peer.url, "task:one @hit:true", "-C", "1")
    assert (ran.status, ran.errors) == (0, "")
    lines = [line.partition("log: ")[2] or line for line in ran.output.splitlines()]
    assert [line.partition(" hit=")[0] for line in lines] == [
        "one 2", "one 3", "one 4", "one 5", "--", "one 8", "one 9", "one 10",
    ]  # fmt: skip


def test_services_are_chosen_and_told_apart(
    peer: LokiPeer, command: Callable[..., Ran]
) -> None:
    ran = command("query", "--loki", peer.url, "--service", "mail", "--json")
    assert [json.loads(line)["message"] for line in ran.output.splitlines()] == [
        "mail 20"
    ]
    ran = command("query", "--loki", peer.url, "--service", "mail", "--service", "shop")
    assert [line.split()[0] for line in ran.output.splitlines()] == [
        "loki/shop", "loki/mail", "loki/shop",
    ]  # fmt: skip
    assert {form["query"] for form in peer.double.asked} == {
        '{service_name="mail"}', '{service_name="shop"}',
    }  # fmt: skip


def test_all_of_it_is_exported(peer: LokiPeer, command: Callable[..., Ran]) -> None:
    ran = command("export", "--loki", peer.url, "--format", "otlp-json")
    assert ran.status == 0
    resources = json.loads(ran.output)["resourceLogs"]
    names = [
        attribute["value"]["stringValue"]
        for each in resources
        for attribute in each["resource"]["attributes"]
    ]
    assert sorted(names) == ["mail", "shop"]


def test_what_is_tested_here_is_said(
    peer: LokiPeer, command: Callable[..., Ran]
) -> None:
    ran = command("query", "--loki", peer.url, "@*:bo")
    assert len(ran.output.splitlines()) == 3
    assert ran.errors == (
        "otel-tasklog: LogQL cannot express @*:bo: more is fetched, and tested here\n"
    )


WRONG: Final[list[tuple[tuple[str, ...], int, str]]] = [
    (("query", "--loki", "nowhere"), 2, "--loki: url='nowhere': expected a URL"),
    (("query", "--loki", "{}", "--pid", "1"), 2, "--pid and --socket do not go with"),
    (("query", "--loki", "{}", "--file", "x"), 2, "--file does not go with --loki"),
    (("tail", "--loki", "{}", "--service", "a", "--service", "b"), 2, "one tail for"),
    (("query", "--loki", "{}", "nothing-like-it"), 1, "no record matches"),
    (("query", "--loki", "{}/other"), 3, "there is no Loki at this address"),
]


@pytest.mark.parametrize(("arguments", "status", "said"), WRONG, ids=str)
def test_what_cannot_be_is_one_line(
    peer: LokiPeer,
    command: Callable[..., Ran],
    arguments: tuple[str, ...],
    status: int,
    said: str,
) -> None:
    ran = command(*(each.format(peer.url) for each in arguments))
    assert ran.status == status
    assert said in ran.errors
    assert ran.errors.count("\n") == 1


@pytest.mark.parametrize(
    "environ",
    [{"TOKEN": "t0ken"}, {"USERNAME": "me", "PASSWORD": "s3cret"}],
    ids=["token", "password"],
)
def test_who_asks_is_told_by_the_environment(
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[..., Ran],
    environ: dict[str, str],
) -> None:
    expected = "Bearer t0ken" if "TOKEN" in environ else "Basic bWU6czNjcmV0"
    with listening(authorization=expected) as peer:
        send(peer, "shop", sealed(message="here", timestamp_ns=NOW_NS))
        ran = command("query", "--loki", peer.url)
        assert (ran.status, "other credentials" in ran.errors) == (3, True)
        for name, value in environ.items():
            monkeypatch.setenv(f"OTEL_TASKLOG_LOKI_{name}", value)
        assert command("query", "--loki", peer.url).status == 0


def test_a_variable_that_is_empty_is_as_not_set(
    monkeypatch: pytest.MonkeyPatch, peer: LokiPeer, command: Callable[..., Ran]
) -> None:
    for name in ("TENANT", "TOKEN", "USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"OTEL_TASKLOG_LOKI_{name}", "")
    ran = command("query", "--loki", peer.url)
    assert (ran.status, ran.errors) == (0, "")


def test_a_tail_shows_what_comes_until_ctrl_c(peer: LokiPeer) -> None:
    arguments: list[Any] = [
        sys.executable,
        "-m",
        "otel_tasklog",
        "tail",
        "--loki",
        peer.url,
    ]
    with subprocess.Popen(
        [*arguments, "--json", "-n", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["message"] == "shop 10"
        send(peer, "shop", sealed(message="new", timestamp_ns=time.time_ns()))
        assert json.loads(process.stdout.readline())["message"] == "new"
        process.send_signal(2)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (130, b"")
