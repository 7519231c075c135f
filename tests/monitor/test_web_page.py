"""aiomonitor's web page, which must not be there for pages from elsewhere."""

from __future__ import annotations

import asyncio
import http.client
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Harness

    from otel_tasklog.monitor import Monitor

pytestmark = pytest.mark.e2e


def request(monitor: Monitor, headers: dict[str, str]) -> tuple[int, bytes]:
    """List the live tasks as the page does."""
    connection = http.client.HTTPConnection(monitor.host, monitor.web_port, timeout=20)
    try:
        connection.request("POST", "/api/live-tasks", headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:1"}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "localhost", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:2"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
        ({"Host": "[", "Origin": "http://["}, 403),
    ],
)
def test_the_web_page_answers_to_this_machine_alone(
    harness: Harness, headers: dict[str, str], status: int
) -> None:
    """A page elsewhere whose name leads here (DNS rebinding) could cancel tasks."""

    async def main() -> tuple[int, bytes]:
        async with harness.tasklog.monitor(port=0, web_port=0) as monitor:
            return await asyncio.to_thread(request, monitor, headers)

    answered, body = asyncio.run(main())
    assert answered == status
    assert (b'"tasks"' in body) == (status == 200)
