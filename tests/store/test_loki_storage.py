"""`LokiStorage` over sockets: who asks, what goes wrong, and what a tail survives."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import pytest
import trustme
from loki_peer import LokiPeer, listening
from otlp_sockets import OK, Connection, SocketPeer
from query_cases import HAS_RE2, sealed

from otel_tasklog import ConfigError, Query, StorageError
from otel_tasklog.delivery._encode import Encoder
from otel_tasklog.store import _loki_following, _loki_search, _loki_tail
from otel_tasklog.store.loki import AsyncLokiStorage, LokiStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from otel_tasklog import TaskRecord
    from otel_tasklog.capture._record import Sealed
    from otel_tasklog.store._storage import LogStorage

pytestmark = pytest.mark.skipif(
    not HAS_RE2, reason="google-re2 is not installed (extra: regex)"
)

_encoder: Final = Encoder({"service.name": "shop"}, include=("asyncio", "code"))


def push(peer: LokiPeer, *messages: str, age_ns: int = 0, **fields: Any) -> None:
    """Send records, each a nanosecond later than the one before."""
    now_ns = time.time_ns() - age_ns
    records: list[Sealed] = [
        sealed(message=text, timestamp_ns=now_ns + number, **fields)
        for number, text in enumerate(messages)
    ]
    request = _encoder.request({"log": [*map(_encoder.record, records)]})
    assert peer.double.push(request) == (204, "")


@pytest.fixture
def peer() -> Iterator[LokiPeer]:
    with listening() as peer:
        yield peer


@pytest.fixture
def storage(peer: LokiPeer) -> Iterator[LokiStorage]:
    with LokiStorage(peer.url) as storage:
        yield storage


def test_a_query_is_answered(peer: LokiPeer, storage: LokiStorage) -> None:
    push(peer, "a", "b", "c", task=("import-42", None, 7))
    assert [r.message for r in storage.query("task:import-*")] == ["c", "b", "a"]
    oldest = storage.select(Query.parse("", newest_first=False, limit=2))
    assert [r.message for r in oldest] == ["a", "b"]
    (record,) = storage.query("message:b")
    assert (record.task_id, record.asyncio_task_number) == ("import-42", 7)
    assert storage.query("message:b") == [record]


def test_what_loki_would_be_asked_is_told_without_asking(storage: LokiStorage) -> None:
    told = storage.logql("task:a since:5m @*:bob")
    assert told.text == '{service_name=~".+"} | task_id="a"'
    assert told.tested_here == ("@*:bob",)
    assert told.end_ns - told.start_ns == pytest.approx(900e9, rel=0.01)


def test_a_loki_is_a_storage_but_it_is_not_cleared(storage: LokiStorage) -> None:
    anywhere: LogStorage = storage
    assert anywhere.select(Query(limit=0)) == []
    with pytest.raises(StorageError, match="retention_period"):
        storage.clear()


BASIC: Final = "Basic " + base64.b64encode(b"me:s3cret").decode()


@pytest.mark.parametrize(
    ("authorization", "given"),
    [
        ("Bearer t0ken", {"token": "t0ken"}),
        (BASIC, {"username": "me", "password": "s3cret"}),
        ("Custom x", {"headers": {"Authorization": "Custom x"}}),
    ],
    ids=["bearer", "basic", "header"],
)
def test_who_asks_is_told_on_each_way(
    authorization: str, given: dict[str, Any]
) -> None:
    with listening(authorization=authorization) as peer:
        push(peer, "here")
        with LokiStorage(peer.url) as nobody:
            with pytest.raises(StorageError, match="other credentials") as refused:
                nobody.query()
            assert refused.value.status == 401
            with pytest.raises(StorageError, match="other credentials"):
                next(nobody.follow())
        with LokiStorage(peer.url, **given) as storage:
            assert [r.message for r in storage.query()] == ["here"]
            with following(storage.follow(backlog_records=1)) as seen:
                assert seen() == "here"
                push(peer, "there")
                assert seen() == "there"
            assert "s3cret" not in repr(storage)
            assert "t0ken" not in repr(storage)


def test_tls_with_an_authority_and_a_client_of_its_own(tmp_path: Path) -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    own, key, certificate = (tmp_path / n for n in ("ca.pem", "key.pem", "cert.pem"))
    authority.cert_pem.write_to_path(own)
    issued = authority.issue_cert("client")
    issued.private_key_pem.write_to_path(key)
    issued.cert_chain_pems[0].write_to_path(certificate)
    files: dict[str, Any] = {
        "client_key_file": key,
        "client_certificate_file": certificate,
    }
    with listening(tls=server) as peer:
        push(peer, "here")
        with LokiStorage(peer.url, certificate_file=own, **files) as storage:
            assert [r.message for r in storage.query()] == ["here"]
            with following(storage.follow(backlog_records=1)) as seen:
                assert seen() == "here"
                push(peer, "there")
                assert seen() == "there"
        with (
            LokiStorage(peer.url, attempts=1) as stranger,
            pytest.raises(StorageError, match=r"does not answer: .*certificate"),
        ):
            stranger.query()


WRONG: Final[list[tuple[dict[str, Any], str]]] = [
    ({"url": "localhost:3100"}, "url='localhost:3100': expected a URL such as"),
    ({"url": "http://me:s3cret@x"}, "no credentials; use username= and password="),
    ({"url": "http://x/loki/api/v1"}, "what comes before /loki/api"),
    ({"labels": {"a.b": "x"}}, "names and texts of labels"),
    ({"labels": {"json": "x"}}, "names and texts of labels"),
    ({"token": "t", "username": "u"}, "either token, or username and password"),
    ({"username": "u"}, "username and password both"),
    ({"token": "a\nb"}, "a text on one line"),
    ({"tenant": "a\nb"}, "a text on one line"),
    ({"tenant": "größe"}, "headers={'X-Scope-OrgID': '...'}: expected a text in ASCII"),
    ({"token": "größe"}, "a text in ASCII"),
    ({"page_records": 0}, "a whole number from 1"),
    ({"page_records": 1.5}, "a whole number from 1"),
    ({"timeout_seconds": 0}, "a number from 0.001"),
    ({"attempts": 101}, "a whole number from 1 to 100"),
    ({"client_key_file": __file__}, "client_key_file and client_certificate_file"),
    ({"tennant": "x"}, "tennant"),
]


@pytest.mark.parametrize(("given", "said"), WRONG, ids=str)
@pytest.mark.parametrize("kind", [LokiStorage, AsyncLokiStorage])
def test_a_setting_that_cannot_be_is_refused_at_once(
    kind: Any, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        kind(**{"url": "http://localhost:3100", **given})
    assert said in str(refused.value)
    assert "s3cret" not in str(refused.value)


def _say(data: bytes) -> Callable[[Connection], None]:
    def script(connection: Connection) -> None:
        connection.request()
        connection.say(data)

    return script


def _answer(body: str, head: str = "200 OK") -> Callable[[Connection], None]:
    data = body.encode()
    length = f"Content-Length: {len(data)}"
    return _say(
        f"HTTP/1.1 {head}\r\n{length}\r\nConnection: close\r\n\r\n".encode() + data
    )


STRANGE: Final = {
    "a page": (_answer("<html>hello</html>"), "answers what Loki does not"),
    "numbers": (
        _answer('{"data": {"resultType": "matrix", "result": []}}'), "no streams",
    ),
    "an odd entry": (
        _answer('{"data": {"resultType": "streams", "result": '
                '[{"stream": {}, "values": [[1, 2]]}]}}'),
        "an entry is not as it should be",
    ),
    "deep": (_answer("[" * 100_000), "answers what Loki does not"),
    "nothing": (_answer(""), "answers what Loki does not"),
    "elsewhere": (
        _answer("", "302 Found\r\nLocation: http://127.0.0.1:1/"), "refuses .302.",
    ),
    "no such page": (_answer("404 page not found\n", "404 Not Found"),
                     "404 page not found; there is no Loki at this address"),
    "half an answer": (_say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
                       "does not answer: RemoteProtocolError"),
    "no HTTP": (_say(b"hello\r\n\r\n"), "does not answer: RemoteProtocolError"),
    "OTLP": (_say(OK), "answers what Loki does not"),
    "a terminal's": (_answer("\x1b[2J", "400 Bad Request"), r"refuses .400.: \\x1b\[2J"),
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_no_loki_is_one_clear_error(name: str) -> None:
    script, said = STRANGE[name]
    with (
        SocketPeer(script) as stranger,
        LokiStorage(_base(stranger), attempts=1) as storage,
        pytest.raises(StorageError, match=said) as refused,
    ):
        storage.query()
    assert "\n" not in str(refused.value)


def test_a_loki_that_does_not_answer_is_waited_for_so_long() -> None:
    with (
        SocketPeer(lambda connection: connection.hang(10)) as silent,
        LokiStorage(_base(silent), attempts=1, timeout_seconds=0.1) as storage,
    ):
        before = time.monotonic()
        with pytest.raises(StorageError, match="does not answer: ReadTimeout"):
            storage.query()
        assert time.monotonic() - before < 5


def _base(peer: SocketPeer) -> str:
    return peer.endpoint.rsplit("/v1/", 1)[0]


def test_where_nobody_listens_is_said() -> None:
    with (
        LokiStorage("http://127.0.0.1:1", attempts=1) as storage,
        pytest.raises(
            StorageError, match=r"http://127\.0\.0\.1:1 does not answer: Connect"
        ),
    ):
        storage.query()


@contextlib.contextmanager
def following(records: Iterator[TaskRecord]) -> Iterator[Callable[[], str]]:
    """Give what returns the next message."""
    try:
        yield lambda: next(records).message
    finally:
        records.close()  # type: ignore[attr-defined]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is short, and so are the pauses before what is tried again."""
    monkeypatch.setattr(_loki_following, "SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(_loki_following, "BURST_SECONDS", 0.05)
    monkeypatch.setattr(_loki_tail, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(_loki_tail, "LONGEST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(_loki_search, "LONGEST_PAUSE_SECONDS", 0.1)


def test_a_follower_gets_what_comes_after_it_and_the_newest_before(
    peer: LokiPeer, storage: LokiStorage
) -> None:
    push(peer, "a", "b", "c", age_ns=10**9)
    with following(storage.follow(backlog_records=2)) as seen:
        assert [seen(), seen()] == ["b", "c"]
        push(peer, "d", "e")
        assert [seen(), seen()] == ["d", "e"]


def test_what_is_late_comes_all_the_same(peer: LokiPeer, storage: LokiStorage) -> None:
    """A batch may be sent seconds after its records were logged."""
    push(peer, "before", age_ns=5 * 10**9)

    def push_once_it_is_followed() -> None:
        while not peer.tails:
            time.sleep(0.01)
        push(peer, "late", age_ns=8 * 10**9)

    with following(storage.follow()) as seen:
        threading.Thread(target=push_once_it_is_followed, daemon=True).start()
        assert seen() == "late"


def test_what_is_logged_once_it_is_followed_comes_whenever_it_is_read(
    peer: LokiPeer, storage: LokiStorage
) -> None:
    """An application follows a job, starts it, and reads then."""
    push(peer, "before", age_ns=10**9)
    with following(storage.follow()) as seen:
        push(peer, "after")
        assert seen() == "after"


@pytest.mark.parametrize("trouble", ["cut", "silent", "drops", "refused", "outage"])
@pytest.mark.usefixtures("quick")
def test_nothing_is_lost_and_nothing_comes_twice(
    peer: LokiPeer, storage: LokiStorage, trouble: str
) -> None:
    if trouble == "refused":
        peer.refuses_tails = 403
    with following(storage.follow("-noise", backlog_records=0)) as seen:
        push(peer, "first")
        assert seen() == "first"
        if trouble == "silent":
            peer.silent = True
        elif trouble == "drops":
            peer.drops = True
        elif trouble == "outage":
            peer.double.outage = [503] * 5
        if trouble in {"cut", "outage"}:
            peer.cut()
        push(peer, "second", "noise", "third")
        assert [seen(), seen()] == ["second", "third"]
        peer.silent = False
        push(peer, "fourth")
        assert seen() == "fourth"


def test_what_frames_leave_out_comes_without_a_silence(
    peer: LokiPeer, storage: LokiStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that never stops logging would otherwise be shown in part, for ever."""
    monkeypatch.setattr(_loki_following, "BURST_SECONDS", 0.2)
    burst = [f"burst {number}" for number in range(40)]
    stop = threading.Event()

    def log_on() -> None:
        push(peer, *burst)
        while not stop.wait(0.02):
            push(peer, "goes on")

    with following(storage.follow("-noise", backlog_records=1)) as seen:
        push(peer, "first")
        assert seen() == "first"
        threading.Thread(target=log_on, daemon=True).start()
        missing = {*burst}
        deadline = time.monotonic() + 10
        try:
            while missing and time.monotonic() < deadline:
                missing.discard(seen())
        finally:
            stop.set()
    assert not missing


@pytest.mark.usefixtures("quick")
def test_what_is_no_longer_remembered_does_not_come_again(
    peer: LokiPeer, storage: LokiStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_loki_tail, "KNOWN_RECORDS", 5)
    burst = [f"burst {number}" for number in range(20)]
    with following(storage.follow()) as seen:
        push(peer, *burst)
        assert [seen() for _ in burst] == burst
        questions = len(peer.double.asked) + 3
        deadline = time.monotonic() + 10
        while len(peer.double.asked) < questions and time.monotonic() < deadline:
            time.sleep(0.01)
        push(peer, "last")
        assert seen() == "last"


@pytest.mark.usefixtures("quick")
def test_a_loki_that_is_started_again_is_found_again(said: list[str]) -> None:
    with listening() as first:
        port = int(first.url.rpartition(":")[2])
        storage = LokiStorage(first.url, attempts=1)
        push(first, "before", age_ns=10**9)
        records = storage.follow()
        push(first, "one")
        assert next(records).message == "one"
    found: list[str] = []
    reader = threading.Thread(
        target=lambda: found.append(next(records).message), daemon=True
    )
    reader.start()
    deadline = time.monotonic() + 10
    while not said and time.monotonic() < deadline:
        time.sleep(0.01)
    with listening(first.double, port=port) as second:
        push(second, "two")
        reader.join(10)
        assert found == ["two"]
        assert len(said) == 1
    assert f"no tail of {first.url}, it is asked instead" in said[0]
    records.close()  # type: ignore[attr-defined]
    storage.close()


@pytest.mark.usefixtures("quick")
def test_a_loki_that_is_silent_and_does_not_answer_is_told_once(
    peer: LokiPeer, said: list[str]
) -> None:
    """A tail that is open says nothing of a Loki behind it that fails."""
    with (
        LokiStorage(peer.url, attempts=1) as storage,
        following(storage.follow()) as seen,
    ):
        push(peer, "one")
        assert seen() == "one"
        peer.silent = True
        peer.double.outage = [503] * 8
        push(peer, "two")
        assert seen() == "two"
    assert len(said) == 1


def test_jobs_inside_a_job_are_followed_as_they_come(
    peer: LokiPeer, storage: LokiStorage
) -> None:
    push(peer, "a", task=("b", "a", None), age_ns=10**9)
    with following(storage.follow("under:a", backlog_records=1)) as seen:
        assert seen() == "a"
        push(peer, "not", task=("x", "y", None))
        push(peer, "child", task=("c", "b", None))
        push(peer, "grandchild", task=("d", "c", None))
        assert [seen(), seen()] == ["child", "grandchild"]


@pytest.mark.parametrize("name", ["until", "limit", "newest_first"])
def test_a_follower_has_no_end(storage: LokiStorage, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        storage.follow(**{name: 1})  # type: ignore[arg-type]


def test_a_query_that_means_nothing_is_refused_before_loki_is_asked(
    peer: LokiPeer, storage: LokiStorage
) -> None:
    for ask in (storage.query, storage.follow):
        with pytest.raises(ConfigError, match="did you mean 'level'"):
            ask("levle:error")
    assert peer.double.asked == []


class TestAsync:
    """The same steps in an event loop."""

    def test_a_query_is_answered(self, peer: LokiPeer) -> None:
        async def main() -> list[str]:
            async with AsyncLokiStorage(peer.url) as storage:
                found = await storage.query("-b")
                assert found == await storage.select(Query.parse("-b"))
                return [record.message for record in found]

        push(peer, "a", "b", "c")
        assert asyncio.run(main()) == ["c", "a"]

    def test_a_refusal_is_raised(self, peer: LokiPeer) -> None:
        async def main() -> None:
            async with AsyncLokiStorage(peer.url, page_records=5_001) as storage:
                with pytest.raises(StorageError, match="give a smaller page_records="):
                    await storage.query()
                with pytest.raises(StorageError, match="give a smaller page_records="):
                    await anext(storage.follow())

        asyncio.run(main())

    @pytest.mark.parametrize("trouble", ["cut", "silent", "drops", "refused", "outage"])
    @pytest.mark.usefixtures("quick")
    def test_nothing_is_lost_and_nothing_comes_twice(
        self, peer: LokiPeer, trouble: str
    ) -> None:
        async def seen(records: AsyncIterator[TaskRecord]) -> str:
            return (await asyncio.wait_for(anext(records), 10)).message

        async def main() -> None:
            async with AsyncLokiStorage(peer.url) as storage:
                records = storage.follow("-noise", backlog_records=1)
                assert await seen(records) == "first"
                if trouble == "silent":
                    peer.silent = True
                elif trouble == "drops":
                    peer.drops = True
                elif trouble == "outage":
                    peer.double.outage = [503] * 5
                if trouble in {"cut", "outage"}:
                    peer.cut()
                push(peer, "second", "noise", "third")
                assert [await seen(records), await seen(records)] == ["second", "third"]
                peer.silent = False
                push(peer, "fourth")
                assert await seen(records) == "fourth"
                await records.aclose()  # type: ignore[attr-defined]
            assert len(asyncio.all_tasks()) == 1

        push(peer, "first", age_ns=10**9)
        if trouble == "refused":
            peer.refuses_tails = 403
        asyncio.run(main())

    def test_a_reader_that_is_cancelled_leaves_nothing_behind(
        self, peer: LokiPeer
    ) -> None:
        async def read(storage: AsyncLokiStorage) -> None:
            async for _ in storage.follow():
                pass

        async def main() -> None:
            async with AsyncLokiStorage(peer.url) as storage:
                reader = asyncio.create_task(read(storage))
                while not peer.tails:  # noqa: ASYNC110 - in another thread
                    await asyncio.sleep(0.01)
                reader.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reader
            while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - they end by themselves
                await asyncio.sleep(0)

        asyncio.run(main())
