"""What Loki does, said of the double; and of a real Loki where one is named.

``OTEL_TASKLOG_TEST_LOKI=http://127.0.0.1:3100 pytest tests/store/test_loki_statements.py``
asks that one the same. It should have nothing to lose: records of services named
``statement-...`` are sent to it. Those of its limits that are configured otherwise than
by default are left out.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

import httpx2
import pytest
from httpx2.websockets import WebSocketDisconnect, WebSocketUpgradeError
from loki_double import LokiDouble
from loki_logql import KEYWORDS
from loki_peer import listening
from loki_real import REAL, configuration
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)
from query_cases import HAS_RE2
from test_loki_rules import any_value, pairs

from otel_tasklog.store.loki import LokiStorage

if TYPE_CHECKING:
    from collections.abc import Iterator

CATEGORIES: Final = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
DAY_NS: Final = 86_400 * 10**9

pytestmark = pytest.mark.skipif(
    not HAS_RE2, reason="google-re2 is not installed (extra: regex)"
)


class Asked:
    """A Loki, real or not, with a service of this test's own."""

    def __init__(self, url: str, limits: dict[str, Any]) -> None:
        self.url = url
        self.limits = limits
        self.service = f"statement-{uuid.uuid4().hex}"
        self.selector = f'{{service_name="{self.service}"}}'
        self.now_ns = time.time_ns()
        self.client = httpx2.Client(base_url=url, headers=CATEGORIES, timeout=30)

    def record(self, body: Any = "x", age_ns: int = 0, **fields: Any) -> dict[str, Any]:
        time_ns = self.now_ns - age_ns
        return {
            "time_unix_nano": time_ns, "observed_time_unix_nano": time_ns,
            "severity_number": 9, "severity_text": "INFO", "body": any_value(body),
            **fields, "attributes": pairs(fields.get("attributes", {})),
        }  # fmt: skip

    def push(self, *records: dict[str, Any], **resource: Any) -> httpx2.Response:
        message = ExportLogsServiceRequest()
        logs = message.resource_logs.add()
        logs.resource.attributes.extend(
            pairs({"service.name": self.service, **resource})
        )
        scope = logs.scope_logs.add()
        scope.scope.name = "shop"
        for record in records:
            scope.log_records.add(**record)
        return self.client.post(
            "/otlp/v1/logs",
            content=message.SerializeToString(),
            headers={"Content-Type": "application/x-protobuf"},
        )

    def ask(self, pipeline: str = "", **form: Any) -> httpx2.Response:
        form = {
            "query": self.selector + pipeline, "limit": 5_000, "direction": "forward",
            "start": self.now_ns - DAY_NS, "end": self.now_ns + DAY_NS // 24, **form,
        }  # fmt: skip
        return self.client.post("/loki/api/v1/query_range", data=form)

    def entries(self, pipeline: str = "", **form: Any) -> list[tuple[Any, ...]]:
        """Return (labels, time, line, categories) of each."""
        answer = self.ask(pipeline, **form)
        assert answer.status_code == 200, answer.text
        return [
            (each["stream"], *value)
            for each in answer.json()["data"]["result"]
            for value in each["values"]
        ]

    def lines(self, pipeline: str = "", **form: Any) -> list[str]:
        return [entry[2] for entry in self.entries(pipeline, **form)]

    def kept(self, count: int, **form: Any) -> list[str]:
        """Return the lines once there are so many: they may take a moment."""
        end = time.monotonic() + 10
        while len(found := self.lines(**form)) < count and time.monotonic() < end:
            time.sleep(0.02)
        return found

    def need(self, limit: str, *values: object) -> None:
        if self.limits.get(limit) not in (None, *values):
            pytest.skip(f"this Loki's {limit} is {self.limits[limit]}")


