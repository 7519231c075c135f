"""Access points of real processes: how they come, are shared, and go."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx2
import pytest

from otel_tasklog.viewer._places import find_places, is_running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
]

as_root = pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() != 0,
    reason="only root can become another user; to enable: run as root",
)

# Each reads lines and says what is asked for, so that a test knows where it is.
START: Final = r"""
import json, logging, os, signal, sys, threading, time
import otel_tasklog

log = logging.getLogger("app")

def install(**settings):
    tasklog = otel_tasklog.install(**{"exporter": None, "level": "INFO", **settings})
    log.info("from %d", os.getpid())
    return tasklog

def is_open():
    access = otel_tasklog.current()._attachment._access
    while not access.settled:
        time.sleep(0.001)
    return True

def say(*words):
    os.write(1, " ".join([*map(str, words), "\n"]).encode())  # at once: children speak, too

def hear():
    return sys.stdin.readline().strip()
"""
WAITS: Final = "install(); is_open(); say(os.getpid()); hear()"


class Program:
    """A program in another process, spoken with by lines."""

    def __init__(self, path: Path, *flags: str, **environ: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *flags, str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env={**os.environ, **environ},
        )  # fmt: skip
        self.pid = self.process.pid

    def hear(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, self.process.communicate()[1]
        return line

    def tell(self, line: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def end(self, seconds: float = 15.0) -> tuple[int, str]:
        """Return its exit status and what it said on stderr."""
        _, errors = self.process.communicate(timeout=seconds)
        return self.process.returncode, errors


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    programs: list[Program] = []

    def start(text: str, *flags: str, **environ: str) -> Program:
        path = tmp_path / f"program{len(programs)}.py"
        path.write_text(START + text)
        programs.append(Program(path, *flags, **environ))
        return programs[-1]

    yield start
    for program in programs:
        program.process.kill()
        program.process.communicate()


def asking(pid: int) -> httpx2.Client:
    place = next(place for place in find_places(os.environ) if place.pid == pid)
    return httpx2.Client(
        transport=httpx2.HTTPTransport(uds=str(place.path)),
        base_url="http://localhost", timeout=20.0,
    )  # fmt: skip


def get(pid: int, path: str = "/v1/process") -> Any:
    with asking(pid) as client:
        return client.get(path).raise_for_status().json()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


MODULES = """
tasklog = install()
is_open()
heavy = "uvicorn", "starlette", "anyio", "h11", "click"
say(*(name for name in heavy if name in sys.modules), "none")
while hear():
    before = set(sys.modules)
    say("go")
    hear()
    say(*sorted(set(sys.modules) - before), "none")
"""
ROUTES: Final = (
    "/v1/records?q=level>=info", "/v1/tasks", "/v1/counts", "/v1/stats", "/healthz",
    "/v1/context/0", f"/v1/trace/{'0' * 31}1", "/openapi.json", "/v1/process",
)  # fmt: skip


def test_the_server_is_imported_for_the_first_client_and_at_once(
    start: Callable[..., Program],
) -> None:
    """Later imports would be met by forks in their middle."""
    program = start(MODULES)
    assert program.hear() == "none"
    program.tell("look")
    assert program.hear() == "go"
    assert get(program.pid, "/healthz")["status"] == "ok"
    program.tell()
    brought = program.hear().split()
    assert {"uvicorn", "starlette", "h11", "anyio"}.issubset(brought)
    program.tell("look again")
    assert program.hear() == "go"
    for route in ROUTES:
        get(program.pid, route)
    with asking(program.pid) as client, client.stream("GET", "/v1/tail") as answer:
        assert answer.status_code == 200
    program.tell()
    assert program.hear() == "none"
    program.tell()
    assert program.end() == (0, "")


def test_turned_off_nothing_of_it_is_imported(start: Callable[..., Program]) -> None:
    text = """
