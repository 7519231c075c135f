"""The written surface: examples run, tables are complete, links lead somewhere."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import pytest

import otel_tasklog
from otel_tasklog import (
    Config,
    Counts,
    FoundTask,
    LiveTask,
    Query,
    Stats,
    TaskPlace,
    TaskRecord,
    TaskReport,
    TaskSummary,
    task,
)
from otel_tasklog._config import INCLUDABLE
from otel_tasklog._environ import VARIABLES
from otel_tasklog.capture._levels import severity_number
from otel_tasklog.capture._names import TAKEN
from otel_tasklog.cli._commands import make_cli
from otel_tasklog.viewer import Receiver
from otel_tasklog.viewer._places import DIRECTORY_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Harness

    from otel_tasklog.delivery._decode import DecodedRecord

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = ROOT / "README.md"
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))
PAGES = [README, *sorted(DOCS.rglob("*.md"))]


class Run(NamedTuple):
    """How an example is run, and what comes of it.

    Attributes:
        delivers: How many records reach the endpoint of the environment.
        prints: Lines of its output.
        shows: Lines of its output that a page repeats to the letter.
        arguments: What it is started with.
    """

    delivers: int
    prints: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


RUNS = {
    "blocked_loop": Run(
        2,
        shows=(
            "INFO charging order-1",
            "event_loop.blocked charge",
            "    time.sleep(1)  # nothing else runs meanwhile",
        ),
    ),
    "existing_dictconfig": Run(
        2, shows=("['captured, and on the console', 'captured']",)
    ),
    "existing_formatter": Run(1, shows=("[shop] charging order-1",)),
    "existing_handler": Run(
        2, ("shop: by way of the root logger", "shop.access: by way of its own")
    ),
    "existing_loggers": Run(
        2, ("shop: by way of the root logger", "shop.access: by way of its own")
    ),
    "follow": Run(4, shows=("order-2 WARNING a large amount: 120.00", "missed: 0")),
    "follow_jobs": Run(
        6,
        shows=(
            "order-1 5.0 ok None",
            "order-2 500.0 error a large amount",
            "otel_tasklog.task charge task.start",
            "shop charge None",
            "otel_tasklog.task charge task.end",
        ),
    ),
    "follow_thread": Run(3, shows=("INFO open", "INFO charging order-1")),
    "live_questions": Run(
        2,
        shows=(
            "charge-1 order-1 Event.wait 1",
            "charge-2 order-2 Lock.acquire 1",
            "checkout",
            "  charge-1",
            "  charge-2",
            "['charge', 'Event.wait'] False",
            "['checkout'] charging order-1",
        ),
    ),
    "live_tasks": Run(3, arguments=("0.2",)),
    "local_api": Run(2, shows=("order-3 WARNING the bank is slow",)),
    "metrics": Run(
        3,
        shows=(
            "otel.sdk.log.created 3 {log_record}",
            "otel.sdk.processor.log.queue.size 0 {log_record}",
            "otel.sdk.processor.log.queue.capacity 65536 {log_record}",
            "otel.sdk.processor.log.processed 3 {log_record}",
            "otel.sdk.exporter.log.inflight 0 {log_record}",
            "otel.sdk.exporter.log.exported 3 {log_record}",
            "otel.sdk.exporter.operation.duration 1 s",
            "otel_tasklog.delivery.lag 0.0 s",
        ),
    ),
    "otel_processor": Run(
        1, shows=("shop.payments | shop.charged | charged the card",)
    ),
    "otel_provider": Run(0, shows=("charging the card | order-1",)),
    "queue_processes": Run(
        1,
        shows=(
            "order-1 ValueError",
            "cannot pack invalid literal for int() with base 10: 'a box'",
        ),
    ),
    "queue_threads": Run(1, shows=("order-1 charging",)),
    "readme": Run(3, shows=("order-1 INFO charging order-1 None",)),
    "redaction": Run(
        4,
        shows=(
            "login of bob {'user': {'name': 'bob', 'password': '[redacted]'}}",
            "charging [redacted], card [redacted] {'tax_id': '[redacted]'}",
            (
                "connecting to postgres://bob:[redacted]@db.example/shop"
                "?sslmode=require {}"
            ),
            "headers: {'Authorization': '[redacted]', 'Accept': 'text/html'} {}",
        ),
    ),
    "structlog_console": Run(
        1, shows=("level=info event=charging amount=12.5 task_id=order-1",)
    ),
    "structlog_keywords": Run(1, shows=("shop | charging | {'amount': 12.5}",)),
    "structlog_logging": Run(
        2,
        shows=(
            (
                '{"amount": 12.5, "event": "charging", "level": "info", '
                '"task_id": "order-1"}'
            ),
            '{"event": "connected", "level": "info", "task_id": "order-1"}',
            "shop | charging | {'amount': 12.5}",
            "bank | connected | {}",
        ),
    ),
    "structlog_sink": Run(
        2,
        shows=(
            "shop | charging | {'amount': 12.5}",
            "shop | failed | {}",
            "ConnectionError: the bank hung up",
        ),
    ),
    "summaries": Run(
        8,
        shows=(
            "order-2 3 WARNING False",
            "packing 1 INFO True",
            "7 {'WARNING': 1, 'INFO': 6}",
            "WARNING a large amount: 120.00",
        ),
    ),
    "task_lifecycle": Run(
        6,
        shows=(
            "#2 INFO asyncio task charge-5 created by Task-1",
            "#2 INFO charging 5",
            "#2 INFO asyncio task charge-5 finished",
            "ok None",
            "#3 WARNING asyncio task charge-500 failed",
            "error ValueError",
        ),
    ),
    "testing_delivery": Run(0, ("passed",)),
    "testing_records": Run(0, ("passed",)),
    "testing_socket": Run(0, ("['over a socket']",)),
    "tutorial_exceptions": Run(
        1,
        (
            "order-1 failed ConnectionError the bank hung up",
            "Traceback (most recent call last):",
            "ConnectionError: the bank hung up",
        ),
    ),
    "tutorial_query": Run(
        4,
        shows=(
            "one job: ['charging order-1']",
            "warnings and worse: ['a large amount']",
            "by text: ['charging order-2', 'charging order-1']",
            "by attribute: ['charging order-1']",
            (
                "a logger and those below: ['a large amount', 'charging order-2', "
                "'charging order-1', 'charging order-0']"
            ),
            "all delivered: True",
            "captured 4 delivered 4",
        ),
    ),
    "tutorial_spans": Run(
        4,
        shows=(
            "in this trace: charging order-1",
            "in this trace: received order-1",
        ),
    ),
    "tutorial_tasks": Run(
        5,
        shows=(
            "received | order-7 | None | Task-1 | {'region': 'north'}",
            (
                "charging | payment-7 | order-7 | charger | "
                "{'region': 'north', 'step': 'payment'}"
            ),
            "packing order-7 | order-7 | None | None | {'region': 'north'}",
            "reporting 1 | report-1 | None | Task-1 | {}",
            "done | Task-1 | None | Task-1 | {}",
        ),
    ),
    "uncaught": Run(
        3,
        shows=(
            "asyncio ERROR Task exception was never retrieved",
            "charger the bank hung up",
            "uncaught CRITICAL uncaught exception in the thread 'packer'",
            "None no box is large enough",
        ),
    ),
    "web_uvicorn": Run(
        2,
        shows=(
            "order-1 charging order-1",
            "client.address 127.0.0.1",
            "url.path /charge/order-1",
            "network.protocol.version 1.1",
            "url.query currency=EUR",
            "http.request.method GET",
            "http.response.status_code 200",
        ),
    ),
}


def section(page: Path, heading: str) -> str:
    """Return what stands below a heading, up to the next one like it."""
    text = page.read_text(encoding="utf-8")
    _, _, rest = text.partition(f"\n{heading}\n")
    assert rest, f"{page.name} has no {heading!r}"
    mark = heading.partition(" ")[0]
    return re.split(rf"\n{mark} ", rest)[0]


def rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of each row whose first cell begins with code."""
    for line in text.splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split(" |")]


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def named(text: str) -> list[str]:
    """Return every name in the first column of the tables."""
    return [name for cells in rows(text) for name in codes(cells[0])]


