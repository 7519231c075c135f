"""The local API: what it answers, to whom, and what it refuses."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import hypothesis
import pytest
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from log_records import records as hostile_records
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from starlette.testclient import TestClient

import otel_tasklog
from otel_tasklog import ConfigError, MissingExtraError
from otel_tasklog._live_reader import TIMEOUT_SECONDS
from otel_tasklog.viewer import _answers, _application, _pieces, _tail
from otel_tasklog.viewer._access import TOKEN_CHARACTERS, URL_BYTES
from otel_tasklog.viewer._openapi import (
    DOCUMENT,
    RECORDS,
    SEARCH_CHARACTERS,
    parameters_of,
)

if TYPE_CHECKING:
    from conftest import Harness
    from httpx2 import Response
    from log_records import Made

API_PAGE = Path(__file__).parents[2] / "docs" / "reference" / "api.md"
TOKEN = "a-token-of-this-test"  # noqa: S105 - it opens nothing else


class Client(TestClient):
    """Asks an application that lets it in, and checks each answer's shape."""

    def __init__(self, harness: Harness, **access: Any) -> None:
        self.harness = harness
        app = harness.tasklog.asgi(**(access or {"open_to_all": True}))
        super().__init__(app, "http://localhost", raise_server_exceptions=False)

    def ask(self, path: str, /, **parameters: object) -> Any:
        """Return the answer's JSON, which must be as the document says."""
        answer = self.get(path, params={k: str(v) for k, v in parameters.items()})
        assert answer.status_code == 200, answer.text
        as_described(answer)
        return answer.json()

    def refused(self, path: str, /, **parameters: object) -> tuple[int, str]:
        """Return status and error of an answer that is a problem."""
        answer = self.get(path, params={k: str(v) for k, v in parameters.items()})
        assert answer.status_code >= 400, answer.text
        as_described(answer)
        return answer.status_code, answer.json()["error"]


def served(path: str) -> str | None:
    """Return the path of the document that serves a path."""
    parts = path.split("/")
    for each in DOCUMENT["paths"]:
        known = each.split("/")
        if len(known) == len(parts) and all(
            a == b or a.startswith("{") for a, b in zip(known, parts, strict=True)
        ):
            return str(each)
    return None


def as_described(answer: Response) -> None:
    """Hold an answer against the document; raises if it is another."""
    for name, value in {
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "same-origin",
    }.items():
        assert answer.headers[name] == value
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.content.isascii()
    assert all(32 <= each < 127 for each in answer.content.replace(b"\n", b""))
    path = served(answer.url.path)
    if path is None:
        assert answer.status_code in {401, 403, 404}
        response = DOCUMENT["components"]["responses"]["Problem"]
    else:
        operation = DOCUMENT["paths"][path]["get"]
        response = operation["responses"][str(answer.status_code)]
    if "$ref" in response:
        response = DOCUMENT["components"]["responses"]["Problem"]
    kind = answer.headers["content-type"].partition(";")[0]
    schema = response["content"][kind]["schema"]
    values = answer.text.splitlines() if "ndjson" in kind else [answer.text]
    for value in values:
        if "$ref" in schema:
            validator(schema["$ref"]).validate(json.loads(value))


@functools.cache
def validator(reference: str) -> Draft202012Validator:
    return Draft202012Validator({**DOCUMENT, "$ref": reference})


@pytest.fixture
def client(harness: Harness) -> Client:
    return Client(harness)


def messages(answer: dict[str, Any]) -> list[str]:
    return [record["message"] for record in answer["records"]]