tasklog = install()
assert tasklog.flush()
print(*(name for name in sys.modules if name.startswith("otel_tasklog.viewer")))
print(threading.active_count())
"""
    program = start(text, OTEL_TASKLOG_ATTACH="0")
    assert program.process.stdout is not None
    assert program.process.stdout.read().split() == ["2"]  # the worker is the other
    assert program.end() == (0, "")


ENDS: Final = {
    "the end": ("", None, 0),
    "sys.exit(3)": ("sys.exit(3)", None, 3),
    "close()": ("otel_tasklog.current().close(); say('closed'); hear()", None, 0),
    "SIGTERM": ("", signal.SIGTERM, -signal.SIGTERM),
    "Ctrl-C": ("", signal.SIGINT, -signal.SIGINT),
}


@pytest.mark.parametrize("asked", ["never", "before", "tail"])
@pytest.mark.parametrize("end", ENDS)
def test_however_a_program_ends_its_file_goes_and_nobody_holds_it_up(
    start: Callable[..., Program], runtime_directory: Path, end: str, asked: str
) -> None:
    code, number, status = ENDS[end]
    program = start(f"{WAITS}\n{code}")
    assert program.hear() == str(program.pid)
    assert names(runtime_directory) == [f"{program.pid}-0.sock"]
    with contextlib.ExitStack() as stack:
        if asked != "never":
            client = stack.enter_context(asking(program.pid))
            client.get("/v1/records")
            if asked == "tail":
                stack.enter_context(client.stream("GET", "/v1/tail"))
        before = time.monotonic()
        if number is not None:
            program.process.send_signal(number)
        else:
            program.tell()
        if end == "close()":
            assert program.hear() == "closed"
            assert names(runtime_directory) == []
            program.tell()
        returned, errors = program.end()
        assert time.monotonic() - before < 4.0
    assert returned == status, errors
    assert "Exception ignored" not in errors
    assert "uvicorn" not in errors
    assert names(runtime_directory) == []


def test_what_a_sigkill_leaves_is_known_to_be_dead_and_removed_by_the_next(
    start: Callable[..., Program], runtime_directory: Path
) -> None:
    program = start(WAITS)
    program.hear()
    program.process.kill()
    program.end()
    (place,) = find_places(os.environ)
    assert (place.pid, is_running(place.pid)) == (program.pid, False)
    following = start(WAITS)
    following.hear()
    assert names(runtime_directory) == [f"{following.pid}-0.sock"]


FORKS = """
tasklog = install()
is_open()
for number in range(5):
    wait, let_go = os.pipe()
    pid = os.fork()                     # a warning would be raised here
    if not pid:
        os.close(let_go)
        log.info("child %d", number)    # its own: the parent's would show the parent's
        is_open()
        assert tasklog.flush()
        say(os.getpid())
        os.read(wait, 1)
        sys.exit(0)
    log.info("parent %d", number)
    is_open()
    assert tasklog.flush()
    say("go on")
    hear()
    os.close(let_go)
    os.close(wait)
    say(os.waitpid(pid, 0)[1])
    hear()
"""


@pytest.mark.parametrize("asked", ["never", "before"])
def test_a_fork_beside_it_gives_no_warning_and_both_have_their_own(
    start: Callable[..., Program], runtime_directory: Path, asked: str
) -> None:
    """From Python 3.12 on it warns of threads, and here a warning is an error."""
    program = start(FORKS, "-W", "error::DeprecationWarning")
    for number in range(5):
        heard = {program.hear(), program.hear()}
        assert "go on" in heard
        (child,) = (int(each) for each in heard if each != "go on")
        assert names(runtime_directory) == sorted(
            f"{pid}-0.sock" for pid in (program.pid, child)
        )
        if asked != "never":
            assert get(child)["captured"] == 1
            assert get(program.pid)["captured"] == 2 + number
            wait_until(lambda: not clients_of(program.pid))
        program.tell()
        assert program.hear() == "0"
        assert names(runtime_directory) == [f"{program.pid}-0.sock"]
        program.tell()
    assert program.end() == (0, "")


def clients_of(pid: int) -> int:
    """Return how many connections of its access point a process has open."""
    table = Path("/proc/net/unix").read_text(encoding="utf-8").splitlines()
    sockets = [line.split() for line in table if f"{pid}-0." in line]
    return sum(state == "03" for _, _, _, _, _, state, *_ in sockets)  # connected


HELD = """
tasklog = install()
is_open()
say(os.getpid())
hear()
pid = os.fork()
if not pid:
    signal.alarm(30)
    say(os.getpid())
    signal.pause()
