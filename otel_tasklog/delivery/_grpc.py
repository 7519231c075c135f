"""OTLP/gRPC: one unary call a batch.

gRPC's core does not survive a ``fork`` during a call, nor while it shuts down: what
comes of it in the child is anything from a call that never returns to an abort. At all
other times it does. So a fork waits until there is no call, or cancels the one there is,
and the core, once started, is kept from shutting down.

See https://opentelemetry.io/docs/specs/otlp/#otlpgrpc-response and
https://github.com/grpc/grpc/blob/master/doc/fork_support.md
"""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit
from weakref import WeakSet

from otel_tasklog._errors import MissingExtraError
from otel_tasklog._text import visible
from otel_tasklog.delivery._senders import (
    MAX_ANSWER_BYTES,
    USER_AGENT,
    Misconfigured,
    Outcome,
    Rejected,
    Retry,
    TooLarge,
    accepted,
    says_too_large,
)

if TYPE_CHECKING:
    import grpc

    from otel_tasklog._config import Config
    from otel_tasklog._connection import FilePath

__all__ = ["GrpcSender", "target_of"]

EXPORT: Final = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
GRACE_SECONDS: Final = 0.25
"""So long a fork waits for a call to end before it cancels it."""

CANCEL_ATTEMPTS: Final = 4

_RETRYABLE: Final = {
    "CANCELLED",
    "DEADLINE_EXCEEDED",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNAVAILABLE",
    "DATA_LOSS",
}
_BROKEN: Final = "RST_STREAM"
"""In the words for a stream that was cut off. The code is gRPC's, not the receiver's."""

_SIZED: Final = {"RESOURCE_EXHAUSTED", "OUT_OF_RANGE", "INVALID_ARGUMENT"}
"""With these a receiver says that a batch is too large; the last but one is tonic's."""

_MENDS: Final = {
    "UNAUTHENTICATED": "check the authorization in headers=",
    "PERMISSION_DENIED": "check the authorization in headers=",
    "UNIMPLEMENTED": "that is no receiver of logs over OTLP/gRPC",
}
_NO_CONNECTION: Final = {
    # gRPC has one code for all that keeps it from connecting, and its words differ
    # by version. Words that are not known are an outage.
    "handshake": "is it https, and is the certificate's authority trusted here?",
    "resolving": "is that the host's name?",
    "resolution": "is that the host's name?",
    "parsing http/2": "OTLP/gRPC has another port than OTLP/HTTP, usually 4317",
}


