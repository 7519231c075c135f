"""How programs end, and what they deliver then; the reference has the same table."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from otlp_peers import GrpcPeer, HttpPeer, Requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.conftest import ReceiverProcess

    Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.e2e

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "endings.md"

# Nothing leaves by itself for a minute, so that what arrives was delivered by the end.
START: Final = """
import asyncio, logging, os, signal, sys, threading, time
import otel_tasklog

log = logging.getLogger("ends")

def install(**settings):
    return otel_tasklog.install(
        level="INFO", schedule_delay_seconds=60.0,
        exit_timeout_seconds=float(os.environ.get("BUDGET", 10.0)), **settings)

def hundred(name):
    for number in range(100):
        log.info("%s %d", name, number)

def child(*_):
    try:
        otel_tasklog.current()
    except otel_tasklog.NotInstalledError:
        install()
    hundred("child")

if __name__ == "__main__":
    if "UNSHARE" in os.environ and os.getpid() != 1:
        os.execvp("unshare", [*os.environ["UNSHARE"].split(), sys.executable, __file__])
"""
INSTALL: Final = "    tasklog = install(); hundred('record')\n"
LOSES: Final = """
    tasklog.flush()
    log.info("unsent")
"""
BUSY: Final = """
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    while True: pass
"""
LOCKED: Final = """
    with logging._lock:
        os.kill(os.getpid(), signal.SIGTERM)
"""
HANDLED: Final = """
    async def main():
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        {}
    asyncio.run(main())
"""
INTERRUPTED: Final = """
    async def main():
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()
    asyncio.run(main())
"""
CANCELLED: Final = """
    async def main():
        asyncio.current_task().cancel()
        await asyncio.Event().wait()
    asyncio.run(main())
"""
THREAD: Final = """
    threading.Thread(target=lambda: (time.sleep(0.2), hundred("late"))).start()
"""
PROCESS: Final = """
    import multiprocessing
    process = multiprocessing.get_context("{}").Process(target={})
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""
LATE: Final = """
def late():
    child()
    threading.Thread(target=lambda: (time.sleep(0.2), hundred("late"))).start()
"""
FAILS: Final = """
def fails():
    child()
    1 / 0
"""
LEAVES: Final = """
def leaves():
    child()
    sys.exit(3)
"""
# The same state as that of a signal that comes in the moment before a wait: Python has
# taken it, and the main thread does not hear of it.
WAITS: Final = """
def waits():
    child()
    lock = multiprocessing.Lock()
    lock.acquire()
    def terminate():
        time.sleep(0.3)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    threading.Thread(target=terminate, daemon=True).start()
    lock.acquire()

import multiprocessing
"""
TERMINATED: Final = """
    process = multiprocessing.get_context("{}").Process(target=waits)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGTERM
"""
POOL: Final = """
    import multiprocessing
    with multiprocessing.get_context("{}").Pool(1) as pool:
        pool.map(child, [0])
        {}
"""
EXECUTOR: Final = """
    import concurrent.futures, multiprocessing
    context = multiprocessing.get_context("{}")
    with concurrent.futures.ProcessPoolExecutor(1, context) as executor:
        executor.submit(child).result()
"""
FORK: Final = """
    pid = os.fork()
    if not pid:
        {}
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
FORKING: Final = """
    def fork():
        while True:
            pid = os.fork()
            if not pid:
                os._exit(0)
            os.waitpid(pid, 0)
    threading.Thread(target=fork, daemon=True).start()
    time.sleep(0.1)
"""
PID_1: Final = """
    assert os.getpid() == 1
    os.kill(1, signal.SIGTERM)
    hundred("late")
"""
OFF_MAIN: Final = """
    thread = threading.Thread(target=install)
    thread.start()
    thread.join()
    tasklog = otel_tasklog.current()
    hundred("record")