say("forked")
hear()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists descriptors so")
def test_a_child_lets_go_of_the_parents_clients(
    start: Callable[..., Program], runtime_directory: Path
) -> None:
    """Else who reads a tail of the parent would not learn of the parent's end."""
    program = start(HELD, "-W", "ignore::DeprecationWarning")
    program.hear()
    with asking(program.pid) as client, client.stream("GET", "/v1/tail") as answer:
        program.tell()
        heard = [program.hear(), program.hear()]
        child = int(next(each for each in heard if each != "forked"))
        try:
            program.process.kill()
            with pytest.raises(httpx2.RemoteProtocolError):
                for _ in answer.iter_raw():
                    pass
            program.process.wait()
            (place,) = find_places(os.environ)
            with (
                socket.socket(socket.AF_UNIX) as late,
                pytest.raises(ConnectionRefusedError),  # nobody listens any more
            ):
                late.connect(str(place.path))
        finally:
            os.kill(child, signal.SIGKILL)


PROCESSES = """
import multiprocessing

def child(queue):
    try:
        otel_tasklog.current()
    except otel_tasklog.NotInstalledError:
        install()
    log.info("child")
    is_open()
    directory = os.environ["OTEL_TASKLOG_RUNTIME_DIR"]
    queue.put((os.getpid(), sorted(os.listdir(directory))))

if __name__ == "__main__":
    tasklog = install()
    is_open()
    context = multiprocessing.get_context("{}")
    queue = context.SimpleQueue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    pid, names = queue.get()
    process.join()
    assert names == sorted(f"{{each}}-0.sock" for each in (os.getpid(), pid)), names
    left = os.listdir(os.environ["OTEL_TASKLOG_RUNTIME_DIR"])
    assert left == [f"{{os.getpid()}}-0.sock"], left
    assert process.exitcode == 0
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_children_of_multiprocessing_have_their_own(
    start: Callable[..., Program], runtime_directory: Path, method: str
) -> None:
    program = start(PROCESSES.format(method), "-W", "error::DeprecationWarning")
    assert program.end(30) == (0, "")
    assert names(runtime_directory) == []


STRANGER = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(sys.argv[1])
except OSError as error:
    print(type(error).__name__)
"""