@pytest.fixture(params=["double", "real"])
def loki(request: pytest.FixtureRequest) -> Iterator[Asked]:
    if request.param == "double":
        with listening() as peer:
            asked = Asked(peer.url, {})
            yield asked
            asked.client.close()
        return
    if REAL is None:
        pytest.skip("OTEL_TASKLOG_TEST_LOKI names no Loki")
    config = configuration(REAL)
    asked = Asked(REAL, {**config["limits_config"], **config["server"]})
    yield asked
    asked.client.close()


def test_what_is_taken_is_answered_with_204_and_nothing(loki: Asked) -> None:
    answer = loki.push(loki.record("hello"))
    assert (answer.status_code, answer.content) == (204, b"")
    assert loki.kept(1) == ["hello"]


def test_one_bad_key_costs_the_whole_request(loki: Asked) -> None:
    good, bad = loki.record("good"), loki.record("bad", attributes={"日本": 1})
    assert loki.push(good, bad).status_code == 400
    assert loki.push(loki.record("after", 1)).status_code == 204
    assert loki.kept(1) == ["after"]


@pytest.mark.parametrize(
    ("what", "limit", "default"),
    [
        ("old", "reject_old_samples", True),
        ("new", "creation_grace_period", "10m"),
        ("long", "max_line_size", "256KB"),
        ("many", "max_structured_metadata_entries_count", 128),
        ("large", "max_structured_metadata_size", "64KB"),
    ],
)
def test_any_other_bad_record_costs_itself_though_the_answer_is_400(
    loki: Asked, what: str, limit: str, default: object
) -> None:
    loki.need(limit, default)
    bad = {
        "old": loki.record("bad", 8 * DAY_NS),
        "new": loki.record("bad", -900 * 10**9),
        "long": loki.record("x" * 262_145),
        "many": loki.record("bad", attributes={f"k{n}": n for n in range(130)}),
        "large": loki.record("bad", attributes={"k": "x" * 70_000}),
    }[what]
    assert loki.push(loki.record("good", 5), bad).status_code == 400
    assert loki.kept(1) == ["good"]


def test_a_request_without_records_is_answered_with_422(loki: Asked) -> None:
    assert loki.push().status_code == 422


def test_too_much_at_once_is_answered_as_if_it_could_pass_later(loki: Asked) -> None:
    loki.need("grpc_server_max_recv_msg_size", 4_194_304)
    loki.need("ingestion_burst_size_mb", 6)
    five = [loki.record(f"{n} " + "x" * 100_000, n) for n in range(50)]
    assert loki.push(*five).status_code == 503
    seven = [loki.record(f"{n} " + "x" * 100_000, n) for n in range(70)]
    assert loki.push(*seven).status_code == 429
    assert loki.lines() == []


def test_one_of_two_equal_records_is_kept(loki: Asked) -> None:
    """Equal in time, text and metadata: so a request that is sent again costs nothing."""
    same = loki.record("same", attributes={"task_id": "a"})
    other = loki.record("same", attributes={"task_id": "b"})
    loki.push(same, same, other)
    loki.push(same)
    assert loki.kept(2) == ["same", "same"]


def test_labels_are_apart_from_metadata_and_all_values_are_texts(loki: Asked) -> None:
    attributes = {
        "task_id": "t-1", "order.id": 7, "ratio": 10.0, "tiny": 1e-7, "ok": True,
        "list": ["a", 1], "map": {"a": {"b": "c"}}, "größe": "x", "1st": "y",
        "empty": "", "none": None, "bytes": b"\0\xff", "nan": float("nan"),
        "inf": float("-inf"),
    }  # fmt: skip
    record = loki.record(
        attributes=attributes,
        trace_id=bytes(range(16)),
        span_id=bytes(range(8)),
        flags=1,
    )
    loki.push(record, **{"host.name": "ten"})
    loki.kept(1)
    ((labels, at, line, categories),) = loki.entries()
    assert labels == {"service_name": loki.service}
    assert (at, line) == (str(loki.now_ns), "x")
    assert categories == {
        "structuredMetadata": {
            "task_id": "t-1", "order_id": "7", "ratio": "10", "tiny": "1e-7",
            "ok": "true", "list": '["a",1]', "map_a_b": "c", "gr_e": "x",
            "key_1st": "y", "bytes": "AP8=", "nan": "NaN", "inf": "-Infinity",
            "host_name": "ten", "scope_name": "shop", "severity_number": "9",
            "severity_text": "INFO", "detected_level": "info", "flags": "1",
            "trace_id": bytes(range(16)).hex(), "span_id": bytes(range(8)).hex(),
            "observed_timestamp": str(loki.now_ns),
        }
    }  # fmt: skip


