"""Looking at records from outside: those of other programs, and of a running one."""

from otel_tasklog.delivery._decode import DecodedRecord
from otel_tasklog.viewer._receiver import Receiver

__all__ = ["DecodedRecord", "Receiver"]
