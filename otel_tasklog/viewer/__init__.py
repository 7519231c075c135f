"""Looking at records from outside: those of other programs, and of a running one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otel_tasklog.delivery._decode import DecodedRecord
    from otel_tasklog.viewer._receiver import Receiver

__all__ = ["DecodedRecord", "Receiver"]


def __getattr__(name: str) -> object:
    # Not at once: every process that has an access point imports this package, and
    # the receiver brings an HTTP server and protobuf.
    if name == "Receiver":
        from otel_tasklog.viewer._receiver import Receiver

        return Receiver
    if name == "DecodedRecord":
        from otel_tasklog.delivery._decode import DecodedRecord

        return DecodedRecord
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
