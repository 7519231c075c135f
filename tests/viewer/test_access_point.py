"""The access point, in the process that it belongs to."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import socket
import stat
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import uvicorn

import otel_tasklog
from otel_tasklog import ConfigError, MissingExtraError, TaskLog
from otel_tasklog.viewer import _access_point, _listening, _serve
from otel_tasklog.viewer._places import find_places, read_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Open = Callable[..., TaskLog]

HOST = {"Host": "localhost"}


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where access points are; its path is short, as that of a socket has to be."""
    monkeypatch.delenv("OTEL_TASKLOG_ATTACH")
    for name in ("httpx2", "httpcore2"):  # who asks is in this process, too
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="tasklog-") as path:
        monkeypatch.setenv("OTEL_TASKLOG_RUNTIME_DIR", path)
        yield Path(path)
    for name in ("httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture
def install(directory: Path) -> Iterator[Open]:
    """Install a TaskLog and log a record; return when it has its access point."""
    installed: list[TaskLog] = []

    def install(**settings: Any) -> TaskLog:
        tasklog = otel_tasklog.install(
            **{"exporter": None, "console": False, "level": "INFO", **settings}
        )
        installed.append(tasklog)
        logging.getLogger("app").info("first")
        wait_until(lambda: access(tasklog).settled)
        return tasklog

    yield install
    for tasklog in installed:
        tasklog.close(1.0)


def access(tasklog: TaskLog) -> _access_point.AccessPoint:
    found = tasklog._attachment._access
    assert isinstance(found, _access_point.AccessPoint)
    return found


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


def client() -> httpx2.Client:
    """Return what asks this process's only access point."""
    (place,) = find_places(os.environ)
    assert place.pid == os.getpid()
    address = read_address(place)
    token = {"Authorization": f"Bearer {address.token}"} if address.token else {}
    url = "http://localhost"
    if address.uds is None:
        url = f"http://{address.host}:{address.port}"
    return httpx2.Client(
        transport=httpx2.HTTPTransport(uds=address.uds), base_url=url, headers=token
    )


def get(path: str, **headers: str) -> httpx2.Response:
    with client() as asking:
        return asking.get(path, headers=headers)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def test_nothing_is_there_before_the_first_record(directory: Path) -> None:
    with otel_tasklog.install(exporter=None, level="INFO") as tasklog:
        assert list(directory.iterdir()) == []
        assert "otel_tasklog access" not in threads()
        logging.getLogger("app").info("first")
        wait_until(lambda: access(tasklog).settled)
        assert "otel_tasklog access" in threads()
    assert list(directory.iterdir()) == []
    assert "otel_tasklog access" not in threads()


def test_no_log_call_opens_it(install: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the disk's time. The worker does."""
    opened: list[str] = []
    open_ = _access_point.AccessPoint.open

    def note(point: _access_point.AccessPoint) -> None:
        opened.append(threading.current_thread().name)
        open_(point)

    monkeypatch.setattr(_access_point.AccessPoint, "open", note)
    install()
    assert set(opened) == {"otel_tasklog worker"}


def test_a_record_opens_it_at_once_however_long_records_wait_for_others(
    install: Open, directory: Path
) -> None:
    install(schedule_delay_seconds=3_600.0)
    (path,) = directory.iterdir()
    assert path.name == f"{os.getpid()}-0.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_it_says_which_process_it_is(install: Open) -> None:
    tasklog = install(service_name="shop", resource_attributes={"zone": "a"})
    answer = get("/v1/process").json()
    assert (answer["pid"], answer["service_name"]) == (os.getpid(), "shop")
    assert answer["resource"]["zone"] == "a"
    assert int(answer["started_ns"]) == tasklog.started_ns
    assert (answer["kept"], answer["lag_seconds"]) == (1, None)


@pytest.mark.parametrize("by", ["setting", "variable"])
def test_turned_off_it_leaves_no_trace(
    directory: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    if by == "variable":
        monkeypatch.setenv("OTEL_TASKLOG_ATTACH", "0")
    settings: Any = {} if by == "variable" else {"attach": False}
    with otel_tasklog.install(exporter=None, level="INFO", **settings) as tasklog:
        logging.getLogger("app").info("first")
        assert tasklog.flush()
        assert tasklog._attachment._access is None
        assert "otel_tasklog access" not in threads()
    assert list(directory.iterdir()) == []


def test_a_tasklog_made_by_hand_has_none(directory: Path) -> None:
    tasklog = TaskLog(otel_tasklog.Config(exporter=None, attach=True))
    logger = logging.getLogger("test.by_hand")
    logger.addHandler(tasklog.handler)
    logger.warning("first")
    assert tasklog.flush()
    logger.removeHandler(tasklog.handler)
    tasklog.close()
    assert list(directory.iterdir()) == []


def test_without_the_extra_there_is_none_unless_it_is_asked_for(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with otel_tasklog.install(exporter=None) as tasklog:
        assert tasklog._attachment._access is None
    for asked in (True, "unix", "tcp"):
        with pytest.raises(MissingExtraError, match=r"otel-tasklog\[attach\]"):
            otel_tasklog.install(exporter=None, attach=asked)
    with pytest.raises(otel_tasklog.NotInstalledError):
        otel_tasklog.current()


@pytest.mark.parametrize("value", ["maybe", 1, "TCP"])
def test_a_setting_that_means_nothing_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="'unix', 'tcp'"):
        otel_tasklog.install(attach=value)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("0", False), ("No", False), ("off", False), ("false", False), ("1", True),
     ("YES", True), ("on", True), ("true", True), ("unix", "unix"), ("tcp", "tcp")],
)  # fmt: skip
def test_the_variable_says_it_too(text: str, meant: object) -> None:
    config = otel_tasklog.Config.from_env({"OTEL_TASKLOG_ATTACH": text})
    assert config.attach == meant


def test_a_variable_that_means_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="OTEL_TASKLOG_ATTACH='maybe': expected 0, 1"):
        otel_tasklog.Config.from_env({"OTEL_TASKLOG_ATTACH": "maybe"})


