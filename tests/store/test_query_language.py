"""The query language: what is read, what is refused and how, what is found."""

from __future__ import annotations

import datetime
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from query_cases import FAMILY, HAS_RE2, NOW_NS, Case, cases, sealed, sealed_records
from rings import fill, make_ring

import otel_tasklog
from otel_tasklog import ConfigError, Query, QueryError
from otel_tasklog.capture._record import Sealed, TaskRecord
from otel_tasklog.store._attributes import AnyAttribute, Attribute, AttributeLike
from otel_tasklog.store._expression import (
    Evaluation,
    Expression,
    Not,
    Plan,
    all_of,
    any_of,
)
from otel_tasklog.store._expression import tests_of as compiled
from otel_tasklog.store._matching import Constant, Glob
from otel_tasklog.store._moments import Ago, Clock, Instant
from otel_tasklog.store._parser import MAX_CHARACTERS, MAX_DEPTH, parse
from otel_tasklog.store._terms import (
    Hex,
    Level,
    Like,
    LikeField,
    Message,
    Regex,
    Text,
    Time,
    Under,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conftest import Harness

    from otel_tasklog.store._query import Filters

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "query.md"

needs_re2 = pytest.mark.skipif(
    not HAS_RE2, reason="google-re2 is not installed (extra: regex)"
)
EVALUATION = Evaluation(NOW_NS, lambda job: FAMILY.get(job, set()))


def matching(text: str, records: Iterable[Sealed]) -> list[Sealed]:
    expression = parse(text)
    if expression is None:
        return list(records)
    return list(filter(expression.compile(EVALUATION), records))


def finds(text: str, **fields: Any) -> bool:
    """Return whether a query finds a record with these fields."""
    return matching(text, [sealed(**fields)]) != []


def examples() -> list[str]:
    """Return the queries of the page: the first column of the tables of terms."""
    text = PAGE.read_text("utf-8")
    text = text[text.index("## The text of a query") : text.index("## TaskRecord")]
    cells = re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE)
    return [each for cell in cells for each in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize("text", examples())
def test_every_example_of_the_page_is_read_and_printed(text: str) -> None:
    if "/" in text and not HAS_RE2:
        pytest.skip("google-re2 is not installed (extra: regex)")
    query = Query.parse(text)
    assert Query.parse(str(query)) == query


def test_the_page_has_an_example_of_each_field() -> None:
    shown = " ".join(examples())
    for field in ("task", "under", "run", "level", "logger", "trace", "span", "thread",
                  "asyncio", "exc", "event", "message", "since", "until", "time", "@"):  # fmt: skip
        assert field in shown


ERRORS = [
    ("levle:error", 1, "unknown field 'levle': did you mean 'level'?"),
    ("a levle>=error", 3, "unknown field 'levle': did you mean 'level'?"),
    ("exception:KeyError", 1, "did you mean 'exc'?"),
    ("http://host/", 1, "a text with : stands in quotes"),
    ("usr>5", 1, "An attribute is @usr>"),
    ("level:eror", 7, "unknown level 'eror': did you mean 'error'?"),
    ("level:zzz", 7, "a number or one of CRITICAL"),
    ("level=error", 6, "write level:"),
    ("task>5", 5, "write task:"),
    ("time:5m", 5, "write since:, until:"),
    ("@user=bob", 6, "write @user: for equal"),
    ("@user", 6, "@user:*"),
    ("@:x", 2, "the name of an attribute"),
    ("@*>5", 3, "any attribute cannot be compared"),
    ("@a>5*", 4, "* compares with nothing"),
    ("task:", 6, "expected a value here"),
    ("task: a", 6, "expected a value here"),
    ('a "b', 3, "not closed"),
    ('"a"b', 4, "a space after the quotes"),
    ('task:"a"b', 9, "a space after the quotes"),
    ("a OR", 5, "expected a term here"),
    ("OR a", 1, "expected a term before OR"),
    ("a OR OR b", 6, "expected a term before OR"),
    ("a AND", 6, "expected a term here"),
    ("a -", 4, "negates what follows it"),
    ("- a", 2, "negates what follows it"),
    ("NOT", 4, "expected a term here"),
    ("()", 2, "expected a term here"),
    ("(a", 1, "this ( is not closed"),
    ("a (b OR (c) d", 3, "this ( is not closed"),
    ("a)", 2, "there is no ( for this )"),
    ("/api/orders", 6, "only i may follow"),
    ("/api", 1, "expected a / at the end"),
    ("//", 1, "between the two /"),
    ("trace:xyz", 7, "32 hexadecimal digits"),
    ("span:" + "0" * 17, 6, "16 hexadecimal digits"),
    ("under:a*", 7, "one job's id"),
    ("asyncio:main", 9, "the number of an asyncio task"),
    ("since:yesterday", 7, "90s, 5m, 2h, 1d"),
    ("since:5 m", 7, "90s, 5m, 2h, 1d"),
    ("since:2026-01-31T12:30", 7, "add Z or an offset, 2026-01-31T12:30Z"),
    ("until:2026-01-31", 7, "another instant in each time zone"),
    ("until:25:00", 7, "no time of day 25:00"),
    ("日本 levle:x", 4, "unknown field"),
]


@pytest.mark.parametrize(("text", "column", "reason"), ERRORS, ids=str)
def test_a_slip_is_pointed_at(text: str, column: int, reason: str) -> None:
    with pytest.raises(QueryError, match=re.escape(reason)) as caught:
        Query.parse(text)
    assert caught.value.text == text
    assert caught.value.column == column
    assert isinstance(caught.value, ConfigError)
    assert f"(column {column})" in str(caught.value)


def test_an_error_shows_the_place_below_the_text() -> None:
    with pytest.raises(QueryError) as caught:
        Query.parse("日本\n levle:error")
    assert str(caught.value).split("\n")[1:] == [
        r"  日本\n levle:error",
        r"         ^",
    ]


def test_the_error_on_the_page_is_the_error() -> None:
    with pytest.raises(QueryError) as caught:
        Query.parse("timeout levle>=error")
    assert f"```text\n{caught.value}\n```" in PAGE.read_text("utf-8")


def test_an_error_in_a_long_text_shows_what_is_around_it() -> None:
    with pytest.raises(QueryError) as caught:
        Query.parse("word " * 300 + "levle:1" + " word" * 300)
    _, shown, mark = str(caught.value).split("\n")
    assert len(shown) < 120
    assert shown[mark.index("^") :].startswith("levle:1")
    assert shown.strip()[0] == shown[-1] == "…"


def test_an_error_is_harmless_on_a_terminal() -> None:
    with pytest.raises(QueryError) as caught:
        Query.parse("\x1b[2J \x1b]0;x\x07 levle:x")
    assert "\x1b" not in str(caught.value)


@needs_re2
@pytest.mark.parametrize(
    "pattern", ["(", "[z-a]", "a{2000}", "(?<!a)b", "(a)\\1", "\udc80"], ids=ascii
)
def test_what_re2_does_not_know_is_refused(
    pattern: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(QueryError, match="regular expression") as caught:
        Query.parse(f"a /{pattern}/")
    assert caught.value.column == 3
    assert capfd.readouterr() == ("", "")


@needs_re2
def test_an_expression_that_would_never_end_in_python_ends() -> None:
    assert not finds("/(x+x+)+y/", message="x" * 100_000)


def test_without_the_extra_an_expression_is_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(
        QueryError, match=re.escape("pip install 'otel-tasklog[regex]'")
    ) as caught:
        Query.parse("a /b/")
    assert caught.value.column == 3


def test_a_query_has_bounds() -> None:
    Query.parse("x" * MAX_CHARACTERS)
    Query.parse("(" * MAX_DEPTH + "x" + ")" * MAX_DEPTH)
    too_long = "at most 10000 characters"
    with pytest.raises(QueryError, match=too_long):
        Query.parse("x" * (MAX_CHARACTERS + 1))
    with pytest.raises(QueryError, match="written out"):
        Query.parse("level:40 " * (MAX_CHARACTERS // 9))
    for deep in ("(" * 51 + "x" + ")" * 51, "(" * 9_999, "NOT " * 51 + "x"):
        with pytest.raises(QueryError, match="more than 50 deep"):
            Query.parse(deep)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="search=5"):
        Query.parse(cast("str", 5))
    with pytest.raises(ConfigError, match="levle"):
        Query.parse("a", **cast("Filters", {"levle": 5}))


@settings(max_examples=500, deadline=None)
@given(case=cases, records=st.lists(sealed_records, min_size=10, max_size=10))
def test_a_query_finds_what_a_naive_reader_finds(
    case: Case, records: list[Sealed]
) -> None:
    """5,000 pairs of a query and a record."""
    expected = [each for each in records if case.holds(TaskRecord(each))]
    assert matching(case.text, records) == expected
    assert matching(str(parse(case.text)), records) == expected


@settings(max_examples=100, deadline=None)
@given(
    case=cases,
    records=st.lists(sealed_records, max_size=40),
    newest_first=st.booleans(),
)
def test_the_plan_of_a_query_leaves_nothing_out(
    case: Case, records: list[Sealed], *, newest_first: bool
) -> None:
    """The ring, which skips what the plan lets it skip, against a plain list."""
    assume("under:" not in case.text)  # only the ring knows the families
    records = [(number, *each[1:]) for number, each in enumerate(records)]
    # A chunk that is full is searched in another way.
    records += [sealed(n, message="filler") for n in range(len(records), 600)]
    ring = make_ring()
    fill(ring, records)
    query = Query.parse(case.text, newest_first=newest_first, limit=None)
    tests = query.predicates()
    expected = [each for each in records if all(test(each) for test in tests)]
    expected = expected[::-1] if newest_first else expected
    assert ring.select(query) == [TaskRecord(each) for each in expected]


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("", Plan()),
        ("task:a level>=warning", Plan("a", 30)),
        ("task:a* level>warning", Plan(None, 31)),
        ("level<=error level:info level>5", Plan(None, 20)),
        ("level:error OR level:30", Plan(None, 30)),
        ("(task:a timeout) OR (task:a level:error)", Plan("a")),
        ("task:a OR task:b", Plan()),
        ("-task:a -level>=30 -timeout", Plan()),
        ("Time out /x/ message:failed" if HAS_RE2 else "Time message:failed",
         Plan(None, 0, "failed")),
        ("GRÖSSE", Plan()),
        ("größe", Plan(None, 0, "größe")),
    ],
    ids=str,
)  # fmt: skip
def test_a_plan_is_what_every_match_has(text: str, plan: Plan) -> None:
    assert Query.parse(text).plan() == plan


texts = st.text(max_size=8) | st.text(' ()"\\/*@:-<>=.aBOR', max_size=8)
globs = st.lists(texts, min_size=1, max_size=3).map(tuple).map(Glob)
constants = texts.map(Constant.read) | texts.map(lambda text: Constant(text, text))
comparisons = st.sampled_from([":", ">", ">=", "<", "<="])
orders = st.sampled_from([">", ">=", "<", "<="])
moments = st.one_of(
    st.integers(-(10**20), 10**20).map(Ago),
    st.integers(-(10**6), 10**6).map(lambda seconds: Ago(seconds * 10**9)),
    st.builds(Clock, st.integers(0, 23), st.integers(0, 59), st.integers(0, 59)),
    st.datetimes(
        timezones=st.integers(-80_000, 80_000).map(
            lambda seconds: datetime.timezone(datetime.timedelta(seconds=seconds))
        )
    ).map(Instant),
)
FIELDS: list[LikeField] = ["task", "logger", "thread", "exc", "event"]
leaves: st.SearchStrategy[Expression] = st.one_of(
    texts.map(Text),
    texts.map(Message),
    texts.map(Under),
    texts.map(AnyAttribute),
    st.builds(Like, st.sampled_from(FIELDS), globs),
    st.integers(0, 10**9).map(lambda number: Like("asyncio", Glob((str(number),)))),
    st.builds(Level, comparisons, st.integers(-10, 60) | st.integers()),
    st.builds(Time, orders, moments),
    st.text("0123456789abcdefABCDEF", max_size=32).map(lambda x: Hex("trace", x)),
    st.text("0123456789abcdef", max_size=16).map(lambda x: Hex("span", x)),
    st.builds(Attribute, texts, comparisons, constants),
    st.builds(
        AttributeLike,
        texts,
        st.lists(texts, min_size=2, max_size=3).map(tuple).map(Glob),
    ),
    globs.map(lambda glob: AttributeLike("run_id", glob)),
    *(
        [
            st.builds(
                Regex,
                st.text("ab .*+/|", min_size=1, max_size=4).map(re.escape)
                | st.sampled_from(["a/b", r"\/", r"\\/", "[/]", "日 本", "a\nb"]),
                st.booleans(),
            )
        ]
        if HAS_RE2
        else []
    ),
)
expressions: st.SearchStrategy[Expression] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=2, max_size=3).map(lambda x: all_of(x[0], x[1:])),
        st.lists(inner, min_size=2, max_size=3).map(lambda x: any_of(x[0], x[1:])),
    ),
    max_leaves=8,
)


