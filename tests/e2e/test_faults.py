"""A receiver that misbehaves, in each way that a receiver can: the judge compares.

The producer, the receiver and this are three processes. What must hold in every case
stands in `e2e.faults.judge`; a case adds what is particular to it.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest
from e2e.faults.judge import judge
from e2e.faults.producer import Job
from e2e.faults.running import TESTS, finish, running_receiver, start
from e2e.faults.script import Step

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.faults.journal import Journal
    from e2e.faults.producer import Report

pytestmark = pytest.mark.e2e

HTTP: Final = "http/protobuf"
GRPC: Final = "grpc"
BOTH: Final = (HTTP, GRPC)
RECORDS: Final = 300
HTML: Final = {"Content-Type": "text/html; charset=utf-8"}
PROTOBUF: Final = {"Content-Type": "application/x-protobuf"}
LIMIT_BYTES: Final = 20_000
TOO_LARGE: Final = "http: request body too large"
TOO_LARGE_GRPC: Final = "grpc: received message larger than max (70000 vs. 20000)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One misbehaviour, and what is particular to it.

    Attributes:
        what: In words.
        over: The protocols.
        script: What the receiver does first; then it accepts.
        settings: Of ours.
        payload_length: Of the records' texts.
        gap: The least and the most seconds from the first request to the second.
        resends: Whether the receiver keeps records whose answer cannot arrive.
        rejects: The reason under which what the receiver refuses is counted.
        diagnoses: Part of ``last_error``.
    """

    what: str
    over: tuple[str, ...] = BOTH
    script: tuple[Step, ...] = ()
    settings: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    payload_length: int = 100
    gap: tuple[float, float] | None = None
    resends: bool = False
    rejects: str | None = None
    diagnoses: str = ""


def _busy(after: str | None = None, status: int = 429, requests: int = 1) -> Step:
    headers = {} if after is None else {"Retry-After": after}
    return Step(do="answer", status=status, headers=headers, requests=requests)


def _says(status: int, **more: Any) -> tuple[Step, ...]:
    return (Step(do="answer", status=status, **{"requests": 1, **more}),)


def _code(code: str, **more: Any) -> tuple[Step, ...]:
    return (Step(do="answer", code=code, **{"requests": 1, **more}),)


ONE: Final = Step(requests=1)
FIRST_PAUSE: Final = (0.3, 4.0)

