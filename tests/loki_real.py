"""A Loki that runs, where ``OTEL_TASKLOG_TEST_LOKI`` names one, as `LokiDouble` looks.

Tests have a clock of their own, and Loki refuses what is old by another one: times are
moved on the way there and back.
"""

from __future__ import annotations

import functools
import json
import os
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

import httpx2
import yaml
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["REAL", "RealLoki", "configuration"]

# Read now: while a test runs, the environment is clean of OTEL_ variables.
REAL: Final = os.environ.get("OTEL_TASKLOG_TEST_LOKI")

LEAST_REACH_NS: Final = 7_200 * 10**9
"""Loki's default is its ``max_chunk_age``, 2 hours, and some minutes."""

_TIMES: Final = ("start", "end")


@functools.cache  # it is long, and slow to read
def configuration(url: str) -> dict[str, Any]:
    """Return what a Loki says of its settings."""
    answer = httpx2.get(f"{url}/config", timeout=30)
    found: dict[str, Any] = yaml.safe_load(answer.text)
    return found


class RealLoki:
    """A Loki, and a service there that no other test has.

    Args:
        now_ns: What the test takes for now.

    Attributes:
        service: The name of the service.
        reach_ns: How old what is found before it is on disk can be.
    """

    def __init__(self, now_ns: int) -> None:
        assert REAL is not None
        self._ahead_ns = time.time_ns() - now_ns
        self._client = httpx2.Client(base_url=REAL, timeout=60)
        self.service = f"real-{uuid.uuid4().hex}"
        ingester = configuration(REAL)["ingester"]
        reaches_all = "-1" in str(ingester.get("query_store_max_look_back_period"))
        self.reach_ns = 10**30 if reaches_all else LEAST_REACH_NS

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def push(self, body: bytes) -> tuple[int, str]:
        """Send a request of OTLP; return the status and the reason."""
        request = ExportLogsServiceRequest.FromString(body)
        for resource_logs in request.resource_logs:
            for scope_logs in resource_logs.scope_logs:
                for record in scope_logs.log_records:
                    record.time_unix_nano += self._ahead_ns
        answer = self._client.post(
            "/otlp/v1/logs",
            content=request.SerializeToString(),
            headers={"Content-Type": "application/x-protobuf"},
        )
        return answer.status_code, answer.text

    def query_range(
        self, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> tuple[int, str]:
        """Ask; return the status and the body."""
        moved = {name: str(int(form[name]) + self._ahead_ns) for name in _TIMES}
        answer = self._client.post(
            "/loki/api/v1/query_range", data={**form, **moved}, headers={**headers}
        )
        if answer.status_code != 200:
            return answer.status_code, answer.text
        found = answer.json()
        for stream in found["data"]["result"]:
            for value in stream["values"]:
                value[0] = str(int(value[0]) - self._ahead_ns)
        return 200, json.dumps(found)
