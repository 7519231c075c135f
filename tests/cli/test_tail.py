"""``otel-tasklog tail``: nothing missed, nothing twice, in the order of time."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rings import sealed
from served import serve

from otel_tasklog import Query
from otel_tasklog.cli import _peer_source, _watch
from otel_tasklog.cli._choose import Chosen
from otel_tasklog.cli._client import open_place
from otel_tasklog.cli._failures import Unreachable
from otel_tasklog.cli._merge import Reorder, merged
from otel_tasklog.cli._peer_source import PeerSource, PeerTail
from otel_tasklog.cli._source import Entry
from otel_tasklog.cli._watch import Watch
from otel_tasklog.viewer._openapi import RECORDS
from otel_tasklog.viewer._places import DIRECTORY_VARIABLE, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from served import Served

    from otel_tasklog.cli._client import Peer

    Command = Callable[..., Any]

TEN = Query(limit=10)
EVERY = Query(limit=None, newest_first=False)


def entry(time_ns: int, source: str = "a", message: str = "m") -> Entry:
    return Entry(sealed(0, message=message, timestamp_ns=time_ns), "0-0", source, {})


def messages(entries: Iterable[Entry | None]) -> list[str]:
    return [each.record.message for each in entries if each is not None]


def some(entries: Iterator[Entry | None], count: int) -> list[str]:
    """Return the messages of the next so many; blocks until they are there."""
    found: list[Entry] = []
    while len(found) < count:
        each = next(entries)
        if each is not None:
            found.append(each)
    return messages(found)


# Order.


class Clock:
    """Says what time it is."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_records_wait_for_older_ones_of_other_sources() -> None:
    clock = Clock()
    reorder = Reorder(window_seconds=1.0, clock=clock)
    reorder.add(entry(30, "a", "third"))
    clock.now = 0.5
    reorder.add(entry(10, "b", "first"))
    reorder.add(entry(40, "b", "fourth"))
    reorder.add(entry(20, "c", "second"))
    assert list(reorder.due()) == []
    assert reorder.wait_seconds() == 0.5
    clock.now = 1.0
    assert messages(reorder.due()) == ["first", "second", "third"]
    assert reorder.wait_seconds() == 0.5
    clock.now = 1.5
    assert messages(reorder.due()) == ["fourth"]
    assert reorder.wait_seconds() is None


def test_without_a_window_nothing_waits() -> None:
    reorder = Reorder(window_seconds=0.0, clock=Clock())
    reorder.add(entry(10))
    assert messages(reorder.due()) == ["m"]


def test_with_too_many_the_first_do_not_wait() -> None:
    reorder = Reorder(max_records=2, clock=Clock())
    for number in range(5):
        reorder.add(entry(number, message=str(number)))
    assert messages(reorder.due()) == ["0", "1", "2"]
    assert messages(reorder.rest()) == ["3", "4"]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 20), st.integers(0, 3)),
        max_size=30,
    )
)
def test_all_come_out_once_each_source_in_its_own_order(
    came: list[tuple[str, int, int]],
) -> None:
    clock = Clock()
    reorder = Reorder(window_seconds=2.0, max_records=8, clock=clock)
    out: list[Entry] = []
    for number, (source, time_ns, pause) in enumerate(came):
        clock.now += pause
        reorder.add(entry(time_ns, source, str(number)))
        out += reorder.due()
    out += reorder.rest()
    assert len(out) == len(came)
    for source in "abc":
        own = [str(n) for n, each in enumerate(came) if each[0] == source]
        assert messages(each for each in out if each.source == source) == own


def test_streams_are_merged_by_time_and_read_no_further_than_needed() -> None:
    def stream(*times: int) -> Iterator[Entry]:
        for time_ns in times:
            assert time_ns != 99, "read too far"
            yield entry(time_ns, message=str(time_ns))

    found = merged([stream(1, 4, 99), stream(2, 3, 99)], newest_first=False)
    assert [next(found).record.message for _ in range(2)] == ["1", "2"]
    newest = merged([stream(4, 1), stream(3, 2)], newest_first=True)
    assert messages(newest) == ["4", "3", "2", "1"]


# One process.


