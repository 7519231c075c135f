"""No record steers a terminal, nor passes for two: each text output, in real processes.

Hostile texts stand wherever a record, an exception, an asyncio task, a receiver or an
exporter can have one.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hostile_texts import HOSTILE, unprintable
from telnet_client import SEQUENCES, Telnet

from otel_tasklog._text import CONTINUED, visible

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

pytestmark = pytest.mark.e2e

TESTS = str(Path(__file__).parents[1])
COMMAND = [sys.executable, "-m", "otel_tasklog"]
RECEIVED = re.compile(r"\d\d:\d\d:\d\d\.\d{3} ")
RECORDS = len(HOSTILE)

# Logs one record for each text, which is wherever it can be, in one task after another.
LOGS = r'''
import asyncio, contextlib, logging, sys, threading
import otel_tasklog
from hostile_texts import HOSTILE, EVERYTHING

def fail(text):
    pass

def error(text):
    """An exception whose frames, too, are called as the text says."""
    def fail():
        try:
            raise KeyError(text)
        except KeyError as cause:
            kind = type(text.replace("\0", "") or "x", (Exception,), {})
            error = kind(text)
            error.add_note(text)
            raise ExceptionGroup(text, [error, ValueError(text)]) from cause
    file = text.replace("\0", "").encode("utf-8", "ignore").decode()  # as one can be
    code = fail.__code__.replace(co_filename=file, co_name=text, co_qualname=text)
    try:
        type(fail)(code, globals(), closure=fail.__closure__)()
    except Exception as caught:
        return caught

def log_one(level, text):
    logging.addLevelName(level, text)
    threading.current_thread().name = text
    logging.getLogger(text).log(
        level, "%s", text, exc_info=error(text), stack_info=True,
        extra={text: text, f"key {text}": [text], "in": {text: text}, "event.name": text},
    )

async def log_as_task(level, text, logged, end):
    async with otel_tasklog.task(text, attributes={f"job {text}": text}):
        log_one(level, text)
        logged.release()
        await end.wait()

async def main(observe=lambda: None):
    logged, end = asyncio.Semaphore(0), asyncio.Event()
    tasks = []
    for level, text in enumerate(HOSTILE.values(), 51):
        coroutine = log_as_task(level, text, logged, end)
        coroutine.__qualname__ = coroutine.__name__ = text
        tasks.append(asyncio.create_task(coroutine, name=text))
    for _ in tasks:
        await logged.acquire()
    await asyncio.to_thread(observe)
    end.set()
    await asyncio.gather(*tasks)
'''


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def environment(**variables: str) -> dict[str, str]:
    # Threads that Python itself is to name get names that are none.
    return {**os.environ, "PYTHONPATH": os.pathsep.join([
        TESTS, *filter(None, [os.environ.get("PYTHONPATH")]),
    ]), **variables}  # fmt: skip


def output(text: str, **variables: str) -> tuple[str, str]:
    """Return what a program prints to stdout and to stderr."""
    done = subprocess.run(
        program(text), capture_output=True, check=False, timeout=60,
        env=environment(**variables),
    )  # fmt: skip
    stdout, stderr = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 0, stderr
    return stdout, stderr


def first_lines(text: str) -> list[str]:
    """Return the lines that begin something; all are harmless, and none is empty."""
    assert unprintable(text) == set()
    lines = text.splitlines()
    assert text.split("\n") == [*lines, ""]
    return [line for line in lines if not line.startswith(CONTINUED)]


# What ``receive`` prints


@contextlib.contextmanager
def receiving(*options: str, stdout: int, **variables: str) -> Generator[str]:
    """Run ``receive``; its endpoint."""
    process = subprocess.Popen(
        [*COMMAND, "receive", "--port", "0", *options],
        stdout=stdout, stderr=subprocess.PIPE, env=environment(**variables),
    )  # fmt: skip
    assert process.stderr is not None
    line = process.stderr.readline().decode()
    try:
        yield line.split("listening on ")[1].strip()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        assert (process.returncode, process.stderr.read()) == (0, b"")
        process.stderr.close()


SEND = f"{LOGS}\nwith otel_tasklog.install(console=False): asyncio.run(main())"


def received(*options: str, **variables: str) -> str:
    with tempfile.TemporaryFile() as file:
        with receiving(*options, stdout=file.fileno(), **variables) as endpoint:
            output(SEND, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=endpoint)
        file.seek(0)
        return file.read().decode()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_receive_prints_harmless_lines(encoding: str) -> None:
    printed = received(PYTHONIOENCODING=encoding)
    lines = first_lines(printed)
    assert len(lines) == RECORDS
    assert all(RECEIVED.match(line) for line in lines)
    assert printed.isascii() or encoding == "utf-8"


def test_receive_prints_harmless_json_one_object_a_line() -> None:
    printed = received("--json")
    assert unprintable(printed) == set()
    assert printed.isascii()
    bodies = {json.loads(line)["body"] for line in printed.splitlines()}
    texts = {t.encode(errors="backslashreplace").decode() for t in HOSTILE.values()}
    assert bodies == texts


@pytest.mark.skipif(os.name != "posix", reason="a pseudo-terminal is one of POSIX")
def test_receive_prints_no_line_that_a_terminal_would_wrap() -> None:
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 60, 0, 0))
    printed: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # as Linux says that the other end is closed
            while data := os.read(ours, 65_536):
                printed.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    with receiving(stdout=theirs, TERM="xterm-256color") as endpoint:
        os.close(theirs)
        output(SEND, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=endpoint)
    reader.join(30)
    os.close(ours)
    text = b"".join(printed).decode().replace("\r\n", "\n")
    assert {*SEQUENCES.findall(text)} <= {*re.findall(r"\x1b\[[0-9;]*m", text)}
    plain = SEQUENCES.sub("", text)
    assert len(first_lines(plain)) == RECORDS
    assert max(map(len, plain.split("\n"))) == 60


# What the library prints in the program itself


@pytest.mark.parametrize("console", ["'auto'", "True"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_console_prints_harmless_lines(console: str, encoding: str) -> None:
    _, printed = output(
        f"{LOGS}\nwith otel_tasklog.install(\n        exporter=None, console={console}, level='WARNING',\n    ):\n"
        "    asyncio.run(main())",
        PYTHONIOENCODING=encoding,
    )
    texts = [text.replace("\r\n", "\n").split("\n")[0] for text in HOSTILE.values()]
    spoilt = HOSTILE["a continued line"]
    shown = [
        text.replace(" ", r"\x20", 1) if text == spoilt else visible(text)
        for text in texts
    ]
    assert first_lines(printed.replace("\t", "")) == shown


def test_the_console_exporter_prints_harmless_json_one_object_a_line() -> None:
    printed, _ = output(
        f"{LOGS}\nwith otel_tasklog.install(exporter='console', console=False):\n"
        "    asyncio.run(main())\n"
        "    logging.warning('odd', extra={'odd': [float('nan'), float('-inf'), b'x']})",
        PYTHONIOENCODING="ascii",
    )
    assert unprintable(printed) == set()
    *lines, odd = map(json.loads, printed.splitlines())
    assert len(lines) == RECORDS
    assert odd["attributes"]["odd"] == ["NaN", "-Infinity", "eA=="]


def test_what_a_record_shows_of_itself_is_harmless() -> None:
    printed, _ = output(
        f"{LOGS}\nwith otel_tasklog.install(exporter=None, console=False) as tasklog:\n"
        "    asyncio.run(main())\n"
        "    for record in tasklog.query(): print(record); print(repr(record))\n"
        "    print(tasklog.stats())"
    )
    assert len(first_lines(printed)) == 2 * RECORDS + 1


def test_what_an_error_says_is_harmless() -> None:
    printed, _ = output(
        f"{LOGS}\n"
        "for text in HOSTILE.values():\n"
        "  for settings in ({text: 1}, {'level': text}, {'endpoint': text},\n"
        "                   {'spool_dir': text + chr(0)}, {'headers': {text: text}}):\n"
        "    try: otel_tasklog.Config.from_env({}, **settings)\n"
        "    except otel_tasklog.ConfigError as error: print(error); print(repr(error))"
    )
    assert len(first_lines(printed)) >= 8 * RECORDS


# What others say to the library, and it passes on


class Outsider(NamedTuple):
    """Somebody whose words the library repeats.

    Attributes:
        settings: What ``install`` is given; ``text`` is the hostile text.
        then: What the program does after its record.
    """

    settings: str
    then: str = ""


OUTSIDERS = {
    "an exporter that raises": Outsider("exporter=Exporter(text)"),
    "a provider that raises": Outsider("logger_provider=Provider(text)"),
    "a meter provider that raises": Outsider(
        "exporter=Exporter(text), meter_provider=Meters(text)"
    ),
    "a follower's filter that raises": Outsider(
        "exporter=None", then="follower = tasklog.follow(logger=Filter(text)); "
        "logging.warning('x'); tasklog.flush()"
    ),
    "a logging configuration": Outsider(
        "exporter=None, level=12, loggers=['', text]",
        then="logging.addLevelName(11, text); "
        "logging.basicConfig(force=True, level=11); tasklog.flush()",
    ),
}  # fmt: skip

PASSED_ON = """
import logging, os, sys
import otel_tasklog
from hostile_texts import EVERYTHING, HOSTILE

