"""The proxies that the environment names are used, and those that it excepts not."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import pytest
from otlp_peers import HttpPeer, Relay

from otel_tasklog import Config, ConfigError
from otel_tasklog._assemble import make_sender

if TYPE_CHECKING:
    from collections.abc import Callable

    from contract.conftest import Authority, Peer, Program

    Start = Callable[[dict[str, str]], Program]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("prefix", ["http://", ""], ids=["url", "host and port"])
def test_a_proxy_for_http_is_asked_for_the_whole_url(
    start: Start, name: str, prefix: str
) -> None:
    with HttpPeer() as proxy:
        program = start(
            {
                name: f"{prefix}127.0.0.1:{proxy.port}",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.example:4318",
            }
        )
        program.log.info("a record")
        assert program.tasklog.flush()
        assert proxy.requests[0].path == "http://collector.example:4318/v1/logs"


def test_a_proxy_is_shown_the_credentials_of_its_url(start: Start) -> None:
    with HttpPeer() as proxy:
        program = start(
            {
                "HTTP_PROXY": f"http://user:p%40ss@127.0.0.1:{proxy.port}",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.example:4318",
            }
        )
        program.log.info("a record")
        assert program.tasklog.flush()
        shown = proxy.requests[0].headers["proxy-authorization"]
    assert shown == "Basic " + base64.b64encode(b"user:p@ss").decode()


@pytest.mark.parametrize(
    ("make_peer", "no_proxy"),
    [
        ("http/protobuf", "other,127.0.0.1"),
        ("http/protobuf", "127.0.0.1:{port}"),
        ("http/protobuf", "*"),
        ("grpc", "other,127.0.0.1"),  # it knows names only
    ],
    indirect=["make_peer"],
)
def test_a_host_may_be_excepted(peer: Peer, start: Start, no_proxy: str) -> None:
    program = start(
        {
            # gRPC knows them in lower case only.
            "http_proxy": "http://127.0.0.1:1",
            "no_proxy": no_proxy.format(port=peer.port),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{peer.port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": peer.protocol,
        }
    )
    program.log.info("a record")
    assert program.tasklog.flush()
    assert peer.requests.bodies == ["a record"]


def test_tls_goes_through_a_tunnel(
    make_peer: Callable[..., Peer], start: Start, authority: Authority
) -> None:
    with make_peer(authority) as peer, Relay(peer.port, is_proxy=True) as proxy:
        program = start(
            {
                "https_proxy": f"http://127.0.0.1:{proxy.port}",
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://127.0.0.1:{peer.port}",
                "OTEL_EXPORTER_OTLP_PROTOCOL": peer.protocol,
                "OTEL_EXPORTER_OTLP_CERTIFICATE": str(authority.certificate),
            }
        )
        program.log.info("a record")
        assert program.tasklog.flush(), program.tasklog.stats().last_error
        assert peer.requests.bodies == ["a record"]
        assert proxy.asked[0].startswith(b"CONNECT 127.0.0.1:%d " % peer.port)
        program.tasklog.close()


@pytest.mark.parametrize(
    ("name", "proxy"),
    [
        ("HTTP_PROXY", "socks5://user:hunter2@proxy:1080"),
        ("ALL_PROXY", "http://user:hunter2@proxy:port"),
        ("ALL_PROXY", "http://user:hunter2@[proxy"),
    ],
)
def test_what_is_no_proxy_for_http_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, proxy: str
) -> None:
    monkeypatch.setenv(name, proxy)
    with pytest.raises(
        ConfigError, match=f"{name}='[a-z5]+://...': .*NO_PROXY"
    ) as caught:
        make_sender(Config())
    assert "hunter2" not in str(caught.value)