CASES: Final = (
    Case(what="does all right"),
    Case(what="closes its port", script=(ONE, Step(do="refuse", seconds=1.0))),
    Case(
        what="closes its port four times",
        script=(ONE, Step(do="refuse", seconds=0.2)) * 4,
    ),
    Case(
        what="never answers",
        script=(Step(do="hang", requests=1),),
        settings={"timeout_seconds": 0.5},
        gap=(0.5, 5.0),
        resends=True,
    ),
    Case(
        what="resets the connection in the middle of a request",
        script=(ONE, Step(do="reset", requests=2)),
    ),
    Case(
        what="hangs up in the middle of its answer's head",
        over=(HTTP,),
        script=(Step(do="cut head", requests=1),),
        gap=FIRST_PAUSE,
        resends=True,
    ),
    Case(
        what="hangs up behind the head of its yes",
        over=(HTTP,),
        script=(Step(do="cut body", requests=2),),
    ),
    Case(
        what="answers slowly",
        script=(Step(do="trickle", requests=1, pause_seconds=0.003),),
    ),
    Case(
        what="answers a byte at a time for longer than an attempt may take",
        over=(HTTP,),
        script=(Step(do="trickle", requests=1, pause_seconds=0.1),),
        settings={"export_timeout_seconds": 1.0},
        gap=(1.0, 6.0),
        resends=True,
    ),
    Case(
        what="answers later than an attempt may take",
        over=(GRPC,),
        script=(Step(do="trickle", requests=1, pause_seconds=1.0),),
        settings={"export_timeout_seconds": 0.5},
        gap=(0.5, 5.0),
        resends=True,
    ),
    Case(
        what="takes part of a batch",
        script=(Step(do="partial", requests=2, rejects=7),),
        rejects="partial success",
        diagnoses="the first ones are no good",
    ),
    # Busy, over HTTP.
    Case(what="says 429", over=(HTTP,), script=(_busy(),), gap=FIRST_PAUSE),
    Case(
        what="says 429 with Retry-After 0",
        over=(HTTP,),
        script=(_busy("0", requests=2),),
        gap=FIRST_PAUSE,
    ),
    Case(
        what="says 429 with Retry-After 3",
        over=(HTTP,),
        script=(_busy("3"),),
        gap=(2.5, 8.0),
    ),
    Case(
        what="says 429 with a date",
        over=(HTTP,),
        script=(_busy("date+2"),),
        gap=(0.5, 8.0),
    ),
    Case(
        what="says 429 with Retry-After 40, and a second is the most",
        over=(HTTP,),
        script=(_busy("40"),),
        settings={"max_retry_after_seconds": 1.0},
        gap=(0.6, 8.0),
    ),
    *(
        Case(
            what=f"says {status}",
            over=(HTTP,),
            script=(_busy(status=status),),
            gap=FIRST_PAUSE,
            diagnoses=str(status),
        )
        for status in (502, 503, 504)
    ),
    Case(
        what="says 503 to what is too large for it, for ever",
        over=(HTTP,),
        script=(Step(do="answer", status=503, over_bytes=262_144),),
        payload_length=800,
        settings={"schedule_delay_seconds": 1.0},
    ),
    # Misconfigured, over HTTP.
    Case(
        what="says 301",
        over=(HTTP,),
        script=_says(301, headers={"Location": "http://127.0.0.1:1/v1/logs"}),
        diagnoses="127.0.0.1:1",
    ),
    *(
        Case(
            what=f"says {status} to another path of its own",
            over=(HTTP,),
            script=(
                Step(
                    do="answer",
                    status=status,
                    headers={"Location": "/moved/v1/logs"},
                    path="/v1/logs",
                ),
            ),
            gap=(0.0, 0.5),
        )
        for status in (307, 308)
    ),
    Case(
        what="says 307 to another host",
        over=(HTTP,),
        script=_says(307, headers={"Location": "http://localhost.invalid/v1/logs"}),
        diagnoses="localhost.invalid",
    ),
    *(
        Case(what=f"says {status}", over=(HTTP,), script=_says(status), gap=FIRST_PAUSE)
        for status in (401, 403, 404)
    ),
    Case(
        what="is a web page",
        over=(HTTP,),
        script=_says(200, headers=HTML, text="<html>hello</html>"),
        diagnoses="web page",
    ),
    # All else, over HTTP.
    Case(
        what="says yes with garbage",
        over=(HTTP,),
        script=_says(200, headers=PROTOBUF, text="\x0f garbage", keeps=True),
    ),
    *(
        Case(
            what=f"says {status}",
            over=(HTTP,),
            script=_says(status, text="no good", refuses=True),
            rejects=f"http {status}",
            diagnoses="no good",
        )
        for status in (400, 422, 500)
    ),
    Case(
        what="says 413 over a size",
        over=(HTTP,),
        script=(Step(do="answer", status=413, over_bytes=LIMIT_BYTES),),
    ),
    Case(
        what="says 400 'request body too large' over a size",
        over=(HTTP,),
        script=(Step(do="answer", status=400, text=TOO_LARGE, over_bytes=LIMIT_BYTES),),
    ),
    # All of it, over gRPC.
    *(
        Case(what=f"says {code}", over=(GRPC,), script=_code(code), gap=FIRST_PAUSE)
        for code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "DATA_LOSS")
    ),
    Case(
        what="says UNAVAILABLE with a RetryInfo of 0",
        over=(GRPC,),
        script=_code("UNAVAILABLE", retry_seconds=0.0, requests=2),
        gap=FIRST_PAUSE,
    ),
    Case(
        what="says UNAVAILABLE with a RetryInfo of 2.5",
        over=(GRPC,),
        script=_code("UNAVAILABLE", retry_seconds=2.5),
        gap=(2.0, 8.0),
    ),
    Case(
        what="says RESOURCE_EXHAUSTED with a RetryInfo of 1.5",
        over=(GRPC,),
        script=_code("RESOURCE_EXHAUSTED", retry_seconds=1.5),
        gap=(1.0, 8.0),
    ),
    Case(
        what="says UNAVAILABLE with a RetryInfo of 40, and a second is the most",
        over=(GRPC,),
        script=_code("UNAVAILABLE", retry_seconds=40.0),
        settings={"max_retry_after_seconds": 1.0},
        gap=(0.6, 8.0),
    ),
    *(
        Case(
            what=f"says {code}",
            over=(GRPC,),
            script=_code(code, text="no good", refuses=True),
            rejects=f"grpc {code}",
            diagnoses="no good",
        )
        for code in ("RESOURCE_EXHAUSTED", "INTERNAL", "INVALID_ARGUMENT")
    ),
    *(
        Case(what=f"says {code}", over=(GRPC,), script=_code(code), gap=FIRST_PAUSE)
        for code in ("UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED")
    ),
    Case(
        what="says RESOURCE_EXHAUSTED over a size",
        over=(GRPC,),
        script=(
            Step(
                do="answer",
                code="RESOURCE_EXHAUSTED",
                text=TOO_LARGE_GRPC,
                over_bytes=LIMIT_BYTES,
            ),
        ),
    ),
    Case(
        what="says yes with garbage",
        over=(GRPC,),
        script=_code("OK", text="\x0f garbage", keeps=True),
    ),
)


