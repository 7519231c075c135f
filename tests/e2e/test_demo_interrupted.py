"""The demo's receiver, when the demo ends before it is there."""

from __future__ import annotations

import asyncio

import pytest

from otel_tasklog.cli._demo import EmbeddedReceiver

pytestmark = pytest.mark.e2e


def test_a_receiver_that_is_still_starting_ends_with_the_demo() -> None:
    """Its process has a session of its own, so Ctrl-C reaches the demo alone."""

    async def main() -> None:
        receiver = EmbeddedReceiver()
        starting = asyncio.create_task(receiver.__aenter__())
        while receiver._process is None:  # noqa: ASYNC110 - it has no event for it
            await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert receiver._process.returncode is not None

    asyncio.run(main())