@pytest.fixture
def tail_of() -> Iterator[Callable[..., PeerTail]]:
    """Make the tail of a process; whatever it has open is closed after the test."""
    tails: list[PeerTail] = []

    def tail_of(served: Served, query: Query = TEN, **settings: Any) -> PeerTail:
        source = PeerSource(open_place(served.place))
        tails.append(PeerTail(source, query, **settings))
        return tails[-1]

    yield tail_of
    for tail in tails:
        tail.source.peer.close()


def test_it_begins_with_the_newest_and_goes_on_without_a_gap(
    tail_of: Callable[..., PeerTail], served: Served
) -> None:
    for number in range(15):
        served.log.info("old %d", number)
    tail = tail_of(served, Query(limit=3))
    assert messages(tail.backlog()) == ["old 12", "old 13", "old 14"]
    served.log.info("between")
    following = tail.follow()
    served.log.info("new")
    assert some(following, 2) == ["between", "new"]


def test_it_shows_what_matches_alone(
    tail_of: Callable[..., PeerTail], served: Served
) -> None:
    served.log.info("old")
    tail = tail_of(served, Query.parse("level>=warning", limit=10))
    assert messages(tail.backlog()) == []
    served.log.info("no")
    served.log.warning("yes")
    following = tail.follow()
    assert some(following, 1) == ["yes"]
    served.log.info("no")
    served.log.error("this, too")
    assert some(following, 1) == ["this, too"]


def test_without_a_backlog_it_begins_with_all_there_is(
    tail_of: Callable[..., PeerTail], served: Served
) -> None:
    for number in range(RECORDS + 5):
        served.log.info("%d", number)
    expected = [str(number) for number in range(RECORDS + 5)]
    assert some(tail_of(served).follow(), RECORDS + 5) == expected


def test_an_empty_memory_is_no_gap(
    tail_of: Callable[..., PeerTail], served: Served
) -> None:
    tail = tail_of(served)
    assert messages(tail.backlog()) == []
    served.log.info("first")
    following = tail.follow()
    assert some(following, 1) == ["first"]
    served.log.info("second")
    assert some(following, 1) == ["second"]


def test_all_since_a_moment_may_be_more_than_one_answer_has(
    tail_of: Callable[..., PeerTail], served: Served
) -> None:
    for number in range(RECORDS + 5):
        served.log.info("%d", number)
    tail = tail_of(served, Query(since=60, limit=None, newest_first=False))
    assert len(list(tail.backlog())) == RECORDS + 5
    following = tail.follow()
    served.log.info("new")
    assert some(following, 1) == ["new"]


class Dropping:
    """A process whose first answer to a tail breaks off, after so many lines."""

    def __init__(self, peer: Peer, lines: int) -> None:
        self._peer = peer
        self._lines = lines

    def __getattr__(self, name: str) -> Any:
        return getattr(self._peer, name)

    def lines(self, path: str, **parameters: object) -> Iterator[bytes]:
        lines = self._peer.lines(path, **parameters)
        for _ in range(self._lines):
            yield next(lines)
        raise Unreachable("broken off")


def test_a_lost_connection_loses_nothing_and_repeats_nothing(
    tail_of: Callable[..., PeerTail], served: Served
) -> None:
    tail = tail_of(served, sleep=lambda _seconds: served.log.info("meanwhile"))
    list(tail.backlog())
    tail.source.peer = Dropping(tail.source.peer, 2)  # type: ignore[misc,assignment]
    following = tail.follow()
    served.log.info("0")
    assert some(following, 1) == ["0"]
    for number in range(1, 4):
        served.log.info("%d", number)
    assert some(following, 4) == ["1", "2", "3", "meanwhile"]
    served.log.info("4")
    assert some(following, 1) == ["4"]


def test_it_ends_with_the_process(
    tail_of: Callable[..., PeerTail], runtime: dict[str, str]
) -> None:
    with serve(runtime) as served:
        tail = tail_of(served, sleep=lambda _seconds: None)
        served.log.info("first")
        following = tail.follow()
        assert some(following, 1) == ["first"]
        served.log.info("last")
        assert some(following, 1) == ["last"]
    assert messages(following) == []