@settings(max_examples=500, deadline=None)
@given(expressions)
@example(Attribute("a", ">", Constant.read("=")))
@example(Not(Text("-x")))
@example(Text("OR(x)"))
@example(Like("task", Glob(("a(", "b)"))))
def test_what_is_printed_is_read_as_the_same(expression: Expression) -> None:
    assert parse(str(expression)) == expression
    assert Query.parse(str(expression)).where == expression


fragments = st.sampled_from([
    *'()"\\/*@:-<>=. \n', "OR", "AND", "NOT", "task:", "level>=", "since:", "time<",
    "@*:", "@a", "/x/", "under:", "trace:", "--", '""', "12:30", "2026-01-31T12:30Z",
    "5m", "warning", "\udc80", "\0", "日本", "1" * 500, "asyncio:", "٣", "²",
])  # fmt: skip
noise = st.one_of(
    st.text(),
    st.text(st.characters()),
    st.lists(fragments, max_size=12).map("".join),
    st.lists(fragments, max_size=12).map(" ".join),
)


def check_outcome(text: str) -> None:
    """Check that a text is read, and so is what is printed; or that it is refused."""
    try:
        query = Query.parse(text)
    except QueryError as error:
        refusal = error
    else:
        assert Query.parse(str(query)) == query
        tests = query.predicates()
        assert {test(sealed(message=text)) for test in tests} <= {True, False}
        return
    assert 1 <= refusal.column <= len(text) + 1
    assert str(refusal)