"""
TERM: Final = "    os.kill(os.getpid(), signal.SIGTERM)\n"
ALL: Final = "everything"
SENT: Final = "what had been sent"


class Ending(NamedTuple):
    """A program's end, and what comes of it.

    Attributes:
        code: The program, behind START.
        status: Its exit status.
        more: Who else logs a hundred records that arrive.
        delivers: Whether records arrive that nothing but the end could deliver.
        tracebacks: How many it prints.
    """

    code: str
    status: int = 0
    more: tuple[str, ...] = ()
    delivers: str = ALL
    tracebacks: int = 0


def main(*code: str, functions: str = "") -> str:
    """Return a program that logs a hundred records first."""
    guard = 'if __name__ == "__main__":\n' if functions else ""
    return "".join((functions, guard, INSTALL, *code))


ENDINGS: Final = {
    "the end of the program": Ending(main()),
    "sys.exit(3)": Ending(main("    sys.exit(3)"), 3),
    "an uncaught exception": Ending(main("    1 / 0"), 1, tracebacks=1),
    "Ctrl-C": Ending(
        main("    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(9)"),
        -signal.SIGINT,
        tracebacks=1,
    ),
    "Ctrl-C in asyncio.run()": Ending(main(INTERRUPTED), -signal.SIGINT, tracebacks=2),
    "asyncio.run() of a main task that is cancelled": Ending(
        main(CANCELLED), 1, tracebacks=1
    ),
    "a thread that goes on, and is no daemon": Ending(main(THREAD), more=("late",)),
    "SIGTERM": Ending(main(TERM), -signal.SIGTERM),
    "SIGTERM in a loop that never waits": Ending(main(BUSY), -signal.SIGTERM),
    "SIGTERM in the middle of a call that locks logging": Ending(
        main(LOCKED), -signal.SIGTERM
    ),
    "SIGTERM while another thread forks": Ending(main(FORKING, TERM), -signal.SIGTERM),
    "SIGTERM, with add_signal_handler() of asyncio": Ending(
        main(HANDLED.format("hundred('late')")), more=("late",)
    ),
    "SIGTERM, as process 1 of a container": Ending(main(PID_1), more=("late",)),
    "SIGTERM, after remove_signal_handler() of asyncio": Ending(
        main(
            HANDLED.format("loop.remove_signal_handler(signal.SIGTERM)"), LOSES, TERM
        ),
        -signal.SIGTERM,
        delivers=SENT,
    ),
    "SIGTERM, with install() in another thread than the main one": Ending(
        OFF_MAIN + LOSES + TERM, -signal.SIGTERM, delivers=SENT
    ),
    "SIGTERM, with handle_sigterm=False": Ending(
        main(LOSES, TERM).replace("install()", "install(handle_sigterm=False)"),
        -signal.SIGTERM,
        delivers=SENT,
    ),
    "multiprocessing.Process, by fork": Ending(
        main(PROCESS.format("fork", "child")), more=("child",)
    ),
    "multiprocessing.Process, by spawn": Ending(
        main(PROCESS.format("spawn", "child")), more=("child",)
    ),
    "multiprocessing.Process, by forkserver": Ending(
        main(PROCESS.format("forkserver", "child")), more=("child",)
    ),
    "multiprocessing.Process that raises": Ending(
        main(PROCESS.format("fork", "fails"), functions=FAILS),
        1,
        more=("child",),
        tracebacks=1,
    ),
    "multiprocessing.Process that calls sys.exit(3)": Ending(
        main(PROCESS.format("fork", "leaves"), functions=LEAVES), 3, more=("child",)
    ),
    "multiprocessing.Process with a thread that goes on": Ending(
        main(PROCESS.format("fork", "late"), functions=LATE), more=("child", "late")
    ),
    "multiprocessing.Process that is terminated as it turns to wait": Ending(
        main(TERMINATED.format("fork"), functions=WAITS), more=("child",)
    ),
    "multiprocessing.Process by spawn that is terminated as it turns to wait": Ending(
        main(TERMINATED.format("spawn"), functions=WAITS), more=("child",)
    ),
    "multiprocessing.Pool, closed and joined": Ending(
        main(POOL.format("fork", "pool.close(); pool.join()")), more=("child",)
    ),
    "multiprocessing.Pool, left by with": Ending(
        main(POOL.format("fork", "")), more=("child",)
    ),
    "multiprocessing.Pool by spawn, left by with": Ending(
        main(POOL.format("spawn", "")), more=("child",)
    ),
    "ProcessPoolExecutor, by fork": Ending(
        main(EXECUTOR.format("fork")), more=("child",)
    ),
    "ProcessPoolExecutor, by spawn": Ending(
        main(EXECUTOR.format("spawn")), more=("child",)
    ),
    "os.fork(), the child ends by sys.exit(3)": Ending(
        main(FORK.format("child(); sys.exit(3)")), 3, more=("child",)
    ),
    "os.fork(), the child ends by os._exit()": Ending(
        main(FORK.format("child(); otel_tasklog.current().flush(); log.info('unsent'); os._exit(3)")),
        3,
        more=("child",),
        delivers=SENT,
    ),
    "os._exit(3)": Ending(main(LOSES, "    os._exit(3)"), 3, delivers=SENT),
    "os.execv()": Ending(
        main(LOSES, "    os.execv(sys.executable, [sys.executable, '-c', ''])"),
        delivers=SENT,
    ),
    "os.abort(), or a crash": Ending(
        main(LOSES, "    os.abort()"), -signal.SIGABRT, delivers=SENT
    ),
    "SIGKILL": Ending(
        main(LOSES, "    os.kill(os.getpid(), signal.SIGKILL)"),
        -signal.SIGKILL,
        delivers=SENT,
    ),
}  # fmt: skip


def as_process_1() -> str:
    """Return the command that starts a program in a namespace of its own."""
    for command in ("unshare --pid --fork", "unshare -Ur --pid --fork"):
        with contextlib.suppress(OSError):
            if not subprocess.run(
                [*command.split(), "true"], capture_output=True, check=False
            ).returncode:
                return command
    pytest.skip(
        "this user may not make a namespace of processes; to enable: run the tests as "
        "root on Linux, or allow user namespaces (kernel.unprivileged_userns_clone=1)"
    )


def end(run: Run, name: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the program of an ending; see that it ended as it should."""
    ending = ENDINGS[name]
    if "process 1" in name:
        environ["UNSHARE"] = as_process_1()
    done = run(START + ending.code, **environ)
    assert done.returncode == ending.status, done.stderr
    assert done.stderr.count("Traceback") == ending.tracebacks, done.stderr
    assert "Exception ignored" not in done.stderr
    return done


