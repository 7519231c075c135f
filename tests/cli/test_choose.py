"""Which processes the options choose, and what is said of those that are not there."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from hostile_texts import EVERYTHING
from served import listen, serve

from otel_tasklog.cli import _ask_all
from otel_tasklog.cli._choose import Chosen, choosing
from otel_tasklog.cli._client import Peer
from otel_tasklog.cli._commands import make_cli
from otel_tasklog.cli._failures import Unreachable, run
from otel_tasklog.viewer._places import DIRECTORY_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from served import Served


def names(chosen: Chosen) -> list[str]:
    """The services of those that answer, in order."""
    with contextlib.closing(chosen):
        return [peer.info.service_name for peer in chosen.peers()]


@pytest.fixture
def other(runtime: dict[str, str], served: Served) -> Iterator[Served]:
    """One more, at a place of the parent's."""
    with serve(runtime, pid=os.getppid(), service_name="web") as other:
        yield other


@pytest.fixture
def ended() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def leave_a_socket(runtime: dict[str, str], pid: int) -> Path:
    path = Path(runtime[DIRECTORY_VARIABLE]) / f"{pid}-0.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    return path


def test_nothing_chosen_is_every_process(served: Served, other: Served) -> None:
    assert sorted(names(Chosen())) == ["shop", "web"]


def test_what_is_chosen_adds_up(served: Served, other: Served) -> None:
    assert names(Chosen(pids=[os.getppid()])) == ["web"]
    assert names(Chosen(services=["shop"])) == ["shop"]
    assert names(Chosen(sockets=[other.place.path])) == ["web"]
    assert sorted(names(Chosen([os.getpid()], ["web"]))) == ["shop", "web"]
    both = Chosen(pids=[os.getpid()], sockets=[other.place.path])
    assert sorted(names(both)) == ["shop", "web"]
    twice = Chosen(services=["shop"], sockets=[served.place.path])
    assert names(twice) == ["shop"]


def test_a_place_that_is_named_need_not_be_in_the_directory(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, "/nowhere")
    assert names(Chosen(sockets=[served.place.path])) == ["shop"]


