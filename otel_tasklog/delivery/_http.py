"""OTLP/HTTP: one POST a batch.

See https://opentelemetry.io/docs/specs/otlp/#otlphttp-response
"""

from __future__ import annotations

import contextlib
import gzip
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urljoin, urlsplit

from otel_tasklog._text import visible
from otel_tasklog.delivery._answer import status_message
from otel_tasklog.delivery._senders import (
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
    from otel_tasklog._config import Config
    from otel_tasklog.delivery._http_client import Answer

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

MAX_REDIRECTS: Final = 5
WORDS_READ: Final = 4_096
WORDS_SHOWN: Final = 200
"""Of what a receiver says."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class HttpSender:
    """OTLP/HTTP: one POST a batch over one kept connection.

    A redirect by 307 or 308 to the same scheme, host and port is followed; no other
    place must see the headers. That of a 308 is remembered as long as it is good.

    Raises:
        ConfigError: The environment names a proxy that is none for HTTP.
    """

    def __init__(self, config: Config) -> None:
        import urllib3

        from otel_tasklog.delivery._http_client import (
            HttpClient,
        )

        self._endpoint = self._url = config.endpoint
        self._compress = config.compression == "gzip"
        self._export_timeout_seconds = config.export_timeout_seconds
        self._max_retry_after_seconds = config.max_retry_after_seconds
        headers = urllib3.HTTPHeaderDict({"User-Agent": USER_AGENT})
        headers.update(config.headers)  # whatever case their names are in
        headers["Content-Type"] = "application/x-protobuf"
        if self._compress:
            headers["Content-Encoding"] = "gzip"
        self._parse_after = urllib3.Retry().parse_retry_after
        self._client = HttpClient(config, headers)

    def send(self, body: bytes) -> Outcome:
        """POST a batch; see the table of `Sender`'s module."""
        data = gzip.compress(body, 1) if self._compress else body
        ends_at = time.monotonic() + self._export_timeout_seconds
        outcome, url = self._follow(data, ends_at)
        is_good = isinstance(outcome, Accepted | Retry)
        self._url = url if is_good else self._endpoint
        return outcome

    def _follow(self, data: bytes, ends_at: float) -> tuple[Outcome, str]:
        """Return what came of it, and the URL for the next batch."""
        url = lasting = self._url
        hops = 0
        while True:
            answer = self._client.post(url, data, ends_at)
            if isinstance(answer, Misconfigured | Retry):
                return answer, lasting
            target = _target(answer, url)
            if target is None or hops == MAX_REDIRECTS:
                outcome = self._classify(answer, url)
                date = answer.headers.get("Date")
                return replace(outcome, status=answer.status, date=date), lasting
            # What has moved for good from where it is for now, is there for now.
            if answer.status == 308 and lasting == url:
                lasting = target
            url = target
            hops += 1

    def _classify(self, answer: Answer, url: str) -> Outcome:
        """Return the outcome of an answer: its head decides, its body explains.

        So what breaks off, or never ends, after the head is as good as what came
        whole. Only a 400 depends on its words.
        """
        status, kind = answer.status, _kind(answer)
        text = _words(answer.body, kind)
        # Somebody else's words, on their way to a terminal.
        said = f"{url} answered {status} {visible(text[:WORDS_SHOWN])}".rstrip()
        if 200 <= status < 300:
            return _taken(answer, url, kind)
        if status in {429, 502, 503, 504} or (status == 400 and not answer.is_whole):
            return Retry(said, self._retry_after(answer), busy=True)
        if status == 413 or (status == 400 and says_too_large(text)):
            return TooLarge(said)
        if mend := _mend(answer, url, kind):
            return Misconfigured(f"{said}; {mend}")
        return Rejected(f"http {status}", said)

    def _retry_after(self, answer: Answer) -> float | None:
        header = answer.headers.get("Retry-After")
        if header is None:
            return None
        try:
            seconds = self._parse_after(header)
        except Exception:  # noqa: BLE001 - whatever a header can make a parser do
            return None
        # An answer of 0, for ever, must not become a storm: back off as usual.
        return min(seconds, self._max_retry_after_seconds) if seconds > 0 else None

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _kind(answer: Answer) -> str:
    return answer.headers.get("Content-Type", "").strip().lower()


def _words(body: bytes, kind: str) -> str:
    """Return what an answer that is no success says, as a text."""
    if "protobuf" in kind:
        with contextlib.suppress(ValueError):
            return status_message(body)
    return body[:WORDS_READ].decode("utf-8", "replace").strip()


def _taken(answer: Answer, url: str, kind: str) -> Accepted | Misconfigured:
    if kind.startswith("text/html"):
        return Misconfigured(
            f"{url} answered {answer.status} with a web page; that is no OTLP receiver"
        )
    if "protobuf" in kind or "json" in kind:
        return accepted(answer.body, is_json="json" in kind)
    return Accepted()


def _mend(answer: Answer, url: str, kind: str) -> str:
    """Return what somebody has to mend before any batch passes, if it is that."""
    status = answer.status
    if status in {401, 403}:
        return "check the authorization in headers="
    if status == 407:
        return "check the credentials in the proxy's URL"
    if kind.startswith("text/html") or status in {405, 501}:
        return "that is no OTLP receiver"
    if status == 404:
        return "an OTLP/HTTP endpoint ends in /v1/logs"
    if not 300 <= status < 400:
        return ""
    if _target(answer, url) is not None:
        return f"it redirects more than {MAX_REDIRECTS} times"
    location = answer.headers.get("Location", "elsewhere")
    target = urljoin(url, location) if location.startswith("/") else location
    return f"it redirects to {visible(target[:WORDS_SHOWN])}: use that endpoint"


def _target(answer: Answer, url: str) -> str | None:
    """Return where an answer sends the request, if it may be followed there."""
    location = answer.headers.get("Location")
    if answer.status not in {307, 308} or not location:
        return None
    here = urlsplit(url)
    try:
        there = urlsplit(urljoin(url, location))
        if _origin(here) != _origin(there):
            return None
    except ValueError:  # no URL
        return None
    return here._replace(path=there.path, query=there.query, fragment="").geturl()


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    port = _DEFAULT_PORTS.get(parts.scheme) if parts.port is None else parts.port
    return parts.scheme, (parts.hostname or "").rstrip("."), port