def expected(name: str) -> dict[str, int]:
    who = ("record", *ENDINGS[name].more)
    return {f"{each} {number}": 1 for each in who for number in range(100)}


@pytest.mark.parametrize("name", ENDINGS)
def test_an_ending_delivers_what_the_table_says(
    receiver: ReceiverProcess, run: Run, name: str
) -> None:
    """Not a record twice, and not one more than is promised."""
    done = end(run, name, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=receiver.endpoint)
    records = [each for each in receiver.close() if each["scope"] == "ends"]
    assert Counter(each["body"] for each in records) == expected(name), done.stderr


OVER_GRPC: Final = [
    "the end of the program",
    "Ctrl-C",
    "SIGTERM",
    "multiprocessing.Process, by fork",
    "multiprocessing.Process, by spawn",
    "multiprocessing.Pool, left by with",
    "ProcessPoolExecutor, by fork",
    "os.fork(), the child ends by sys.exit(3)",
]


@pytest.mark.parametrize("name", OVER_GRPC)
def test_it_does_over_grpc(run: Run, name: str) -> None:
    with GrpcPeer() as peer:
        end(
            run, name,
            OTEL_EXPORTER_OTLP_ENDPOINT=peer.endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        )  # fmt: skip
        assert Counter(peer.requests.bodies) == expected(name)


def test_the_reference_has_the_same_table() -> None:
    rows = re.findall(
        r"^\| (.+?) \| (.+?) \| (.+?) \|$", PAGE.read_text(), re.MULTILINE
    )
    written = [(name.replace("`", ""), what, status) for name, what, status in rows[1:]]
    assert written == [
        (
            name,
            ending.delivers,
            f"`{ending.status}`"
            if ending.status >= 0
            else signal.Signals(-ending.status).name,
        )
        for name, ending in ENDINGS.items()
    ]


ANSWERS: Final = {"nothing": b"", "empty": b"\n\0", "message": b"\n\x07\x12\x05words"}
"""Of a receiver that takes all: a Collector sends the second."""