def test_of_one_that_is_missing_there_is_a_line_and_the_others_are_asked(
    served: Served, ended: int, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = Chosen(pids=[os.getpid(), ended])
    assert names(chosen) == ["shop"]
    assert chosen.failed
    errors = capsys.readouterr().err
    assert errors == (
        f"otel-tasklog: there is no process {ended}: see 'otel-tasklog ps'\n"
    )


def test_a_process_without_an_access_point_is_told_what_it_needs(
    served: Served,
) -> None:
    with pytest.raises(Unreachable) as caught:
        Chosen(pids=[os.getppid()]).peers()
    assert f"process {os.getppid()} has no access point" in caught.value.message
    assert "otel-tasklog[attach]" in caught.value.message
    assert "OTEL_TASKLOG_ATTACH" in caught.value.message


def test_of_a_service_that_is_missing_the_others_are_named(
    served: Served, other: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unreachable, match="'nobody': there are shop, web"):
        names(Chosen(services=["nobody"]))
    monkeypatch.setattr(_ask_all, "_SHOWN_SERVICES", 1)
    with pytest.raises(Unreachable, match=r"there are shop, \.\.\.$"):
        names(Chosen(services=["nobody"]))


@pytest.mark.parametrize("exists", [True, False], ids=["empty", "not there"])
def test_nobody_to_ask_is_said_with_what_it_takes(
    runtime: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, exists: bool
) -> None:
    directory = runtime[DIRECTORY_VARIABLE] + ("" if exists else "/none")
    monkeypatch.setenv(DIRECTORY_VARIABLE, directory)
    for chosen in (Chosen(), Chosen(services=["shop"])):
        with pytest.raises(Unreachable, match="there is no process to ask") as caught:
            chosen.peers()
        assert directory in caught.value.message


def test_a_directory_that_others_may_enter_is_refused(
    served: Served, runtime: dict[str, str]
) -> None:
    Path(runtime[DIRECTORY_VARIABLE]).chmod(0o755)
    with pytest.raises(Unreachable, match="is open to other users"):
        Chosen().peers()


def test_the_file_of_a_process_that_is_dead_is_removed(
    served: Served, runtime: dict[str, str], ended: int
) -> None:
    path = leave_a_socket(runtime, ended)
    assert names(Chosen()) == ["shop"]
    assert not path.exists()


def test_a_file_that_was_named_is_not_removed(
    served: Served, runtime: dict[str, str], ended: int
) -> None:
    path = leave_a_socket(runtime, ended)
    assert run(make_cli(), ["ps", "--socket", str(path)]) == 3
    assert path.exists()


def test_the_file_of_a_process_that_runs_is_not_removed(
    served: Served, runtime: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = leave_a_socket(runtime, os.getppid())
    chosen = Chosen()
    assert names(chosen) == ["shop"]
    assert chosen.failed
    assert path.exists()
    assert f"nothing listens at {path}" in capsys.readouterr().err


def test_those_that_do_not_answer_are_waited_for_all_at_once(
    runtime: dict[str, str], served: Served
) -> None:
    """Ten that each send just enough not to be too slow are told apart from one."""
    ended = threading.Event()

    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not ended.wait(0.02):
            connection.sendall(b"x")

    directory = Path(runtime[DIRECTORY_VARIABLE])
    with contextlib.ExitStack() as stack:
        for number in range(1, 11):
            stack.enter_context(
                listen(directory / f"{os.getpid()}-{number}.sock", trickle)
            )
        stack.callback(ended.set)
        chosen = stack.enter_context(contextlib.closing(Chosen()))
        answers = [answer for _, answer in chosen.answers(0.5)]
    assert [each.info.service_name for each in answers if isinstance(each, Peer)] == [
        "shop"
    ]
    others = [each.state for each in answers if isinstance(each, Unreachable)]
    assert others == ["no answer"] * 10


def test_all_are_asked_the_same_and_those_that_leave_are_left_out(
    served: Served, other: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    served.log.info("one")
    answered = Chosen().ask("/v1/stats")
    assert {peer.info.service_name: each["captured"] for peer, each in answered} == {
        "shop": 1,
        "web": 0,
    }
    assert capsys.readouterr().err == ""


def test_who_is_released_is_not_hung_up_on(served: Served, other: Served) -> None:
    chosen = Chosen()
    kept, left = chosen.peers()
    chosen.release({kept})
    chosen.close()
    with contextlib.closing(kept):
        assert kept.get("/healthz") is not None
    with pytest.raises(RuntimeError):
        left.get("/healthz")


def test_a_command_gets_what_was_chosen_and_ends_with_1_if_one_was_missing(
    served: Served, ended: int
) -> None:
    seen: list[object] = []

    @click.command("look")
    @choosing
    @click.option("--twice", is_flag=True)
    def look(chosen: Chosen, twice: bool) -> None:  # noqa: FBT001
        """Look."""
        seen.extend([names(chosen), twice])

    cli = make_cli()
    cli.add_command(look)
    assert run(cli, ["look", "--twice"]) == 0
    assert seen == [["shop"], True]
    assert run(cli, ["look", "--pid", str(os.getpid()), "--pid", str(ended)]) == 1
    assert run(cli, ["look", "--pid", str(ended)]) == 3


def completions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> list[str]:
    """What a shell is told that a line may go on with, its last word begun."""
    monkeypatch.setenv("_OTEL_TASKLOG_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(["otel-tasklog", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    assert run(make_cli(), []) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return [line.partition(",")[2] for line in said.out.split()]


def test_a_shell_completes_processes_and_services(
    served: Served,
    other: Served,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert completions(monkeypatch, capsys, "ps", "--service", "") == ["shop", "web"]
    assert completions(monkeypatch, capsys, "ps", "--service", "w") == ["web"]
    # Both answer from this process.
    assert completions(monkeypatch, capsys, "ps", "--pid", "") == [str(os.getpid())]
    assert completions(monkeypatch, capsys, "ps", "--pid", "x") == []
    assert "--json" in completions(monkeypatch, capsys, "ps", "--")
    assert "stats" in completions(monkeypatch, capsys, "s")


def test_a_shell_is_told_nothing_that_cannot_be_typed(
    runtime: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serve(runtime, service_name=EVERYTHING):
        assert completions(monkeypatch, capsys, "ps", "--service", "") == []
    assert completions(monkeypatch, capsys, "ps", "--pid", "") == []
    monkeypatch.setenv(DIRECTORY_VARIABLE, "/proc/self/status")
    assert completions(monkeypatch, capsys, "ps", "--pid", "") == []
