"""The way to a receiver: host, port, TLS and proxy, and sockets along it."""

from __future__ import annotations

import os
import socket
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, urlsplit

import urllib3  # noqa: TID253 - imported with the sender anyway
from urllib3.util import create_urllib3_context  # noqa: TID253

from otel_tasklog._connection import GRPC
from otel_tasklog.delivery._grpc import target_of
from otel_tasklog.delivery._http_client import proxy_for

if TYPE_CHECKING:
    import ssl

    from otel_tasklog._config import Config

__all__ = ["Proxy", "Way", "client_context", "dial", "way_to"]

_USUAL_PORTS: Final = {"http": 80, "https": 443}


class Proxy(NamedTuple):
    """A proxy: the variable that names it, and its URL, without credentials.

    Attributes:
        variable: The variable.
        host: Its host.
        port: Its port.
        tls: Whether the proxy itself is spoken to by TLS.
        credentials: What its URL has of them, ``user:password``.
    """

    variable: str
    host: str
    port: int
    tls: bool
    credentials: str


class Way(NamedTuple):
    """What has to be gone through to a receiver.

    Attributes:
        host: The receiver's host, a name or an address.
        port: Its port.
        tls: Whether it is spoken to by TLS.
        grpc: Whether it is one of OTLP/gRPC.
        proxy: What is between, if anything is.
    """

    host: str
    port: int
    tls: bool
    grpc: bool
    proxy: Proxy | None

    @property
    def first(self) -> tuple[str, int]:
        """The host and port to connect to."""
        if self.proxy is None:
            return self.host, self.port
        return self.proxy.host, self.proxy.port

    @property
    def tunnels(self) -> bool:
        """Whether the proxy is asked for a tunnel, and does not see the requests."""
        return self.proxy is not None and (self.tls or self.grpc)

    @property
    def can_dial(self) -> bool:
        """Whether a socket can be had that speaks with the receiver itself."""
        return self.proxy is None or (self.tunnels and not self.proxy.tls)


def way_to(config: Config) -> Way | None:
    """Return the way to a receiver; None for what only gRPC's resolvers know.

    Raises:
        ConfigError: The environment names a proxy that is none.
    """
    if config.protocol != GRPC:
        parts = urlsplit(config.endpoint)
        variable, url = proxy_for(config.endpoint)
        host, tls = parts.hostname or "", parts.scheme == "https"
        port = parts.port or _USUAL_PORTS[parts.scheme]
        return Way(host, port, tls, grpc=False, proxy=_proxy(variable, url))
    target, tls = target_of(config)
    try:
        parts = urlsplit(f"//{target.removeprefix('dns:').lstrip('/')}")
        host, port = parts.hostname or "", parts.port or 0
        proxy = _proxy(*_grpc_proxy_for(host))
    except ValueError:  # "ipv4:1.2.3.4:5" and others, which name a resolver
        return None
    return Way(host, port, tls, grpc=True, proxy=proxy) if host and port else None


def _proxy(variable: str, url: str) -> Proxy | None:
    if not url:
        return None
    parts = urlsplit(url)
    credentials = unquote(parts.netloc.rpartition("@")[0])
    port = parts.port or _USUAL_PORTS.get(parts.scheme, 80)
    tls = parts.scheme == "https"
    return Proxy(variable, parts.hostname or "", port, tls, credentials)


def _grpc_proxy_for(host: str) -> tuple[str, str]:
    """Return the variable with a proxy that gRPC takes, and the proxy or nothing.

    See https://github.com/grpc/grpc/blob/master/doc/environment_variables.md
    """
    for variable in ("grpc_proxy", "https_proxy", "http_proxy"):
        url = os.environ.get(variable, "")
        if not url:
            continue
        lists = (os.environ.get(name, "") for name in ("no_grpc_proxy", "no_proxy"))
        names = (name.strip() for name in next(filter(None, lists), "").split(","))
        if any(name and host.endswith(name) for name in names):
            break
        return variable, url
    return "", ""


def dial(way: Way, seconds: float, address: str = "") -> socket.socket:
    """Return a socket that is connected, through a tunnel if there is to be one.

    Args:
        way: The way.
        seconds: For connecting, and then for each call of the socket.
        address: Which address of the first host to take; any by default.

    Raises:
        OSError: It cannot be had.
    """
    host, port = way.first
    if way.proxy is None or not way.tunnels:
        return socket.create_connection((address or host, port), seconds)
    connection = HTTPConnection(address or host, port, timeout=seconds)
    credentials = way.proxy.credentials
    headers = urllib3.make_headers(proxy_basic_auth=credentials or None)
    connection.set_tunnel(way.host, way.port, headers)
    connection.connect()
    return connection.sock


def client_context(config: Config, *alpn: str, verify: bool = True) -> ssl.SSLContext:
    """Return what TLS is spoken with, as the sender over HTTP has it.

    Args:
        config: Has the files.
        *alpn: The protocols to offer.
        verify: Whether the receiver has to prove who it is.

    Raises:
        OSError: A file cannot be read.
    """
    import ssl

    context = create_urllib3_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif config.certificate_file is not None:
        context.load_verify_locations(config.certificate_file)
    else:
        context.load_default_certs()
    certificate, key = config.client_certificate_file, config.client_key_file
    if certificate is not None and key is not None:
        context.load_cert_chain(certificate, key, password="")
    context.set_alpn_protocols(alpn)
    return context
