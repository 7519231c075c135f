"""``otel-tasklog query``: what it finds, in which order, and how it looks."""

from __future__ import annotations

import datetime
import io
import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from rich.console import Console
from rings import sealed
from served import serve

import otel_tasklog
from otel_tasklog import TaskRecord
from otel_tasklog.cli._lines import print_record
from otel_tasklog.viewer._openapi import DOCUMENT, RECORDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from served import Served

    Command = Callable[..., Any]

CLOCK = re.compile(r"^\d\d:\d\d:\d\d\.\d{3} ", re.MULTILINE)
RECORD = Draft202012Validator({**DOCUMENT, "$ref": "#/components/schemas/Record"})


def texts(output: str) -> list[str]:
    """Return the messages of lines."""
    return [line.rpartition(": ")[2] for line in output.splitlines()]


def test_it_shows_the_newest_that_match_the_oldest_first(
    served: Served, command: Command
) -> None:
    for number in range(5):
        served.log.warning("m%d", number, extra={"n": number})
    served.log.info("not this")
    ran = command("query", "level>=warning", "message:m", "-n", "3")
    assert (ran.status, ran.errors) == (0, "")
    assert CLOCK.sub("", ran.output).splitlines() == [
        f"WARNING  - {served.log.name}: m{n} n={n}" for n in (2, 3, 4)
    ]
    oldest = command("query", "level>=warning", "--oldest", "-n", "2").output
    assert "m0" in oldest.splitlines()[0]
    assert "m1" in oldest.splitlines()[1]


def test_it_pages_through_as_many_as_are_asked_for(
    served: Served, command: Command
) -> None:
    for number in range(RECORDS + 20):
        served.log.info("m%d", number)
    some = command("query", "-n", str(RECORDS + 10)).output
    assert texts(some) == [f"m{n}" for n in range(10, RECORDS + 20)]
    first = command("query", "-n", str(RECORDS + 10), "--oldest").output
    assert texts(first) == [f"m{n}" for n in range(RECORDS + 10)]


def test_several_processes_are_merged_by_time_and_named(
    runtime: dict[str, str], command: Command
) -> None:
    with (
        serve(runtime, service_name="shop") as shop,
        serve(runtime, number=1, service_name="bank") as bank,
    ):
        for number in range(3):
            shop.log.info("s%d", number)
            bank.log.info("b%d", number)
        ran = command("query", "-n", "5")
        assert texts(ran.output) == ["b0", "s1", "b1", "s2", "b2"]
        names = [line.partition(" ")[0] for line in ran.output.splitlines()]
        assert names == [bank.name, shop.name, bank.name, shop.name, bank.name]
        values = map(json.loads, command("query", "--json").output.splitlines())
        sources = [value["source"] for value in values]
        assert sources == [shop.name, bank.name] * 3
        alone = command("query", "--service", "bank").output
        assert texts(alone) == ["b0", "b1", "b2"]
        assert bank.name not in alone


def test_json_is_the_record_of_the_api(served: Served, command: Command) -> None:
    with otel_tasklog.task("order-1"):
        served.log.error("größe", exc_info=ValueError("\x1b[31m"), extra={"a": [1]})
    output = command("query", "--json").output
    assert output.isascii()
    assert "\x1b" not in output
    value = json.loads(output)
    RECORD.validate(value)
    assert (value["message"], value["task_id"]) == ("größe", "order-1")


def test_context_is_shown_once_and_apart(served: Served, command: Command) -> None:
    for number in range(20):
        level = 40 if number in {3, 4, 12} else 20
        served.log.log(level, "m%d", number)
    ran = command("query", "level:error", "-C", "1")
    shown = [
        line if line == "--" else line[:2] + line.rpartition("m")[2]
        for line in ran.output.splitlines()
    ]
    assert shown == [
        "  2", "> 3", "> 4", "  5", "--", "  11", "> 12", "  13",
    ]  # fmt: skip
    values = [
        json.loads(line)
        for line in command("query", "m12", "-C", "1", "--json").output.splitlines()
    ]
    assert [value["matches"] for value in values] == [False, True, False]


def test_context_of_several_processes_is_of_each_alone(
    runtime: dict[str, str], command: Command
) -> None:
    with (
        serve(runtime, service_name="shop") as shop,
        serve(runtime, number=1, service_name="bank") as bank,
    ):
        shop.log.info("before")
        bank.log.info("elsewhere")
        shop.log.error("failed")
        output = command("query", "failed", "-C", "1").output
    assert texts(output) == ["before", "failed"]