def test_a_port_asks_for_a_token_and_for_its_own_host(
    install: Open, directory: Path
) -> None:
    install(attach="tcp")
    (path,) = directory.iterdir()
    assert path.name == f"{os.getpid()}-0.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    fields = json.loads(path.read_text())
    assert fields["host"] == "127.0.0.1"
    assert get("/v1/records").status_code == 200
    for bearer in ("", "Bearer wrong", f"Basic {fields['token']}"):
        assert get("/v1/records", Authorization=bearer).status_code == 401
    for host in ("evil.example", f"evil.example:{fields['port']}"):
        assert get("/v1/records", Host=host).status_code == 403
    assert get("/v1/records", Origin="http://evil.example").status_code == 403
    assert get("/v1/records", **{"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_a_socket_refuses_foreign_hosts_and_origins_too(install: Open) -> None:
    install()
    assert get("/v1/records", Host="evil.example").status_code == 403
    assert get("/v1/records", Origin="http://evil.example").status_code == 403


def test_the_end_is_told_to_who_reads_a_tail_and_is_not_held_up_by_it(
    install: Open, directory: Path
) -> None:
    tasklog = install()
    query = "/v1/tail?format=ndjson&backlog=1"
    with client() as asking, asking.stream("GET", query) as answer:
        lines = answer.iter_lines()
        assert json.loads(next(lines))["message"] == "first"
        before = time.monotonic()
        tasklog.close(5.0)
        assert time.monotonic() - before < _access_point.CLOSE_SECONDS
        assert [json.loads(line) for line in lines if line] == [
            {"end": "the TaskLog was closed"}
        ]
    assert list(directory.iterdir()) == []
    assert "otel_tasklog access" not in threads()


def test_a_client_that_reads_nothing_does_not_hold_up_the_end(
    install: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasklog = install(ring_records=20_000)
    log = logging.getLogger("app")
    for _ in range(3_000):
        log.info("x" * 3_000)
    assert tasklog.flush()
    (place,) = find_places(os.environ)
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(place.path))
        asking.send(b"GET /v1/records?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: access(tasklog)._serving is not None)
        assert asking.recv(1) == b"H"
        before = time.monotonic()
        tasklog.close(5.0)
        assert time.monotonic() - before < _access_point.CLOSE_SECONDS + 1.0
    wait_until(lambda: "otel_tasklog access" not in threads())


def test_it_waits_again_when_nobody_has_been_there_for_a_while(
    install: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_access_point, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(_serve, "LOOK_SECONDS", 0.01)
    tasklog = install()
    ids: set[str] = set()
    for _ in range(3):
        answer = get("/v1/records", Connection="close").json()
        ids.update(record["id"] for record in answer["records"])
        wait_until(lambda: access(tasklog)._serving is None)
    assert len(ids) == 1  # a cursor stays good
    wait_until(lambda: "AnyIO worker thread" not in threads())


def test_a_fork_finds_no_thread_unless_a_client_is_connected(
    install: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_access_point, "PARK_SECONDS", 10.0)
    tasklog = install()
    point = access(tasklog)
    point.park()
    assert "otel_tasklog access" not in threads()
    logging.getLogger("app").info("second")
    assert tasklog.flush()
    wait_until(lambda: point.settled)
    with client() as asking:
        assert asking.get("/v1/stats").json()["captured"] == 2
        point.park()  # it returns at once
        assert "otel_tasklog access" in threads()
        assert asking.get("/v1/stats").status_code == 200
    wait_until(lambda: not (point._serving and point._serving.clients()))
    point.park()
    assert {"otel_tasklog access", "AnyIO worker thread"}.isdisjoint(threads())
    logging.getLogger("app").info("third")
    assert tasklog.flush()
    assert get("/v1/stats").json()["captured"] == 3


def test_whoever_asks_while_the_thread_is_away_is_answered_when_it_is_back(
    install: Open,
) -> None:
    tasklog = install()
    access(tasklog).park()
    answers: list[int] = []
    asking = threading.Thread(
        target=lambda: answers.append(get("/healthz").status_code)
    )
    asking.start()
    logging.getLogger("app").info("second")
    asking.join(10)
    assert answers == [200]


def test_a_fork_waits_for_an_import_that_has_begun(
    install: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = access(install())
    point.preparing = True
    parking = threading.Thread(target=point.park)
    parking.start()
    parking.join(0.05)
    assert parking.is_alive()
    assert not point.leaving
    point.preparing = False
    parking.join(10)
    assert not parking.is_alive()


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name} {record.threadName} {record.getMessage()}")


SERVERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "asyncio")


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """What anybody says on the loggers of a server, at any level."""
    handler = Lines()
    loggers = [logging.getLogger(name) for name in ("", *SERVERS)]
    before = [(logger, logger.level) for logger in loggers]
    logging.getLogger().addHandler(handler)
    for logger in loggers:
        logger.setLevel(1)
    yield handler.lines
    logging.getLogger().removeHandler(handler)
    for logger, level in before:
        logger.setLevel(level)


def test_nobody_hears_what_the_server_says(install: Open, heard: list[str]) -> None:
    tasklog = install(level=None)
    assert get("/v1/records").status_code == 200
    assert get("/nowhere").status_code == 404
    (place,) = find_places(os.environ)
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(place.path))
        asking.send(b"no HTTP at all\r\n\r\n")
        assert b"400" in asking.recv(4_096)
        logging.getLogger("uvicorn.error").info("the application's own")
    tasklog.close(5.0)
    said = [line for line in heard if line.startswith(SERVERS)]
    assert said == ["uvicorn.error MainThread the application's own"]
    loggers = {record.logger for record in tasklog.query()}
    assert loggers == {"app", "uvicorn.error"}
    assert logging.getLogger("uvicorn.error").filters == []


def test_a_failure_of_the_api_is_heard(
    install: Open, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a defect, and its answer says that the log has the traceback."""
    tasklog = install(level=None)

    def fail() -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(tasklog, "stats", fail)
    assert get("/v1/stats").status_code == 500
    wait_until(lambda: any(line.startswith("uvicorn.error") for line in heard))
    (said,) = [line for line in heard if line.startswith(SERVERS)]
    assert "Exception in ASGI application" in said


def test_logging_is_as_the_application_has_it(install: Open) -> None:
    """As it comes, uvicorn names level 5, and takes handlers away."""
    before = logging.getLevelNamesMapping()
    handler = logging.NullHandler()
    access_log = logging.getLogger("uvicorn.access")
    access_log.addHandler(handler)
    try:
        install()
        assert get("/healthz").status_code == 200
        assert logging.getLevelNamesMapping() == before
        assert access_log.handlers == [handler]
        assert access_log.propagate
    finally:
        access_log.removeHandler(handler)


class Policy(asyncio.DefaultEventLoopPolicy):
    """Makes no loops: what is the application's is not for us."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        raise AssertionError


def test_the_applications_policy_and_debug_mode_do_not_matter(
    install: Open, monkeypatch: pytest.MonkeyPatch, heard: list[str]
) -> None:
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    asyncio.set_event_loop_policy(Policy())  # type: ignore[deprecated]
    try:
        install(level=None)
        assert get("/v1/records").status_code == 200
    finally:
        asyncio.set_event_loop_policy(None)  # type: ignore[deprecated]
    assert [line for line in heard if line.startswith("asyncio")] == []


def test_two_of_one_process_have_two_names(
    install: Open, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process in another container, with the same number and directory, has."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(directory / f"{os.getpid()}-0.sock"))
        other.listen()
        install()
        names = {path.name for path in directory.iterdir()}
    assert names == {f"{os.getpid()}-0.sock", f"{os.getpid()}-1.sock"}


def test_the_files_of_the_dead_are_removed(
    install: Open, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that of a process that is alive elsewhere, in a container."""
    monkeypatch.setattr(_listening, "is_running", lambda pid: pid in {1, os.getpid()})
    port = {"host": "127.0.0.1", "port": 1, "token": "x"}
    for name in (f"{os.getpid()}-0.sock", "1-0.sock", "77-0.sock"):  # the first is old
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(directory / name))
    (directory / "78-0.json").write_text(json.dumps(port))
    (directory / "note").touch()
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(directory / "79-0.sock"))
        alive.listen()
        install()
    names = sorted(path.name for path in directory.iterdir())
    assert names == sorted([f"{os.getpid()}-0.sock", "1-0.sock", "79-0.sock", "note"])
    assert get_pid(directory / f"{os.getpid()}-0.sock") == os.getpid()


def get_pid(path: Path) -> int:
    transport = httpx2.HTTPTransport(uds=str(path))
    with httpx2.Client(transport=transport, base_url="http://localhost") as asking:
        return int(asking.get("/v1/process").json()["pid"])


def test_a_directory_that_cannot_be_is_said_once_and_the_program_goes_on(
    directory: Path, said: list[str]
) -> None:
    directory.chmod(0o755)
    with otel_tasklog.install(exporter=None, level="INFO") as tasklog:
        for number in range(3):
            logging.getLogger("app").info("%d", number)
            assert tasklog.flush()
        wait_until(lambda: said)
        assert access(tasklog).settled
        assert len(tasklog.query()) == 3
    (line,) = said
    assert f"{directory} is open to other users (mode 0755)" in line
    assert "attach=False" in line
    assert "otel_tasklog access" not in threads()
    assert list(directory.iterdir()) == []


def test_no_thread_to_be_had_is_said_once_and_leaves_no_file(
    directory: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with otel_tasklog.install(exporter=None, level="INFO") as tasklog:
        monkeypatch.setattr(threading.Thread, "start", start)
        logging.getLogger("app").info("first")
        wait_until(lambda: said)
        monkeypatch.undo()
        assert access(tasklog).settled
    assert "can't start new thread" in said[0]
    assert list(directory.iterdir()) == []


def test_a_process_that_is_ending_has_none_and_says_nothing_of_it(
    directory: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that came just before the end may find that Python is at it."""
    tried = threading.Event()

    def start(thread: threading.Thread) -> None:
        tried.set()
        raise RuntimeError("can't create new thread at interpreter shutdown")

    with otel_tasklog.install(exporter=None, level="INFO") as tasklog:
        monkeypatch.setattr(threading.Thread, "start", start)
        logging.getLogger("app").info("last words")
        assert tried.wait(10)
        monkeypatch.undo()
        wait_until(lambda: access(tasklog).settled)
    assert said == []
    assert list(directory.iterdir()) == []


def test_a_server_that_fails_is_said_once_and_tried_again(
    install: Open, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve, failures = _serve.serve, iter([OSError(24, "Too many open files")])

    def fail_first(*arguments: Any) -> None:
        for failure in failures:
            raise failure
        serve(*arguments)

    monkeypatch.setattr(_access_point, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(_serve, "serve", fail_first)
    install()
    assert get("/healthz").status_code == 200
    (line,) = said
    assert "server failed: OSError(24, 'Too many open files')" in line


def test_it_serves_while_the_application_runs_uvicorn(install: Open) -> None:
    install()
    application = uvicorn.Server(
        uvicorn.Config(_hello, log_config=None, lifespan="off", port=0)
    )

    async def main() -> tuple[int, int]:
        serving = asyncio.create_task(application.serve())
        await asyncio.to_thread(wait_until, lambda: application.started)
        port = application.servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        theirs = await asyncio.to_thread(lambda: httpx2.get(url).status_code)
        ours = await asyncio.to_thread(lambda: get("/healthz").status_code)
        application.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        return theirs, ours

    assert asyncio.run(main()) == (204, 200)


async def _hello(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})