def test_without_the_header_each_record_is_a_stream(loki: Asked) -> None:
    loki.push(*(loki.record(n, 5 - n, attributes={"n": n}) for n in range(3)))
    loki.kept(3)
    del loki.client.headers["X-Loki-Response-Encoding-Flags"]
    entries = loki.entries()
    assert [len(entry) for entry in entries] == [3, 3, 3]
    assert {entry[0]["n"] for entry in entries} == {"0", "1", "2"}


def test_the_start_is_asked_for_and_the_end_is_not(loki: Asked) -> None:
    loki.push(*(loki.record(f"{n}", 3 - n) for n in range(3)))
    loki.kept(3)
    start = loki.now_ns - 3
    assert loki.lines(start=start, end=start + 2) == ["0", "1"]
    assert loki.lines(start=start + 1, direction="backward") == ["2", "1"]
    assert loki.lines(limit=1) == ["0"]
    assert loki.lines(limit=1, direction="backward") == ["2"]


def test_records_of_one_time_keep_their_order(loki: Asked) -> None:
    loki.push(*(loki.record(f"{n}") for n in range(5)))
    loki.kept(5)
    assert loki.lines() == ["0", "1", "2", "3", "4"]
    assert loki.lines(direction="backward") == ["4", "3", "2", "1", "0"]


def test_more_than_the_limits_is_refused_with_the_reason(loki: Asked) -> None:
    loki.need("max_entries_limit_per_query", 5_000)
    loki.need("max_query_length", "30d1h")
    more = loki.ask(limit=5_001)
    assert (more.status_code, "max_entries_limit" in more.text) == (400, True)
    longer = loki.ask(start=loki.now_ns - 31 * DAY_NS)
    assert (longer.status_code, "query time range" in longer.text) == (400, True)
    long = loki.ask(' | a="' + "x" * 140_000 + '"')
    assert (long.status_code, "input size too long" in long.text) == (400, True)


@pytest.mark.parametrize("word", sorted(KEYWORDS))
def test_a_keyword_is_the_name_of_nothing(loki: Asked, word: str) -> None:
    assert loki.ask(f' | {word}="x"').status_code == 400


@pytest.mark.parametrize(
    "query",
    ['{a="b"', '{a=~".*"}', '{a="b"} | a', '{a="b"} | a="\\ud83d\\ude00"'],
    ids=str,
)
def test_what_is_no_logql_is_refused(loki: Asked, query: str) -> None:
    """The last is JSON's way to write a character that needs two halves."""
    answer = loki.client.post("/loki/api/v1/query_range", data={"query": query})
    if "ude00" in query and answer.status_code == 200:
        assert answer.json()["data"]["result"] == []
    else:
        assert answer.status_code == 400


