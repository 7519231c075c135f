"""Live tasks over the local API, and the way back from JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

import hypothesis
import live_jobs
import pytest
from hypothesis import strategies as st
from live_jobs import shop_at_work
from viewer.test_api import Client, validator

from otel_tasklog import (
    AwaitedTask,
    LiveTask,
    StackFrame,
    TaskPlace,
    TaskReport,
    TaskWait,
)
from otel_tasklog.live._tree import Again
from otel_tasklog.viewer import _pieces
from otel_tasklog.viewer._live_json import place_json, report_json, task_json
from otel_tasklog.viewer._live_read import read_places, read_report, read_tasks
from otel_tasklog.viewer._record_json import Run, dumps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Harness

RUN = Run()


@pytest.fixture
def client(harness: Harness) -> Iterator[Client]:
    with shop_at_work(harness.log):
        yield Client(harness)


def test_live_tasks_say_what_they_wait_on_and_what_they_said(client: Client) -> None:
    answer = client.ask("/v1/live", q="task:order-1")
    till, charge = answer["tasks"]
    assert (answer["total"], answer["complete"]) == (2, True)
    assert (till["name"], charge["name"]) == ("till-1", "charge-1")
    assert charge["parent"] == till["number"]
    assert (till["task_id"], till["coroutine"]) == ("order-1", "_till")
    assert (till["wait"]["kind"], charge["wait"]["kind"]) == ("task", "event")
    assert till["wait"]["awaited"] == [
        {"number": charge["number"], "name": "charge-1"}
    ]  # fmt: skip
    assert charge["wait"]["path"] == live_jobs.__file__
    assert (charge["records"], charge["worst"]) == (1, "WARNING")
    assert charge["last"]["message"] == "the bank is slow"
    [record] = client.ask("/v1/records", q="level:warning")["records"]
    assert charge["last"] == record


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"q": "level>=warning"}, ["charge-1"]),
        ({"q": "task:order-1", "sort": "worst"}, ["charge-1", "till-1"]),
        ({"q": "task:order-1", "sort": "name", "limit": 1}, ["charge-1"]),
        ({"q": "task:order-1", "waiting": "true"}, ["till-1", "charge-1"]),
        ({"q": "task:order-1", "silent_seconds": 3600}, []),
        ({"q": "task:order-2"}, []),
    ],
    ids=str,
)
def test_which_of_them_can_be_asked_for(
    client: Client, asked: dict[str, Any], names: list[str]
) -> None:
    answer = client.ask("/v1/live", **asked)
    assert [task["name"] for task in answer["tasks"]] == names


def test_with_a_limit_it_says_how_many_there_are(client: Client) -> None:
    answer = client.ask("/v1/live", q="task:order-1", limit=1)
    assert (len(answer["tasks"]), answer["total"], answer["complete"]) == (1, 2, True)
    answer = client.ask("/v1/tree", limit=1)
    assert len(answer["places"]) == 1
    assert answer["total"] >= 3  # the shop itself waits for a thread


def test_an_answer_that_is_too_large_is_cut_and_says_so(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pieces, "RESPONSE_BYTES", 1)
    answer = client.ask("/v1/live", q="task:order-1")
    assert (len(answer["tasks"]), answer["total"], answer["complete"]) == (1, 2, False)


@pytest.mark.parametrize("by", ["waits", "parents"])
def test_a_tree_has_below_a_task_what_it_waits_for_or_made(
    client: Client, by: str
) -> None:
    places = client.ask("/v1/tree", by=by)["places"]
    names = [place["name"] for place in places]
    at = names.index("till-1")
    assert names[at + 1] == "charge-1"
    assert places[at + 1]["depth"] == places[at]["depth"] + 1
    assert [place["again"] for place in places[at : at + 2]] == [None, None]


def test_why_tells_all_that_is_known_of_a_task(client: Client) -> None:
    report = client.ask("/v1/why", task="charge-1")
    till, charge = client.ask("/v1/live", q="task:order-1")["tasks"]
    assert report["task"] == {**charge, "records": 2}
    assert report["awaited_by"] == [{"number": till["number"], "name": "till-1"}]
    assert report["stack"][0]["function"] == "_charge"
    assert report["stack"][0]["path"] == live_jobs.__file__
    said = [record["message"] for record in report["records"]]
    assert said == ["connected", "the bank is slow"]
    by_number = client.ask("/v1/why", task=f"#{charge['number']}", records=0)
    assert by_number == {**report, "records": []}
    assert client.ask("/v1/why", task=charge["address"]) == report
    of_job = client.ask("/v1/why", task="order-1")
    assert of_job["task"] == till
    assert of_job["others"] == [{"number": charge["number"], "name": "charge-1"}]


@pytest.mark.parametrize(
    ("path", "asked", "status", "says"),
    [
        ("/v1/why", {}, 400, "task is missing"),
        ("/v1/why", {"task": "no-such"}, 404, "no-such"),
        ("/v1/why", {"task": "#9999999"}, 404, "#9999999"),
        ("/v1/why", {"task": "x" * 2_001}, 400, "at most 2000 characters"),
        ("/v1/why", {"task": "x", "records": -1}, 400, "from 0 to 100"),
        ("/v1/tree", {"by": "names"}, 400, "waits or parents"),
        ("/v1/live", {"sort": "age"}, 400, "number or name or"),
        ("/v1/live", {"silent_seconds": 0}, 400, "from 0.001 to"),
        ("/v1/live", {"q": "levle:error"}, 400, "did you mean 'level'?"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_refused_in_words(
    client: Client, path: str, asked: dict[str, Any], status: int, says: str
) -> None:
    got, error = client.refused(path, **asked)
    assert got == status
    assert says in error


# There and back.

NUMBERS = st.none() | st.integers(0, 2**53 - 1)
AWAITED = st.builds(AwaitedTask, NUMBERS, st.text())
WAITS = st.builds(
    TaskWait,
    kind=st.sampled_from(["sleep", "task", "future"]),
    text=st.text(),
    awaited=st.lists(AWAITED, max_size=3).map(tuple),
    path=st.none() | st.text(),
    line=NUMBERS,
    function=st.none() | st.text(),
    asyncio_task_number=NUMBERS,
    asyncio_task_name=st.text(),
)
ALIVE: dict[str, st.SearchStrategy[Any]] = {
    "number": NUMBERS,
    "name": st.text(),
    "coroutine": st.text(),
    "address": st.integers(0, 2**64),
    "wait": st.none() | WAITS,
}
TASKS = st.builds(
    LiveTask,
    **ALIVE,
    parent=NUMBERS,
    task_id=st.none() | st.text(),
    numbered_ns=st.none() | st.integers(0, 2**62),
    records=st.integers(0, 2**53 - 1),
    worst=st.none() | st.text(),
    last=st.none(),
)
IDS = st.binary(min_size=16, max_size=16).filter(any).map(bytes.hex)
REPORTS = st.builds(
    TaskReport,
    task=TASKS,
    stack=st.lists(
        st.builds(StackFrame, st.text(), NUMBERS, st.text()), max_size=3
    ).map(tuple),
    awaited_by=st.lists(AWAITED, max_size=3).map(tuple),
    records=st.just(()),
    trace_id=st.none() | IDS,
    span_id=st.none() | IDS.map(lambda digits: digits[:16]),
    lost_waker=st.none() | st.booleans(),
    others=st.lists(AWAITED, max_size=3).map(tuple),
)


def sent(name: str, value: object) -> Any:
    """Return what a client gets for a value, which is as the document says."""
    data = dumps(value)
    assert data.isascii()
    got = json.loads(data)
    validator(f"#/components/schemas/{name}").validate(got)
    return got


@hypothesis.given(task=TASKS)
def test_a_live_task_comes_back_as_it_was(task: LiveTask) -> None:
    got = sent("LiveTask", task_json(task, RUN))
    assert read_tasks({"tasks": [got]}) == [task]


@hypothesis.given(report=REPORTS)
def test_a_report_comes_back_as_it_was(report: TaskReport) -> None:
    assert read_report(sent("TaskReport", report_json(report, RUN))) == report


@hypothesis.given(
    places=st.lists(
        st.builds(
            TaskPlace,
            **ALIVE,
            depth=st.just(0),
            again=st.none() | st.sampled_from(get_args(Again)),
        ),
        max_size=3,
    )
)
def test_places_of_a_tree_come_back_as_they_were(places: list[TaskPlace]) -> None:
    got = [sent("TaskPlace", place_json(place)) for place in places]
    assert read_places({"places": got}) == places


def test_records_in_a_report_come_back(client: Client) -> None:
    [record] = client.harness.tasklog.query("level:warning")
    report = client.harness.tasklog.why("charge-1")
    got = read_report(json.loads(dumps(report_json(report, RUN))))
    assert got == report
    assert got.task.last == record


PLACE = {"name": "x", "coroutine": "f", "address": 1, "depth": 0}


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (read_tasks, {"tasks": [{}]}),
        (read_tasks, {"tasks": "x"}),
        (read_tasks, {"tasks": [{**PLACE, "records": -1}]}),
        (read_tasks, {"tasks": [{**PLACE, "records": 1, "last": {"logger": 1}}]}),
        (read_tasks, {"tasks": [{**PLACE, "records": 1, "numbered_ns": "9" * 30}]}),
        (read_tasks, {"tasks": [{**PLACE, "records": 1, "wait": {"kind": "task"}}]}),
        (read_places, {"places": [{**PLACE, "depth": 1}]}),
        (read_places, {"places": [PLACE, {**PLACE, "depth": 10**9}]}),
        (read_places, {"places": [{**PLACE, "again": "below"}]}),
        (read_report, {}),
        (read_report, {"task": {**PLACE, "records": 0}, "lost_waker": "yes"}),
        (read_report, {"task": {**PLACE, "records": 0}, "trace_id": "xyz"}),
        (read_report, {"task": {**PLACE, "records": 0}, "stack": [{"path": "x"}]}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_what_is_none_of_them_is_refused(read: Any, value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(value)
