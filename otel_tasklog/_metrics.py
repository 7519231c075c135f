"""How a sender shows in OpenTelemetry's metrics; ``_instruments.py`` has the rest.

See https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from opentelemetry.semconv._incubating.attributes.otel_attributes import (
    OtelComponentTypeValues,
)
from opentelemetry.semconv.attributes.error_attributes import (
    ERROR_TYPE,
    ErrorTypeValues,
)
from opentelemetry.semconv.attributes.http_attributes import HTTP_RESPONSE_STATUS_CODE
from opentelemetry.semconv.attributes.server_attributes import (
    SERVER_ADDRESS,
    SERVER_PORT,
)

from otel_tasklog._instruments import Kind, admit, error_type
from otel_tasklog.delivery._senders import (
    Accepted,
    Misconfigured,
    Outcome,
    Rejected,
    Retry,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import MeterProvider

    from otel_tasklog._instruments import Attributes, Component, Instruments, Source
    from otel_tasklog.delivery._senders import Sender

__all__ = ["MeasuredSender", "measured"]

RPC_RESPONSE_STATUS_CODE: Final = "rpc.response.status_code"
"""The oldest conventions that we work with have another name for it."""

STANDARD_TYPES: Final = {
    "HttpSender": OtelComponentTypeValues.OTLP_HTTP_LOG_EXPORTER.value,
    "GrpcSender": OtelComponentTypeValues.OTLP_GRPC_LOG_EXPORTER.value,
}
"""By class. What the conventions have no type for has its class's name."""

_log = logging.getLogger("otel_tasklog")


def measured(sender: Sender | None, source: Source) -> Sender | None:
    """Return a sender that shows in metrics, if the settings ask for them.

    Args:
        sender: Sends the batches; None if nothing is exported, and so nothing shown.
        source: The TaskLog. The meter provider does not keep it alive.
    """
    provider = source.config.meter_provider
    if sender is None or provider is None:
        return sender
    return MeasuredSender(sender, source, provider)


class MeasuredSender:
    """Does what another sender does, and shows it in metrics.

    An export begins when a batch is first sent, and ends when a receiver took or
    refused it. One that ended otherwise, its batch dropped or split, is noticed at the
    next: it lasted until then, and failed for the reason of its last attempt.

    The instruments are made with the first batch, on the thread that sends it: a log
    call may make a TaskLog, and one within a collection would wait for a lock of the
    meter provider that its own thread holds.
    """

    def __init__(self, sender: Sender, source: Source, provider: MeterProvider) -> None:
        self._sender = sender
        self._source = source
        self._provider = provider
        self._failed = False
        self._place: tuple[Instruments, Component] | None = None
        self._body: bytes | None = None
        self._began = 0.0
        self._result: Attributes = {}

    def send(self, body: bytes) -> Outcome:
        """Send a batch; one at a time."""
        self._guarded(lambda: self._begin(body))
        outcome = self._sender.send(body)
        self._result = _result(outcome)
        if not isinstance(outcome, Retry | Misconfigured):
            self._guarded(self._end)
        return outcome

    def _begin(self, body: bytes) -> None:
        if self._place is None:
            kind = kind_of(self._sender, self._source.config.endpoint)
            self._place = admit(self._provider, self._source, kind)
        if body is not self._body:  # each attempt has the same
            self._end()
            self._body, self._began = body, time.monotonic()
            self._result = {ERROR_TYPE: ErrorTypeValues.OTHER.value}

    def _end(self) -> None:
        if self._body is None or self._place is None:
            return
        self._body = None
        instruments, component = self._place
        seconds = time.monotonic() - self._began
        instruments.record(seconds, component.exporter | self._result)

    def _guarded(self, measure: Callable[[], None]) -> None:
        """Measure; a provider is anybody's code, and must cost no record."""
        if self._failed:
            return
        try:
            measure()
        except Exception as error:  # noqa: BLE001
            self._failed = True
            _log.warning("the meter provider failed, and is left alone: %r", error)

    def close(self) -> None:
        """Let the last counts stay, without the TaskLog; close the other sender."""
        self._guarded(self._end)
        if self._place is not None:
            _, component = self._place
            component.leave(self._source.stats())
        self._sender.close()


def _result(outcome: Outcome) -> Attributes:
    """Return the attributes that say how an attempt ended."""
    result: Attributes = {}
    if isinstance(outcome.status, int):
        result[HTTP_RESPONSE_STATUS_CODE] = outcome.status
    elif outcome.status is not None:
        result[RPC_RESPONSE_STATUS_CODE] = outcome.status
    match outcome:
        case Accepted(rejected=0):
            pass
        case Accepted():
            result[ERROR_TYPE] = error_type("partial success")
        case Rejected():
            result[ERROR_TYPE] = error_type(outcome.reason)
        case _:
            result[ERROR_TYPE] = str(outcome.status or ErrorTypeValues.OTHER.value)
    return result


def kind_of(sender: Sender, endpoint: str) -> Kind:
    """Return what a sender is called, and who it sends to."""
    name = type(sender).__name__
    if name in STANDARD_TYPES:
        return Kind(name, STANDARD_TYPES[name], tuple(server_of(endpoint).items()))
    return Kind(name, f"otel_tasklog.{name}")


def server_of(endpoint: str) -> Attributes:
    """Return the attributes for an endpoint: a URL, or one of gRPC's own forms."""
    scheme, _, rest = endpoint.partition(":")
    if scheme in {"unix", "unix-abstract"}:
        return {SERVER_ADDRESS: rest.removeprefix("//")}
    if scheme in {"http", "https"}:
        parts = urlsplit(endpoint)
    else:
        # The first of several addresses, without the server that resolves it.
        target = rest if scheme in {"dns", "ipv4", "ipv6"} else endpoint
        parts = urlsplit(f"//{target.rpartition('/')[2].partition(',')[0]}")
    try:
        port = parts.port or (80 if scheme == "http" else 443)
    except ValueError:  # an IPv6 address without brackets
        return {SERVER_ADDRESS: parts.netloc}
    return {SERVER_ADDRESS: parts.hostname or "", SERVER_PORT: port}