class Raises(Exception):
    def __repr__(self):
        return self.args[0]

class Exporter:
    def __init__(self, text):
        self.text = text
    def export(self, batch):
        raise Raises(self.text)
    def shutdown(self):
        raise Raises(self.text)

class Provider:
    def __init__(self, text):
        self.text = text
    def get_logger(self, name, *more, **options):
        return self
    def emit(self, record):
        raise Raises(self.text)

class Meters:
    def __init__(self, text):
        self.text = text
    def get_meter(self, *name, **options):
        raise Raises(self.text)

class Filter(str):
    def __eq__(self, other):
        raise Raises(str(self))
    __hash__ = str.__hash__
"""


@pytest.mark.parametrize("name", OUTSIDERS)
def test_diagnostics_with_others_words_are_harmless(name: str) -> None:
    outsider = OUTSIDERS[name]
    stdout, stderr = output(
        f"{PASSED_ON}\n"
        "text = EVERYTHING\n"
        f"tasklog = otel_tasklog.install({outsider.settings})\n"
        "logging.critical('x')\n"
        "tasklog.flush(0.2)\n"
        f"{outsider.then}\n"
        "tasklog.close(0.2)\n"
        "print(tasklog.stats().last_error)\n"
    )
    assert len(first_lines(stdout)) == 1
    assert r"\x1b" in stderr
    first_lines(stderr)


class _Rude(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    texts = cycle(HOSTILE.values())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        said = next(self.texts).encode(errors="surrogatepass")
        self.send_response(400)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def rude() -> Iterator[str]:
    """A receiver that refuses everything, in hostile words."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Rude) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_receivers_answer_is_repeated_harmlessly(rude: str, tmp_path: Path) -> None:
    """Also the name of a folder that its refusals cannot be written to."""
    stdout, stderr = output(
        f"{PASSED_ON}\n"
        # What a name can have.
        "name = ''.join({*EVERYTHING} - {*'\\0/'}).encode(errors='ignore').decode()\n"
        f"folder = os.path.join({str(tmp_path)!r}, name)\n"
        "os.mkdir(folder, 0o700); open(os.path.join(folder, 'refused'), 'w').close()\n"
        "for text in HOSTILE.values():\n"
        f"    with otel_tasklog.install(endpoint={rude!r}, spool_dir=folder) as tasklog:\n"
        "        logging.warning('x'); tasklog.flush()\n"
        "        print(tasklog.stats().last_error); print(tasklog.refused())"
    )
    assert len(first_lines(stdout)) == 2 * RECORDS
    said = first_lines(stderr)
    assert sum("refused for good" in line for line in said) == RECORDS
    assert sum("cannot be written to" in line for line in said) == RECORDS


