"""Commands that cannot do what they are asked: one line that says what to do."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest
from hostile_texts import EVERYTHING, unprintable
from served import serve

from otel_tasklog.cli._failures import complain
from otel_tasklog.viewer._places import DIRECTORY_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from cli.conftest import Ran
    from served import Served

BASH = shutil.which("bash") or ""
COMMAND = [sys.executable, "-m", "otel_tasklog"]
PROGRAM = """
import logging, sys, otel_tasklog
otel_tasklog.install(
    service_name=sys.argv[1], level="INFO", console=False, exporter=None, attach=True
)
logging.info("one")
assert otel_tasklog.current().flush(10)
print("ready", flush=True)
sys.stdin.read()
"""
AS_NOBODY = """
import os, sys
import otel_tasklog.cli._commands, otel_tasklog.cli._failures
os.setuid(65_534)  # who may not be allowed to read what is imported
sys.exit(otel_tasklog.cli.main())
"""


def is_one_line(text: str) -> bool:
    """Whether it is a line of ours, which a terminal can be shown."""
    return re.fullmatch(
        r"otel-tasklog: [^\n]+\n", text
    ) is not None and not unprintable(text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--pdi", "No such option '--pdi'"),
        ("stas", "No such command 'stas'. (Did you mean"),
        ("\x1b[2J\n", r"No such command '\x1b[2J\n'"),
        ("ps --pdi 1", "Did you mean '--pid'?"),
        ("ps --pid x", "Invalid value for '--pid'"),
        ("ps --pid 0", "0 is not in the range x>=1"),
        ("ps --pid", "Option '--pid' requires an argument"),
        ("ps shop", "unexpected extra argument"),
        ("stats --watch 0", "0.0 is not in the range"),
        ("stats --watch nan", "'nan' is no number of seconds"),
        ("stats --watch inf", "inf is not in the range"),
        ("demo --seconds nan", "'nan' is no number of seconds"),
        ("completion", "Missing argument"),
        ("completion csh", "'csh' is not one of 'bash', 'zsh', 'fish'"),
    ],
    ids=str,
)
def test_bad_usage_is_one_line_and_status_2(
    command: Callable[..., Ran], arguments: str, said: str
) -> None:
    ran = command(*arguments.split(" "))
    assert (ran.status, ran.output) == (2, "")
    assert is_one_line(ran.errors), ran.errors
    assert said in ran.errors
    assert re.search(r"\(see 'otel-tasklog.* --help'\)$", ran.errors)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--pid 4194304", "there is no process 4194304"),
        (f"--pid {10**30}", f"there is no process {10**30}"),
        pytest.param(f"--pid {os.getpid()}", "has no access point", id="this process"),
        (
            "--service \x1b[2J",
            r"no process is of the service '\x1b[2J': there are shop",
        ),
        ("--socket /nowhere", "No such file"),
        ("--socket /nowhere.json", "No such file"),
        ("--socket \x1b[2J", r"\x1b[2J: No such file"),
        ("--socket /", "is no socket"),
        ("--socket .", "is no socket"),
        ("--socket /etc/passwd", "is no socket"),
        ("--socket /dev/null", "is no socket"),
        ("--socket /etc/passwd/x", "Not a directory"),
        (f"--socket {'x' * 300}", "name too long"),
    ],
    ids=lambda text: str(text)[:40],
)
@pytest.mark.parametrize("name", ["ps", "stats"])
def test_nothing_to_ask_is_one_line_and_status_3(
    runtime: dict[str, str],
    command: Callable[..., Ran],
    name: str,
    arguments: str,
    said: str,
) -> None:
    with serve(runtime, pid=os.getppid()):
        ran = command(name, *arguments.split(" "))
    assert ran.status == 3
    assert is_one_line(ran.errors), ran.errors
    assert said in ran.errors


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.symlink_to("/tmp"),  # noqa: S108
        lambda path: path.write_text(""),
        lambda path: path.mkdir(0o755),
    ],
    ids=["a link", "a file", "open to others"],
)
def test_a_directory_that_is_not_to_be_trusted_is_status_3(
    runtime: dict[str, str],
    command: Callable[..., Ran],
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], object],
) -> None:
    path = Path(runtime[DIRECTORY_VARIABLE]) / "other"
    make(path)
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(path))
    ran = command("ps")
    assert (ran.status, ran.output) == (3, "")
    assert is_one_line(ran.errors), ran.errors
    assert DIRECTORY_VARIABLE in ran.errors


def test_without_the_client_its_extra_is_named(
    served: Served, command: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    ran = command("ps")
    assert (ran.status, ran.output) == (2, "")
    assert is_one_line(ran.errors)
    assert "pip install 'otel-tasklog[cli]'" in ran.errors


@contextlib.contextmanager
def program(
    runtime: dict[str, str], service: str = "shop"
) -> Generator[subprocess.Popen[str]]:
    """A program that logged once, and waits."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, service],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, **runtime},
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            place = Path(runtime[DIRECTORY_VARIABLE], f"{process.pid}-0.sock")
            deadline = time.monotonic() + 20
            while not place.exists():  # its worker is about to open it
                assert time.monotonic() < deadline
                threading.Event().wait(0.01)
            yield process
        finally:
            process.kill()