@as_root
@pytest.mark.parametrize("directory", ["closed", "open"])
def test_another_user_is_refused(
    start: Callable[..., Program], runtime_directory: Path, directory: str
) -> None:
    """By the directory, and were that open, by the socket itself."""
    program = start(WAITS)
    program.hear()
    if directory == "open":
        runtime_directory.chmod(0o755)
    (path,) = runtime_directory.iterdir()
    command = [sys.executable, "-c", STRANGER, str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["PermissionError"]
    program.tell()
    assert program.end() == (0, "")


GOES_ON = """
tasklog = otel_tasklog.install(exporter=None, level="INFO", console=True)
{}
log.info("first")
assert tasklog.flush()
is_open()
for number in range(3):
    log.info("%d", number)
    assert tasklog.flush()
assert len(tasklog.query()) == 4
assert "otel_tasklog access" not in [each.name for each in threading.enumerate()]
"""
STRANGE = "os.setgroups([]); os.setgid(65534); os.setuid(65534)"
FULL = """
import resource
held = []
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
while len(held) < 64:
    try:
        held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        break
"""
TROUBLES: Final = {
    "a read-only directory": (
        STRANGE,
        r"Permission denied: '/.*'",
    ),
    "no descriptors left": (FULL, "Too many open files"),
}


@as_root
@pytest.mark.parametrize("trouble", TROUBLES)
def test_where_there_can_be_none_a_line_says_so_and_the_program_goes_on(
    start: Callable[..., Program], runtime_directory: Path, trouble: str
) -> None:
    before, reason = TROUBLES[trouble]
    program = start(
        GOES_ON.format(before),
        OTEL_TASKLOG_RUNTIME_DIR=str(runtime_directory / "deeper"),
    )
    status, errors = program.end()
    assert status == 0, errors
    (line,) = errors.splitlines()
    assert "this process cannot be asked by otel-tasklog" in line
    assert re.search(reason, line)
    assert "OTEL_TASKLOG_ATTACH=0" in line
    assert names(runtime_directory) == []


SHORT_OF = """
import resource
tasklog = install()
is_open()
limit = max(map(int, os.listdir("/proc/self/fd"))) + 1
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, 4_096))
say("none left")
hear()
resource.setrlimit(resource.RLIMIT_NOFILE, (4_096, 4_096))
say("some")
hear()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists descriptors so")
def test_a_client_that_comes_when_no_descriptor_is_left_waits(
    start: Callable[..., Program],
) -> None:
    program = start(SHORT_OF)
    assert program.hear() == "none left"
    with asking(program.pid) as client:
        with pytest.raises(httpx2.ReadTimeout):
            client.get("/healthz", timeout=0.5)
        program.tell()
        assert program.hear() == "some"
        assert client.get("/healthz").status_code == 200
    program.tell()
    status, errors = program.end()
    assert status == 0
    assert len(errors.splitlines()) <= 1
    assert "Traceback" not in errors


WEB = """
import uvicorn

async def application(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        is_open()
        say(self.servers[0].sockets[0].getsockname()[1])

install()
Server(uvicorn.Config(application, port=0)).run()
"""


@pytest.mark.parametrize("attach", ["0", "1"])
def test_an_application_that_runs_uvicorn_is_not_disturbed(
    start: Callable[..., Program], attach: str
) -> None:
    """Neither its log lines nor its signals; the same with and without."""
    text = WEB if attach == "1" else WEB.replace("is_open()", "pass")
    program = start(text, OTEL_TASKLOG_ATTACH=attach)
    port = program.hear()
    assert httpx2.get(f"http://127.0.0.1:{port}/theirs").status_code == 204
    if attach == "1":
        records = get(program.pid, "/v1/records?q=ours")["records"]
        assert records == []
    program.process.send_signal(signal.SIGINT)
    assert program.process.stdout is not None
    output = program.process.stdout.read()
    status, errors = program.end()
    assert status in {0, -signal.SIGINT}
    assert errors.count("Started server process") == 1
    assert errors.count("Finished server process") == 1
    assert output.count("HTTP/1.1") == 1
    assert "/theirs" in output


LOOP = """
import asyncio, uvloop
logging.basicConfig(level="DEBUG", handlers=[logging.StreamHandler(sys.stderr)])
asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
tasklog = install(level="DEBUG")
is_open()
say("ready")

async def main():
    assert "uvloop" in type(asyncio.get_running_loop()).__module__
    await asyncio.to_thread(hear)

asyncio.run(main(), debug=True)
print(*{record.logger for record in tasklog.query()})
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop for it")
def test_the_applications_loop_and_debug_mode_change_nothing(
    start: Callable[..., Program],
) -> None:
    """Nor does its own stderr hear of the server, at whatever level it listens."""
    program = start(LOOP, PYTHONASYNCIODEBUG="1")
    program.hear()
    assert get(program.pid, "/v1/records")["complete"]
    program.tell()
    assert program.process.stdout is not None
    loggers = program.process.stdout.read().split()
    status, errors = program.end()
    assert status == 0, errors
    assert "server process" not in errors
    assert "selector" not in errors
    assert set(loggers) <= {"app", "asyncio"}


def test_a_port_with_a_token_is_another_way(
    start: Callable[..., Program], runtime_directory: Path
) -> None:
    program = start(WAITS, OTEL_TASKLOG_ATTACH="tcp")
    program.hear()
    (path,) = runtime_directory.iterdir()
    fields = json.loads(path.read_text())
    url = f"http://{fields['host']}:{fields['port']}/v1/process"
    right = {"Authorization": f"Bearer {fields['token']}"}
    assert httpx2.get(url, headers=right).json()["pid"] == program.pid
    assert httpx2.get(url).status_code == 401
    program.tell()
    assert program.end() == (0, "")
    assert names(runtime_directory) == []