@pytest.mark.parametrize(
    ("case", "protocol"),
    [(case, protocol) for case in CASES for protocol in case.over],
    ids=[f"{p.partition('/')[0]} {c.what}" for c in CASES for p in c.over],
)
def test_a_receiver(case: Case, protocol: str, tmp_path: Path) -> None:
    """It ... , and nothing is lost, doubled or miscounted."""
    path = tmp_path / "journal"
    with running_receiver(protocol, path, script=[*case.script, Step()]) as receiver:
        job = Job(
            name="producer", endpoint=receiver.endpoint, protocol=protocol,
            records=RECORDS, rate=RECORDS / 0.4, payload_length=case.payload_length,
            settings={"schedule_delay_seconds": 0.1, **case.settings},
        )  # fmt: skip
        report = finish(start(job), 40)
        journal = receiver.close()
    _check(f"{protocol}, {case.what}", report, journal, case)


def _check(name: str, report: Report, journal: Journal, case: Case) -> None:
    verdict = judge(name, report, journal)
    print(verdict.line)  # noqa: T201 - shown by pytest -s, and with a failure
    assert not verdict.faults
    assert (verdict.logged, verdict.lost, verdict.unsure) == (RECORDS, 0, 0)
    assert report.flushed
    assert report.worst_call_seconds < 0.25
    assert report.samples >= 5
    stats = report.stats
    assert stats is not None
    assert (stats["pending"], stats["dropped"]) == (0, 0)
    rejected = {case.rejects: verdict.refused} if case.rejects else {}
    assert stats["rejected_by"] == rejected
    assert bool(verdict.refused) == bool(case.rejects)
    assert bool(verdict.resent) == case.resends
    if case.gap is not None:
        low, high = case.gap
        assert low <= journal.gaps_seconds[0] <= high
    assert case.diagnoses in (stats["last_error"] or "")