@pytest.mark.parametrize("answer", ANSWERS)
def test_ctrl_c_shows_in_the_exit_status_whatever_is_answered(
    run: Run, answer: str
) -> None:
    """CPython forgets it when a program's text is compiled after it: see _answer.py."""
    with HttpPeer() as server:
        kind = {"Content-Type": "application/x-protobuf"}
        server.answer = (200, kind, ANSWERS[answer])
        end(run, "Ctrl-C", OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=server.endpoint)
        assert len(server.requests) == 1


class SlowRequests(Requests):
    """Takes its time for each."""

    def add(self, request: object) -> None:
        time.sleep(0.4)
        super().add(request)  # type: ignore[arg-type]


@contextlib.contextmanager
def peer(kind: str) -> Iterator[str]:
    """A receiver of a kind; its endpoint."""
    if kind in {"is not there", "never answers"}:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            if kind == "never answers":
                listener.listen()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/logs"
        return
    with HttpPeer() as server:
        if kind == "answers 503":
            server.answer = (503, {}, b"")
        else:
            server.requests = SlowRequests()
        yield server.endpoint


FULL: Final = """
import logging, os, signal, sys, time
import otel_tasklog

otel_tasklog.install(
    level="INFO", exit_timeout_seconds=1.0, buffer_records=3000, batch_records=200)
for number in range(5000):
    logging.getLogger("ends").info("record %d", number)
print(time.monotonic(), flush=True)
"""
"""Three fifths of the records fit."""

PEERS: Final = ["is not there", "never answers", "answers 503", "is slow"]


@pytest.mark.parametrize("kind", PEERS)
@pytest.mark.parametrize("way", ["the end", "SIGTERM"])
def test_a_full_buffer_costs_the_end_its_time_at_most_and_a_last_line(
    run: Run, kind: str, way: str
) -> None:
    ends_by = TERM.strip() if way == "SIGTERM" else ""
    with peer(kind) as endpoint:
        done = run(FULL + ends_by, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=endpoint)
        took = time.monotonic() - float(done.stdout)
    assert done.returncode == (-signal.SIGTERM if way == "SIGTERM" else 0), done.stderr
    assert took < 2.5  # a second, and what a busy machine takes to end a process
    last = r"SIGTERM: (\d+) records not" if way == "SIGTERM" else r"with (\d+) records"
    lost = [re.search(last, line) for line in done.stderr.splitlines()]
    assert [found is not None for found in lost].count(True) == 1, done.stderr
    assert lost[-1] is not None
    assert 0 < int(lost[-1][1]) <= 3000
    assert "Traceback" not in done.stderr


ORDERLY: Final = [
    "the end of the program",
    "sys.exit(3)",
    "Ctrl-C",
    "a thread that goes on, and is no daemon",
    "SIGTERM in a loop that never waits",
    "multiprocessing.Process, by fork",
    "multiprocessing.Pool, left by with",
    "os.fork(), the child ends by sys.exit(3)",
]


@pytest.mark.parametrize("kind", ["is not there", "never answers"])
@pytest.mark.parametrize("name", ORDERLY)
def test_an_ending_is_the_same_without_a_receiver(
    run: Run, kind: str, name: str
) -> None:
    """The exit status does not change, and there is no traceback that is not its own."""
    with peer(kind) as endpoint:
        end(run, name, BUDGET="0.2", OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=endpoint)


TWICE: Final = """
    def again():
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGTERM)
    threading.Thread(target=again, daemon=True).start()
    print(time.monotonic(), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_second_sigterm_does_not_make_the_time_longer(run: Run) -> None:
    with peer("never answers") as endpoint:
        done = run(
            START + INSTALL + TWICE,
            BUDGET="1.0", OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=endpoint,
        )  # fmt: skip
        took = time.monotonic() - float(done.stdout)
    assert done.returncode == -signal.SIGTERM
    assert took < 2.5
    assert "SIGTERM: 100 records not delivered: no answer in time" in done.stderr


def test_a_sigterm_that_python_does_not_let_us_handle_is_said_once(run: Run) -> None:
    said = "a SIGTERM will end this program without delivering"
    done = run(START + OFF_MAIN + TERM)
    assert done.stderr.count(said) == 1
    meant = OFF_MAIN.replace("(target", "(kwargs={'handle_sigterm': False}, target")
    done = run(START + meant + TERM)
    assert said not in done.stderr
