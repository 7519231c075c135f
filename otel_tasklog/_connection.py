"""What a connection to a receiver needs: its settings, checked before the first one.

See https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from otel_tasklog._errors import ConfigError

__all__ = [
    "DEFAULT_ENDPOINTS",
    "GRPC",
    "HTTP",
    "LOGS_PATH",
    "LONGEST_TIMEOUT_SECONDS",
    "FilePath",
    "check_endpoint",
    "check_files",
    "check_headers",
    "with_path",
]

FilePath: TypeAlias = str | os.PathLike[str]

HTTP: Final = "http/protobuf"
GRPC: Final = "grpc"
LOGS_PATH: Final = "v1/logs"
LONGEST_TIMEOUT_SECONDS: Final = 1e6  # what a socket takes; nobody waits that long
DEFAULT_ENDPOINTS: Final = {
    HTTP: f"http://localhost:4318/{LOGS_PATH}",
    GRPC: "http://localhost:4317",
}

# What HTTP allows; what the client would refuse would be refused for ever.
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# What gRPC allows. It keeps "grpc-" for itself, and "-bin" for what is no text.
_METADATA_KEY: Final = re.compile(r"(?i)(?!grpc-)[0-9a-z_.-]+(?<!-bin)")
_METADATA_VALUE: Final = re.compile(r"[\x20-\x7e]*")
# gRPC's own forms: host:port, or what names a resolver.
_TARGET: Final = re.compile(
    r"(dns|ipv4|ipv6|unix|unix-abstract):\S+|([^\s@/:]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}"
)


def check_endpoint(endpoint: str, protocol: str) -> None:
    """Refuse what is no place to send to.

    Raises:
        ConfigError: It is none, or it is one of the other protocol.
    """
    if protocol == GRPC and _TARGET.fullmatch(str(endpoint)):
        return
    _check_url(endpoint)
    parts = urlsplit(endpoint)
    if protocol == GRPC and (parts.path not in {"", "/"} or parts.query):
        raise ConfigError(
            "endpoint",
            endpoint,
            f"no path, as gRPC has none: {DEFAULT_ENDPOINTS[GRPC]!r} for example; "
            f"for an endpoint of OTLP/HTTP use protocol={HTTP!r}",
        )


def with_path(endpoint: str) -> str:
    """Return the URL for logs, if *endpoint* is one without a path.

    Raises:
        ConfigError: It is no URL.
    """
    _check_url(endpoint)
    if urlsplit(endpoint).path in {"", "/"}:
        return f"{endpoint.rstrip('/')}/{LOGS_PATH}"
    return endpoint


def _check_url(endpoint: str) -> None:
    try:
        parts = urlsplit(endpoint)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname)
        good = good and parts.port != 0
    except (ValueError, AttributeError, TypeError):  # a port that is none, no text
        good = False
    if not good:
        raise ConfigError("endpoint", endpoint, "a URL such as 'http://localhost:4318'")
    if "@" in urlsplit(endpoint).netloc:
        raise ConfigError("endpoint", "...@...", "no credentials; use headers=")


def check_headers(headers: Mapping[str, str], protocol: str) -> None:
    """Refuse headers that a request cannot have. No value is shown.

    Raises:
        ConfigError: A name or a value has a character that it cannot have.
    """
    if not isinstance(headers, Mapping):
        raise ConfigError("headers", "...", "a mapping")
    key, text, expected = _HEADER_NAME, _HEADER_VALUE, "a header's name"
    if protocol == GRPC:
        key, text = _METADATA_KEY, _METADATA_VALUE
        expected = "a name out of letters, digits, '_', '-' and '.', as gRPC has it"
    given: list[tuple[object, object]] = [*headers.items()]  # not all callers check
    for name, value in given:
        if (
            not (isinstance(name, str) and isinstance(value, str))
            or not key.fullmatch(name)
            or not text.fullmatch(value)
        ):
            raise ConfigError(
                "headers", {name: "..."}, f"{expected}, and a text on one line"
            )


def check_files(
    *,
    certificate_file: FilePath | None,
    client_key_file: FilePath | None,
    client_certificate_file: FilePath | None,
) -> None:
    """Load the files for TLS once: a wrong one would fail at each attempt.

    Raises:
        ConfigError: One cannot be read, is not what it should be, or is alone.
    """
    files = {
        "certificate_file": certificate_file,
        "client_key_file": client_key_file,
        "client_certificate_file": client_certificate_file,
    }
    given = {setting: path for setting, path in files.items() if path is not None}
    if not given:
        return
    for setting, path in given.items():
        _check_readable(setting, path)
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if certificate_file is not None:
        try:
            context.load_verify_locations(certificate_file)
        except ssl.SSLError:
            raise ConfigError(
                "certificate_file", certificate_file, "certificates, as PEM"
            ) from None
    if client_certificate_file is None or client_key_file is None:
        for setting in given.keys() - {"certificate_file"}:
            raise ConfigError(
                setting,
                files[setting],
                "client_key_file and client_certificate_file together",
            )
        return
    try:
        # Without a password OpenSSL would ask the terminal for one.
        context.load_cert_chain(client_certificate_file, client_key_file, password="")
    except (ssl.SSLError, ValueError):
        raise ConfigError(
            "client_key_file",
            client_key_file,
            "the key of client_certificate_file, both as PEM, and without a password",
        ) from None


def _check_readable(setting: str, path: FilePath) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except (OSError, TypeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(setting, path, f"a file to read; {reason}") from None