def test_the_demo_repeats_it_harmlessly(rude: str) -> None:
    done = subprocess.run(
        [*COMMAND, "demo", "--seconds", "1", "--no-monitor"],
        capture_output=True, check=False, timeout=60,
        env=environment(
            OTEL_EXPORTER_OTLP_ENDPOINT=rude,
            PYTHONIOENCODING="ascii",
        ),
    )  # fmt: skip
    printed = done.stdout.decode()
    assert (done.returncode, done.stderr) == (1, b"")
    assert "Not everything arrived" in printed
    assert unprintable(printed) == set()
    assert printed.isascii()


# The telnet monitor

OBSERVED = f"""{LOGS}
def observe():
    sys.stdin.readline()

async def watched():
    with otel_tasklog.install(exporter=None, console=False) as tasklog:
        async with tasklog.monitor(port=0, web_port=0) as monitor:
            print(monitor.port, flush=True)
            await main(observe)

asyncio.run(watched())
"""


@pytest.mark.parametrize("columns", [40, 120, 400])
def test_the_monitor_prints_harmless_lines(columns: int) -> None:
    process = subprocess.Popen(
        program(OBSERVED), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert process.stdout is not None
    with Telnet(int(process.stdout.readline()), columns=columns) as telnet:
        tasks = telnet.command("tasks")
        logs: list[str] = []
        for line in tasks:
            if found := re.match(r" *(\d+) ", line):
                *record, summary = telnet.command(f"logs {found[1]}")
                assert summary.startswith(("-- 1 of 1 records", CONTINUED))
                logs += record
    _, errors = process.communicate(b"\n", timeout=30)
    assert (process.returncode, errors) == (0, b"")
    for lines in (tasks, logs):
        assert unprintable("".join(lines)) == set()
        assert max(map(len, lines)) <= columns
    assert sum(bool(RECEIVED.match(line)) for line in logs) == RECORDS
    firsts = [line for line in tasks if not line.startswith(CONTINUED)]
    # Above them the header; below main's task, and the summary.
    assert len(firsts) == 1 + RECORDS + 2
