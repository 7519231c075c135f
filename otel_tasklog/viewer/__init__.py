"""Looking at records that arrive from other programs."""

from otel_tasklog.delivery._decode import DecodedRecord
from otel_tasklog.viewer._receiver import Receiver

__all__ = ["DecodedRecord", "Receiver"]