class GrpcSender:
    """OTLP/gRPC: one unary call a batch over one kept channel.

    The channel is made by the first `send`. After a call that did not get through
    the next one makes a new channel, as gRPC would wait up to two minutes before it
    tries again, and does not notice a connection that is dead. Proxies are those
    that gRPC finds in the environment.

    Raises:
        MissingExtraError: grpcio is not installed.
    """

    def __init__(self, config: Config) -> None:
        try:
            import grpc
            from google.rpc import (  # type: ignore[import-untyped]
                error_details_pb2,
                status_pb2,
            )
        except ImportError:
            raise MissingExtraError("protocol='grpc'", "otlp") from None
        self._rpc_error = grpc.RpcError
        self._parse_status = status_pb2.Status.FromString
        self._make_retry_info = error_details_pb2.RetryInfo
        self._config = config
        self._metadata = tuple(
            (name.lower(), value) for name, value in config.headers.items()
        )
        self._calling = threading.Lock()  # not held: nothing of ours is in gRPC
        self._channel: grpc.Channel | None = None
        self._closed = False
        _senders.add(self)

    def send(self, body: bytes) -> Outcome:
        """Make a call with a batch; see the table of `Sender`'s module."""
        config = self._config
        with self._calling:
            if self._closed:
                return Retry(f"{config.endpoint}: closed meanwhile")
            try:
                # It waits in this thread. A call with a future would start one, and
                # at the interpreter's end Python may refuse.
                answer = self._connected()(
                    body,
                    timeout=min(config.timeout_seconds, config.export_timeout_seconds),
                    metadata=self._metadata,
                )
            except self._rpc_error as error:
                call = cast("grpc.Call", error)  # as each is one
                outcome = replace(self._classify(call), status=call.code().name)
            except OSError as error:  # the files were there at install()
                outcome = Misconfigured(f"{config.endpoint}: no TLS: {error}")
            except ValueError as error:  # the channel was closed before the call
                outcome = Retry(f"{config.endpoint}: {error}")
            else:
                return replace(accepted(answer), status="OK")
            if isinstance(outcome, Misconfigured) or (
                isinstance(outcome, Retry) and not outcome.busy
            ):
                self._disconnect()
            return outcome

    def _connected(self) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
        if self._channel is None:
            self._channel = _open_channel(self._config)
        return self._channel.unary_unary(EXPORT)

    def _classify(self, call: grpc.Call) -> Outcome:
        code = call.code().name
        details = visible((call.details() or "")[:300])
        said = f"{self._config.endpoint}: {code}: {details}"
        pause = self._retry_info(call)
        if pause is not None and code in {*_RETRYABLE, "RESOURCE_EXHAUSTED"}:
            limit = self._config.max_retry_after_seconds
            # A pause of 0, for ever, must not become a storm: back off as usual.
            return Retry(said, min(pause, limit) if pause > 0 else None, busy=True)
        if code in _SIZED and says_too_large(details):
            return TooLarge(said)
        mend = _MENDS.get(code)
        if code == "UNAVAILABLE":
            words = details.lower()
            mend = next((m for w, m in _NO_CONNECTION.items() if w in words), None)
        if mend is not None:
            return Misconfigured(f"{said}; {mend}")
        if code in _RETRYABLE or _BROKEN in details:
            return Retry(said)
        return Rejected(f"grpc {code}", said)

    def _retry_info(self, call: grpc.Call) -> float | None:
        """Return the seconds of the ``RetryInfo`` that came with a status, if any."""
        status = dict(call.trailing_metadata() or ()).get("grpc-status-details-bin")
        if not isinstance(status, bytes):
            return None
        info = self._make_retry_info()
        try:
            for detail in self._parse_status(status).details:
                if detail.Unpack(info):
                    delay = info.retry_delay
                    return float(delay.seconds + delay.nanos / 1e9)
        except Exception:  # noqa: BLE001, S110 - protobuf's own, for others' bytes
            pass
        return None

    def _disconnect(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def hold(self) -> bool:
        """Keep calls from being made until `release`; return whether there is none.

        One that is being made has a moment to end, and is then cancelled.
        """
        for _ in range(CANCEL_ATTEMPTS):
            if self._calling.acquire(timeout=GRACE_SECONDS):
                return True
            self._cancel()
        return False

    def release(self) -> None:
        """Let calls be made again."""
        self._calling.release()

    def _cancel(self) -> None:
        channel = self._channel
        if channel is not None:  # closing it cancels what is under way there
            channel.close()

    def close(self) -> None:
        """Cancel the call that is being made, and close the channel."""
        self._closed = True
        self._cancel()
        if self.hold():
            self._disconnect()
            self.release()


_idle: list[grpc.Channel] = []
"""One that connects to nothing. The core shuts down behind the last that is closed."""


def _open_channel(config: Config) -> grpc.Channel:
    import grpc

    if not _idle:
        _idle.append(grpc.insecure_channel("localhost:0"))
    target, tls = target_of(config)
    compress = config.compression == "gzip"
    compression = grpc.Compression.Gzip if compress else grpc.Compression.NoCompression
    options = (
        ("grpc.primary_user_agent", USER_AGENT),
        ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
        ("grpc.enable_retries", 0),  # they are the outbox's
        # Else a forked child could share the parent's connection.
        ("grpc.use_local_subchannel_pool", 1),
    )
    if not tls:
        return grpc.insecure_channel(target, options, compression)
    # Read with each new channel, so that renewed files are taken up.
    credentials = grpc.ssl_channel_credentials(
        _content(config.certificate_file),
        _content(config.client_key_file),
        _content(config.client_certificate_file),
    )
    return grpc.secure_channel(target, credentials, options, compression)


def target_of(config: Config) -> tuple[str, bool]:
    """Return what gRPC connects to, and whether with TLS."""
    parts = urlsplit(config.endpoint)
    if parts.scheme not in {"http", "https"}:
        return config.endpoint, not config.insecure
    tls = parts.scheme == "https"
    if parts.port is None:  # gRPC would take 443 for both
        return f"{parts.netloc.rstrip(':')}:{443 if tls else 80}", tls
    return parts.netloc, tls


def _content(path: FilePath | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()


_senders: WeakSet[GrpcSender] = WeakSet()
_forking = threading.Lock()
_before: dict[GrpcSender, bool] = {}
"""Those there are before a fork, and whether they are held."""


def _before_fork() -> None:
    _forking.acquire()
    for sender in list(_senders):
        _before[sender] = sender.hold()


def _after_fork() -> None:
    for sender, held in _before.items():
        if held:
            sender.release()
    _before.clear()
    _forking.release()


def _after_fork_in_child() -> None:
    # They are the parent's, and nobody uses them here: a TaskLog has made its own.
    _senders.difference_update(_before)
    _before.clear()
    _forking.release()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork either
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork,
        after_in_child=_after_fork_in_child,
    )
