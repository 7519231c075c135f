"""What a receiver's answer says: as protobuf's own runtime reads it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceResponse,
)

from otel_tasklog.delivery._answer import partial_success, status_message

if TYPE_CHECKING:
    from collections.abc import Callable

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
UNKNOWN = b"\x99\x06" + bytes(8) + b"\x95\x06" + bytes(4) + b"\x9a\x06\x01x\x90\x06\x01"
"""Field 99, of each kind."""


@given(rejected=INT64, text=st.text(), is_set=st.booleans())
def test_a_partial_success_is_read(rejected: int, text: str, *, is_set: bool) -> None:
    answer = ExportLogsServiceResponse()
    if is_set:
        answer.partial_success.SetInParent()
        answer.partial_success.rejected_log_records = rejected
        answer.partial_success.error_message = text
    expected = (rejected, text) if is_set else (0, "")
    assert partial_success(UNKNOWN + answer.SerializeToString()) == expected


@given(rejected=INT64, text=st.text(), as_text=st.booleans())
def test_so_it_is_in_json(rejected: int, text: str, *, as_text: bool) -> None:
    number = str(rejected) if as_text else rejected
    said = {"rejectedLogRecords": number, "errorMessage": text, "new": 1}
    body = json.dumps({"partialSuccess": said, "new": []}).encode()
    assert partial_success(body, is_json=True) == (rejected, text)


@given(code=st.integers(0, 16), text=st.text(min_size=1))
def test_a_status_is_read(code: int, text: str) -> None:
    status = Status(code=code, message=text)
    status.details.add().Pack(Status(message="x"))
    assert status_message(status.SerializeToString()) == text


@pytest.mark.parametrize(
    "body",
    [b"\x0a", b"\x0a\x05x", b"\x0b", b"\x08\x01", b"\x0a\x02\x10\xff", b"\xff" * 11],
    ids=repr,
)
def test_what_is_no_answer_is_none(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"protobuf|expected"):
        partial_success(body)


@given(body=st.binary())
def test_nothing_but_a_value_error_comes_of_other_bytes(body: bytes) -> None:
    read: list[Callable[[], object]] = [
        lambda: partial_success(body),
        lambda: partial_success(body, is_json=True),
        lambda: status_message(body),
    ]
    for each in read:
        with contextlib.suppress(ValueError):
            each()


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b"1",
        b"[" * 100_000,
        b'{"partialSuccess": []}',
        b'{"partialSuccess": {"rejectedLogRecords": [1]}}',
        b'{"partialSuccess": {"rejectedLogRecords": 1e999}}',
    ],
    ids=lambda body: body[-30:].decode(),
)
def test_json_that_is_no_answer_is_none(body: bytes) -> None:
    with pytest.raises(ValueError, match="no"):
        partial_success(body, is_json=True)


def test_nothing_of_protobuf_is_imported_for_it() -> None:
    code = (
        "import sys; from otel_tasklog.delivery._senders import accepted;"
        "accepted(b'\\n\\x0b\\x12\\ta warning');"
        "assert 'google.protobuf' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