@settings(max_examples=1_000, deadline=None)
@given(noise)
def test_any_text_is_read_or_refused(text: str) -> None:
    check_outcome(text)


@settings(max_examples=300, deadline=None)
@given(case=cases, at=st.integers(0, 60), cut=st.integers(0, 3), put=fragments)
def test_a_query_with_a_slip_is_read_or_refused(
    case: Case, at: int, cut: int, put: str
) -> None:
    check_outcome(case.text[:at] + put + case.text[at + cut :])


aware = st.datetimes(
    datetime.datetime(2026, 1, 30), datetime.datetime(2026, 2, 1),  # noqa: DTZ001
    timezones=st.just(datetime.UTC),
)  # fmt: skip
ages = st.one_of(
    st.integers(-100, 100_000),
    st.floats(-100, 1e5),
    st.timedeltas(datetime.timedelta(-1), datetime.timedelta(2)),
)
some = st.sampled_from
keywords = st.fixed_dictionaries(
    {},
    optional={
        "task_id": some(["import-42", "import-*", 'a"*b', 42, ""]),
        "run_id": some([10, "bob", "*", "1*"]),
        "level": some([20, "warn", "error", 25, -1]),
        "min_level": some([0, "info", 26]),
        "logger": some(["shop", "shop.*", "root"]),
        "text": some(["Time", "timeout", "ΟΔΟΣ", "İ", "*", ""]),
        "trace_id": some(["4BF9" + "0" * 28, "4bf9"]),
        "asyncio_task": some([7, 42, True]),
        "since": ages | aware,
        "until": ages | aware,
        "attributes": st.dictionaries(
            some(["user", "amount", "odd key", "*", "run_id"]),
            some(["bob", "10", 10, 10.0, 9.5, True, None, b"x", ("a", 1), "*", "b*"]),
            max_size=2,
        ),
        "where": some([None, parse("timeout OR level:error"), parse("-time -out")]),
    },
)