@pytest.fixture
def shop(runtime: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    with program(runtime) as process:
        yield process


def ask(
    *arguments: str, stdout: int | IO[str] = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, timeout=50,
    )  # fmt: skip


@contextlib.contextmanager
def watching() -> Generator[subprocess.Popen[str]]:
    """``stats --watch``, once it has printed its first line."""
    with subprocess.Popen(
        [*COMMAND, "stats", "--json", "--watch", "0.1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            assert '"captured": 1' in process.stdout.readline()
            yield process
        finally:
            process.kill()


@pytest.mark.e2e
def test_a_process_that_is_stopped_does_not_answer_and_harms_nobody(
    shop: subprocess.Popen[str], runtime: dict[str, str]
) -> None:
    with program(runtime, "web"):
        shop.send_signal(signal.SIGSTOP)
        ran = ask("ps")
        alone = ask("stats", "--pid", str(shop.pid))
        shop.send_signal(signal.SIGCONT)
    assert ran.returncode == 1
    assert [line.split()[0] for line in ran.stdout.splitlines()] == [
        "SERVICE",
        "web",
        "-",
    ]
    assert ran.stdout.endswith("no answer\n")
    assert is_one_line(ran.stderr)
    assert "did not answer within 2 s" in ran.stderr
    assert alone.returncode == 3
    assert is_one_line(alone.stderr)
    assert ask("ps").returncode in {0, 1}  # it goes on; the other one was killed


@pytest.mark.e2e
def test_a_process_that_was_killed_is_forgotten(
    shop: subprocess.Popen[str], runtime: dict[str, str]
) -> None:
    left = list(Path(runtime[DIRECTORY_VARIABLE]).iterdir())
    assert len(left) == 1
    shop.kill()
    shop.wait(10)
    ran = ask("stats", "--socket", str(left[0]))
    assert ran.returncode == 3
    assert "the process has ended" in ran.stderr
    ran = ask("ps", "--pid", str(shop.pid))
    assert (ran.returncode, ran.stdout) == (3, "")
    assert is_one_line(ran.stderr)
    assert f"there is no process {shop.pid}" in ran.stderr
    assert list(Path(runtime[DIRECTORY_VARIABLE]).iterdir()) == []


@pytest.mark.e2e
def test_watching_ends_with_the_process(shop: subprocess.Popen[str]) -> None:
    with watching() as watch:
        shop.kill()
        shop.wait(10)
        _, errors = watch.communicate(timeout=20)
    assert watch.returncode == 3
    assert is_one_line(errors), errors


@pytest.mark.e2e
def test_control_c_ends_quietly(shop: subprocess.Popen[str]) -> None:
    with watching() as watch:
        watch.send_signal(signal.SIGINT)
        _, errors = watch.communicate(timeout=20)
    assert (watch.returncode, errors) == (130, "")


@pytest.mark.e2e
def test_a_closed_pipe_ends_quietly(shop: subprocess.Popen[str]) -> None:
    with watching() as watch:
        assert watch.stdout is not None
        assert watch.stderr is not None
        watch.stdout.close()  # as `| head -1` does
        assert watch.wait(20) == 0
        assert watch.stderr.read() == ""


def test_a_query_that_does_not_fit_into_a_request_is_said(
    runtime: dict[str, str], command: Callable[..., Ran]
) -> None:
    with serve(runtime) as served:
        served.log.info("something")
        for name in ("query", "tasks", "export"):
            ran = command(name, "\u65e5" * 9_999)
            assert (ran.status, ran.output) == (2, "")
            assert is_one_line(ran.errors), ran.errors
            assert "the query is too long" in ran.errors


def test_lines_of_several_threads_are_not_mixed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def complain_often() -> None:
        for _ in range(200):
            complain("x" * 50)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=complain_often) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    lines = capfd.readouterr().err.splitlines()
    assert lines == [f"otel-tasklog: {'x' * 50}"] * 800


@pytest.mark.e2e
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_a_full_disk_is_said(shop: subprocess.Popen[str]) -> None:
    with Path("/dev/full").open("w") as full:
        ran = ask("ps", stdout=full)
    assert ran.returncode == 1
    assert is_one_line(ran.stderr)
    assert "No space left" in ran.stderr


@pytest.mark.e2e
@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0,
    reason="only the superuser can be another user",
)
def test_another_user_is_refused(
    shop: subprocess.Popen[str], runtime: dict[str, str]
) -> None:
    def ask_as_nobody(*arguments: str) -> str:
        ran = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, *arguments],
            capture_output=True, text=True, check=False, timeout=50,
        )  # fmt: skip
        assert (ran.returncode, ran.stdout) == (3, ""), ran.stderr
        assert is_one_line(ran.stderr), ran.stderr
        return ran.stderr

    directory = Path(runtime[DIRECTORY_VARIABLE])
    path = str(next(directory.iterdir()))
    assert "belongs to another user (uid 0)" in ask_as_nobody("ps")
    assert "Permission denied" in ask_as_nobody("stats", "--socket", path)
    directory.chmod(0o711)  # the socket alone guards itself, too
    assert "belongs to another user (uid 0)" in ask_as_nobody("stats", "--socket", path)


