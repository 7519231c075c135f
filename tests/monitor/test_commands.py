"""What our commands do in a session of a real telnet client."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, TypeVar

import click
import pytest
from telnet_client import (
    DO,
    IAC,
    IP,
    PROMPT_BEGINS,
    PROMPT_ENDS,
    TIMING_MARK,
    WONT,
    Telnet,
)

from otel_tasklog import task
from otel_tasklog.testing import Retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Harness

    from otel_tasklog.monitor import Monitor

pytestmark = pytest.mark.e2e

T = TypeVar("T")


async def shop(harness: Harness, client: Callable[[Monitor], T]) -> T:
    """Run two orders, of which one waits for the other, and *client* beside them."""

    async def pay() -> None:
        async with task("payment-1"):
            harness.log.info("charging")
            await asyncio.Event().wait()

    async def order() -> None:
        async with task("order-1"):
            harness.log.warning("slow")
            await asyncio.create_task(pay(), name="pay-1")

    async with harness.tasklog.monitor(port=0, web=False) as monitor:
        live = [
            asyncio.create_task(order(), name="worker-1"),
            asyncio.create_task(asyncio.sleep(60), name="silent"),
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        try:
            return await asyncio.to_thread(client, monitor)
        finally:
            for each in live:
                each.cancel()


def ask(harness: Harness, *commands: str, columns: int = 160) -> list[list[str]]:
    """Return what each command of one session prints."""

    def client(monitor: Monitor) -> list[list[str]]:
        with Telnet(monitor.port, columns=columns) as telnet:
            return [telnet.command(command) for command in commands]

    return asyncio.run(shop(harness, client))


def test_a_follow_shows_what_comes_and_a_key_gives_the_prompt_back(
    harness: Harness,
) -> None:
    def client(monitor: Monitor) -> tuple[bytes, list[str]]:
        with Telnet(monitor.port, columns=200) as telnet:
            telnet.begin("logs level>=warning -f")
            shown = telnet.until(b": slow\r\n")
            harness.log.info("not asked for")
            harness.log.error("it broke")
            shown += telnet.until(b": it broke\r\n")
            telnet.socket.sendall(b" ")
            telnet.until(PROMPT_BEGINS)
            return shown, telnet.command("logs level>=error")

    shown, lines = asyncio.run(shop(harness, client))
    assert b"-- records with level>=warning; any key ends it" in shown
    assert b"not asked for" not in shown
    assert lines[-1] == "-- 1 of 1 records with level>=error, 4 in the ring"


@pytest.mark.parametrize("key", ["\x03", "\x1b", "q"], ids=ascii)
def test_any_key_ends_a_follow(harness: Harness, key: str) -> None:
    def client(monitor: Monitor) -> list[str]:
        with Telnet(monitor.port, columns=200) as telnet:
            telnet.begin("logs -f")
            telnet.until(b": slow\r\n")
            telnet.socket.sendall(key.encode())
            telnet.until(PROMPT_BEGINS)
            return telnet.command("logs level>=error")

    lines = asyncio.run(shop(harness, client))
    assert lines == ["-- 0 of 0 records with level>=error, 2 in the ring"]


@pytest.mark.parametrize(
    "sent", [IAC + IP, IAC + IP + IAC + DO + TIMING_MARK], ids=repr
)
def test_telnets_own_interrupt_ends_a_follow(harness: Harness, sent: bytes) -> None:
    """A client that asks for a timing mark shows nothing until it is answered."""

    def client(monitor: Monitor) -> bytes:
        with Telnet(monitor.port, columns=200) as telnet:
            telnet.begin("logs -f")
            telnet.until(b": slow\r\n")
            telnet.send(sent)
            return telnet.until(PROMPT_BEGINS)

    answer = asyncio.run(shop(harness, client))
    assert (IAC + WONT + TIMING_MARK in answer) == (TIMING_MARK in sent)


def test_a_follow_ends_with_its_client(harness: Harness) -> None:
    async def main() -> int:
        def client(monitor: Monitor) -> int:
            for end in (Telnet.abort, lambda telnet: telnet.socket.close()):
                telnet = Telnet(monitor.port, columns=200)
                telnet.begin("logs -f")
                telnet.until(b": slow\r\n")
                end(telnet)
            with Telnet(monitor.port, columns=200) as other:
                other.command("stats")
            return len(harness.tasklog._followers._feeds)

        return await shop(harness, client)

    assert asyncio.run(main()) == 0


def test_a_follow_ends_with_the_monitor(harness: Harness) -> None:
    async def main() -> float:
        def client(monitor: Monitor) -> Telnet:
            telnet = Telnet(monitor.port, columns=200)
            telnet.begin("logs -f")
            telnet.until(b": slow\r\n")
            return telnet

        telnet = await shop(harness, client)
        with telnet, pytest.raises(EOFError):
            telnet.until(PROMPT_BEGINS)
        return len(harness.tasklog._followers._feeds)

    assert asyncio.run(main()) == 0


def test_a_follow_that_cannot_keep_up_says_how_much_it_left_out(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    from otel_tasklog.monitor import _logs_command

    monkeypatch.setattr(_logs_command, "PAUSE_SECONDS", 1.0)

    def client(monitor: Monitor) -> bytes:
        with Telnet(monitor.port, columns=200) as telnet:
            telnet.begin("logs -f")
            telnet.until(b": slow\r\n")
            for _ in range(5_000):
                harness.log.info("many")
            return telnet.until(b" left out: they come too fast")

    last = asyncio.run(shop(harness, client)).rsplit(b"\n", 1)[-1]
    assert last.startswith(b"-- ")
    assert 3_000 < int(last.split()[1]) <= 5_000


def test_two_follow_while_a_third_works_and_none_waits_for_another(
    harness: Harness,
) -> None:
    def client(monitor: Monitor) -> list[str]:
        with (
            Telnet(monitor.port, columns=200) as first,
            Telnet(monitor.port, columns=200) as second,
            Telnet(monitor.port, columns=200) as third,
        ):
            for each in (first, second):
                each.begin("logs -f")
                each.until(b": slow\r\n")
            lines = third.command("log-level root INFO --for 5m")
            harness.log.info("for both")
            for each in (first, second):
                each.until(b": for both\r\n")
            return lines

    [line] = asyncio.run(shop(harness, client))
    assert line.startswith("root: INFO, until ")


def test_what_is_typed_while_a_command_runs_is_the_next_one(
    make: Callable[..., Harness],
) -> None:
    harness = make([Retry("busy", 60.0)])

    def client(monitor: Monitor) -> list[bytes]:
        with Telnet(monitor.port, columns=200) as telnet, Telnet(monitor.port) as other:
            telnet.begin("flush --timeout 1")
            telnet.socket.sendall(b"stats\r")
            other.command("stats")  # which nobody holds up
            flushed = telnet.until(PROMPT_BEGINS)
            telnet.until(PROMPT_ENDS)
            return [flushed, telnet.until(PROMPT_BEGINS)]

    flushed, stats = asyncio.run(shop(harness, client))
    lines = flushed.strip().split(b"\r\n")
    assert lines == [b"Not all in 1 s: 2 records pending.", b"last_error: busy"]
    assert b"captured" in stats


def test_ctrl_c_ends_the_wait_for_a_flush(make: Callable[..., Harness]) -> None:
    harness = make([Retry("busy", 60.0)])

    def client(monitor: Monitor) -> list[str]:
        with Telnet(monitor.port, columns=200) as telnet:
            telnet.begin("flush --timeout 1m")
            telnet.socket.sendall(b"abc\x03")
            telnet.until(PROMPT_BEGINS)
            return telnet.command("logs level>=error")

    [line] = asyncio.run(shop(harness, client))
    assert line.startswith("-- 0 of 0 records")


def test_a_flush_says_that_all_is_delivered(harness: Harness) -> None:
    [lines] = ask(harness, "flush")
    assert lines == ["All that was logged before is delivered or refused."]


def test_tasks_can_be_chosen_by_their_records_and_by_what_they_do(
    harness: Harness,
) -> None:
    warned, waiting, silent, newest, first = ask(
        harness,
        "tasks level>=warning",
        "tasks --waiting",
        "tasks --silent 1h",
        "tasks --sort records -n 1",
        "tasks -n 1",
    )
    assert [line.split()[2] for line in warned[1:-1]] == ["worker-1"]
    assert warned[-1] == "-- 1 matching live task, 2 records in the ring"
    assert {"worker-1", "pay-1", "silent"} <= {line.split()[2] for line in waiting}
    assert {line.split()[2] for line in silent[1:-1]} >= {"silent"}
    assert newest[-1] == first[-1] == "-- 1 of 4 live tasks, 2 records in the ring"


def test_tree_shows_below_a_task_those_that_it_waits_for_or_made(
    harness: Harness,
) -> None:
    for lines in ask(harness, "tree", "tree --by parents"):
        at = next(at for at, line in enumerate(lines) if "worker-1" in line)
        assert re.match(r"#\d+ worker-1 \(.*\): task #\d+ pay-1$", lines[at])
        assert re.match(r"└ #\d+ pay-1 \(.*\): Event.wait$", lines[at + 1])
        assert lines[-1].startswith("-- 4 lines; below a task are those that it ")


def test_why_shows_what_a_task_waits_on_who_waits_and_what_it_said(
    harness: Harness,
) -> None:
    by_job, by_name, unknown = ask(
        harness, "why payment-1", "why pay-1 -n 0", "why nope", columns=400
    )
    assert re.match(r"task #\d+ pay-1 \(.*\), at job payment-1$", by_job[0])
    assert by_job[1].startswith("waits on Event.wait, at ")
    assert re.fullmatch(r"awaited by #\d+ worker-1", by_job[2])
    assert by_job[-1].endswith(": charging")
    assert by_job[:3] == by_name[:3]
    assert unknown[0].startswith("✗ nothing is called nope")


def test_a_follow_of_a_task_that_never_logged_begins_with_its_first_record(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    from otel_tasklog.monitor import _logs_command

    monkeypatch.setattr(_logs_command, "LOOK_SECONDS", 0.01)

    async def main() -> None:
        speak = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def late() -> None:
            await speak.wait()
            harness.log.info("at last")
            await asyncio.sleep(60)

        def client(monitor: Monitor) -> None:
            with Telnet(monitor.port, columns=200) as telnet:
                telnet.begin("logs late -f")
                telnet.until(b"; any key ends it")
                loop.call_soon_threadsafe(speak.set)
                telnet.until(b": at last\r\n")

        task = asyncio.create_task(late(), name="late")
        await shop(harness, client)
        task.cancel()

    asyncio.run(main())


def test_a_command_that_fails_says_so_harmlessly_and_the_session_goes_on(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ValueError("\x1b[2J")

    with monkeypatch.context() as patched:
        patched.setattr(harness.tasklog, "stats", fail)
        failed, answered = ask(harness, "stats", "tree")
    assert failed[0] == "✗ this command failed"
    assert failed[-1] == r"  | ValueError: \x1b[2J"
    assert answered[-1].startswith("-- 4 lines")


def test_stats_are_names_and_numbers(harness: Harness) -> None:
    [lines] = ask(harness, "stats")
    numbers = dict(line.split(maxsplit=1) for line in lines)
    assert numbers["captured"] == "2"
    assert numbers["kept"] == "2"


def test_a_level_is_changed_for_a_while_reset_and_said(harness: Harness) -> None:
    name = harness.log.name
    lines = ask(
        harness,
        f"log-level {name} error --for 5m",
        "logs level>=error",
        f"log-level {name} reset",
        f"log-level {name}.child 15",
        columns=400,
    )
    assert lines[0][0].startswith(f"{name}: ERROR, until ")
    assert lines[0][0].endswith(" (before: Level 1)")
    assert lines[2] == [f"{name}: Level 1 (before: ERROR)"]
    assert lines[3][0].startswith(f"✗ No logger is called {name}.child; did you mean")
    assert harness.log.level == 1


def test_a_wrong_level_and_a_wrong_time_are_answered_in_a_line(
    harness: Harness,
) -> None:
    wrong, never, long, reset = ask(
        harness,
        "log-level root LOUD",
        "log-level root DEBUG --for never",
        "log-level root DEBUG --for 25h",
        "log-level root reset --for 5m",
        columns=400,
    )
    assert reset[0].endswith("reset gives back the level for good: without --for.")
    assert wrong[0].startswith("✗ level='LOUD': expected a number or one of")
    assert "expected a span of time such as 30s, 5m or 1.5h, at most 1d" in never[0]
    assert "'25h'" in long[0]


def test_a_level_that_changes_nothing_says_why(harness: Harness) -> None:
    harness.log.disabled = True
    try:
        [lines] = ask(harness, f"log-level {harness.log.name} debug", columns=400)
    finally:
        harness.log.disabled = False
    assert lines[1] == "It logs nothing all the same: this logger is disabled."


@pytest.mark.parametrize(
    "command", ["tasks", "tree", "why", "logs", "log-level", "stats", "flush"]
)
def test_help_is_printed_and_the_prompt_comes_back(
    harness: Harness, command: str
) -> None:
    usage, stats = ask(harness, f"{command} --help", "stats", columns=79)
    assert usage[0].startswith(f"Usage: {command}")
    assert stats[0].split()[0] == "captured"


def test_a_query_that_means_nothing_is_shown_with_its_place(harness: Harness) -> None:
    [lines] = ask(harness, "logs levle:x")
    assert lines[0].startswith("✗ unknown field 'levle': did you mean 'level'?")
    assert lines[-1].strip() == "^"


@pytest.mark.parametrize(
    ("typed", "added"),
    [
        ("log-l", "evel"),
        ("logs worker-", "1"),
        ("logs #1 --fol", "low"),
        ("tasks --sort rec", "ords"),
        ("log-level root INF", "O"),
    ],
    ids=lambda text: text.replace(" ", "_"),
)
def test_tab_completes_commands_options_names_and_levels(
    harness: Harness, typed: str, added: str
) -> None:
    def client(monitor: Monitor) -> None:
        with Telnet(monitor.port, columns=200) as telnet:
            telnet.socket.sendall(typed.encode() + b"\t")
            telnet.until(typed.encode())
            telnet.until(added.encode())

    asyncio.run(shop(harness, client))


def test_tab_completes_the_names_of_loggers(harness: Harness) -> None:
    logging.getLogger("completion-of.loggers")

    def client(monitor: Monitor) -> None:
        with Telnet(monitor.port, columns=200) as telnet:
            telnet.socket.sendall(b"log-level completion-of.l\t")
            telnet.until(b"completion-of.l")
            telnet.until(b"oggers")

    asyncio.run(shop(harness, client))


def test_a_client_that_stops_reading_ends_its_follow_and_no_other(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    from otel_tasklog.monitor import _telnet

    monkeypatch.setattr(_telnet, "SEND_SECONDS", 0.5)

    def client(monitor: Monitor) -> list[str]:
        stalled = Telnet(monitor.port, columns=8_000, receive_bytes=4_096)
        stalled.begin("logs -f")
        stalled.until(b": slow\r\n")
        with Telnet(monitor.port, columns=200) as other, stalled:
            while harness.tasklog._followers:
                for _ in range(100):
                    harness.log.info("x" * 8_000)
                other.command("stats")
            return other.command("logs level>=warning")

    assert asyncio.run(shop(harness, client))[-1].startswith("-- 1 of 1 records")


def test_a_monitor_that_somebody_else_started_has_none_of_it() -> None:
    from otel_tasklog.monitor._session import Session

    with pytest.raises(click.UsageError, match="not started by otel_tasklog"):
        Session(click.Context(click.Command("tasks")))