FILTERS: Final = [
    ('|= "tw"', [1]), ('!= "tw"', [0, 2, 3]), ('|~ "(?i)TW"', [1]), ('!~ "e$"', [1, 3]),
    ('|= "one" or "two"', [0, 1]), ('| task_id="a"', [0]), ('| task_id!="a"', [1, 2, 3]),
    ('| task_id=~"a|b"', [0, 1]), ('| task_id!~"(?s)a.*"', [1, 2, 3]),
    ('| task_id=""', [2, 3]), ('| task_id!=""', [0, 1]), ('| task_id=~"(?s)x.*|"', [2, 3]),
    ("| severity_number >= 13", [1]), ("| severity_number <= 9", [0, 2]),
    ('| severity_number <= 9 or severity_number=""', [0, 2, 3]),
    ("| amount > 9.5", [0, 2]), ("| amount > -4", [0, 1, 2]), ("| amount > 1e1", [2]),
    ("| amount <= 9", [1, 2]), ('| (amount > 9.5 and task_id="a") or task_id="b"', [0, 1]),
    ("| none > 1", []), ('| host_name="ten" | service_name=~"statement.*"', [0, 1, 2, 3]),
    ('| task_id="a" or amount > 100', [0, 2]),
    ('| label_format l=`{{__line__}}` | l=~"(?s:.*)(?:wo)(?s:.*)" | drop l', [1]),
    ('| label_format l=`{{__line__}}` | (l!~"(?s)t.*" and (task_id="" or task_id!~"a"))', [3]),
    ('|~ "(?i)\u03c3"', []), ('|~ "(?i)[\u03c3]"', [3]),
    ('|~ "(?i)[i\u0130]st"', [3]), ('|~ "(?i)\u03bf[\u03b4]\u03bf\u03c3"', [3]),
]  # fmt: skip


@pytest.mark.parametrize(("pipeline", "expected"), FILTERS, ids=str)
def test_filters_find_what_they_say(
    loki: Asked, pipeline: str, expected: list[int]
) -> None:
    """A number passes what is no number; a field that is not there is an empty text.

    A pattern that begins or ends with ``.*`` says ``(?s)``: without, Loki 3.7.6 looks
    for the rest of it anywhere in the field.
    """
    loki.push(
        loki.record("one", 4, attributes={"task_id": "a", "amount": 10}),
        loki.record(
            "two", 3, attributes={"task_id": "b", "amount": "-3"}, severity_number=13
        ),
        loki.record("three", 2, attributes={"amount": "abc"}),
        loki.record("\u0130st ΟΔΟΣ", 1, severity_number=0, severity_text=""),
        **{"host.name": "ten"},
    )  # fmt: skip
    lines = loki.kept(4)
    assert [lines.index(line) for line in loki.lines(f" {pipeline}")] == expected


@pytest.mark.parametrize(
    "text", ['say "hi"', "a\\b", "a\nb", "\0\x7f", "😀", "`{{.x}}`"], ids=ascii
)
def test_texts_are_quoted_as_json_has_them_but_for_escapes(
    loki: Asked, text: str
) -> None:
    loki.push(loki.record("here", attributes={"task_id": text}))
    loki.kept(1)
    assert loki.lines(f" | task_id={json.dumps(text, ensure_ascii=False)}") == ["here"]


def test_a_pattern_has_no_nul(loki: Asked) -> None:
    """Where it has to be a pattern: Loki writes it anew, and cannot read that."""
    answer = loki.ask(' | task_id=~"(?s)a\\u0000.*"')
    assert (answer.status_code, "invalid character NUL" in answer.text) == (400, True)
    assert loki.ask(r' | task_id=~"(?s)a\\x00.*"').status_code == 200


def _tail_url(loki: Asked) -> str:
    return f"ws{loki.url.removeprefix('http')}/loki/api/v1/tail"


def test_a_tail_sends_frames_of_what_comes(loki: Asked) -> None:
    with loki.client.websocket(
        _tail_url(loki),
        params={"query": loki.selector, "start": str(loki.now_ns)},
        keepalive_ping_interval_seconds=None,
    ) as tail:
        time.sleep(0.2)  # a real one needs a moment to reach whoever takes records
        loki.push(loki.record("new", -1, attributes={"task_id": "a"}))
        frame = tail.receive_json(timeout=10)
    (stream,) = frame["streams"]
    assert frame["encodingFlags"] == ["categorize-labels"]
    assert stream["stream"] == {"service_name": loki.service}
    ((at, line, categories),) = stream["values"]
    assert (at, line) == (str(loki.now_ns + 1), "new")
    assert categories["structuredMetadata"]["task_id"] == "a"


