"""Queries to Loki find what they would find in memory, whatever LogQL can express.

`loki_double` stands for Loki, and reads the LogQL that is written here by rules of its
own. Records reach it as the library sends them. What is true of ``both`` is also asked
of the Loki that ``OTEL_TASKLOG_TEST_LOKI`` names.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
import logging
from typing import TYPE_CHECKING, Any, Final

import pytest
from hostile_texts import HOSTILE
from hypothesis import given
from hypothesis import strategies as st
from loki_double import LokiDouble
from loki_logql import KEYWORDS
from loki_real import REAL, RealLoki
from query_cases import HAS_RE2, NOW_NS, Case, cases, sealed, sealed_records

from otel_tasklog import ConfigError, Query, StorageError
from otel_tasklog._config import INCLUDABLE
from otel_tasklog.capture._levels import severity_number
from otel_tasklog.capture._names import clean_text
from otel_tasklog.capture._record import Origin, Rest, Sealed, TaskRecord
from otel_tasklog.delivery._encode import Encoder
from otel_tasklog.store._loki_answers import Reply
from otel_tasklog.store._loki_search import Ask, Pause, Search, advance

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from otel_tasklog.store._loki_search import Steps

pytestmark = pytest.mark.skipif(
    not HAS_RE2, reason="google-re2 is not installed (extra: regex)"
)

RESOURCE: Final = {"service.name": "shop", "host.name": "ten"}
CATEGORIES: Final = {"x-loki-response-encoding-flags": "categorize-labels"}
DAY_SECONDS: Final = 86_400.0


def send(records: Iterable[Sealed], loki: LokiDouble | RealLoki) -> None:
    """Have records sent as the library sends them."""
    service = loki.service if isinstance(loki, RealLoki) else "shop"
    encoder = Encoder({**RESOURCE, "service.name": service}, include=INCLUDABLE)
    # Oldest first: what is an hour behind its stream's newest would be refused.
    in_order = sorted(records, key=lambda record: record[1])
    for logger, group in itertools.groupby(in_order, lambda record: record[2][0]):
        for part in _parts([encoder.record(record) for record in group]):
            assert loki.push(encoder.request({logger: part})) == (204, "")


def _parts(encoded: list[bytes]) -> Iterator[list[bytes]]:
    for at in range(0, len(encoded), 2_000):
        yield encoded[at : at + 2_000]


def loki_with(records: Iterable[Sealed]) -> LokiDouble:
    """Return a Loki to which records were sent."""
    loki = LokiDouble(lambda: NOW_NS / 1e9)
    send(records, loki)
    return loki


@contextlib.contextmanager
def a_loki(kind: str) -> Iterator[LokiDouble | RealLoki]:
    """Give the double, or a service of the Loki that is named."""
    if kind == "double":
        yield loki_with([])
        return
    with contextlib.closing(RealLoki(NOW_NS)) as loki:
        yield loki


both = pytest.mark.parametrize(
    "kind",
    [
        "double",
        pytest.param(
            "real",
            marks=[
                pytest.mark.skipif(
                    REAL is None, reason="OTEL_TASKLOG_TEST_LOKI names no Loki"
                ),
                pytest.mark.timeout(900),
            ],
        ),
    ],
)


def search(page_records: int = 5_000, **labels: str) -> Search:
    return Search(
        url="http://loki", labels=labels, history_seconds=7 * DAY_SECONDS,
        page_records=page_records, attempts=3,
    )  # fmt: skip


def run(steps: Steps, loki: LokiDouble | RealLoki) -> list[TaskRecord]:
    """Do what the steps say with a Loki; return what they find."""
    found: list[TaskRecord] = []
    reply: Reply | None = None
    while (step := advance(steps, reply)) is not None:
        reply = None
        if isinstance(step, Ask):
            assert step.path == "/loki/api/v1/query_range"
            status, body = loki.query_range(step.form, CATEGORIES)
            reply = Reply(status, body.encode())
        elif not isinstance(step, Pause):
            found += [TaskRecord(each.sealed) for each in step]
    return found


def ask(
    loki: LokiDouble | RealLoki, text: str, *, page_records: int = 5_000, **filters: Any
) -> list[TaskRecord]:
    query = Query.parse(text, **{"limit": None, "newest_first": False, **filters})
    where = search(page_records)
    if isinstance(
        loki, RealLoki
    ):  # which looks at an hour at a time, of a week for long
        where = dataclasses.replace(
            where,
            labels={"service_name": loki.service},
            history_seconds=1.1 * DAY_SECONDS,
        )
    return run(where.question(query, NOW_NS).steps(), loki)


def logql(text: str, **filters: Any) -> str:
    question = search().question(Query.parse(text, **filters), NOW_NS)
    return question.compiled(complete=False).logql()


def here(text: str) -> tuple[str, ...]:
    return search().question(Query.parse(text), NOW_NS).compiled(complete=False).here


# What Loki does not keep as it was: truths, nothing, what is not plain, NaN; and texts
# that are numbers, and numbers that it writes in another way.
_UNLIKE: Final = (True, False, None, "", "10", "9", 10.0)


def _as_sent(record: Sealed, number: int) -> Sealed:
    """Return a record as capture makes them, with what Loki keeps."""
    origin = Origin._make(record[2])
    level = origin.level
    attributes = {
        key: value
        for key, value in zip(record[7], record[8], strict=True)
        if isinstance(value, str | int | float)
        and not any(value is each or value == each for each in _UNLIKE)
        and str(value) != "nan"
    }
    rest = Rest._make(record[9])
    if rest.event_name is not None:
        attributes["event.name"] = rest.event_name
    rest = rest._replace(
        exception_message=rest.exception_message or None,
        exception_stacktrace=rest.exception_stacktrace or None,
    )
    origin = origin._replace(
        severity_number=severity_number(level),
        severity_text=logging.getLevelName(level),
    )
    return (
        0, record[1] + number, tuple(origin), *record[3:7],
        (*attributes,), (*attributes.values(),), tuple(rest),
    )  # fmt: skip


@both
@given(
    st.lists(sealed_records, max_size=12),
    cases.filter(lambda case: "under:" not in case.text),
    st.sampled_from(["newest", "oldest"]),
    st.integers(2, 9),
)
def test_loki_finds_what_memory_does(
    kind: str, drawn: list[Sealed], case: Case, order: str, page_records: int
) -> None:
    newest_first = order == "newest"
    records = [_as_sent(record, number) for number, record in enumerate(drawn)]
    with a_loki(kind) as loki:
        if isinstance(loki, RealLoki):
            records = [r for r in records if NOW_NS - r[1] < loki.reach_ns]
        send(records, loki)
        found = ask(
            loki, case.text, page_records=page_records, newest_first=newest_first
        )
    expected = sorted(
        (r for r in map(TaskRecord, records) if case.holds(r)),
        key=lambda record: record.timestamp_ns,
        reverse=newest_first,
    )
    assert [r.timestamp_ns for r in found] == [r.timestamp_ns for r in expected]
    assert [r.message for r in found] == [r.message for r in expected]


@given(st.lists(sealed_records, max_size=4))
def test_a_record_comes_back_as_it_was_sent_but_for_its_attributes(
    drawn: list[Sealed],
) -> None:
    records = [_as_sent(record, number) for number, record in enumerate(drawn)]
    records.sort(key=lambda record: record[1])
    found = ask(loki_with(records), "")
    for sent, came in zip(map(TaskRecord, records), found, strict=True):
        without = {"attributes": None, "rest": None}
        assert {**came.to_dict(), **without} == {**sent.to_dict(), **without}
        assert list(came.attributes.values()) == [
            came.attributes[key] for key in came.attributes
        ]
        assert len(came.attributes) == len(sent.attributes)


HOSTILE_TEXTS: Final = [
    *HOSTILE.values(), 'say "hi"', "C:\\temp\\", "`{{ .x }}`", "a|b", "a.b", "(a", "[a",
    "$", "^", "😀", "}", '{service_name=~".+"}', 'x" or task_id=~".*', "日本", "#", "%",
    "\\E", "\\Q", "(?i)", "-", "İ", "\u017f", "ẞ", "Σ", "ς",
]  # fmt: skip


@both
@pytest.mark.parametrize(
    "text", [clean_text(each) for each in HOSTILE_TEXTS], ids=ascii
)
def test_a_hostile_text_is_found_where_it_is_and_nowhere_else(
    kind: str, text: str
) -> None:
    """As a job's id, a message, part of an attribute, an exception's text."""
    other = ("import-42", None, None)
    records = [
        sealed(message="before " + text, task=other, timestamp_ns=NOW_NS - 5),
        sealed(task=(text, None, None), timestamp_ns=NOW_NS - 4),
        sealed(attributes={"user": f"<{text}>"}, task=other, timestamp_ns=NOW_NS - 3),
        sealed(exception=("E", text, None), task=other, timestamp_ns=NOW_NS - 2),
        sealed(task=other, timestamp_ns=NOW_NS - 1),
    ]
    with a_loki(kind) as loki:
        send(records, loki)
        _check_hostile(loki, text)


def _check_hostile(loki: LokiDouble | RealLoki, text: str) -> None:
    def ages(text: str = "", **filters: Any) -> list[int]:
        # Loki looks at an hour at a time: seven days of them take a moment.
        found = ask(loki, text, since=datetime.timedelta(hours=1), **filters)
        return [NOW_NS - r.timestamp_ns for r in found]

    inner = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert ages(task_id=text) == [4]
    assert ages(f"-task:{inner}") == [5, 3, 2, 1]
    assert ages(f"message:{inner}") == [5]
    assert ages(f"-message:{inner}") == [4, 3, 2, 1]
    assert ages(inner) == [5, 2]
    assert ages(f"-{inner}") == [4, 3, 1]
    assert ages(attributes={"user": f"<{text}>"}) == [3]
    assert ages(f"@user:*{inner}*") == [3]


COMPILED: Final = {
    "": '{service_name=~".+"}',
    "task:import-42 level>=warning": (
        '{service_name=~".+"} | task_id="import-42" | severity_number >= 13'
    ),
    "@service.name:shop task:*": '{service_name="shop"} | task_id!=""',
    "message:Refused task:a": '{service_name=~".+"} |= "Refused" | task_id="a"',
    "message:größe": '{service_name=~".+"} |~ "(?i)gr[ö][ß]e"',
    "message:日k": '{service_name=~".+"} |~ "(?i)日[k]"',
    "task:a -message:Refused": '{service_name=~".+"} != "Refused" | task_id="a"',
    "level:error": '{service_name=~".+"} | severity_number="17"',
    "-level>=error": (
        '{service_name=~".+"} | (severity_number <= 16 or severity_number="")'
    ),
    "@order.id:x": '{service_name=~".+"} | order_id="x"',
    "@amount>10.5": '{service_name=~".+"} | amount > 10.5',
    "logger:shop": r'{service_name=~".+"} | scope_name=~"(?s)shop(\\..*)?"',
    "task:a since:5m": '{service_name=~".+"} | task_id="a"',
    "Timeout": (
        '{service_name=~".+"} | label_format otel_tasklog_line=`{{__line__}}` '
        '| (otel_tasklog_line=~"(?s:.*)(?:Timeout)(?s:.*)" '
        'or exception_message=~"(?s:.*)(?:Timeout)(?s:.*)" '
        'or exception_stacktrace=~"(?s:.*)(?:Timeout)(?s:.*)") '
        "| drop otel_tasklog_line"
    ),
}


@pytest.mark.parametrize("text", COMPILED)
def test_a_query_becomes_logql_with_what_is_cheapest_first(text: str) -> None:
    assert logql(text) == COMPILED[text]


HERE: Final = {
    "task:a @*:bob": ("@*:bob",),
    "@day>=2026-01": ("@day>=2026-01",),
    "task:a OR @*:bob": ("task:a OR @*:bob",),
    "-(task:a @*:bob)": ("-(task:a @*:bob)",),
    "-@amount>10": ("-@amount>10",),
    "since:5m OR task:a": ("since:5m OR task:a",),
    "@json:1": ("@json:1",),
    "@amount:10 level>=25 timeout /x/ -timeout": (),
}


@pytest.mark.parametrize("text", HERE)
def test_what_logql_cannot_express_is_said(text: str) -> None:
    assert here(text) == HERE[text]


@pytest.mark.parametrize("word", sorted(KEYWORDS))
def test_an_attribute_with_the_name_of_a_keyword_is_found(word: str) -> None:
    loki = loki_with([sealed(attributes={word: "x"}), sealed(attributes={word: "y"})])
    assert [r.attributes for r in ask(loki, f"@{word}:x")] == [{word: "x"}]


@both
@pytest.mark.parametrize(
    "word", ["ΟΔΟΣ", "STRAẞE", "ÅR", "\u01c5ep", "3 \u212a"], ids=ascii
)
def test_a_word_in_lower_case_finds_its_other_forms(kind: str, word: str) -> None:
    with a_loki(kind) as loki:
        send([sealed(message=f"1 {word} 2")], loki)
        text = f'message:"{word.lower()}" since:1h'
        assert [r.message for r in ask(loki, text)] == [f"1 {word} 2"]


NUMBERS: Final = [
    (10.0, ["@a:10", "@a:10.0", "@a:1e1", "@a>9.5", "@a<=10"], ["@a:11", "@a>10"]),
    (True, ["@a:true", "@a:1"], ["@a:false", "@a:0"]),
    (0, ["@a:0", "@a:0.0", "@a:false"], ["@a:true"]),
    (1e-7, ["@a:1e-7", "@a>0"], ["@a:0"]),
    (2.5e-5, ["@a:2.5e-5", "@a:0.000025"], ["@a:0"]),
    (1e21, ["@a:1e21", "@a>1e20"], ["@a<1e20"]),
    (
        2**53 + 1,
        ["@a>9007199254740992", "@a:9007199254740993"],
        ["@a:9007199254740992"],
    ),
    ("abc", ["-@a>10", "@a>=abc", "-@a:10"], ["@a>10", "@a<10"]),
    ("-5", ["@a<-4", "@a<0"], ["@a>0"]),
]


@pytest.mark.parametrize(("value", "finds", "misses"), NUMBERS, ids=str)
def test_a_number_is_found_by_its_value(
    value: object, finds: Sequence[str], misses: Sequence[str]
) -> None:
    """Loki writes numbers as JSON does, and knows them from texts no more."""
    loki = loki_with([sealed(attributes={"a": value})])
    for text in finds:
        assert ask(loki, text), text
    for text in misses:
        assert not ask(loki, text), text
    assert ask(loki, "", attributes={"a": value})


def test_attributes_of_the_resource_are_asked_for_and_not_shown_as_the_records() -> (
    None
):
    loki = loki_with([sealed(attributes={"user": "bob"})])
    assert ask(loki, "@host.name:ten @service.name:shop")
    assert not ask(loki, "@host.name:eleven")
    assert not ask(loki, "@*:ten")  # no record says it
    (record,) = ask(loki, "@*:bo")
    assert record.attributes == {"user": "bob"}


def test_jobs_inside_a_job_are_asked_for_generation_by_generation() -> None:
    def job(name: str, parent: str | None, age: int) -> Sealed:
        return sealed(
            message=name, task=(name, parent, None), timestamp_ns=NOW_NS - age
        )

    loki = loki_with(
        [
            job("a", None, 50), job("b", "a", 40), job("c", "b", 30), job("d", "c", 20),
            job("x", None, 45), job("y", "x", 10),
        ]
    )  # fmt: skip
    assert [r.message for r in ask(loki, "under:a")] == ["a", "b", "c", "d"]
    assert [r.message for r in ask(loki, "-under:b")] == ["a", "x", "y"]
    assert [r.message for r in ask(loki, "under:x OR task:d")] == ["x", "d", "y"]


@pytest.mark.parametrize("page_records", [5, 7, 5_000])
@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_have_each_record_once(page_records: int, *, newest_first: bool) -> None:
    """Many have one time, fewer than a page."""
    records = [
        sealed(message=f"m {number}", timestamp_ns=NOW_NS - number // 4)
        for number in range(100)
    ]
    loki = loki_with(records)
    found = ask(loki, "", page_records=page_records, newest_first=newest_first)
    times = [record.timestamp_ns for record in found]
    assert times == sorted(times, reverse=newest_first)
    assert sorted(r.message for r in found) == sorted(r[5] for r in records)


@both
def test_twelve_thousand_records_of_one_time_all_come(kind: str) -> None:
    """More than Loki gives at once; some differ in their texts, some in their jobs."""
    records = [
        sealed(message=f"record {number}", timestamp_ns=NOW_NS)
        for number in range(7_000)
    ] + [
        sealed(message="same", task=(f"job-{number}", None, None), timestamp_ns=NOW_NS)
        for number in range(5_000)
    ]
    around = [
        sealed(message=m, timestamp_ns=NOW_NS + s) for m, s in (("a", -1), ("z", 1))
    ]
    with a_loki(kind) as loki:
        send(records + around, loki)
        for newest_first in (True, False):
            found = ask(loki, "since:1h", newest_first=newest_first)
            texts = [(record.message, record.task_id) for record in found]
            assert len(texts) == len(set(texts)) == 12_002
            ends = [texts[0][0], texts[-1][0]]
            assert ends == (["z", "a"] if newest_first else ["a", "z"])


def test_no_more_is_asked_for_than_the_limit_needs() -> None:
    loki = loki_with(
        [sealed(message=f"m {n}", timestamp_ns=NOW_NS - n) for n in range(100)]
    )
    assert len(ask(loki, "", limit=5, page_records=10)) == 5
    assert len(loki.asked) == 1
    assert ask(loki, "", limit=0) == []
    assert len(loki.asked) == 1


def test_a_query_over_months_is_asked_month_by_month() -> None:
    loki = loki_with([sealed(message="here", timestamp_ns=NOW_NS)])
    assert [r.message for r in ask(loki, "since:100d")] == ["here"]
    spans = [int(form["end"]) - int(form["start"]) for form in loki.asked]
    assert len(spans) == 4
    assert max(spans) <= 30 * DAY_SECONDS * 1e9


def test_a_query_without_a_beginning_goes_back_as_far_as_is_set() -> None:
    loki = loki_with([])
    ask(loki, "")
    (form,) = loki.asked
    assert NOW_NS - int(form["start"]) == 7 * DAY_SECONDS * 1e9


def test_times_bound_what_is_asked_for() -> None:
    loki = loki_with([])
    ask(loki, "since:5m until:1m")
    (form,) = loki.asked
    assert int(form["start"]) == NOW_NS - 300 * 10**9
    assert int(form["end"]) == NOW_NS - 60 * 10**9
    ask(loki, "since:1m until:5m")  # nothing is between
    assert len(loki.asked) == 1


@pytest.mark.parametrize("name", ["after", "before"])
def test_sequences_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="Loki has no sequences"):
        ask(loki_with([]), "", **{name: 5})


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again_and_what_does_not_is_raised(status: int) -> None:
    loki = loki_with([sealed(message="here", timestamp_ns=NOW_NS)])
    loki.outage = [status, status]
    assert [r.message for r in ask(loki, "")] == ["here"]
    loki.outage = [status] * 3
    with pytest.raises(
        StorageError, match=rf"Loki at http://loki refuses .{status}."
    ) as e:
        ask(loki, "")
    assert e.value.status == status


def test_what_loki_refuses_is_told_at_once() -> None:
    loki = loki_with([])
    loki.outage = [400, 200]
    with pytest.raises(StorageError, match=r"refuses .400.: too many"):
        ask(loki, "")
    assert len(loki.asked) == 1
    with pytest.raises(StorageError, match="give a smaller page_records="):
        ask(loki, "", page_records=5_001)