@settings(max_examples=300, deadline=None)
@given(filters=keywords, records=st.lists(sealed_records, max_size=10))
def test_a_query_of_keywords_is_printed_as_one_for_the_same_records(
    filters: dict[str, Any], records: list[Sealed]
) -> None:
    query = Query(**filters)
    again = Query.parse(str(query))
    assert Query.parse(str(again)) == again
    both = [compiled(each._terms, EVALUATION) for each in (query, again)]
    for record in records:
        one, other = (all(test(record) for test in tests) for tests in both)
        assert one == other


def test_keywords_and_a_text_are_joined_by_and() -> None:
    query = Query.parse("a OR b", min_level="warning", where=parse("c"), limit=5)
    assert str(query) == "level>=warning (a OR b) c"
    assert query.limit == 5
    assert Query.parse("  ", text="Foo") == Query(text="Foo")
    assert str(Query()) == ""
    assert str(Query(text="Foo", limit=5, after=1)) == "message:foo"


def test_before_and_after_are_sequences_and_exclude_their_own() -> None:
    records = [sealed(number) for number in range(5)]
    tests = Query(after=1, before=4).predicates()
    found = [each[0] for each in records if all(test(each) for test in tests)]
    assert found == [2, 3]


def test_lower_case_finds_any_and_upper_case_finds_itself() -> None:
    assert finds("timeout", message="Timeout")
    assert finds("Timeout", message="Timeout")
    assert not finds("Timeout", message="timeout")
    assert finds("größe", message="GRÖßE")
    assert not finds("task:import-42", task=("Import-42", None, None))


