"""Records and queries that match each other often, and what a naive reader says.

A `Case` is the text of a query beside a function that decides for one record. The
two are made together and know nothing of the library's own terms, so that the test
of one by the other means something.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib.util
import operator
import random
import re
import time
from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st

from otel_tasklog.capture._record import NO_REST, Sealed, TaskRecord

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FAMILY", "HAS_RE2", "NOW_NS", "Case", "cases", "sealed", "sealed_records"]

HAS_RE2: Final = importlib.util.find_spec("re2") is not None
NOW_NS: Final = 1_769_860_800_000_000_000  # 2026-01-31T12:00:00Z
_SECOND: Final = 1_000_000_000

JOBS: Final = ("import-42", "import-7", "import", "Import-42", "größe", "a b", 'a"*b')
FAMILY: Final = {"import": {"import", "import-42", "import-7"}, "import-42": {"größe"}}
WORDS: Final = (
    "timeout", "Timeout", "timed out", "time", "größe", "GRÖSSE", "日本", "f(x)", "-x",
    "a=b", 'say "hi"', "C:\\temp", "OR", "", "İstanbul", "ΟΔΟΣ", "http://x/y", "100%*",
)  # fmt: skip
LOGGERS: Final = ("shop", "shop.risk", "shop.risk.db", "shopping", "root")
EXCEPTIONS: Final = ("ValueError", "shop.errors.ValueError", "OSError", None)
KEYS: Final = ("user", "amount", "order.id", "odd key", "größe", "run_id")
VALUES: Final = (
    "bob", "Bob", "10", "9", "abc", 10, 9, 10.0, 9.5, -3, True, False, None,
    ("a", 1), {"name": "bob"}, "2026-01-31", "timeout", "", 10**30, float("nan"),
)  # fmt: skip
TRACES: Final = ("4bf9" + "0" * 28, "4b" + "1" * 30)
LEVELS: Final = (-1, 0, 5, 10, 20, 25, 30, 40, 50)
AGES_S: Final = (0, 30, 90, 300, 3_600, 5_400, 86_400, -60)


def sealed(  # noqa: PLR0913 - as many as a record has
    sequence: int = 0,
    *,
    message: str = "m",
    level: int = 20,
    logger: str = "log",
    task: tuple[str | None, str | None, int | None] = (None, None, None),
    thread: tuple[int, str] = (1, "MainThread"),
    span: tuple[bytes, bytes, int] | None = None,
    attributes: dict[str, Any] | None = None,
    exception: tuple[str | None, str | None, str | None] = (None, None, None),
    event: str | None = None,
    timestamp_ns: int = NOW_NS,
) -> Sealed:
    """Return a finished record."""
    origin = (logger, level, 9, "X", "p", 1, "f", *thread, 1)
    rest = (event, *exception, None, None)
    attributes = attributes or {}
    return (
        sequence, timestamp_ns, origin, (*task, None, None), span, message, None,
        tuple(attributes), tuple(attributes.values()),
        NO_REST if rest == NO_REST else rest,
    )  # fmt: skip


def _record_of(seed: int) -> Sealed:
    """Return one of very many records. One number is quicker to draw than a dozen."""
    pick = random.Random(seed)  # noqa: S311 - no secret

    def texts() -> str:
        return " ".join(pick.choices(WORDS, k=pick.randint(0, 2)))

    span = (bytes.fromhex(pick.choice(TRACES)), b"\x01" * 8, 1)
    return sealed(
        pick.randrange(10**6),
        message=texts(),
        level=pick.choice(LEVELS),
        logger=pick.choice(LOGGERS),
        task=(
            pick.choice((None, *JOBS)),
            pick.choice((None, *JOBS)),
            pick.choice((None, 7, 42)),
        ),
        thread=pick.choice(((1, "MainThread"), (12, "worker 1"), (7, "12"))),
        span=pick.choice((None, span)),
        attributes={
            key: pick.choice(VALUES) for key in pick.sample(KEYS, pick.randint(0, 3))
        },
        exception=pick.choice(
            (
                (None, None, None),
                (pick.choice(EXCEPTIONS), texts(), pick.choice((None, texts()))),
            )
        ),
        event=pick.choice((None, "shop.charged", "Timeout")),
        timestamp_ns=NOW_NS - pick.choice(AGES_S) * _SECOND,
    )


sealed_records: st.SearchStrategy[Sealed] = st.integers(0, 2**32).map(_record_of)


def _either(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


@dataclasses.dataclass(frozen=True)
class Case:
    """A query and what it means, found another way."""

    text: str
    holds: Callable[[TaskRecord], bool]

    def __repr__(self) -> str:
        return f"Case({self.text!r})"


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _contains(text: str, found: str | None) -> bool:
    if found is None:
        return False
    if any(letter != letter.lower() for letter in text):
        return text in found
    return text in found.lower()


def _like(pattern: str, found: str | None) -> bool:
    if found is None:
        return False
    expression = ".*".join(map(re.escape, pattern.split("*")))
    return re.fullmatch(expression, found, re.DOTALL) is not None


def _texts_of(record: TaskRecord) -> list[str | None]:
    return [record.message, record.exception_message, record.exception_stacktrace]


def _word(text: str) -> Case:
    return Case(_quote(text), lambda r: any(_contains(text, t) for t in _texts_of(r)))


def _message(text: str) -> Case:
    return Case(f"message:{_quote(text)}", lambda r: _contains(text, r.message))


def _regex(pair: tuple[str, str]) -> Case:
    text, python = pair
    return Case(
        text,
        lambda r: any(t is not None and re.search(python, t) for t in _texts_of(r)),
    )


def _field(name: str, pattern: str, read: Callable[[TaskRecord], list[Any]]) -> Case:
    """Return a field with a pattern, its literal parts in quotes."""
    value = "*".join(_quote(each) if each else "" for each in pattern.split("*"))
    return Case(
        f"{name}:{value}", lambda r: any(_like(pattern, found) for found in read(r))
    )


def _exceptions(record: TaskRecord) -> list[str]:
    name = record.exception_type
    return [] if name is None else [name, name.split(".")[-1]]


def _number_of(record: TaskRecord) -> list[str]:
    number = record.asyncio_task_number
    return [] if number is None else [str(number)]


def _logger(name: str) -> Case:
    return Case(
        f"logger:{name}", lambda r: r.logger == name or r.logger.startswith(name + ".")
    )


def _under(job: str) -> Case:
    family = {job} | FAMILY.get(job, set())
    return Case(
        f"under:{_quote(job)}",
        lambda r: r.task_id in family or r.task_parent_id in family,
    )


def _trace(digits: str) -> Case:
    return Case(
        f"trace:{digits}", lambda r: (r.trace_id or "-").startswith(digits.lower())
    )


_COMPARISONS: Final = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip


def _level(pair: tuple[str, tuple[str, int]]) -> Case:
    comparison, (name, number) = pair
    compare = _COMPARISONS.get(comparison, operator.eq)
    return Case(f"level{comparison}{name}", lambda r: compare(r.level, number))


def _local_ns(hour: int, minute: int, second: int) -> int:
    today = time.localtime(NOW_NS // _SECOND)
    clock = (*today[:3], hour, minute, second, 0, 0, -1)
    return int(time.mktime(clock)) * _SECOND


def _time(pair: tuple[str, tuple[str, int]]) -> Case:
    start, (moment, ns) = pair
    comparison = {"since:": ">=", "until:": "<"}.get(start, start.removeprefix("time"))
    compare = _COMPARISONS[comparison]
    return Case(f"{start}{moment}", lambda r: compare(r.timestamp_ns, ns))


def _moments() -> list[tuple[str, int]]:
    zone = datetime.timezone(datetime.timedelta(hours=2))
    there = datetime.datetime.fromtimestamp(NOW_NS // _SECOND - 300, zone)
    return [
        ("90s", NOW_NS - 90 * _SECOND), ("5m", NOW_NS - 300 * _SECOND),
        ("1.5h", NOW_NS - 5_400 * _SECOND), ("1d", NOW_NS - 86_400 * _SECOND),
        ("-1m", NOW_NS + 60 * _SECOND),
        ("2026-01-31T11:58:30Z", NOW_NS - 90 * _SECOND),
        (there.isoformat(), NOW_NS - 300 * _SECOND),
        ("0:00", _local_ns(0, 0, 0)), ("12:30", _local_ns(12, 30, 0)),
        ("23:59:59", _local_ns(23, 59, 59)),
    ]  # fmt: skip


def _equal(pair: tuple[str, tuple[str, Any]]) -> Case:
    key, (text, value) = pair

    def holds(record: TaskRecord) -> bool:
        if key not in record.attributes:
            return False
        found = record.attributes[key]
        return bool(found == value) or str(found) == text.strip('"')

    return Case(f"@{_quote(key)}:{text}", holds)


def _as_number(value: object) -> float | None:
    if isinstance(value, int | float):
        return value
    try:
        return float(str(value)) if isinstance(value, str) else None
    except ValueError:
        return None


def _compared(triple: tuple[str, str, tuple[str, Any]]) -> Case:
    key, comparison, (text, value) = triple
    compare = _COMPARISONS[comparison]

    def holds(record: TaskRecord) -> bool:
        if key not in record.attributes:
            return False
        found = record.attributes[key]
        if isinstance(value, str):
            return bool(compare(str(found), value))
        number = _as_number(found)
        return number is not None and bool(compare(number, value))

    return Case(f"@{_quote(key)}{comparison}{text}", holds)


def _attribute_like(pair: tuple[str, str]) -> Case:
    key, pattern = pair
    return _field(
        f"@{_quote(key)}",
        pattern,
        lambda r: [str(r.attributes[key])] if key in r.attributes else [],
    )


def _run(pattern: str) -> Case:
    of_runs = _attribute_like(("run_id", pattern))
    return Case("run:" + of_runs.text.partition(":")[2], of_runs.holds)


def _any_attribute(text: str) -> Case:
    return Case(
        f"@*:{_quote(text)}",
        lambda r: any(_contains(text, str(v)) for v in r.attributes.values()),
    )


_PATTERNS: Final = ("*", "import-*", "*42", "i*p*t*", "*größe*", "a b*", *JOBS[:3])
_CONSTANTS: Final = (
    ("10", 10), ("9.5", 9.5), ("-3", -3), ('"10"', "10"), ("bob", "bob"),
    ("true", True), ("1e1", 10.0), ("+9", 9), ("missing", "missing"),
)  # fmt: skip
_REGEXES: Final = (
    ("/time(d )?out/i", "(?i)time(d )?out"), (r"/x\/y/", "x/y"), ("/^$/", r"^\Z"),
    ("/GRÖSSE/i", "(?i)grösse"), (r"/\d+%/", r"\d+%"),
)  # fmt: skip

_terms = st.one_of(
    _either(*WORDS, "out", "zeit").map(_word),
    _either(*WORDS).map(_message),
    st.just(Case("timeout", _word("timeout").holds)),
    st.just(Case("f(x)", _word("f(x)").holds)),
    _either(*_PATTERNS).map(lambda p: _field("task", p, lambda r: [r.task_id])),
    _either(*JOBS, "missing").map(_under),
    _either(*LOGGERS, "missing").map(_logger),
    _either("shop.*", "*.db", "s*g", "*").map(
        lambda p: _field("logger", p, lambda r: [r.logger])
    ),
    _either("ValueError", "shop.*", "*Error", "*").map(
        lambda p: _field("exc", p, _exceptions)
    ),
    _either("shop.*", "Timeout", "*").map(
        lambda p: _field("event", p, lambda r: [r.event_name])
    ),
    _either("MainThread", "worker *", "12", "*1*").map(
        lambda p: _field(
            "thread", p, lambda r: [r.origin.thread_name, str(r.origin.thread_id)]
        )
    ),
    _either("7", "42", "*").map(lambda p: _field("asyncio", p, _number_of)),
    _either("4bf9", "4B", "4bf9" + "0" * 28, "5").map(_trace),
    st.just(Case("trace:*", lambda r: r.trace_id is not None)),
    st.just(Case("span:01*", lambda r: r.span_id is not None)),
    st.tuples(
        _either(":", *_COMPARISONS),
        _either(("warning", 30), ("WARN", 30), ("25", 25), ("error", 40), ("-1", -1)),
    ).map(_level),
    st.tuples(
        _either("since:", "until:", *(f"time{each}" for each in _COMPARISONS)),
        _either(*_moments()),
    ).map(_time),
    st.tuples(_either(*KEYS), _either(*_CONSTANTS)).map(_equal),
    st.tuples(
        _either(*KEYS),
        _either(*_COMPARISONS),
        _either(("10", 10), ("9.5", 9.5), ('"10"', "10"), ("bob", "bob")),
    ).map(_compared),
    st.tuples(_either(*KEYS), _either("*", "b*", "*b*", "1*", "*0")).map(
        _attribute_like
    ),
    _either("10", "b*", "*").map(_run),
    _either("bob", "Bob", "1", "").map(_any_attribute),
    *([_either(*_REGEXES).map(_regex)] if HAS_RE2 else []),
)


def _joined(cases: list[Case], glue: str, space: str) -> Case:
    text = f"{space}{glue}{space}".join(f"({case.text}){space}" for case in cases)
    if "OR" in glue:
        return Case(text, lambda r: any(case.holds(r) for case in cases))
    return Case(text, lambda r: all(case.holds(r) for case in cases))


def _negated(case: Case, sign: str) -> Case:
    return Case(f"{sign}({case.text})", lambda r: not case.holds(r))


_spaces = _either(" ", "  ", "\n", "\u3000")

cases: st.SearchStrategy[Case] = st.recursive(
    _terms,
    lambda inner: st.one_of(
        st.builds(
            _joined,
            st.lists(inner, min_size=2, max_size=3),
            _either(" ", "AND", "OR"),
            _spaces,
        ),
        st.builds(_negated, inner, _either("-", "NOT ")),
    ),
    max_leaves=5,
)
