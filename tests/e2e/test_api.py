"""The local API of a real server, mounted in an application that logs on."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from otel_tasklog.viewer._application import TAILS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.e2e

DOCS = Path(__file__).parents[2] / "docs"
TOKEN = "a-token-of-this-test"  # noqa: S105 - it opens nothing else
PROGRAM = f"""
import contextlib, logging, resource
import otel_tasklog, uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

tasklog = otel_tasklog.install(
    service_name="shop", level="INFO", console=False, exporter=None, loggers=["shop"],
)
log = logging.getLogger("shop")

async def say(request):
    for number in range(int(request.query_params["count"])):
        log.info("%s %d", request.query_params["text"], number)
    return JSONResponse(tasklog.stats().captured)

async def memory(request):
    with open("/proc/self/statm") as file:
        return JSONResponse(int(file.read().split()[1]) * resource.getpagesize())

app = Starlette(routes=[
    Route("/log", say),
    Route("/memory", memory),
    Mount("/tasklog", tasklog.asgi(token="{TOKEN}")),
])
uvicorn.run(app, port=0, access_log=False, timeout_graceful_shutdown=1)
"""
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


class Shop:
    """The program in a process of its own."""

    def __init__(self, folder: Path, text: str, *arguments: str) -> None:
        (folder / "shop.py").write_text(text)
        self.process = subprocess.Popen(
            [sys.executable, *arguments], stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL, text=True, cwd=folder,
            env={**os.environ, "TASKLOG_TOKEN": TOKEN},
        )  # fmt: skip
        assert self.process.stderr is not None
        self.lines: list[str] = []
        for line in self.process.stderr:
            self.lines.append(line)
            found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found[1])
                break
        else:
            pytest.fail(f"it does not listen: {self.lines}")
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def ask(self, path: str) -> Any:
        status, answer = self.get(f"/tasklog{path}", **AUTHORIZED)
        assert status == 200, answer
        return answer

    def log(self, count: int, text: str = "number") -> int:
        """Have it log; return how many records it has captured since its start."""
        status, captured = self.get(f"/log?count={count}&text={text}")
        assert status == 200
        assert isinstance(captured, int)
        return captured

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path, PROGRAM, "shop.py")
    yield shop
    shop.close()


class Tail:
    """A client that follows, over a socket of its own."""

    def __init__(self, shop: Shop, query: str = "", receive_bytes: int = 0) -> None:
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", shop.port))
        self.socket.sendall(
            f"GET /tasklog/v1/tail?format=ndjson{query} HTTP/1.0\r\nHost: x\r\n"
            f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
        )
        self._file = self.socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        while self._file.readline().strip():
            pass

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for line in self._file:
            if line.strip():
                yield json.loads(line)

    def messages(self, count: int) -> list[str]:
        return [line["message"] for _, line in zip(range(count), self, strict=False)]

    def close(self) -> None:
        self._file.close()
        self.socket.close()


@pytest.fixture
def tail(shop: Shop) -> Iterator[Callable[..., Tail]]:
    tails: list[Tail] = []

    def start(*arguments: Any, **settings: Any) -> Tail:
        tails.append(Tail(shop, *arguments, **settings))
        return tails[-1]

    yield start
    for each in tails:
        each.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait for what a real process does in its own time."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def blocks() -> list[str]:
    text = (DOCS / "how-to" / "local-api.md").read_text("utf-8")
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(
    shutil.which("curl") is None, reason="curl is not there; to enable: install curl"
)
def test_the_pages_commands_do_what_it_says(tmp_path: Path) -> None:
    shop = Shop(
        tmp_path, (DOCS / "examples" / "local_api.py").read_text("utf-8"),
        "-m", "uvicorn", "shop:app", "--port=0",
    )  # fmt: skip
    charge, function, *asking = [
        block.replace("127.0.0.1:8000", f"127.0.0.1:{shop.port}") for block in blocks()
    ]
    answers: list[str] = []
    for block in (charge, *(function + block for block in asking)):
        with subprocess.Popen(
            ["/bin/sh", "-c", block], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "TASKLOG_TOKEN": TOKEN}, start_new_session=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            if "/v1/tail" in block:
                answers.append(process.stdout.readline() + process.stdout.readline())
                os.killpg(process.pid, signal.SIGTERM)
            else:
                answers.append(process.stdout.read())
    shop.close()
    charged, found, line_by_line, followed, summaries, live = answers
    assert charged == "charged\n"
    [warning] = json.loads(found)["records"]
    assert (warning["task_id"], warning["message"]) == ("order-3", "the bank is slow")
    for text in (line_by_line, followed):
        messages = [json.loads(line)["message"] for line in text.splitlines()]
        assert sorted(messages) == ["charging order-3", "the bank is slow"]
    tasks, counts, stats = map(json.loads, summaries.splitlines())
    assert [task["task_id"] for task in tasks["tasks"]] == ["order-3"]
    assert (counts["counts"], stats["captured"]) == ({"shop": 2}, 2)
    silent, tree, why = map(json.loads, live.splitlines())
    assert "Server.serve" in {task["coroutine"] for task in silent["tasks"]}
    assert "Server.serve" in {place["coroutine"] for place in tree["places"]}
    assert why["error"].startswith("no live task: job order-3")  # it is done


def test_mounted_it_answers_who_has_the_token(shop: Shop) -> None:
    shop.log(3)
    answer = shop.ask("/v1/records?q=logger:shop&limit=2")
    assert [r["message"] for r in answer["records"]] == ["number 2", "number 1"]
    following = shop.ask(f"/v1/records?cursor={answer['next']}")
    assert [r["message"] for r in following["records"]] == ["number 0"]
    assert shop.ask("/v1/stats")["captured"] == 3
    assert shop.ask("/openapi.json")["openapi"] == "3.1.0"
    assert shop.get("/tasklog/v1/records")[0] == 401
    refused = shop.get(
        "/tasklog/v1/records", **AUTHORIZED, Origin="https://evil.example"
    )
    assert refused[0] == 403


def test_fifty_at_once_are_served_or_told_to_come_again(
    shop: Shop, tail: Callable[..., Tail]
) -> None:
    with ThreadPoolExecutor(50) as threads:
        tails = list(threads.map(lambda _: tail(), range(50)))
    following = [each for each in tails if each.status == 200]
    assert len(following) == TAILS
    assert {each.status for each in tails} == {200, 503}
    assert shop.log(500) == 500
    expected = [f"number {number}" for number in range(500)]
    for each in following:
        assert each.messages(500) == expected
    for each in following:
        each.close()
    until(lambda: tail().status == 200)


def test_those_that_stop_reading_cost_the_program_nothing(
    shop: Shop, tail: Callable[..., Tail]
) -> None:
    """It logs on, its memory stays, and each is told how many it missed."""
    shop.log(20_000)
    stopped = [tail(receive_bytes=4_096) for _ in range(10)]
    shop.log(20_000, "before")
    before = shop.get("/memory")[1]
    for round_ in range(5):
        assert shop.log(20_000, f"round-{round_}") == 60_000 + 20_000 * round_
    assert shop.get("/memory")[1] - before < 32 * 2**20
    assert shop.log(1, "the-end") == 140_001
    for each in stopped:
        got = missed = 0
        for line in each:
            got += "message" in line
            missed = line.get("missed", missed)
            if line.get("message") == "the-end 0":
                break
        assert got + missed == 120_001
        assert missed > 0


def test_a_client_that_is_killed_leaves_its_place(
    shop: Shop, tail: Callable[..., Tail]
) -> None:
    code = (
        "import sys; sys.path[:0] = []; import urllib.request as u; "
        f"r = u.Request('http://127.0.0.1:{shop.port}/tasklog/v1/tail', "
        f"headers={AUTHORIZED!r}); a = u.urlopen(r); print(a.status, flush=True); "
        "[a.readline() for _ in iter(int, 1)]"
    )
    clients = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    others = [tail() for _ in range(TAILS - 2)]
    for client in clients:
        assert client.stdout is not None
        assert client.stdout.readline() == b"200\n"
    assert tail().status == 503
    for client in clients:
        os.kill(client.pid, signal.SIGKILL)
        client.wait(10)
        assert client.stdout is not None
        client.stdout.close()
    assert shop.log(1_000) == 1_000
    until(lambda: tail().status == 200)
    assert all(each.messages(1_000)[-1] == "number 999" for each in others)


def test_an_open_tail_holds_the_servers_end_up_no_longer_than_it_allows(
    shop: Shop, tail: Callable[..., Tail]
) -> None:
    following = tail()
    shop.log(1)
    assert following.messages(1) == ["number 0"]
    shop.process.send_signal(signal.SIGTERM)
    assert shop.process.wait(20) == -signal.SIGTERM
    assert list(following) in ([], [{"end": "the TaskLog was closed"}])