def test_free_text_is_looked_for_in_what_an_exception_says() -> None:
    exception = ("ValueError", "no such order", "Traceback\n  charge()\nValueError")
    assert finds("order", exception=exception)
    assert finds("charge()", exception=exception)
    assert not finds("message:order", exception=exception)
    assert not finds("order", attributes={"a": "order"})
    assert finds("@*:order", attributes={"a": ("an", "order")})


def test_a_quoted_word_is_never_a_keyword_or_a_field() -> None:
    assert finds('"OR"', message="A OR B")
    assert finds('"level:error"', message="level:error")
    assert finds('"-x"', message="a -x")
    assert finds('task:"a*"', task=("a*", None, None))
    assert not finds('task:"a*"', task=("ab", None, None))
    assert finds('task:"a b"*', task=("a bc", None, None))


def test_what_is_within_a_word_is_text() -> None:
    for word in ("a-b", "f(x)", "user=bob", "12:30:15", "--verbose", 'a"b', "a@b.c",
                 "a/b", "and", "x*y"):  # fmt: skip
        assert finds(word, message=f"<{word}>"), word
        assert not finds(word, message="nothing of it"), word


def test_or_binds_less_than_and() -> None:
    assert str(parse("a b OR c AND (d)")) == "a b OR c d"
    assert str(parse("a (b OR c) d")) == "a (b OR c) d"
    assert str(parse("a (b (c d))")) == "a b c d"
    assert str(parse("NOT (a OR b) -(c d) NOT e")) == "-(a OR b) -(c d) -e"


def test_a_job_is_under_another_by_the_family_or_by_its_parent() -> None:
    inner = {"task": ("größe", "import-42", None)}
    assert finds("under:import-42", **inner)
    assert finds("under:import", **inner)  # by the family of its parent
    assert finds("under:import", task=("import", None, None))
    assert not finds("under:größe", task=("import-42", None, None))
    assert Query.parse("under:a").predicates()[0](sealed(task=("b", "a", None)))


def test_a_program_is_asked_what_it_logged(harness: Harness) -> None:
    def found(search: str) -> list[str]:
        return [each.message for each in harness.tasklog.query(search)]

    with otel_tasklog.task("import-42"):
        harness.log.info("charging", extra={"amount": 12.5, "order.id": "o-1"})
        with otel_tasklog.task("charge"):
            try:
                int("card")
            except ValueError:
                harness.log.exception("failed", extra={"event.name": "shop.failed"})
    assert found("task:import-*") == ["charging"]
    assert found("under:import-42") == ["failed", "charging"]
    assert found("exc:ValueError level>=error card") == ["failed"]
    assert found("event:shop.*") == ["failed"]
    assert found("@amount>10 @order.id:* -failed") == ["charging"]
    assert found(f"logger:{harness.log.name} since:5m -until:1m OR x") == [
        "failed",
        "charging",
    ]
    assert found("thread:MainThread time<-1m -trace:* -asyncio:*") != []
    assert harness.tasklog.query("charging", min_level="error") == []


def test_a_follower_takes_a_text(harness: Harness) -> None:
    with harness.tasklog.follow("under:outer -noise") as follower:
        with otel_tasklog.task("outer"):
            harness.log.info("noise")
            with otel_tasklog.task("inner"):
                harness.log.info("heard")
                with otel_tasklog.task("innermost"):
                    harness.log.info("heard too")
        assert [next(follower).message for _ in range(2)] == ["heard", "heard too"]