@pytest.mark.e2e
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_prints_and_delivers(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_TASKLOG_BLOCKED_AFTER_SECONDS")  # as it would elsewhere
    expected = RUNS[example.stem]
    bodies: list[object] = []

    def keep(batch: list[DecodedRecord]) -> None:
        # Not what we say ourselves, of a port that another program has, for example.
        bodies.extend(r.body for r in batch if r.scope != "otel_tasklog")

    with Receiver(keep) as receiver:
        done = subprocess.run(
            [sys.executable, "-W", "error", str(example), *expected.arguments],
            capture_output=True, text=True, check=False, timeout=30, cwd=tmp_path,
            env={**os.environ, "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": receiver.endpoint},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    missing = [x for x in (*expected.prints, *expected.shows) if x not in printed]
    assert not missing, done.stdout
    assert len(bodies) == expected.delivers, bodies


def test_every_example_is_run_and_shown() -> None:
    assert {path.stem for path in EXAMPLES} == set(RUNS)
    pages = {page: page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md")}
    for example in EXAMPLES:
        including = [t for t in pages.values() if f"examples/{example.name}\n" in t]
        assert including, f"no page shows {example.name}"
        for line in RUNS[example.stem].shows:
            assert any(line in text.splitlines() for text in including), line


def test_the_readmes_program_is_the_example() -> None:
    [program] = re.findall(
        r"^```python\n(.*?)^```$",
        README.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert program == (DOCS / "examples" / "readme.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_python_in_a_page_is_python(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        ast.parse(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", text)
    links += re.findall(r"^```\{literalinclude\} (\S+)$", text, re.MULTILINE)
    dead = [
        link
        for link in links
        if not re.match(r"[a-z]+:", link) and not (page.parent / link).exists()
    ]
    assert not dead


def test_the_table_of_settings_is_the_class() -> None:
    listed = {
        codes(cells[0])[0]: cells
        for cells in rows((DOCS / "reference" / "settings.md").read_text("utf-8"))
        if len(cells) == 5
    }
    defaults = {
        field.name: getattr(Config(), field.name)
        for field in dataclasses.fields(Config)
    }
    shown = {name: codes(cells[2])[0] for name, cells in listed.items()}
    assert shown.pop("redact_keys") == "otel_tasklog.SECRET_KEYS"
    assert defaults.pop("redact_keys") == otel_tasklog.SECRET_KEYS
    assert {n: ast.literal_eval(text) for n, text in shown.items()} == defaults

    variables = {each.setting: list(each.names) for each in VARIABLES}
    variables["exporter"].insert(0, "OTEL_SDK_DISABLED")
    variables["service_name"] = ["OTEL_SERVICE_NAME"]  # by the SDK's detectors
    variables["resource_attributes"] = ["OTEL_RESOURCE_ATTRIBUTES"]
    assert {
        name: codes(cells[1]) for name, cells in listed.items() if codes(cells[1])
    } == (variables)


class Asked(dict[str, str]):
    """An empty environment, which remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return default


def test_the_table_of_variables_is_what_is_read() -> None:
    asked = Asked()
    Config.from_env(asked)
    elsewhere = {
        "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS",  # the SDK
        "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",  # urllib.request
        DIRECTORY_VARIABLE,  # where the access point is made
        "OTEL_TASKLOG_LOKI_TENANT", "OTEL_TASKLOG_LOKI_TOKEN",  # --loki
        "OTEL_TASKLOG_LOKI_USERNAME", "OTEL_TASKLOG_LOKI_PASSWORD",
    }  # fmt: skip
    text = (DOCS / "reference" / "environment.md").read_text("utf-8")
    assert sorted(named(text)) == sorted(asked.names | elsewhere)
    settings = {field.name for field in dataclasses.fields(Config)}
    for variable, setting in ((cells[0], codes(cells[1])) for cells in rows(text)):
        assert settings.issuperset(setting), variable


def test_the_page_of_attributes_names_what_is_sent(
    make: Callable[..., Harness],
) -> None:
    harness = make(include=sorted(INCLUDABLE))

    async def inner() -> None:
        async with task("inner"):
            try:
                raise ValueError("text")  # noqa: TRY301 - to be logged
            except ValueError:
                harness.log.exception("failed", stack_info=True)

    async def outer() -> None:
        async with task("outer"):
            await asyncio.create_task(inner())

    asyncio.run(outer())
    assert harness.tasklog.flush()
    [record] = harness.sender.records
    page = DOCS / "reference" / "attributes.md"
    assert set(named(section(page, "## Attributes"))) == set(record.attributes)


def test_the_page_of_attributes_names_what_is_renamed() -> None:
    page = DOCS / "reference" / "attributes.md"
    assert set(codes(section(page, "## Names"))) >= TAKEN - {
        "task_id"  # is no other name's, but the job's
    }


def test_the_table_of_severities_is_the_mapping() -> None:
    text = section(DOCS / "reference" / "attributes.md", "## Severity")
    ranges = re.findall(
        r"^\| (\d+) (?:to (\d+)|and more).*?\| (\d+) to (\d+) \|", text, re.MULTILINE
    )
    assert len(ranges) == 6
    for first, last, lowest, highest in ranges:
        numbers = [severity_number(n) for n in range(int(first), int(last or 99) + 1)]
        assert numbers == sorted(numbers)
        assert {*numbers} == {*range(int(lowest), int(highest) + 1)}


def test_the_table_of_filters_is_the_class() -> None:
    text = section(DOCS / "reference" / "query.md", "## Filters")
    shown = {
        codes(cells[0])[0]: ast.literal_eval(codes(cells[1])[0]) for cells in rows(text)
    }
    assert shown == {f.name: f.default for f in dataclasses.fields(Query)}


def test_the_table_of_a_records_properties_is_the_class() -> None:
    text = section(DOCS / "reference" / "query.md", "## TaskRecord")
    properties = [n for n, x in vars(TaskRecord).items() if isinstance(x, property)]
    assert sorted(named(text)) == sorted(properties)


def test_the_table_of_numbers_is_the_class() -> None:
    text = (DOCS / "reference" / "stats.md").read_text("utf-8")
    assert named(text) == [field.name for field in dataclasses.fields(Stats)]


@pytest.mark.parametrize(
    "kind",
    [LiveTask, TaskPlace, TaskReport, FoundTask],
    ids=lambda kind: kind.__name__,
)
def test_the_table_of_a_live_task_is_the_class(kind: type[Any]) -> None:
    text = section(DOCS / "reference" / "live.md", f"## {kind.__name__}")
    assert named(text) == [field.name for field in dataclasses.fields(kind)]


@pytest.mark.parametrize("kind", [TaskSummary, Counts], ids=lambda kind: kind.__name__)
def test_the_table_of_a_summary_is_the_class(kind: type[TaskSummary | Counts]) -> None:
    text = section(DOCS / "reference" / "summary.md", f"## {kind.__name__}")
    assert named(text) == [field.name for field in dataclasses.fields(kind)]


def test_the_table_of_errors_is_what_is_exported() -> None:
    public = vars(otel_tasklog)
    errors = {
        name: value
        for name, value in public.items()
        if isinstance(value, type) and issubclass(value, otel_tasklog.TaskLogError)
    }
    text = (DOCS / "reference" / "errors.md").read_text("utf-8")
    assert set(named(text)) == set(errors)
    tree = re.findall(r"^(?:[│ ]*[├└]── )?(\w+Error)\b", text, re.MULTILINE)
    assert sorted(tree) == sorted(errors)


def options(command: click.Command) -> dict[str, Any]:
    """Return each spelling of each option, and its default."""
    return {
        spelling: parameter.default
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for spelling in (*parameter.opts, *parameter.secondary_opts)
    }


def test_the_page_of_commands_is_the_command_line() -> None:
    page = DOCS / "reference" / "cli.md"
    cli = make_cli()
    headings = re.findall(
        r"^## otel-tasklog (\w+)$", page.read_text("utf-8"), re.MULTILINE
    )
    assert sorted(headings) == sorted(cli.commands)
    for heading in headings:
        text = section(page, f"## otel-tasklog {heading}")
        known = options(cli.commands[heading])
        assert sorted(named(text)) == sorted(known)
        for cells in rows(text):
            for value in codes(cells[1]):
                assert str(known[codes(cells[0])[0]]) == value
    help_names: list[str] = cli.context_settings["help_option_names"]
    expected = {*options(cli), *help_names}
    assert set(named(section(page, "## otel-tasklog"))) == expected
