"""How one batch is sent, and everything that can come of it.

A `Sender` has one method. Its answer is one of a closed set:

=============== ================================================= ==============
outcome         when                                              the batch
=============== ================================================= ==============
Accepted        2xx with an empty or an OTLP body                 is delivered
Retry           429, 502, 503, 504, connection errors, time-outs  waits, for ever
Misconfigured   401, 403, 404, 405, 501, 3xx, a web page, TLS     waits 30 to 60 s
TooLarge        413, or a 400 whose text says so                  is halved
Rejected        everything else                                   is refused
=============== ================================================= ==============

See https://opentelemetry.io/docs/specs/otlp/#otlphttp-response
"""

from __future__ import annotations

import dataclasses
import gzip
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from otel_tasklog._config import VERSION
from otel_tasklog._text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from urllib3 import BaseHTTPResponse

__all__ = [
    "Accepted",
    "HttpSender",
    "Misconfigured",
    "Outcome",
    "Rejected",
    "Retry",
    "Sender",
    "TooLarge",
]

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

USER_AGENT: Final = f"otel-tasklog/{VERSION}"
MAX_ANSWER_BYTES: Final = 4_194_304
_TOO_LARGE_WORDS: Final = ("too large", "larger than", "exceeds", "body size")


@dataclasses.dataclass(frozen=True, slots=True)
class Accepted:
    """The receiver took the batch, but for *rejected* records of it."""

    rejected: int = 0
    message: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Retry:
    """Not now. *busy*: the receiver said so, after how many seconds if it did."""

    message: str
    after_seconds: float | None = None
    busy: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class TooLarge:
    """The batch is too large for the receiver."""

    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class Misconfigured:
    """No batch will pass until somebody mends something; the message says what."""

    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class Rejected:
    """The receiver refuses this batch for good."""

    reason: str
    message: str


Outcome: TypeAlias = Accepted | Retry | TooLarge | Misconfigured | Rejected


class Sender(Protocol):
    """Sends one encoded batch and says what came of it."""

    def send(self, body: bytes) -> Outcome:
        """Send an ``ExportLogsServiceRequest``. Blocks; must not raise."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


class HttpSender:
    """OTLP/HTTP: one POST a batch over one kept connection.

    Args:
        endpoint: The full URL.
        headers: Sent with each request.
        compress: Whether to gzip the body.
        timeout_seconds: For connecting, and again for the answer.
        max_retry_after_seconds: A longer ``Retry-After`` counts as this one.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        headers: Mapping[str, str],
        compress: bool,
        timeout_seconds: float,
        max_retry_after_seconds: float,
    ) -> None:
        import urllib3

        self._endpoint = endpoint
        self._compress = compress
        self._max_retry_after_seconds = max_retry_after_seconds
        self._headers = urllib3.HTTPHeaderDict({"User-Agent": USER_AGENT})
        self._headers.update(headers)  # whatever case their names are in
        self._headers["Content-Type"] = "application/x-protobuf"
        if compress:
            self._headers["Content-Encoding"] = "gzip"
        self._errors = urllib3.exceptions
        # Retries are the outbox's: urllib3's would block and know no bounds.
        self._parse_after = urllib3.Retry().parse_retry_after
        self._pool = urllib3.PoolManager(
            num_pools=1,
            maxsize=1,
            retries=False,
            timeout=urllib3.Timeout(connect=timeout_seconds, read=timeout_seconds),
        )

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
        if status == 413 or (
            status == 400 and any(w in text.lower() for w in _TOO_LARGE_WORDS)
        ):
            return TooLarge(said)
        if status in {401, 403}:
            return Misconfigured(f"{said}; check the authorization in headers=")
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
        if answer and "protobuf" in kind:
            from otel_tasklog.delivery._decode import (
                partial_success,
            )

            try:
                return Accepted(*partial_success(answer))
            except ValueError:
                return Accepted()
        return Accepted()

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
