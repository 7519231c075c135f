"""A large answer is sent in pieces, to a client that takes them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from otel_tasklog.viewer import _pieces
from otel_tasklog.viewer._pieces import PIECE_BYTES, Pieces, encode_values
from otel_tasklog.viewer._record_json import dumps

if TYPE_CHECKING:
    import pytest
    from starlette.types import Message


def sent(answer: Pieces, *, taken: int) -> list[Message]:
    """Return what is sent to a client that takes so many messages."""
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        if len(messages) == taken:
            await asyncio.Event().wait()
        messages.append(message)

    asyncio.run(answer({"type": "http"}, receive, send))
    return messages


def test_pieces_are_the_answer() -> None:
    values = [f"{number}{'x' * 1_000}" for number in range(300)]
    pieces, count = encode_values(values, dumps, b"[", b",")
    pieces.append(b"]")
    start, *parts = sent(Pieces(pieces, media_type="application/json"), taken=99)
    body = b"".join(part["body"] for part in parts)
    assert (json.loads(body), count) == (values, 300)
    assert dict(start["headers"])[b"content-length"] == str(len(body)).encode()
    assert len(parts) >= 5
    assert max(len(part["body"]) for part in parts) <= PIECE_BYTES + 1_100
    assert [part.get("more_body", False) for part in parts] == (
        [True] * (len(parts) - 1) + [False]
    )


def test_of_nothing_there_is_the_beginning() -> None:
    assert encode_values([], dumps, b"[", b",") == ([b"["], 0)


def test_a_client_that_takes_nothing_is_given_up_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answer ends unfinished, and the server hangs up."""
    monkeypatch.setattr(_pieces, "TAKEN_SECONDS", 0.01)
    answer = Pieces([b"a", b"b", b"c"], media_type="text/plain")
    assert [m.get("body") for m in sent(answer, taken=2)] == [None, b"a"]