class Terminal:
    """What a command writes to, and what of it is on the screen's side."""

    def __init__(self) -> None:
        pty = pytest.importorskip("pty")
        self._mine, self.theirs = pty.openpty()
        self.shown = b""

    def read_until(self, done: Callable[[bytes], bool]) -> None:
        while not done(self.shown) and select.select([self._mine], [], [], 20)[0]:
            try:
                self.shown += os.read(self._mine, 65_536)
            except OSError:  # all was read
                return

    def close(self) -> None:
        os.close(self._mine)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


@pytest.mark.e2e
def test_no_name_steers_a_real_terminal(
    runtime: dict[str, str], terminal: Terminal
) -> None:
    with serve(runtime, service_name=EVERYTHING), os.fdopen(terminal.theirs) as theirs:
        ran = ask("ps", stdout=theirs)
    terminal.read_until(lambda _: False)
    assert ran.returncode == 0
    assert terminal.shown.count(b"\r\n") == 2
    assert not unprintable(terminal.shown.decode(), "\r\n")


@pytest.mark.e2e
def test_a_terminal_is_cleared_each_time_that_it_is_watched(
    shop: subprocess.Popen[str], terminal: Terminal
) -> None:
    with subprocess.Popen(
        [*COMMAND, "stats", "--watch", "0.1"],
        stdout=terminal.theirs, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TERM": "xterm"},
    ) as process:  # fmt: skip
        os.close(terminal.theirs)
        terminal.read_until(lambda shown: shown.count(b"\x1b[2J") >= 2)
        process.send_signal(signal.SIGINT)
        terminal.read_until(lambda _: False)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (130, "")
    screen = terminal.shown.split(b"\x1b[2J")[1]
    assert b"captured" in screen
    assert not unprintable(screen.replace(b"\x1b[H", b"").decode(), "\r\n")


@pytest.mark.e2e
def test_something_else_that_listens_is_one_line(runtime: dict[str, str]) -> None:
    path = Path(runtime[DIRECTORY_VARIABLE]) / f"{os.getpid()}-0.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        with subprocess.Popen(
            [*COMMAND, "stats"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            for _ in range(2):  # it knocks, and then asks
                connection, _ = listening.accept()
                with connection, contextlib.suppress(OSError):
                    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
            output, errors = process.communicate(timeout=20)
    assert (process.returncode, output) == (3, "")
    assert is_one_line(errors), errors


@pytest.mark.e2e
@pytest.mark.skipif(not BASH, reason="there is no bash")
def test_the_script_for_bash_completes_commands() -> None:
    script = f"""
    otel-tasklog() {{ {" ".join(COMMAND)} "$@"; }}
    export -f otel-tasklog
    eval "$(otel-tasklog completion bash)"
    complete -p otel-tasklog
    """
    ran = subprocess.run(
        [BASH, "-c", script], capture_output=True, text=True, check=False, timeout=50
    )
    assert ran.returncode == 0, ran.stderr
    assert re.fullmatch(r"complete .*_completion otel-tasklog\n", ran.stdout)


@pytest.mark.e2e
def test_without_a_command_there_is_help_on_stderr() -> None:
    ran = ask()
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("Usage: otel-tasklog ")