def test_since_and_until_are_those_of_the_language(
    served: Served, command: Command
) -> None:
    served.log.info("m")
    assert command("query", "--since", "1m").status == 0
    assert command("query", "--until", "1m").status == 1
    ran = command("query", "--since", "yesterday")
    assert ran.status == 2
    assert "90s, 5m, 2h, 1d" in ran.errors
    assert command("query", "--since=-99999999d").status == 2


def test_nothing_that_matches_is_status_1_and_says_so(
    served: Served, command: Command
) -> None:
    served.log.info("m")
    ran = command("query", "nothing")
    assert ran == (1, "", "otel-tasklog: no record matches\n")


@pytest.mark.parametrize("name", ["query", "tail", "export"])
def test_a_query_that_means_nothing_is_shown_with_its_place(
    name: str, served: Served, command: Command
) -> None:
    ran = command(name, "timeout", "levle:error")
    assert ran.status == 2
    assert ran.output == ""
    first, text, mark = ran.errors.splitlines()
    assert "did you mean 'level'?" in first
    assert text == "  timeout levle:error"
    assert mark == "  " + " " * len("timeout ") + "^"


def test_a_file_is_asked_instead_of_processes(
    served: Served, command: Command, tmp_path: Path
) -> None:
    for number in range(5):
        served.log.info("m%d", number)
    path = tmp_path / "log.ndjson"
    path.write_text(command("query", "--json").output)
    served.log.info("later")
    ran = command("query", "--file", str(path), "-n", "2")
    assert texts(ran.output) == ["m3", "m4"]
    ran = command("query", "--file", str(tmp_path / "no such file"))
    assert ran.status == 2
    assert "no such file: No such file or directory" in ran.errors


def test_a_failing_file_costs_the_others_nothing(
    command: Command, tmp_path: Path
) -> None:
    good = tmp_path / "good"
    good.write_text('{"logger":"x","level":20,"timestamp_ns":1,"message":"m"}\n')
    ran = command("query", "--file", str(tmp_path), "--file", str(good))
    assert (ran.status, texts(ran.output)) == (1, ["m"])
    assert "Is a directory" in ran.errors


# How a record looks.


def printed(record: TaskRecord, width: int = 80, **settings: Any) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, **settings)
    print_record(console, record, source="shop/1")
    return file.getvalue()


def test_no_text_of_a_record_reaches_the_terminal_as_it_is() -> None:
    nasty = "a\x1b[31m\r\n\u202e\x9b"
    record = TaskRecord(
        sealed(1, nasty, message=nasty, logger=nasty, exception=nasty,
               attributes={nasty: nasty}, timestamp_ns=time.time_ns())
    )  # fmt: skip
    shown = printed(record, 10_000, no_color=True, color_system=None)
    first, *below = shown.splitlines()
    assert all(line.isprintable() for line in (first, *below))
    assert first.count("a\\x1b[31m\\r\\n\\u202e\\x9b") == 5
    assert all(line.startswith("  | ") for line in below)


def test_a_terminal_gets_colours_and_no_line_that_it_would_wrap() -> None:
    record = TaskRecord(
        sealed(1, "job", 40, message="größe 日本 " * 20, exception="ValueError",
               timestamp_ns=time.time_ns())
    )  # fmt: skip
    shown = printed(record, 40, color_system="standard")
    assert "\x1b[32mERROR" in shown  # the number says that it is INFO
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    first, *others = plain.splitlines()
    assert len(first) <= 40
    assert all(line.startswith("  | ") and len(line) <= 40 for line in others)
    assert "ValueError: it failed" in plain


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    record = TaskRecord(sealed(1, "job", 40, timestamp_ns=time.time_ns()))
    assert "\x1b[31m" not in printed(record)


def test_the_time_is_local_and_has_a_date_unless_it_is_todays() -> None:
    now = time.time_ns()
    local = datetime.datetime.fromtimestamp(now // 10**9, datetime.UTC).astimezone()
    today = printed(TaskRecord(sealed(1, timestamp_ns=now)), color_system=None)
    assert today.startswith(f"shop/1 {local:%H:%M:%S}.{now % 10**9 // 10**6:03} ")
    old = printed(TaskRecord(sealed(1, timestamp_ns=1_000_000_000)), color_system=None)
    then = datetime.datetime.fromtimestamp(1, datetime.UTC).astimezone()
    assert old.startswith(f"shop/1 {then:%Y-%m-%d %H:%M:%S}.000 ")