class Saying:
    """A process whose tail says these lines, and then is gone."""

    place = None
    name = "shop/1"

    def __init__(self, *lines: bytes) -> None:
        self._lines = lines

    @property
    def info(self) -> Any:
        return type("Info", (), {"answer": {}})

    def get(self, path: str, **_parameters: object) -> Any:
        assert path == "/v1/records"
        return {"records": [], "next": None, "complete": True}

    def lines(self, path: str, **_parameters: object) -> Iterator[bytes]:
        assert path == "/v1/tail"
        yield from self._lines

    def close(self) -> None:
        pass


def test_gaps_and_misses_are_said_on_stderr(capsys: Any) -> None:
    peer: Any = Saying(
        b'{"gap":"some came before"}', b'{"missed":3}', b'{"missed":5}', b'{"end":"x"}'
    )
    tail = PeerTail(PeerSource(peer), TEN, sleep=lambda _seconds: None)
    assert list(tail.follow()) == []
    assert capsys.readouterr().err.splitlines() == [
        "otel-tasklog: shop/1: records are missing here: some came before",
        "otel-tasklog: shop/1: records are missing here: 3 came faster than read",
        "otel-tasklog: shop/1: records are missing here: 2 came faster than read",
    ]


@pytest.mark.parametrize(
    "answer",
    [[], {}, {"records": 5, "complete": True}, {"records": [{}], "complete": True}],
    ids=str,
)
def test_an_answer_that_is_none_is_unreachable(answer: object) -> None:
    peer: Any = Saying()
    peer.get = lambda *_path, **_parameters: answer
    with pytest.raises(Unreachable, match="answers what is not understood here"):
        list(PeerSource(peer).select(EVERY))


# Several processes, and those that come.


@pytest.fixture
def watch_of(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[Chosen], Watch]]:
    """Follow processes; others are looked for when a test says so."""
    monkeypatch.setattr(_watch, "LOOK_SECONDS", 1_000.0)
    monkeypatch.setattr(_peer_source, "RETRY_SECONDS", 0.01)
    with contextlib.ExitStack() as stack:

        def watch_of(chosen: Chosen) -> Watch:
            stack.enter_context(contextlib.closing(chosen))
            watch = stack.enter_context(contextlib.closing(Watch(chosen, TEN)))
            watch.start(PeerTail(PeerSource(peer), TEN) for peer in chosen.peers())
            return watch

        yield watch_of
    reading = [t for t in threading.enumerate() if t.name.startswith("tail of ")]
    for thread in reading:
        thread.join(10)


def test_a_process_that_begins_is_followed_from_its_start(
    watch_of: Callable[[Chosen], Watch], runtime: dict[str, str], capsys: Any
) -> None:
    with serve(runtime) as shop:
        watch = watch_of(Chosen())
        with serve(runtime, number=1, service_name="bank") as bank:
            bank.log.info("before it was found")
            watch.look()
            watch.look()
            assert watch.several
            shop.log.info("beside it")
            bank.log.info("then")
            found = some(watch.entries(Reorder()), 3)
            name = bank.name
    assert sorted(found) == ["before it was found", "beside it", "then"]
    assert f"{name} is followed from its start on" in capsys.readouterr().err


def test_only_those_chosen_are_followed(
    watch_of: Callable[[Chosen], Watch], runtime: dict[str, str]
) -> None:
    with serve(runtime) as shop:
        watch = watch_of(Chosen(services=["shop"]))
        with serve(runtime, number=1, service_name="bank") as bank:
            watch.look()
            bank.log.info("not this")
            shop.log.info("this")
            assert some(watch.entries(Reorder()), 1) == ["this"]
            assert not watch.several


def test_the_next_process_of_the_service_takes_the_place_of_one_that_ended(
    watch_of: Callable[[Chosen], Watch], runtime: dict[str, str]
) -> None:
    with serve(runtime, number=7) as beside:  # was there before, and not chosen
        with serve(runtime, pid=os.getppid()) as first:
            before = {*threading.enumerate()}
            watch = watch_of(Chosen(pids=[os.getppid()]))
            entries = watch.entries(Reorder())
            first.log.info("first")
            assert some(entries, 1) == ["first"]
            started = {*threading.enumerate()} - before
            [reading] = [t for t in started if t.name.startswith("tail of ")]
        reading.join(10)
        with (
            serve(runtime, number=8, service_name="bank") as other,
            serve(runtime, number=9) as second,
        ):
            watch.look()
            other.log.info("not this")
            beside.log.info("nor this")
            second.log.info("second")
            assert some(entries, 1) == ["second"]