# Access.


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "token=None: expected a secret"),
        ({"token": "short"}, f"at least {TOKEN_CHARACTERS} letters"),
        ({"token": "not a token of a header"}, "at least"),
        ({"token": b"a-token-of-bytes"}, "at least"),
        ({"token": TOKEN, "open_to_all": True}, "one or the other"),
        ({"open_to_all": True, "allowed_hosts": "example.org"}, "a list of names"),
        ({"open_to_all": True, "allowed_hosts": ["http://x"]}, "without scheme"),
        ({"open_to_all": True, "allowed_hosts": ["x:80"]}, "without scheme and port"),
    ],
    ids=["neither", "short", "spaces", "bytes", "both", "a text", "a URL", "a port"],
)
def test_an_access_that_cannot_be_meant_is_refused(
    harness: Harness, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        harness.tasklog.asgi(**settings)
    assert says in str(raised.value)
    assert "short" not in str(raised.value)


def test_without_its_extra_it_names_it(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "starlette", None)
    with pytest.raises(MissingExtraError, match=r"otel-tasklog\[api\]"):
        harness.tasklog.asgi(open_to_all=True)


@pytest.mark.parametrize(
    "authorization",
    [
        None, "", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer ", f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}", "Bearer another-token-of-yours", "Bearer \xe9",
    ],
    ids=repr,
)  # fmt: skip
def test_without_the_token_nothing_is_answered(
    harness: Harness, authorization: str | None
) -> None:
    client = Client(harness, token=TOKEN)
    headers: dict[bytes, bytes] = {}
    if authorization is not None:
        headers[b"Authorization"] = authorization.encode("latin-1")
    for path in (*DOCUMENT["paths"], "/", "/v1/records?q=(&nonsense"):
        answer = client.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in answer.text
        as_described(answer)


def test_with_the_token_all_is_answered_by_whatever_name_it_is_asked(
    harness: Harness,
) -> None:
    client = Client(harness, token=TOKEN)
    for scheme in ("Bearer", "bearer"):
        answer = client.get(
            "/healthz",
            headers={"Authorization": f"{scheme} {TOKEN}", "Host": "logs.example.org"},
        )
        assert answer.json()["status"] == "ok"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("LOCALHOST:8000", 200), ("app.localhost", 200),
        ("127.0.0.1:80", 200), ("127.8.8.8", 200), ("[::1]:8000", 200),
        ("allowed.example:9", 200), ("localhost.", 200),
        ("evil.example", 403), ("localhost.evil.example", 403), ("10.0.0.1", 403),
        ("evil.example@localhost", 403), ("", 403), ("localhost:80:80", 403),
        ("[::2]", 403), ("127.0.0.1.evil.example", 403), ("notlocalhost", 403),
    ],
)  # fmt: skip
def test_open_to_all_it_answers_to_its_own_names_alone(
    harness: Harness, host: str, status: int
) -> None:
    """So no page can have a name of its own resolve to us."""
    client = Client(harness, open_to_all=True, allowed_hosts=["Allowed.example"])
    answer = client.get("/healthz", headers={"Host": host})
    assert answer.status_code == status
    as_described(answer)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://localhost"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "null", "Host": ""}, 403),
        ({"Origin": "http://[::1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
    ],
    ids=str,
)
@pytest.mark.parametrize("access", [{"open_to_all": True}, {"token": TOKEN}], ids=str)
def test_a_page_of_another_origin_is_refused(
    harness: Harness, headers: dict[str, str], status: int, access: dict[str, Any]
) -> None:
    client = Client(harness, **access)
    given = {**headers, "Authorization": f"Bearer {TOKEN}"}
    answer = client.get("/v1/stats", headers=given)
    assert answer.status_code == status
    as_described(answer)


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]
)
def test_nothing_but_get_is_served(client: Client, method: str) -> None:
    for path in DOCUMENT["paths"]:
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


def test_what_is_not_there_is_answered_with_what_is(client: Client) -> None:
    for path in ("/", "/v1", "/v1/records/", "/v2/records", "/docs"):
        status, error = client.refused(path)
        assert status == 404
        assert "/v1/records, " in error


def test_an_address_that_is_too_long_is_refused(client: Client) -> None:
    assert client.refused("/v1/records", q="x" * URL_BYTES)[0] == 414


def test_a_web_socket_is_closed(client: Client) -> None:
    with pytest.raises(Exception) as raised, client.websocket_connect("/v1/tail"):  # noqa: PT011 - any
        pass
    assert type(raised.value).__name__ == "WebSocketDisconnect"


# Parameters.