@pytest.mark.parametrize(
    ("conditions", "is_whole"), [("", True), (' | task_id!=""', False)], ids=str
)
def test_a_tail_with_conditions_leaves_out_what_comes_together(
    loki: Asked, *, conditions: str, is_whole: bool
) -> None:
    """And does not say so. Without conditions all of it comes."""
    seen: set[str] = set()
    with loki.client.websocket(
        _tail_url(loki),
        params={"query": loki.selector + conditions, "start": str(loki.now_ns)},
        max_message_size_bytes=1_000_000,
        keepalive_ping_interval_seconds=None,
    ) as tail:
        time.sleep(0.2)
        loki.push(
            *(
                loki.record(
                    str(number), -1 - number, attributes={"task_id": f"{number}"}
                )
                for number in range(100)
            )
        )
        with contextlib.suppress(TimeoutError):
            while len(seen) < 100:
                frame = tail.receive_json(timeout=2)
                assert "dropped_entries" not in frame
                seen |= {
                    value[1] for each in frame["streams"] for value in each["values"]
                }
    assert (len(seen) == 100) is is_whole
    assert seen


@pytest.mark.parametrize("query", ['{a="b"', '{a=~".*"}', '{a="b"} | by="x"'], ids=str)
def test_a_tail_of_what_is_no_logql_is_refused(loki: Asked, query: str) -> None:
    with (
        pytest.raises(WebSocketUpgradeError) as refused,
        loki.client.websocket(_tail_url(loki), params={"query": query}),
    ):
        pass
    assert refused.value.response.status_code == 400
    assert loki.client.get("/loki/api/v1/tail").status_code == 400


def test_a_tail_of_numbers_is_closed_with_the_reason(loki: Asked) -> None:
    query = 'sum(count_over_time({a="b"}[1m]))'
    with (
        loki.client.websocket(
            _tail_url(loki),
            params={"query": query},
            keepalive_ping_interval_seconds=None,
        ) as tail,
        pytest.raises(WebSocketDisconnect) as closed,
    ):
        tail.receive(timeout=10)
    assert closed.value.code == 1011
    assert "only log selector is supported" in closed.value.reason


def test_the_storage_finds_and_follows(loki: Asked) -> None:
    """All of it at once, as an application has it."""
    with LokiStorage(loki.url, labels={"service_name": loki.service}) as storage:
        loki.push(
            loki.record("one", 3, attributes={"task_id": "import-42"}),
            loki.record("two", 2, attributes={"task_id": "import-42"}, severity_number=17,
                        severity_text="ERROR"),
            loki.record("three", 1, attributes={"task_id": "other"}),
        )  # fmt: skip
        loki.kept(3)
        asked = "task:import-42 level>=warning since:1h"
        assert [r.message for r in storage.query(asked)] == ["two"]
        assert [r.level for r in storage.query(asked)] == [40]
        following = storage.follow("task:import-*", backlog_records=1)
        assert next(following).message == "two"
        loki.push(loki.record("four", -1, attributes={"task_id": "import-43"}))
        assert next(following).message == "four"
        following.close()  # type: ignore[attr-defined]


def test_a_tenant_has_to_be_named_where_there_are_several() -> None:
    """A Loki with ``auth_enabled``; without it the header says nothing."""
    with listening(LokiDouble(tenants=True)) as peer:
        nobody = LokiStorage(peer.url)
        with pytest.raises(
            Exception, match="no org id; it has several tenants: give tenant="
        ):
            nobody.query()
        nobody.close()
        with LokiStorage(peer.url, tenant="a") as storage:
            assert storage.query() == []
