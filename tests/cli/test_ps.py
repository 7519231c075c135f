"""``otel-tasklog ps`` and ``stats``: what they show of processes that run."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hostile_texts import EVERYTHING, HOSTILE, unprintable
from served import serve

from otel_tasklog.cli._columns import duration, in_columns
from otel_tasklog.testing import MemorySender, Rejected
from otel_tasklog.viewer._places import DIRECTORY_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.conftest import Ran
    from served import Served


class Address(NamedTuple):
    """A monitor that runs, as far as it is told."""

    host: str
    port: int
    web_port: int = 0


def test_ps_has_a_line_for_each_process(
    served: Served, runtime: dict[str, str], command: Callable[..., Ran]
) -> None:
    for _ in range(3):
        served.log.info("one")
    with serve(runtime, pid=os.getppid(), service_name="another"):
        ran = command("ps")
    assert (ran.status, ran.errors) == (0, "")
    header, *lines = [line.split() for line in ran.output.splitlines()]
    assert header == ["SERVICE", "PID", "UPTIME", "KEPT", "CAPTURED", "LAG", "STATE"]
    pid = str(os.getpid())
    assert [[*line[:2], *line[3:]] for line in lines] == [
        ["another", pid, "0", "0", "-", "ok"],
        ["shop", pid, "3", "3", "-", "ok"],
    ]


def test_ps_lists_one_that_does_not_answer_and_says_why(
    served: Served, runtime: dict[str, str], command: Callable[..., Ran]
) -> None:
    path = Path(runtime[DIRECTORY_VARIABLE]) / f"{os.getpid()}-7.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    ran = command("ps")
    assert ran.status == 1
    last = ran.output.splitlines()[-1].split()
    assert last == ["-", str(os.getpid()), "-", "-", "-", "-", "gone"]
    assert ran.errors.startswith(f"otel-tasklog: nothing listens at {path}")
    assert ran.errors.count("\n") == 1
    served_, broken = map(json.loads, command("ps", "--json").output.splitlines())
    assert served_["state"] == "ok"
    assert broken.items() >= {"pid": os.getpid(), "state": "gone"}.items()
    alone = command("ps", "--socket", str(path))
    assert alone.status == 3
    assert alone.errors.count("\n") == 1


def test_ps_as_json_is_what_each_process_says_and_where(
    served: Served, command: Callable[..., Ran]
) -> None:
    ran = command("ps", "--json")
    said = json.loads(ran.output)
    assert said["service_name"] == "shop"
    assert said["pid"] == os.getpid()
    assert said["path"] == str(served.place.path)
    assert said["state"] == "ok"
    again = command("ps", "--json", "--socket", said["path"])
    assert json.loads(again.output)["pid"] == os.getpid()


def test_ps_says_where_a_monitor_is(
    served: Served, command: Callable[..., Ran]
) -> None:
    assert "MONITOR" not in command("ps").output
    monitors: list[Any] = served.tasklog.monitors
    monitors += [Address("127.0.0.1", 20_103), Address("::1", 20_105)]
    header, line = command("ps").output.splitlines()
    assert header.split()[-1] == "MONITOR"
    assert line.split()[-2:] == ["127.0.0.1:20103", "[::1]:20105"]
    assert json.loads(command("ps", "--json").output)["monitors"][1]["port"] == 20_105
    monitors.clear()


@pytest.mark.parametrize("name", [*HOSTILE.values(), EVERYTHING], ids=[*HOSTILE, "all"])
def test_a_name_steers_no_terminal(
    runtime: dict[str, str], command: Callable[..., Ran], name: str
) -> None:
    with serve(runtime, service_name=name):
        for arguments in (["ps"], ["stats"], ["ps", "--json"], ["stats", "--json"]):
            ran = command(*arguments)
            assert ran.status == 0
            assert not unprintable(ran.output)
            if arguments == ["ps"]:
                assert len(ran.output.splitlines()) == 2
        missing = command("stats", "--service", "nobody")
    assert not unprintable(missing.errors)
    assert missing.errors.count("\n") == 1


def test_stats_has_a_column_for_each_process_and_the_reasons_of_losses(
    runtime: dict[str, str], command: Callable[..., Ran], said: list[str]
) -> None:
    refusing = MemorySender([Rejected("http 400\x1b[2J", "no\x1b[2J such tenant")])
    with (
        serve(runtime, number=1, sender=refusing) as served,
        serve(runtime, service_name="web") as other,
    ):
        served.log.info("one")
        assert served.tasklog.flush(5)
        other.log.info("one")
        ran = command("stats")
    assert (ran.status, ran.errors) == (0, "")
    header, *lines = ran.output.splitlines()
    assert header.split() == [other.name, served.name]
    assert lines[-1] == f"last_error of {served.name}: no\\x1b[2J such tenant"
    shown = {line.split()[0]: line.split()[-2:] for line in lines}
    assert shown["captured"] == shown["kept"] == ["1", "1"]
    assert shown["accepted"] == shown["rejected"] == ["0", "1"]
    assert shown["lag_seconds"] == ["-", "0.0"]
    below = lines[[line.startswith("rejected") for line in lines].index(True) + 1]
    assert below.startswith("  http 400\\x1b[2J  ")
    assert below.split()[-2:] == ["-", "1"]


def test_stats_as_json_is_a_line_for_each_process(
    served: Served, command: Callable[..., Ran]
) -> None:
    served.log.info("one")
    ran = command("stats", "--json")
    assert (ran.status, ran.errors) == (0, "")
    said = json.loads(ran.output)
    assert said["service_name"] == "shop"
    assert said["pid"] == os.getpid()
    assert said["captured"] == 1
    assert said["dropped_by"] == {}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"), (0.04, "0.0s"), (9.94, "9.9s"), (9.95, "10s"), (59.4, "59s"),
        (59.5, "1m00s"), (192, "3m12s"), (3_600, "1h00m"), (86_399, "23h59m"),
        (86_400, "1d00h"), (1e9, "11574d01h"), (-5.0, "-5.0s"),
    ],
    ids=str,
)  # fmt: skip
def test_a_duration_is_as_exact_as_it_is_long(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_columns_are_below_each_other_whatever_their_letters_take() -> None:
    rows = [("A", "N", "B"), ("日本", "1", "x"), ("a", "234", "")]
    assert in_columns(rows, right=[1]) == ["A       N  B", "日本    1  x", "a     234"]
