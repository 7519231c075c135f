"""One record, sent as those of a program are, and what its answer means."""

from __future__ import annotations

import dataclasses
import email.utils
import secrets
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from otel_tasklog._assemble import make_shared
from otel_tasklog._connection import LOGS_PATH
from otel_tasklog.cli._background import within
from otel_tasklog.cli._checks_network import HTTP_1, HTTP_2, TLS, spoken_at
from otel_tasklog.cli._checks_tls import WHO_WE_ARE, refused_by
from otel_tasklog.cli._findings import Finding, failed, ok, warning
from otel_tasklog.delivery._encode import Encoder
from otel_tasklog.delivery._senders import Accepted, Rejected, Retry, TooLarge
from otel_tasklog.delivery._wire import field

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tasklog._config import Config
    from otel_tasklog.cli._way import Way
    from otel_tasklog.delivery._senders import Outcome, Sender

__all__ = ["check_probe"]

_CHECK: Final = "probe"
_SCOPE: Final = "otel_tasklog.doctor"
_BODY: Final = "otel-tasklog doctor: a probe, sent to see whether it arrives"
_SKEW_SECONDS: Final = 300.0
_LEAST_SECRET: Final = 6
_NO_SERVICE: Final = "unknown_service"
_NO_ANSWER: Final = {None, "UNAVAILABLE", "DEADLINE_EXCEEDED", "UNKNOWN", "INTERNAL"}
"""The statuses of what may have no answer at all. gRPC has one for each failure."""

_AUTHORIZATION: Final = (
    "the receiver wants another authorization",
    "set OTEL_EXPORTER_OTLP_HEADERS, as in authorization=Bearer%20TOKEN, or --header",
)
_NO_RECEIVER: Final = (
    "that is no receiver of OTLP",
    "correct the endpoint: a web server, or a page to log in at, answers there",
)
_BUSY: Final = (
    "the receiver is there, and takes nothing now",
    "see to its load, its limits or what is behind it; a program goes on trying",
)
_MEANINGS: Final[dict[int | str | None, tuple[str, str]]] = {
    401: _AUTHORIZATION,
    403: _AUTHORIZATION,
    405: ("no POST is taken at that path", "correct the path, usually /v1/logs"),
    407: ("the proxy wants credentials", "put them into the proxy's URL"),
    413: (
        "a single record is too large for the receiver",
        "raise its limit of the size of a request: that of this one is under 4 KiB",
    ),
    415: (
        "protobuf is not taken there",
        "use an endpoint that takes OTLP as protobuf; OTLP as JSON is not sent",
    ),
    429: _BUSY,
    501: _NO_RECEIVER,
    502: ("what is in front of the receiver does not reach it", "see to the receiver"),
    503: _BUSY,
    504: ("what is in front of the receiver has no answer", "see to the receiver"),
    "UNAUTHENTICATED": _AUTHORIZATION,
    "PERMISSION_DENIED": _AUTHORIZATION,
    "UNIMPLEMENTED": (
        "nobody takes logs there",
        "give the Collector a pipeline for logs, with its receiver otlp",
    ),
    "RESOURCE_EXHAUSTED": _BUSY,
}


def check_probe(
    sender: Sender, config: Config, way: Way | None, seconds: float
) -> Iterator[Finding]:
    """Send one record, tell what came of it, and compare the clocks.

    Args:
        sender: How to send it.
        config: The settings; none of its headers' values is told.
        way: The way to the receiver, to be asked what is spoken at its end; None if
            that cannot be, or is told already.
        seconds: How long each step may take.
    """
    shared = make_shared(config)
    service = str(shared.resource.get("service.name", _NO_SERVICE))
    if service.startswith(_NO_SERVICE):
        yield warning(
            "service",
            "the records' service.name is unknown_service",
            "set OTEL_SERVICE_NAME, unless the program gives service_name= to install()",
        )
    encoder = Encoder(shared.resource, schema_url=shared.schema_url, include=())
    mark = secrets.token_hex(8)
    body = encoder.request({_SCOPE: [field(b"\x12", _record(mark))]})
    # A name's addresses are tried one by one, and a look-up has no time-out at all.
    limit = config.export_timeout_seconds + seconds
    began = time.time()
    try:
        outcome = within(limit, lambda: sender.send(body))
    except TimeoutError:
        outcome = Retry(f"{config.endpoint}: nothing came of it in {limit:g} s")
    ended = time.time()
    for finding in _meaning(outcome, config, way, mark, seconds):
        yield dataclasses.replace(finding, said=_without(finding.said, config))
    yield from _clock(outcome, config, (began + ended) / 2)


def _record(mark: str) -> bytes:
    now = time.time_ns()
    attribute = KeyValue(key="otel_tasklog.probe", value=AnyValue(string_value=mark))
    record = LogRecord(
        time_unix_nano=now,
        observed_time_unix_nano=now,
        severity_number=SeverityNumber.SEVERITY_NUMBER_INFO,
        severity_text="INFO",
        body=AnyValue(string_value=_BODY),
        attributes=[attribute],
    )
    encoded: bytes = record.SerializeToString()
    return encoded


