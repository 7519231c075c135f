"""OTLP/HTTP: one POST a batch.

See https://opentelemetry.io/docs/specs/otlp/#otlphttp-response
"""

from __future__ import annotations

import gzip
from http.client import BadStatusLine
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from otel_tasklog._errors import ConfigError
from otel_tasklog._text import visible
from otel_tasklog.delivery._senders import (
    MAX_ANSWER_BYTES,
    USER_AGENT,
    Accepted,
    Misconfigured,
    Outcome,
    Rejected,
    Retry,
    TooLarge,
    accepted,
    says_too_large,
)

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

    from otel_tasklog._config import Config

__all__ = ["HTTP_LOGGERS", "HttpSender"]

HTTP_LOGGERS: Final = (
    "urllib3",
    "urllib3.connection",
    "urllib3.connectionpool",
    "urllib3.poolmanager",
    "urllib3.response",
    "urllib3.util.retry",
)
"""Loggers of the HTTP client. `TaskLog` keeps what they say on its own threads
from every handler, for it would be a line for each batch."""


class HttpSender:
    """OTLP/HTTP: one POST a batch over one kept connection.

    Proxies are those of the environment, by the rules of ``urllib.request``.

    Raises:
        ConfigError: The environment names a proxy that is none for HTTP.
    """

    def __init__(self, config: Config) -> None:
        import urllib3

        self._endpoint = config.endpoint
        self._compress = config.compression == "gzip"
        self._max_retry_after_seconds = config.max_retry_after_seconds
        self._headers = urllib3.HTTPHeaderDict({"User-Agent": USER_AGENT})
        self._headers.update(config.headers)  # whatever case their names are in
        self._headers["Content-Type"] = "application/x-protobuf"
        if self._compress:
            self._headers["Content-Encoding"] = "gzip"
        self._errors = urllib3.exceptions
        # Retries are the outbox's: urllib3's would block and know no bounds.
        self._parse_after = urllib3.Retry().parse_retry_after
        self._pool = _make_pool(config)

    def send(self, body: bytes) -> Outcome:
        """POST a batch; see the module's table."""
        data = gzip.compress(body, 1) if self._compress else body
        try:
            response = self._pool.request(
                "POST",
                self._endpoint,
                body=data,
                headers=self._headers,
                redirect=False,
                preload_content=False,
            )
            answer = response.read(MAX_ANSWER_BYTES)
            # Read to its end, it has gone back to the pool; else it is of no use.
            response.close()
        except self._errors.SSLError as error:
            return Misconfigured(
                f"TLS to {self._endpoint} failed: {error}; is it https, and "
                "is the certificate's authority trusted here?"
            )
        except (self._errors.LocationParseError, self._errors.NameResolutionError) as e:
            return Misconfigured(f"{self._endpoint} has no reachable host: {e}")
        except (self._errors.HTTPError, OSError) as error:
            if _speaks_http2(error):
                return Misconfigured(
                    f"{self._endpoint} speaks HTTP/2, as OTLP/gRPC does; use its port "
                    "of OTLP/HTTP, usually 4318, or protocol='grpc'"
                )
            return Retry(f"{self._endpoint}: {type(error).__name__}: {error}")
        return self._classify(response, answer)

    def _classify(self, response: BaseHTTPResponse, answer: bytes) -> Outcome:
        status = response.status
        # Somebody else's words, on their way to a terminal.
        text = visible(answer[:200].decode("utf-8", "replace").strip())
        said = f"{self._endpoint} answered {status} {text}".rstrip()
        if 200 <= status < 300:
            return self._accepted(response, answer)
        if status in {429, 502, 503, 504}:
            return Retry(said, self._retry_after(response), busy=True)
        if status == 413 or (status == 400 and says_too_large(text)):
            return TooLarge(said)
        if status in {401, 403}:
            return Misconfigured(f"{said}; check the authorization in headers=")
        if status == 407:
            return Misconfigured(f"{said}; check the credentials in the proxy's URL")
        kind = response.headers.get("Content-Type", "")
        if kind.startswith("text/html") or status in {405, 501}:
            return Misconfigured(f"{said}; that is no OTLP receiver")
        if status == 404:
            return Misconfigured(f"{said}; an OTLP/HTTP endpoint ends in /v1/logs")
        if 300 <= status < 400:
            target = response.headers.get("Location", "elsewhere")
            return Misconfigured(f"{said}; it redirects to {target}: use that endpoint")
        return Rejected(f"http {status}", said)

    def _accepted(self, response: BaseHTTPResponse, answer: bytes) -> Outcome:
        kind = response.headers.get("Content-Type", "")
        if kind.startswith("text/html"):
            return Misconfigured(
                f"{self._endpoint} answered {response.status} with a web page; "
                "that is no OTLP receiver"
            )
        return accepted(answer) if "protobuf" in kind else Accepted()

    def _retry_after(self, response: BaseHTTPResponse) -> float | None:
        header = response.headers.get("Retry-After")
        if header is None:
            return None
        try:
            seconds = self._parse_after(header)
        except self._errors.InvalidHeader:
            return None
        # An answer of 0, for ever, must not become a storm: back off as usual.
        return min(seconds, self._max_retry_after_seconds) if seconds > 0 else None

    def close(self) -> None:
        """Close the connection."""
        self._pool.clear()


def _speaks_http2(error: Exception) -> bool:
    # Its first frame says nothing in HTTP/1 and starts with a length below 65,536.
    cause = error.args[-1] if error.args else None
    return isinstance(cause, BadStatusLine) and str(cause).startswith("\0\0")


def _make_pool(config: Config) -> PoolManager:
    import urllib3

    options: dict[str, Any] = {
        "num_pools": 1,
        "maxsize": 1,
        "retries": False,
        "timeout": urllib3.Timeout(
            connect=config.timeout_seconds,
            read=config.timeout_seconds,
            total=config.export_timeout_seconds,
        ),
        # Read with each new connection, so that renewed files are taken up.
        "ca_certs": config.certificate_file,
        "cert_file": config.client_certificate_file,
        "key_file": config.client_key_file,
    }
    variable, proxy = _proxy_for(config.endpoint)
    if not proxy:
        return urllib3.PoolManager(**options)
    try:
        credentials = urlsplit(proxy).netloc.rpartition("@")[0]
        headers = urllib3.make_headers(proxy_basic_auth=unquote(credentials) or None)
        return urllib3.ProxyManager(proxy, proxy_headers=headers, **options)
    except (urllib3.exceptions.HTTPError, ValueError):
        raise ConfigError(
            variable,
            f"{proxy.partition('://')[0]}://...",
            "a URL such as 'http://proxy:3128'; or put the host of the endpoint "
            "into NO_PROXY",
        ) from None


def _proxy_for(endpoint: str) -> tuple[str, str]:
    """Return the variable that has a proxy for a URL, and the proxy or nothing."""
    from urllib.request import getproxies_environment, proxy_bypass

    parts = urlsplit(endpoint)
    # Without variables both `getproxies` and `proxy_bypass` would ask the system,
    # which a forked child must not do on macOS.
    proxies = getproxies_environment()
    if proxies and not proxy_bypass(parts.netloc):
        for kind in (parts.scheme, "all"):
            if proxy := proxies.get(kind, ""):
                full = proxy if "://" in proxy else f"http://{proxy}"
                return f"{kind.upper()}_PROXY", full
    return "", ""
