"""Readers that behave badly, at the access point of a real process that logs on.

``python -m e2e.readers`` does the same at a rate, and measures.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from e2e.readers.clients import FOLLOWERS, SILENT, Door, status_of
from e2e.readers.program import Job
from e2e.readers.running import Program, reading, running_program

from otel_tasklog.viewer._application import TAILS
from otel_tasklog.viewer._listening import CONNECTIONS

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.conftest import ReceiverProcess

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not sys.platform.startswith("linux"),
        reason="what a process takes is read from /proc; to enable: run on Linux",
    ),
]

RING = 2_000
FIRST, THEN = 3_000, 7_000
FLAT_BYTES = 24 * 2**20
"""What a few large answers and the buffers of followers take, and no leak."""

SEEN: dict[str, tuple[int, dict[str, int]]] = {
    "stopped": (0, {"answered 200": 3}),
    "followers": (0, {"answered 200": TAILS, "answered 503": FOLLOWERS - TAILS}),
    "killed": (20, {"answered 200, killed": 20}),
    "bad": (1_000, {"bad requests": 1_000}),
    "silent": (0, {}),
}


@pytest.fixture
def program(
    request: pytest.FixtureRequest, runtime_directory: Path, receiver: ReceiverProcess
) -> Iterator[Program]:
    settings: dict[str, Any] = {
        "endpoint": receiver.endpoint, "ring_records": RING, "attach": getattr(request, "param", "unix"),
        # It logs without a pause, which on a busy machine is a block to be told of.
        "blocked_after_seconds": None,
    }  # fmt: skip
    with running_program(Job(settings=settings), str(runtime_directory)) as program:
        program.tell(f"log {FIRST}")
        yield program


on_both = pytest.mark.parametrize("program", ["unix", "tcp"], indirect=True)


@pytest.mark.parametrize("scenario", SEEN)
def test_they_cost_no_record_and_leave_nothing_behind(
    program: Program,
    receiver: ReceiverProcess,
    scenario: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """No log call waits for them, else the program would not say that it is done."""
    door = program.door()
    assert door.ask("/v1/records?limit=1000")[0] == 200  # the server is imported
    begin = program.taken()
    count, expected = SEEN[scenario]
    with reading(scenario, door, count) as readers:
        assert program.tell(f"log {THEN}").logged == FIRST + THEN
        if count:
            readers.wait()
        assert program.taken().descriptors <= begin.descriptors + CONNECTIONS + 8
        seen = readers.leave()
    assert {what: seen[what] for what in expected} == expected
    assert [
        what for what in seen if ": " in what
    ] == []  # granted, or failed the server
    program.wait_until(lambda: program.taken().descriptors <= begin.descriptors)
    assert program.taken().bytes <= begin.bytes + FLAT_BYTES
    assert door.ask("/v1/records?q=step&limit=1000")[0] == 200
    stats = program.end().stats
    assert stats["captured"] == stats["accepted"] == stats["delivered"] == FIRST + THEN
    assert stats["kept"] == RING
    numbers = [f"task {number} step x" for number in range(FIRST + THEN)]
    assert receiver.bodies(FIRST + THEN) == Counter(numbers)
    assert capfd.readouterr().err == ""  # nobody hears of what clients do wrong


@on_both
def test_more_than_there_is_room_for_are_hung_up_on(program: Program) -> None:
    """The descriptors are the program's."""
    door = program.door()
    begin = program.taken()
    connections = [door.connect() for _ in range(SILENT)]
    program.wait_until(
        lambda: program.taken().descriptors >= begin.descriptors + CONNECTIONS
    )
    for each in connections:
        each.settimeout(0.0)
    program.wait_until(lambda: sum(map(_is_ended, connections)) == SILENT - CONNECTIONS)
    for each in connections:
        each.close()
    program.wait_until(lambda: _answers(door))


def _answers(door: Door) -> bool:
    try:
        return door.ask("/healthz")[0] == 200
    except ConnectionError:  # it has not noticed yet that they have gone
        return False


def _is_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def status(door: Door, *headers: str, path: str = "/v1/records") -> int:
    lines = [f"GET {path} HTTP/1.1", *headers, "Connection: close", "", ""]
    with door.connect() as connection:
        connection.sendall("\r\n".join(lines).encode())
        return status_of(connection.recv(64))


HOST = "Host: localhost"


@on_both
def test_pages_of_other_sites_and_other_names_are_refused(program: Program) -> None:
    door = program.door()
    token = [f"Authorization: Bearer {door.token}"] if door.token else []
    assert status(door, HOST, *token) == 200
    for foreign in ("evil.example", "127.0.0.1.evil.example", "169.254.169.254", ""):
        assert status(door, f"Host: {foreign}", *token) in {400, 403}
    for header in (
        "Origin: https://evil.example", "Origin: null", "Origin: http://localhost:1",
        "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site",
    ):  # fmt: skip
        assert status(door, HOST, header, *token) == 403
    assert status(door, HOST, HOST, *token) == 400


@pytest.mark.parametrize("program", ["tcp"], indirect=True)
def test_a_port_refuses_whoever_has_not_the_token(program: Program) -> None:
    door = program.door()
    assert len(door.token) >= 32
    for path in ("/v1/records", "/v1/tail", "/v1/process", "/healthz", "/openapi.json"):
        for given in (
            [], ["Authorization: Bearer"], ["Authorization: Bearer wrong"],
            [f"Authorization: Basic {door.token}"],
            [f"Authorization: Bearer {door.token[:-1]}"],
            [f"Authorization: Bearer {door.token}"] * 2,
        ):  # fmt: skip
            assert status(door, HOST, *given, path=path) == 401
        assert status(door, HOST, path=f"{path}?token={door.token}") == 401


ANOTHER_USER = """
import os, socket, sys
from pathlib import Path
from otel_tasklog.viewer._places import find_places
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
path = sys.argv[1]

def connect():
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)

for attempt in (
    connect,
    lambda: os.listdir(os.path.dirname(path)),
    lambda: Path(path).read_text(),
    lambda: find_places({"OTEL_TASKLOG_RUNTIME_DIR": os.path.dirname(path)}),
    lambda: os.unlink(path),
):
    try:
        attempt()
    except PermissionError:
        print("refused")
    else:
        print("let in")
"""


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0,
    reason="only root can become another user; to enable: run as root",
)
@pytest.mark.parametrize("mode", [0o700, 0o755], ids=["private", "opened"])
def test_another_user_of_the_machine_is_refused(
    program: Program, runtime_directory: Path, mode: int
) -> None:
    """By the file itself, too, when somebody has opened the directory."""
    program.door()
    [path] = runtime_directory.iterdir()
    runtime_directory.chmod(mode)
    command = [sys.executable, "-c", ANOTHER_USER, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    connected, listed, *others = done.stdout.split("\n")[:-1]
    assert connected == "refused"
    assert listed == ("refused" if mode == 0o700 else "let in")
    assert others == ["refused"] * 3, done.stderr
