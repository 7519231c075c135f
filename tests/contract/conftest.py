"""A test authority, receivers behind it, and programs set up by their environment."""

from __future__ import annotations

import logging
import os
import ssl
from typing import TYPE_CHECKING, NamedTuple

import grpc
import pytest
import trustme
from otlp_peers import GrpcPeer, HttpPeer

from otel_tasklog import Config, TaskLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Peer = HttpPeer | GrpcPeer


class Authority(NamedTuple):
    """Who signs the receivers and the programs of a test, and the files of it."""

    ca: trustme.CA
    server: trustme.LeafCert
    certificate: Path
    client_key: Path
    client_certificate: Path


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("authority")
    ca = trustme.CA()
    client = ca.issue_cert("program@example.org")
    made = Authority(
        ca,
        ca.issue_cert("127.0.0.1"),
        folder / "authority.pem",
        folder / "client.key",
        folder / "client.pem",
    )
    ca.cert_pem.write_to_path(made.certificate)
    client.private_key_pem.write_to_path(made.client_key)
    client.cert_chain_pems[0].write_to_path(made.client_certificate)
    return made


def http_peer(authority: Authority | None = None, *, mutual: bool = False) -> HttpPeer:
    if authority is None:
        return HttpPeer()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.server.configure_cert(context)
    if mutual:
        authority.ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return HttpPeer(context)


def grpc_peer(authority: Authority | None = None, *, mutual: bool = False) -> GrpcPeer:
    if authority is None:
        return GrpcPeer()
    chain = b"".join(pem.bytes() for pem in authority.server.cert_chain_pems)
    return GrpcPeer(
        grpc.ssl_server_credentials(
            [(authority.server.private_key_pem.bytes(), chain)],
            root_certificates=authority.ca.cert_pem.bytes() if mutual else None,
            require_client_auth=mutual,
        )
    )


@pytest.fixture(params=["http/protobuf", "grpc"])
def make_peer(request: pytest.FixtureRequest) -> Callable[..., Peer]:
    """Make a receiver, once of each protocol; with an authority, behind TLS."""
    return grpc_peer if request.param == "grpc" else http_peer


@pytest.fixture
def peer(make_peer: Callable[..., Peer]) -> Iterator[Peer]:
    with make_peer() as peer:
        yield peer


class Program:
    """Takes all its settings from the environment, and logs."""

    def __init__(self) -> None:
        self.tasklog = TaskLog(Config.from_env(os.environ))
        self.log = logging.getLogger("contract")
        self.log.propagate = False
        self.log.setLevel(logging.INFO)
        self.log.handlers[:] = [self.tasklog.handler]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Program]]:
    """Start a program with these variables."""
    programs: list[Program] = []

    def start(variables: dict[str, str]) -> Program:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        programs.append(Program())
        return programs[-1]

    yield start
    for program in programs:
        program.log.handlers.clear()
        program.tasklog.close(0)