def _meaning(
    outcome: Outcome, config: Config, way: Way | None, mark: str, seconds: float
) -> Iterator[Finding]:
    if isinstance(outcome, Accepted):
        yield _taken(outcome, config, mark)
        return
    cause, mend = _MEANINGS.get(outcome.status, ("", ""))
    is_unclear = outcome.status in _NO_ANSWER or outcome.status == 400
    if is_unclear and way is not None and way.can_dial:
        cause, mend = _spoken(way, config, seconds)
    if not cause:
        cause, mend = _by_outcome(outcome, config)
    yield failed(_CHECK, f"{cause}: {outcome.message}", mend)


def _taken(outcome: Accepted, config: Config, mark: str) -> Finding:
    if outcome.rejected:
        return failed(
            _CHECK,
            f"{config.endpoint} answered {outcome.status}, but refuses the record: "
            f"{outcome.message or 'it does not say why'}",
            "see to the receiver's limits and validation: it takes the request, and "
            "throws records away",
        )
    said = f"accepted by {config.endpoint} ({outcome.status})"
    if outcome.message:
        mend = "see to what the receiver says"
        return warning(_CHECK, f"{said}; it says: {outcome.message}", mend)
    return ok(_CHECK, f"{said}; it has the attribute otel_tasklog.probe={mark}")


def _spoken(way: Way, config: Config, seconds: float) -> tuple[str, str]:
    """Return the cause and what to do, if the port speaks something unexpected."""
    place = f"{way.host}:{way.port}"
    spoken = spoken_at(way, config, seconds)
    if spoken == TLS:
        return f"{place} speaks TLS", f"use https://{place}"
    if spoken == HTTP_1 and way.grpc:
        return (
            f"{place} speaks HTTP/1, and OTLP/gRPC needs HTTP/2",
            "use the port of OTLP/gRPC, usually 4317, or protocol http/protobuf",
        )
    if spoken == HTTP_2 and not way.grpc:
        return (
            f"{place} speaks HTTP/2 alone, as OTLP/gRPC does",
            "use the port of OTLP/HTTP, usually 4318, or protocol grpc",
        )
    if spoken and spoken not in {HTTP_1, HTTP_2}:
        return f"{place} speaks no HTTP; it says {spoken!r}", "correct the port"
    if way.tls and not spoken and (reason := refused_by(way, config, seconds)):
        return f"{place} broke TLS off: {reason}", WHO_WE_ARE
    return "", ""


def _by_outcome(outcome: Outcome, config: Config) -> tuple[str, str]:
    status = outcome.status
    if status == 404:
        return "nothing takes logs at that path", _other_path(config)
    if isinstance(status, int) and 300 <= status < 400:
        return "the receiver is elsewhere", "set the endpoint to where it redirects"
    is_answer = isinstance(status, int) and isinstance(outcome, Retry)
    if is_answer or isinstance(outcome, Rejected | TooLarge):
        return "the receiver refuses the record", "see what it says, and its log"
    if isinstance(status, int):
        return _NO_RECEIVER
    words = outcome.message.lower()
    if "timeout" in words or "timed out" in words or status == "DEADLINE_EXCEEDED":
        return (
            "the receiver did not answer in time",
            "is that its port? A slow one needs a longer OTEL_EXPORTER_OTLP_TIMEOUT",
        )
    if "tls" in words or "handshake" in words:
        return "TLS failed", "mend what the line on TLS says"
    return "there is no answer", "is the receiver up, and is that its port?"


def _other_path(config: Config) -> str:
    parts = urlsplit(config.endpoint)
    once = parts.path.rstrip("/").removesuffix(f"/{LOGS_PATH}")
    if once.endswith(f"/{LOGS_PATH}"):
        base = once.removesuffix(f"/{LOGS_PATH}")
        return (
            f"OTEL_EXPORTER_OTLP_ENDPOINT has /{LOGS_PATH} added to it: set it to "
            f"{parts._replace(path=base).geturl()}"
        )
    if parts.path.rstrip("/").endswith(f"/{LOGS_PATH}"):
        return (
            "is that the port of OTLP/HTTP, and has the Collector a pipeline for logs "
            "with its receiver otlp? Loki takes OTLP at /otlp/v1/logs"
        )
    path = f"{parts.path.rstrip('/')}/{LOGS_PATH}"
    return f"use {parts._replace(path=path).geturl()}"


def _without(text: str, config: Config) -> str:
    """Return what a receiver said, without what it was sent in headers."""
    words = {word for value in config.headers.values() for word in value.split()}
    for word in sorted(words, key=len, reverse=True):
        if len(word) >= _LEAST_SECRET:
            text = text.replace(word, "...")
    return text


def _clock(outcome: Outcome, config: Config, now: float) -> Iterator[Finding]:
    if outcome.date is None:
        if isinstance(outcome, Accepted):
            yield ok("clock", "not compared: the answer has no date")
        return
    try:
        there = email.utils.parsedate_to_datetime(outcome.date).timestamp()
    except ValueError:
        yield ok("clock", f"not compared: the answer's date is {outcome.date!r}")
        return
    skew = now - there
    if abs(skew) <= _SKEW_SECONDS:
        yield ok("clock", f"{abs(skew):.0f} s apart from that of {config.endpoint}")
    elif skew > 0:
        yield warning(
            "clock",
            f"this machine's is {skew:,.0f} s ahead of the receiver's",
            "set it, by NTP; Loki refuses records that are more than 10 minutes ahead",
        )
    else:
        yield warning(
            "clock",
            f"this machine's is {-skew:,.0f} s behind the receiver's",
            "set it, by NTP; Loki shows records at the wrong time, and refuses those "
            "an hour behind others of their stream, or a week old",
        )
