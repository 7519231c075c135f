"""The handshake of TLS, and the certificate that a receiver shows."""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING, Any, Final, cast

from otel_tasklog.cli._checks_network import HTTP_1, HTTP_2, spoken_plainly
from otel_tasklog.cli._findings import Finding, failed, ok, warning
from otel_tasklog.cli._way import client_context, dial

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_tasklog._config import Config
    from otel_tasklog.cli._way import Way

__all__ = ["WHO_WE_ARE", "check_tls", "refused_by"]

_CHECK: Final = "TLS"
_DAY_SECONDS: Final = 86_400
_SOON_DAYS: Final = 14
_NO_CHECK_TIME: Final = 0x20_0000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python has no name for."""

# X509_V_ERR_... of OpenSSL's x509_vfy.h.
_NOT_YET: Final = 9
_EXPIRED: Final = 10
_UNKNOWN_AUTHORITY: Final = {18, 19, 20, 21}
_WRONG_NAME: Final = {62, 64}

WHO_WE_ARE: Final = (
    "it may ask for a certificate of ours: set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE "
    "and OTEL_EXPORTER_OTLP_CLIENT_KEY"
)
"""What to do if a receiver wants to know who we are."""


def check_tls(way: Way, config: Config, seconds: float) -> Iterator[Finding]:
    """Shake hands with a receiver, as the sender does; tell of its certificate.

    Args:
        way: The way to the receiver, one of TLS that `dial` can go.
        config: Has the files for TLS.
        seconds: How long each step may take.
    """
    try:
        context = client_context(config, "h2" if way.grpc else "http/1.1")
        with (
            dial(way, seconds) as sock,
            context.wrap_socket(sock, server_hostname=way.host) as tls,
        ):
            certificate = cast("dict[str, Any]", tls.getpeercert())
            version, chosen = tls.version(), tls.selected_alpn_protocol()
    except ssl.SSLCertVerificationError as error:
        yield _distrusted(way, config, seconds, error)
    except OSError as error:
        yield _no_handshake(way, seconds, error)
    else:
        yield ok(_CHECK, f"{version}; {_described(certificate)}")
        yield from _lasting(certificate)
        if way.grpc and chosen != "h2":
            yield failed(
                _CHECK,
                f"{way.host}:{way.port} speaks TLS, but not HTTP/2, as OTLP/gRPC does",
                "use the port of OTLP/gRPC, usually 4317, or protocol http/protobuf",
            )


def _lasting(certificate: Mapping[str, Any]) -> Iterator[Finding]:
    days = (_ends_at(certificate) - time.time()) / _DAY_SECONDS
    if days < _SOON_DAYS:
        yield warning(
            _CHECK,
            f"the certificate expires in {days:.0f} days",
            "have it renewed: from then on nothing is delivered",
        )


def _ends_at(certificate: Mapping[str, Any]) -> float:
    return ssl.cert_time_to_seconds(certificate["notAfter"])


def _described(certificate: Mapping[str, Any]) -> str:
    ends = time.strftime("%Y-%m-%d", time.gmtime(_ends_at(certificate)))
    return (
        f"certificate of {_name(certificate['subject'])}, for {_hosts(certificate)}, "
        f"signed by {_name(certificate['issuer'])}, valid until {ends}"
    )


def _name(parts: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    words = dict(pair for part in parts for pair in part)
    return words.get("commonName") or ", ".join(words.values()) or "nobody"


def _hosts(certificate: Mapping[str, Any]) -> str:
    return (
        ", ".join(host for _, host in certificate.get("subjectAltName", ())) or "none"
    )


def _distrusted(
    way: Way, config: Config, seconds: float, error: ssl.SSLCertVerificationError
) -> Finding:
    certificate = _unverified(way, config, seconds)
    shown = f" ({_described(certificate)})" if certificate else ""
    if error.verify_code == _EXPIRED:
        return failed(
            _CHECK,
            f"the certificate has expired{shown}",
            "have it renewed; if it is not so old, set this machine's clock",
        )
    if error.verify_code == _NOT_YET:
        return failed(
            _CHECK,
            f"the certificate is not valid yet{shown}",
            "set this machine's clock, or wait",
        )
    if error.verify_code in _WRONG_NAME:
        return failed(
            _CHECK,
            f"the certificate is not for {way.host}{shown}",
            "use a name in the endpoint that the certificate is for, or have one made "
            f"for {way.host}",
        )
    if error.verify_code not in _UNKNOWN_AUTHORITY:
        said = f"the certificate is refused: {error.verify_message}{shown}"
        return failed(_CHECK, said, "have the certificate made anew")
    said = f"the authority of the certificate is not trusted here{shown}"
    if config.certificate_file is not None:
        return failed(
            _CHECK,
            said,
            f"put the authority's certificate into {config.certificate_file}",
        )
    mend = "set OTEL_EXPORTER_OTLP_CERTIFICATE to the authority's certificate, as PEM"
    if way.grpc:
        return warning(_CHECK, f"{said}, but gRPC has a list of its own", mend)
    return failed(_CHECK, said, mend)


def _unverified(way: Way, config: Config, seconds: float) -> Mapping[str, Any]:
    """Return what a certificate says that is not trusted; nothing if that fails.

    Python reads only what was verified. So the certificate is verified by itself.
    """
    try:
        context = client_context(config, verify=False)
        with (
            dial(way, seconds) as sock,
            context.wrap_socket(sock, server_hostname=way.host) as tls,
        ):
            shown = tls.getpeercert(binary_form=True)
        itself = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        itself.check_hostname = False
        itself.load_verify_locations(cadata=shown)
        itself.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
        with (
            dial(way, seconds) as sock,
            itself.wrap_socket(sock, server_hostname=way.host) as tls,
        ):
            return cast("dict[str, Any]", tls.getpeercert())
    except OSError:
        return {}


def refused_by(way: Way, config: Config, seconds: float) -> str:
    """Return why a receiver breaks off what was agreed on; nothing if it does not.

    From TLS 1.3 on, that is how it says that it wants to know who we are.

    Args:
        way: The way to the receiver, one of TLS that `dial` can go.
        config: Has the files for TLS.
        seconds: How long each step may take.
    """
    context = client_context(config, "h2" if way.grpc else "http/1.1", verify=False)
    try:
        with (
            dial(way, seconds) as sock,
            context.wrap_socket(sock, server_hostname=way.host) as tls,
        ):
            tls.recv(1)
    except ssl.SSLError as error:
        return error.reason or ""
    except OSError:
        pass
    return ""


def _no_handshake(way: Way, seconds: float, error: OSError) -> Finding:
    place = f"{way.host}:{way.port}"
    reason = getattr(error, "reason", None) or error.strerror or str(error)
    spoken = spoken_plainly(way, seconds) if "ALERT" not in reason else ""
    if spoken in {HTTP_1, HTTP_2}:
        instead = f"use http://{place} if nobody can listen on the way to it"
        return failed(_CHECK, f"{place} speaks {spoken} without TLS", instead)
    if spoken:
        said = f"{place} speaks neither TLS nor HTTP; it says {spoken!r}"
        return failed(_CHECK, said, "correct the port")
    if isinstance(error, TimeoutError):
        said = f"{place} did not answer the handshake in {seconds:g} s"
        return failed(_CHECK, said, "is that a port of TLS, and is its server alive?")
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        return failed(_CHECK, f"{place} broke the handshake off: {reason}", WHO_WE_ARE)
    return failed(
        _CHECK,
        f"the handshake with {place} failed: {reason}",
        "see what the receiver's log says of it, and which versions of TLS it takes",
    )
