"""Records as requests of OTLP/JSON, by the encoder that also sends them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from otel_tasklog._config import INCLUDABLE
from otel_tasklog.delivery._decode import request_json
from otel_tasklog.delivery._encode import Encoder
from otel_tasklog.viewer._record_json import dumps, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tasklog.cli._source import Entry

__all__ = ["REQUEST_RECORDS", "requests"]

REQUEST_RECORDS: Final = 512
"""In one request, at most."""

REMEMBERED: Final = 256
"""Resources whose encoder is kept."""


def requests(entries: Iterator[Entry]) -> Iterator[str]:
    """Yield lines, each an ``ExportLogsServiceRequest`` with some of the records.

    They are as they would have been sent with all that `Config.include` can name.

    Args:
        entries: The records.
    """
    encoders: dict[bytes, Encoder] = {}
    while batch := [*islice(entries, REQUEST_RECORDS)]:
        scopes: dict[bytes, dict[str, list[bytes]]] = {}
        for entry in batch:
            resource = dumps(plain(entry.resource))
            if resource not in encoders:
                encoders[resource] = Encoder(entry.resource, include=INCLUDABLE)
            encoded = encoders[resource].record(entry.sealed)
            of_resource = scopes.setdefault(resource, {})
            of_resource.setdefault(entry.record.logger, []).append(encoded)
        # One message after the other is one message with the parts of both.
        body = b"".join(encoders[each].request(scopes[each]) for each in scopes)
        if len(encoders) > REMEMBERED:
            encoders.clear()
        yield f"{dumps(request_json(body)).decode()}\n"
