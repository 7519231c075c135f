"""Real web servers: what they and their applications log arrives, once, to the last.

The applications deliver nothing before their end, so that it is the end that counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.conftest import ReceiverProcess

pytestmark = pytest.mark.e2e

Records = list[dict[str, Any]]

# Each test puts its own install() where the comment is.
ASGI = """
import contextlib, logging, os
import otel_tasklog, uvicorn
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

SETTINGS = dict(
    service_name="shop", level="INFO", console=False, loggers=["", {server!r}],
    include=["asyncio", "process"], schedule_delay_seconds=600.0,
)
log = logging.getLogger("shop")
tracer = TracerProvider().get_tracer("shop")

async def order(request):
    number = request.path_params["number"]
    async with otel_tasklog.task(f"order-{{number}}"):
        with tracer.start_as_current_span("order") as span:
            log.info("charging %s", number)
            ids = span.get_span_context()
            return JSONResponse({{
                "pid": os.getpid(),
                "trace_id": trace.format_trace_id(ids.trace_id),
                "span_id": trace.format_span_id(ids.span_id),
            }})

@contextlib.asynccontextmanager
async def lifespan(app):
    {in_lifespan}
    yield
    {at_shutdown}

app = Starlette(routes=[Route("/orders/{{number}}", order)], lifespan=lifespan)
{in_module}
if __name__ == "__main__":
    {in_main}
"""
INSTALL = "otel_tasklog.install(**SETTINGS)"
MAIN = "otel_tasklog.install(**SETTINGS); uvicorn.run(app, port=0)"
# Where install() stands, and how the server is started.
PLACES = {
    "module": ({"in_module": INSTALL}, ("-m", "uvicorn", "shop:app", "--port=0")),
    "lifespan": ({"in_lifespan": INSTALL}, ("-m", "uvicorn", "shop:app", "--port=0")),
    "lifespan, closed": (
        {
            "in_lifespan": f"tasklog = {INSTALL}",
            "at_shutdown": "log.info('closing'); await tasklog.aclose()",
        },
        ("-m", "uvicorn", "shop:app", "--port=0"),
    ),
    "main": ({"in_main": MAIN}, ("shop.py",)),
}


def asgi(server: str, **code: str) -> str:
    nothing = dict.fromkeys(
        ("in_lifespan", "at_shutdown", "in_module", "in_main"), "pass"
    )
    return ASGI.format(server=server, **{**nothing, **code})


class Server:
    """A web server in processes of its own, on a free port."""

    def __init__(self, arguments: tuple[str, ...], folder: Path, endpoint: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder,
            env={**os.environ, "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": endpoint,
                 "HOME": str(folder)},
            start_new_session=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self._port: str | None = None
        self._listens = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        if not self._listens.wait(30) or self._port is None:
            self.close()
            pytest.fail(f"it does not listen: {self.lines}")

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            if found:
                self._port = found[1]
                self._listens.set()
        self._listens.set()

    def get(self, path: str) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}{path}",
            headers={"Connection": "close", "User-Agent": "test/1"},
        )
        with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310
            answer: dict[str, Any] = json.load(response)
            return answer

    def terminate(self) -> int:
        """Ask for the end as an operator does; return how it ended."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(20)
        self._reader.join(10)
        return status

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # also what it left behind
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def serve(tmp_path: Path, receiver: ReceiverProcess) -> Iterator[Callable[..., Server]]:
    """Start a server of a program text, in a module named ``shop``."""
    servers: list[Server] = []

    def start(text: str, *arguments: str) -> Server:
        (tmp_path / "shop.py").write_text(text)
        servers.append(Server(arguments, tmp_path, receiver.endpoint))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def named(records: Records, body: str) -> dict[str, Any]:
    [record] = [record for record in records if record["body"] == body]
    return record


def of_logger(records: Records, *names: str) -> Records:
    return [record for record in records if record["scope"] in names]


@pytest.mark.parametrize("place", PLACES)
def test_wherever_install_is_called(
    serve: Callable[..., Server], receiver: ReceiverProcess, place: str
) -> None:
    code, arguments = PLACES[place]
    server = serve(asgi("uvicorn", **code), *arguments)
    answers = {number: server.get(f"/orders/{number}?full=yes") for number in range(3)}
    assert server.terminate() == -signal.SIGTERM
    records = receiver.close()
    for number, answer in answers.items():
        record = named(records, f"charging {number}")
        assert record["attributes"]["task_id"] == f"order-{number}"
        assert record["trace_id"] == answer["trace_id"]
        assert record["span_id"] == answer["span_id"]
    requests = of_logger(records, "uvicorn.access")
    assert [record["attributes"]["url.path"] for record in requests] == [
        f"/orders/{number}" for number in answers
    ]
    for record in requests:
        fields = record["attributes"]
        assert fields["client.address"] == "127.0.0.1"
        assert isinstance(fields["client.port"], int)
        assert fields["http.request.method"] == "GET"
        assert fields["url.query"] == "full=yes"
        assert fields["network.protocol.version"] == "1.1"
        assert fields["http.response.status_code"] == 200
        assert re.fullmatch(
            r'127\.0\.0\.1:\d+ - "GET /orders/\d\?full=yes HTTP/1\.1" 200',
            record["body"],
        )
    once = Counter(r["body"] for r in of_logger(records, "uvicorn.error", "shop"))
    assert set(once.values()) == {1}
    assert "Shutting down" in once
    if place == "lifespan, closed":
        assert "closing" in once
    else:
        assert f"Finished server process [{answers[0]['pid']}]" in once
    if place in {"module", "main"}:
        assert f"Started server process [{answers[0]['pid']}]" in once