@pytest.mark.parametrize("protocol", BOTH, ids=("http", "grpc"))
def test_a_receiver_that_is_killed_and_starts_again_on_its_port(
    protocol: str, tmp_path: Path
) -> None:
    """What it had is not lost; what it could not acknowledge may come again."""
    with running_receiver(protocol, tmp_path / "journal") as receiver:
        job = Job(
            name="producer", endpoint=receiver.endpoint, protocol=protocol, threads=3,
            records=3_000, rate=3_000, settings={"schedule_delay_seconds": 0.02},
        )  # fmt: skip
        producer = start(job)
        for seen in (5, 15):
            receiver.wait_for_requests(seen)
            receiver.kill()
            receiver.restart()
        report = finish(producer, 40)
        journal = receiver.close()
    verdict = judge(f"{protocol}, killed twice", report, journal)
    print(verdict.line)  # noqa: T201
    assert not verdict.faults
    assert (verdict.logged, verdict.lost) == (3_000, 0)
    assert len(journal.openings) == 3


@pytest.mark.parametrize("protocol", BOTH, ids=("http", "grpc"))
def test_a_receiver_that_never_comes(protocol: str, tmp_path: Path) -> None:
    """A flush returns in time and tells the truth; what is lost is counted."""
    script = [Step(do="refuse")]
    with running_receiver(protocol, tmp_path / "journal", script=script) as receiver:
        job = Job(
            name="producer", endpoint=receiver.endpoint, protocol=protocol,
            records=RECORDS, flush_seconds=0.5, close_seconds=0.5,
        )  # fmt: skip
        report = finish(start(job), 40)
        journal = receiver.close()
    verdict = judge(f"{protocol}, never comes", report, journal)
    print(verdict.line)  # noqa: T201
    assert not verdict.faults
    assert report.flushed is False
    assert max(report.flush_seconds, report.close_seconds) < 2.0
    assert report.stats is not None
    assert report.stats["dropped_by"] == {"closed": RECORDS}


@pytest.mark.parametrize("protocol", BOTH, ids=("http", "grpc"))
def test_an_outage_that_is_longer_than_the_buffer_costs_nothing_with_a_spool(
    protocol: str, tmp_path: Path
) -> None:
    script = [ONE, Step(do="refuse", seconds=1.5), Step()]
    settings = {
        "spool_dir": str(tmp_path / "spool"), "buffer_records": 2_000,
        "schedule_delay_seconds": 0.1,
    }  # fmt: skip
    with running_receiver(protocol, tmp_path / "journal", script=script) as receiver:
        job = Job(
            name="producer", endpoint=receiver.endpoint, protocol=protocol,
            records=6_000, rate=2_000, settings=settings,
        )  # fmt: skip
        report = finish(start(job), 40)
        journal = receiver.close()
    verdict = judge(f"{protocol}, on disk", report, journal)
    print(verdict.line)  # noqa: T201
    assert not verdict.faults
    assert (verdict.acknowledged, verdict.resent) == (6_000, 0)


def _script(name: str, *options: str) -> str:
    """Run one of the scripts for humans; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", f"e2e.faults.{name}", *options],
        cwd=TESTS, capture_output=True, text=True, check=False, timeout=55,
    )  # fmt: skip
    print(done.stdout)  # noqa: T201
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_a_kill_leaves_in_the_spool_is_delivered_by_the_next_one() -> None:
    printed = _script("kill", "--trials", "8")
    assert "8 trials, " in printed
    assert "0 trials are bad" in printed


def test_the_outage_script_compares_with_the_official_pipeline() -> None:
    pytest.importorskip("opentelemetry.instrumentation.logging")
    printed = _script("outage", "--seconds", "1", "--protocol", "http")
    rows = [line.split() for line in printed.splitlines()]
    ours, official = (r for r in rows if r[1:2] == ["http"])
    assert ours[:5] == ["ours", "http", "2,000", "2,000", "0"]
    assert official[:3] == ["official", "http", "2,000"]


def test_the_soak_script_restarts_the_receiver() -> None:
    printed = _script(
        "soak", "--minutes", "0.1", "--rate", "1000", "--up-seconds", "1", "2"
    )
    assert "was killed 0 times" not in printed
    assert "6000 logged" in printed