def test_one_that_answers_late_is_joined_with_its_newest_and_named(
    watch_of: Callable[[Chosen], Watch],
    runtime: dict[str, str],
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_watch, "ANSWER_SECONDS", 30.0)
    late = Place(
        os.getppid(), Path(runtime[DIRECTORY_VARIABLE], f"{os.getppid()}-0.sock")
    )
    with serve(runtime):
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(str(late.path))  # nobody listens yet
            watch = watch_of(Chosen())
            watch.look()
            assert not watch.several
        late.path.unlink()
        with serve(runtime, pid=os.getppid(), service_name="bank") as bank:
            for n in range(12):
                bank.log.info("%d", n)
            watch.look()
            assert some(watch.entries(Reorder()), 10) == [str(n) for n in range(2, 12)]
            assert f"{bank.name} answers now" in capsys.readouterr().err
            [line] = [t.name for t in threading.enumerate() if "bank" in t.name]
            watch.look()
            assert [t.name for t in threading.enumerate() if "bank" in t.name] == [line]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ([], 10),
        (["since:1h"], 12),
        (["--since", "1h"], 12),
        (["time>2000-01-01T00:00Z", "level:info"], 12),
        (["until:1m OR since:1h"], 10),
        (["since:1h", "-n", "3"], 3),
    ],
    ids=str,
)
def test_a_query_with_a_time_to_begin_from_shows_all_since_then(
    arguments: list[str], shown: int, served: Served, capsys: Any, command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def stop(_self: Watch, _tails: Iterable[PeerTail]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Watch, "start", stop)
    for n in range(12):
        served.log.info("%d", n)
    ran = command("tail", *arguments)
    assert (ran.status, len(ran.output.splitlines())) == (130, shown)


# Files.


def test_a_file_is_shown_to_its_end_in_its_order(
    served: Served, command: Command, tmp_path: Path
) -> None:
    for number in range(20):
        served.log.info("%d", number)
    path = str(tmp_path / "log")
    command("export", "-o", path)
    ran = command("tail", path, "--json")
    shown = [json.loads(line)["message"] for line in ran.output.splitlines()]
    assert shown == [str(number) for number in range(20)]
    assert command("tail", "--file", path).output == command("tail", path).output
    last = command("tail", path, "-n", "2", "--json").output
    assert last == "".join(ran.output.splitlines(keepends=True)[-2:])
    assert command("tail", path, "nothing").status == 1


def test_what_looks_like_a_file_that_there_is_not_is_said(
    runtime: dict[str, str], command: Command
) -> None:
    for name, said in (("no-such.json", 1), ("a\x1b.ndjson", 1), ("timeout", 0)):
        ran = command("tail", name)
        assert ran.status == 3
        assert ran.errors.count("\n") == 1 + said
        assert ran.errors.count("there is no file") == said
    assert "\x1b" not in command("tail", "a\x1b.ndjson").errors


def test_several_files_are_merged_by_time(command: Command, tmp_path: Path) -> None:
    for name, times in (("a", (1, 4)), ("b", (2, 3))):
        lines = (
            f'{{"logger":"x","level":20,"timestamp_ns":{time},"message":"{time}"}}\n'
            for time in times
        )
        (tmp_path / name).write_text("".join(lines))
    ran = command(
        "tail", "--file", str(tmp_path / "a"), "--file", str(tmp_path / "b"), "--json"
    )
    values = [json.loads(line) for line in ran.output.splitlines()]
    assert [value["message"] for value in values] == ["1", "2", "3", "4"]
    assert [value["source"][-1] for value in values] == ["a", "b", "b", "a"]


def test_nobody_to_ask_is_status_3(runtime: dict[str, str], command: Command) -> None:
    for name in ("tail", "query", "export"):
        ran = command(name)
        assert (ran.status, ran.output) == (3, "")
        assert "there is no process to ask" in ran.errors