def ask_until_all_have_answered(
    server: Server, workers: int
) -> dict[int, dict[str, Any]]:
    """Return each request's answer, once so many processes have given one."""
    answers: dict[int, dict[str, Any]] = {}
    deadline = time.monotonic() + 30
    while len({answer["pid"] for answer in answers.values()}) < workers:
        assert time.monotonic() < deadline, answers
        # uvicorn's parent process says where it listens before its workers do.
        with contextlib.suppress(urllib.error.URLError):
            answers[len(answers)] = server.get(f"/orders/{len(answers)}")
    return answers


def assert_all_arrived(records: Records, answers: dict[int, dict[str, Any]]) -> None:
    """Each request's record, and its line in the access log, of its process, once."""
    charged = {
        record["body"]: record["attributes"]["process.pid"]
        for record in of_logger(records, "shop")
    }
    assert charged == {f"charging {n}": a["pid"] for n, a in answers.items()}
    assert len(of_logger(records, "shop")) == len(answers)
    requests = of_logger(records, "uvicorn.access", "gunicorn.access")
    assert {
        record["attributes"]["url.path"]: record["attributes"]["process.pid"]
        for record in requests
    } == {f"/orders/{n}": a["pid"] for n, a in answers.items()}
    assert len(requests) == len(answers)
    assert {r["attributes"]["http.response.status_code"] for r in requests} == {200}


def test_two_workers_of_uvicorn(
    serve: Callable[..., Server], receiver: ReceiverProcess
) -> None:
    text = asgi("uvicorn", in_module=INSTALL)
    server = serve(text, "-m", "uvicorn", "shop:app", "--port=0", "--workers=2")
    answers = ask_until_all_have_answered(server, 2)
    server.terminate()
    records = receiver.close()
    assert_all_arrived(records, answers)
    bodies = Counter(record["body"] for record in records)
    for pid in {answer["pid"] for answer in answers.values()}:
        assert bodies[f"Started server process [{pid}]"] == 1
        assert bodies[f"Finished server process [{pid}]"] == 1


WSGI = f"""
import json, logging, os
import otel_tasklog
SETTINGS = dict(
    service_name="shop", level="INFO", console=False, loggers=["", "gunicorn"],
    include=["process"], schedule_delay_seconds=600.0,
)
{INSTALL}
log = logging.getLogger("shop")

def app(environ, start_response):
    number = environ["PATH_INFO"].rpartition("/")[2]
    with otel_tasklog.task(f"order-{{number}}"):
        log.info("charging %s", number)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({{"pid": os.getpid()}}).encode()]
"""
GUNICORN = ("-m", "gunicorn", "shop:app", "--bind=127.0.0.1:0", "--workers=2",
            "--access-logfile=-", "--no-control-socket")  # fmt: skip
WORKERS = {
    "sync": (WSGI, ("-k", "sync")),
    "threads": (WSGI, ("-k", "gthread", "--threads=2")),
    "sync, loaded before the fork": (WSGI, ("-k", "sync", "--preload")),
    "asgi": (asgi("gunicorn", in_module=INSTALL), ("-k", "asgi")),
    "uvicorn": (
        asgi("gunicorn", in_module=INSTALL),
        ("-k", "uvicorn.workers.UvicornWorker"),
    ),
}


@pytest.mark.parametrize("worker", WORKERS)
def test_two_workers_of_gunicorn(
    serve: Callable[..., Server], receiver: ReceiverProcess, worker: str
) -> None:
    text, arguments = WORKERS[worker]
    server = serve(text, *GUNICORN, *arguments)
    answers = ask_until_all_have_answered(server, 2)
    server.terminate()
    records = receiver.close()
    assert_all_arrived(records, answers)
    if worker != "uvicorn":
        for record in of_logger(records, "gunicorn.access"):
            fields = record["attributes"]
            assert 0 < fields["http.server.request.duration"] < 20
            assert fields["user_agent.original"] == "test/1"
            assert fields["client.address"] == "127.0.0.1"
    said = Counter((r["attributes"]["process.pid"], r["body"]) for r in records)
    assert set(said.values()) == {1}, said