@pytest.mark.parametrize(
    ("path", "parameters", "says"),
    [
        ("/v1/records", {"limt": 5}, "no such parameter: 'limt'; did you mean 'limit'?"),
        ("/v1/records", {"wat": 5}, "'wat'; there are q, limit, order"),
        ("/healthz", {"q": "x"}, "this address takes none"),
        ("/v1/records", {"limit": 0}, "limit='0': expected a whole number from 1 to"),
        ("/v1/records", {"limit": 1001}, "from 1 to 1000"),
        ("/v1/records", {"limit": "1_0"}, "limit='1_0'"),
        ("/v1/records", {"limit": "\u0661"}, "expected a whole number"),
        ("/v1/records", {"limit": "9" * 5000}, "expected a whole number"),
        ("/v1/records", {"order": "random"}, "expected newest or oldest"),
        ("/v1/records", {"format": "sse"}, "expected json or ndjson"),
        ("/v1/tail", {"format": "json"}, "expected sse or ndjson"),
        ("/v1/tail", {"backlog": -1}, "from 0 to 1000"),
        ("/v1/counts", {"bucket_seconds": "nan"}, "expected a number from 0.001 to"),
        ("/v1/context/1", {"same_task": "yes"}, "expected true or false"),
        ("/v1/context/x", {}, "sequence='x': expected a whole number"),
        ("/v1/context/1", {"sequence": "1"}, "sequence is given twice"),
        ("/v1/trace/4bf9", {}, "trace_id='4bf9'"),
        ("/v1/records", {"cursor": "abc"}, "cursor='abc': expected an answer's next"),
        ("/v1/tail", {"cursor": "1-2-3"}, "cursor='1-2-3'"),
        ("/v1/records", {"cursor": "7-0123456789"}, "of another process"),
        ("/v1/records", {"q": "x" * (SEARCH_CHARACTERS + 1)}, "q is too long"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_a_parameter_that_cannot_be_is_named(
    client: Client, path: str, parameters: dict[str, object], says: str
) -> None:
    status, error = client.refused(path, **parameters)
    assert status == 400
    assert says in error
    assert "\n" not in error


def test_a_parameter_given_twice_is_refused(client: Client) -> None:
    answer = client.get("/v1/records?q=a&q=b")
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": "q is given twice; give it once"},
    )


@pytest.mark.parametrize("path", ["/v1/records", "/v1/tail"])
def test_a_query_that_means_nothing_is_refused_with_the_column(
    client: Client, path: str
) -> None:
    answer = client.get(path, params={"q": "timeout levle:error"})
    assert answer.status_code == 400
    as_described(answer)
    problem = answer.json()
    assert problem["column"] == 9
    assert "level" in problem["error"]


# Records.


def test_records_are_the_newest_first_and_paged(client: Client) -> None:
    for number in range(7):
        client.harness.log.info("number %d", number)
    first = client.ask("/v1/records", limit=3)
    assert messages(first) == ["number 6", "number 5", "number 4"]
    assert first["complete"] is True
    second = client.ask("/v1/records", limit=3, cursor=first["next"])
    assert messages(second) == ["number 3", "number 2", "number 1"]
    third = client.ask("/v1/records", limit=3, cursor=second["next"])
    assert messages(third) == ["number 0"]
    assert third["next"] is None
    oldest = client.ask("/v1/records", limit=2, order="oldest")
    assert messages(oldest) == ["number 0", "number 1"]
    following = client.ask("/v1/records", order="oldest", cursor=oldest["next"])
    assert messages(following) == [f"number {n}" for n in range(2, 7)]
    assert following["next"] is None


def test_a_records_id_is_a_cursor(client: Client) -> None:
    for number in range(3):
        client.harness.log.info("number %d", number)
    middle = client.ask("/v1/records")["records"][1]
    answer = client.ask("/v1/records", cursor=middle["id"], order="oldest")
    assert messages(answer) == ["number 2"]


def test_a_query_chooses(client: Client) -> None:
    client.harness.log.info("connected")
    client.harness.log.warning("timeout of the bank", extra={"task_id": "order-1"})
    client.harness.log.error("timeout of the shop", extra={"task_id": "order-2"})
    answer = client.ask("/v1/records", q="level>=warning timeout task:order-1")
    assert messages(answer) == ["timeout of the bank"]


def test_as_ndjson_there_is_a_record_in_each_line(client: Client) -> None:
    for number in range(3):
        client.harness.log.info("number\n%d", number)
    asked: list[dict[str, Any]] = [
        {"params": {"format": "ndjson", "limit": 2}},
        {"params": {"limit": 2}, "headers": {"Accept": "application/x-ndjson"}},
    ]
    for each in asked:
        answer = client.get("/v1/records", **each)
        as_described(answer)
        lines = [json.loads(line) for line in answer.text.splitlines()]
        assert [line["message"] for line in lines] == ["number\n2", "number\n1"]
        assert answer.headers["tasklog-complete"] == "true"
        assert answer.headers["tasklog-next"] == lines[-1]["id"]


def test_a_large_answer_is_cut_and_the_next_goes_on(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pieces, "RESPONSE_BYTES", 5_000)
    for number in range(4):
        client.harness.log.info("%d%s", number, "x" * 2_000)
    pages: list[list[str]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = client.ask("/v1/records", **cursor)
        pages.append([text[0] for text in messages(answer)])
        if answer["next"] is None:
            break
        cursor = {"cursor": answer["next"]}
    assert pages == [["3", "2"], ["1", "0"]]
    client.harness.log.info("x" * 10_000)
    assert len(client.ask("/v1/records")["records"]) == 1


def test_what_a_record_looks_like(client: Client) -> None:
    tracer = TracerProvider().get_tracer("test")
    log = client.harness.log
    values = {
        "large": 2**53, "least": -(2**53) + 1, "nan": float("nan"),
        "down": float("-inf"), "bytes": b"\x00\xff", "many": (1, [None, True]),
        "odd": "\x1b[31m\x7f\u2028\u202e", "wait_ns": 5,
    }  # fmt: skip
    with otel_tasklog.task("order-1"), tracer.start_as_current_span("span") as span:
        try:
            raise ValueError("no")  # noqa: TRY301 - to be logged
        except ValueError:
            log.exception("failed: %s", "order-1", extra=values)
    [record] = client.ask("/v1/records")["records"]
    assert record["message"] == "failed: order-1"
    assert "body" not in record
    assert record["attributes"] == {
        "large": "9007199254740992", "least": -(2**53) + 1, "nan": "NaN",
        "down": "-Infinity", "bytes": "AP8=", "many": [1, [None, True]],
        "odd": values["odd"], "wait_ns": 5,
    }  # fmt: skip
    context = span.get_span_context()
    assert record["trace_id"] == trace.format_trace_id(context.trace_id)
    assert record["span_id"] == trace.format_span_id(context.span_id)
    assert record["trace_flags"] == context.trace_flags
    assert record["task_id"] == "order-1"
    assert (record["level"], record["severity_text"]) == (logging.ERROR, "ERROR")
    assert record["exception_type"] == "ValueError"
    assert record["exception_stacktrace"].endswith("ValueError: no\n")
    kept = client.harness.last()
    assert record["timestamp_ns"] == str(kept.timestamp_ns)
    assert record["time"].endswith(f"{kept.timestamp_ns % 10**9:09}Z")
    assert record["id"].startswith(f"{kept.sequence}-")


def test_a_mapping_that_was_logged_is_the_body(client: Client) -> None:
    client.harness.log.info({"event": "charged", "amount": 12.5})
    [record] = client.ask("/v1/records")["records"]
    assert record["body"] == {"event": "charged", "amount": 12.5}
    assert isinstance(record["message"], str)


@hypothesis.settings(
    max_examples=100,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(made=hostile_records())
def test_any_record_is_answered_as_described(client: Client, made: Made) -> None:
    client.harness.tasklog.handler.handle(made.record)
    client.ask("/v1/records", limit=1)


def test_the_records_of_a_trace_and_those_around_one(client: Client) -> None:
    tracer = TracerProvider().get_tracer("test")
    log = client.harness.log
    log.info("before")
    with tracer.start_as_current_span("span") as span, otel_tasklog.task("order-1"):
        log.info("first")
        log.info("second")
    log.info("after")
    trace_id = trace.format_trace_id(span.get_span_context().trace_id)
    answer = client.ask(f"/v1/trace/{trace_id}", limit=1)
    assert messages(answer) == ["first"]
    following = client.ask(f"/v1/trace/{trace_id}", cursor=answer["next"])
    assert messages(following) == ["second"]
    assert client.ask(f"/v1/trace/{'0' * 32}")["records"] == []
    path = f"/v1/context/{answer['records'][0]['sequence']}"
    assert messages(client.ask(path, before=1, after=2)) == [
        "before", "first", "second", "after",
    ]  # fmt: skip
    assert messages(client.ask(path, same_task="true")) == ["first", "second"]
    status, error = client.refused("/v1/context/77777")
    assert status == 404
    assert "77777" in error


def test_jobs_and_counts(client: Client) -> None:
    with otel_tasklog.task("order-1"), otel_tasklog.task("payment-1"):
        client.harness.log.info("charging")
        client.harness.log.error("no money")
    client.harness.log.info("outside of it", extra={"task_id": "order-2"})
    answer = client.ask("/v1/tasks", q="task:payment-*")
    [task] = answer["tasks"]
    assert (task["task_id"], task["task_parent_id"]) == ("payment-1", "order-1")
    assert (task["records"], task["last_message"]) == (2, "no money")
    assert int(task["last_ns"]) > int(task["first_ns"]) > 2**53
    assert len(client.ask("/v1/tasks", limit=1)["tasks"]) == 1
    client.harness.log.info("x" * 50_000, extra={"task_id": "order-3"})
    [task] = client.ask("/v1/tasks", q="task:order-3")["tasks"]
    assert len(task["last_message"]) <= _answers.TEXT_CHARACTERS
    assert client.ask("/v1/counts")["counts"] == {"ERROR": 1, "INFO": 3}
    counts = client.ask("/v1/counts", by="task_id", bucket_seconds=3600, q="info")
    assert counts["total"] == sum(bucket["total"] for bucket in counts["buckets"])
    status, error = client.refused("/v1/counts", by="wat")
    assert status == 400
    assert "'level', 'logger'" in error


def test_what_a_job_waits_on(client: Client) -> None:
    async def work() -> None:
        with otel_tasklog.task("order-1"):
            client.harness.log.info("here")
            await asyncio.gather(asyncio.Event().wait(), asyncio.sleep(60))

    client.harness.log.info("outside of asyncio", extra={"task_id": "order-2"})
    loop = asyncio.new_event_loop()
    working = loop.create_task(work(), name="working")
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))
    over, alive = client.ask("/v1/tasks", q="task:order-*")["tasks"][::-1]
    assert (over["alive"], over["waits_on"]) == (None, None)
    assert alive["alive"] is True
    wait = alive["waits_on"]
    assert (wait["kind"], wait["text"]) == ("tasks", "gather(2)")
    assert [each["number"] for each in wait["awaited"]] == [None, None]
    assert wait["path"] == __file__
    assert wait["asyncio_task_name"] == "working"
    assert client.ask("/v1/tasks", alive="true")["tasks"] == [alive]
    working.cancel()
    loop.run_until_complete(asyncio.wait([working]))
    loop.close()


def test_a_query_that_gives_up_says_so(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = client.harness.tasklog.query

    def hurried(*search: str, **filters: Any) -> Any:
        found = query(*search, **filters)
        found.complete = False
        return found

    monkeypatch.setattr(client.harness.tasklog, "query", hurried)
    client.harness.log.info("one")
    answer = client.ask("/v1/records")
    assert answer["complete"] is False
    assert answer["next"] == answer["records"][0]["id"]
    lines = client.get("/v1/records?format=ndjson")
    assert lines.headers["tasklog-complete"] == "false"


def test_the_numbers_are_those_of_stats(client: Client) -> None:
    client.harness.log.info("one")
    client.harness.tasklog.flush()
    answer = client.ask("/v1/stats")
    assert answer["captured"] == answer["delivered"] == 1
    assert answer["last_error"] is None


def test_after_close_what_is_kept_can_be_asked_for_but_not_followed(
    client: Client,
) -> None:
    client.harness.log.info("last words")
    client.harness.tasklog.close()
    assert messages(client.ask("/v1/records")) == ["last words"]
    status, error = client.refused("/v1/tail")
    assert status == 503
    assert "closed" in error


def test_a_failure_of_ours_says_so(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a secret of the program")

    monkeypatch.setattr(client.harness.tasklog, "stats", fail)
    answer = client.get("/v1/stats")
    assert answer.status_code == 500
    assert "server's log" in answer.json()["error"]
    assert "secret" not in answer.text


# The document.


def test_the_document_is_served_and_its_routes_are_those_there_are(
    client: Client,
) -> None:
    assert client.ask("/openapi.json") == DOCUMENT
    app: Any = client.app
    assert {route.path for route in app.routes} == set(DOCUMENT["paths"])
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_the_page_is_the_document() -> None:
    page = API_PAGE.read_text("utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split(" |")]
        for line in page.splitlines()
        if line.startswith("| `")
    ]
    shown = {cells[0].strip("`"): cells[1:] for cells in rows}
    for path in DOCUMENT["paths"]:
        names = [parameter["name"] for parameter in parameters_of(path)]
        _, *columns = shown[path]
        assert re.findall(r"`(\w+)`", columns[0]) == names
    for parameter in DOCUMENT["components"]["parameters"].values():
        name, default = parameter["name"], parameter["schema"].get("default")
        if parameter["in"] != "header":
            [cells] = [each for each in rows if f"`{name}`" in each[0].split(", ")]
            if default not in {None, ""}:
                assert str(default).lower() in cells[1]
    refusals = page.partition("## Refusals")[2].partition("## Limits")[0]
    statuses = set(re.findall(r"^\| (\d{3}) \|", refusals, re.MULTILINE))
    assert statuses == {
        status
        for item in DOCUMENT["paths"].values()
        for status in item["get"]["responses"]
    } - {"200"}
    limits = {
        "records": RECORDS, "q": SEARCH_CHARACTERS, "URL": URL_BYTES,
        "token": TOKEN_CHARACTERS, "tails": _application.TAILS,
        "queries": _application.QUERIES, "MiB": _pieces.RESPONSE_BYTES >> 20,
        "heartbeat": int(_tail.HEARTBEAT_SECONDS), "stall": int(_tail.STALLED_SECONDS),
        "query": int(TIMEOUT_SECONDS),
    }  # fmt: skip
    missing = {n: v for n, v in limits.items() if not re.search(rf"\b{v:,}\b", page)}
    assert not missing


TEXTS = st.text(max_size=30) | st.sampled_from(
    ["0", "-1", "1e400", "nan", "newest", "ndjson", "(", '"', "level>=warning", "/x/",
     "since:5m", "a OR", "- -", "task:", "@a>1", "1-0123456789ab", "\x00"]
)  # fmt: skip
NAMES = st.sampled_from(
    sorted({p["name"] for p in DOCUMENT["components"]["parameters"].values()})
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, tuple[tuple[str, str], ...]]:
    path = draw(st.sampled_from([p for p in DOCUMENT["paths"] if p != "/v1/tail"]))
    names = NAMES | st.text(max_size=5)
    given = draw(st.lists(st.tuples(names, TEXTS), max_size=4))
    parts = [
        draw(TEXTS.map(lambda text: text.replace("/", "") or "x"))
        if part.startswith("{") else part
        for part in path.split("/")
    ]  # fmt: skip
    return "/".join(parts), tuple(given)


@hypothesis.settings(
    max_examples=1_000,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(asked=requests())
def test_no_request_is_answered_but_as_described(
    client: Client, asked: tuple[str, tuple[tuple[str, str], ...]]
) -> None:
    """Whatever is asked for: 200, or a problem that is the asker's; never a 500."""
    path, parameters = asked
    answer = client.get(quote(path, errors="replace"), params=parameters)
    assert answer.status_code in {200, 400, 404}, answer.text
    as_described(answer)
