"""Dashboards, data sources and the how-to name what there is, and ask what can be asked.

No Grafana is started here. `test_queries_asked.py` asks a Loki and a Prometheus.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

import pytest
from deployed import (
    DASHBOARDS,
    DEPLOY,
    GRAFANA_PORT,
    HOW_TO,
    ROOT,
    SERVICES,
    Tree,
    dashboard,
    data_sources,
    index_labels,
    load,
    loki,
    mounts,
    published,
    tempo,
    variables_of,
    walk,
)
from grafana_queries import (
    DERIVED,
    LEVELS,
    METRIC_LABELS,
    METRICS,
    SENT,
    logql_faults,
    promql_faults,
    queries_of,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric, Sum

import otel_tasklog
from otel_tasklog._loop_metrics import lag_recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Harness


def test_the_known_fields_are_the_ones_that_are_sent(
    make: Callable[..., Harness],
) -> None:
    harness = make(include=("asyncio", "code", "process", "thread"))

    async def child() -> None:
        async with otel_tasklog.task("child"):
            harness.log.error("no", exc_info=ValueError("no"), stack_info=True)

    async def parent() -> None:
        async with otel_tasklog.task("parent"):
            await asyncio.create_task(child())

    asyncio.run(parent())
    assert harness.tasklog.flush(5)
    [record] = harness.sender.records
    assert {name.replace(".", "_") for name in record.attributes} == SENT


def prometheus_name(metric: Metric) -> str:
    """What Prometheus makes of a metric, by ``UnderscoreEscapingWithSuffixes``."""
    name = metric.name.replace(".", "_")
    name += "_seconds" * (metric.unit == "s")
    return name + "_total" * (isinstance(metric.data, Sum) and metric.data.is_monotonic)


def test_the_known_metrics_are_the_ones_that_are_measured(
    make: Callable[..., Harness],
) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    harness = make(meter_provider=provider)
    harness.log.info("one")
    assert harness.tasklog.flush(5)
    lag_recorder(provider)(0.001)
    data = reader.get_metrics_data()
    assert data is not None
    [resource] = data.resource_metrics
    [scope] = resource.scope_metrics
    assert scope.scope.name == "otel_tasklog"
    assert {prometheus_name(metric) for metric in scope.metrics} == METRICS
    provider.shutdown()


@pytest.mark.parametrize(
    "query",
    [
        '{task_id="order-1"}',
        '{service_name="shop"} | task.id="order-1"',
        '{service_name="shop"} | job="order-1"',
        '{service_name="shop"} | task_id="order-1',
        '{service_name="shop"} | task_id= ',
        '{service_name="shop"} | task_id=`$task`',
        '{service_name="shop"} | task_id="$task_id"',
        "{service_name=~`$service`}",
        '{service_name="shop"} | line_format `{{.taskid}}`',
        'sum by (level) (count_over_time({service_name="shop"} [5m]))',
        'sum by (task_id) (count_over_time({service_name="shop"}))',
        'topk(5, {service_name="shop"}',
        r'{service_name="shop"} | task_id="\u00fc"',
    ],
)
def test_a_faulty_query_is_noticed(query: str) -> None:
    assert logql_faults(query, {"service": True, "task_id": False}) != []


@pytest.mark.parametrize(
    "query",
    [
        "",
        "sum(otel_sdk_log_created)",
        "sum(rate(otel_sdk_log_created_total[5x]))",
        'sum(otel_sdk_log_created_total{service="shop"})',
        'sum(otel_sdk_log_created_total{job="$service"})',
        'sum(otel_sdk_log_created_total{job="shop}',
        "sum by (task_id) (otel_sdk_log_created_total)",
        "sum(otel_sdk_log_created_total))",
        "sum(otel_sdk_log_created_total",
        "summe(otel_sdk_log_created_total)",
        "otel_sdk_log_created_total | line_format",
        "otelcol_exporter_sent_log_records_total",
    ],
)
def test_a_faulty_query_to_prometheus_is_noticed(query: str) -> None:
    assert promql_faults(query, {"job": True}) != []


def test_the_queries_of_the_how_to_name_fields_that_exist() -> None:
    page = HOW_TO.read_text(encoding="utf-8")
    blocks = re.findall(r"```logql\n(.*?)```", page, re.DOTALL)
    queries = [q for block in blocks for q in block.splitlines() if q[0] != "#"]
    assert len(queries) >= 8
    wrong = {query: logql_faults(query, {}) for query in queries}
    assert {query: found for query, found in wrong.items() if found} == {}


def derived_fields() -> list[Tree]:
    fields: list[Tree] = data_sources()["loki"]["jsonData"]["derivedFields"]
    return fields


def links() -> Iterator[str]:
    """Every address that a click in Grafana can lead to."""
    for field in derived_fields():
        if "datasourceUid" not in field:
            # The file doubles the dollar, since Grafana expands variables in it.
            yield re.sub(r"\$\$", "$", field["url"])
    for path in DASHBOARDS:
        for key, value in walk(dashboard(path)):
            if key == "url":
                yield str(value)


each_dashboard = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda p: p.stem)

FAULTS: Final = {"loki": logql_faults, "prometheus": promql_faults}


def test_the_dashboards_are_where_grafana_looks_for_them() -> None:
    assert [dashboard(path)["uid"] for path in DASHBOARDS] == [
        "otel-tasklog-pipeline",
        "otel-tasklog",
    ]
    [provider] = load(DEPLOY / "grafana/dashboards.yaml")["providers"]
    inside = mounts("grafana")
    folder = ROOT / inside[provider["options"]["path"]]
    assert {path.parent for path in DASHBOARDS} == {folder}
    for kind in ("datasources", "dashboards"):
        path = f"/etc/grafana/provisioning/{kind}/otel-tasklog.yaml"
        assert ROOT / inside[path] == DEPLOY / f"grafana/{kind}.yaml"


def test_data_sources_ask_the_services_of_the_compose_file() -> None:
    ports = {
        "loki": loki()["server"]["http_listen_port"],
        "prometheus": 9090,  # its default
        "tempo": tempo()["server"]["http_listen_port"],
    }
    assert {*data_sources()} == {*ports} <= {*SERVICES}
    for uid, source in data_sources().items():
        assert source["type"] == uid
        assert source["url"] == f"http://{uid}:{ports[uid]}"
    assert {*SERVICES["grafana"]["depends_on"]} == {"loki", "prometheus"}


@each_dashboard
def test_every_data_source_of_a_dashboard_is_provisioned(path: Path) -> None:
    tree = dashboard(path)
    named = [value for key, value in walk(tree) if key == "datasource"]
    assert len(named) > len([p for p in tree["panels"] if p["type"] != "row"])
    for value in named:
        assert isinstance(value, dict)
        assert value["type"] == data_sources()[value["uid"]]["type"]


@each_dashboard
def test_every_query_of_a_dashboard_is_sound(path: Path) -> None:
    tree = dashboard(path)
    known = variables_of(tree)
    queries: list[str] = []
    for kind, faults in FAULTS.items():
        asked = [*queries_of(path, kind)]
        assert {q: faults(q, known) for q in asked if faults(q, known)} == {}
        queries += asked
    asking = [panel for panel in tree["panels"] if panel["type"] != "row"]
    assert all(panel["targets"] for panel in asking)
    assert len(queries) == sum(len(panel["targets"]) for panel in asking)
    for name in known:
        assert any(f"${name}" in query for query in queries), name


@each_dashboard
def test_boxes_start_with_everything(path: Path) -> None:
    """`.*` also matches a record that has no such field; `service` is a label."""
    for variable in dashboard(path)["templating"]["list"]:
        if variable["type"] == "query":
            assert variable["allValue"] == ".+"  # Loki refuses `.*` alone
            if variable["datasource"]["type"] == "loki":
                assert variable["query"]["label"] in index_labels()
            else:
                metric, label = re.findall(r"\w+", variable["query"]["query"])[1:]
                assert metric in METRICS
                assert label in METRIC_LABELS
        else:
            assert re.fullmatch(variable["current"]["value"], "") or (
                variable["current"]["value"] == ""
            )


def test_the_choices_of_a_level_are_levels() -> None:
    [level] = [
        variable
        for path in DASHBOARDS
        for variable in dashboard(path)["templating"]["list"]
        if variable["name"] == "level"
    ]
    pairs = [(o["text"], o["value"]) for o in level["options"]]
    assert level["query"] == ", ".join(f"{text} : {value}" for text, value in pairs)
    for _, value in pairs:
        assert value == ".*" or {*value.split("|")} <= LEVELS


@each_dashboard
def test_panels_do_not_overlap(path: Path) -> None:
    panels = dashboard(path)["panels"]
    cells = [
        (x, y)
        for grid in (panel["gridPos"] for panel in panels)
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(cells) == len({*cells})
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_links_lead_to_a_dashboard_and_set_variables_it_has() -> None:
    known = {d["uid"]: variables_of(d) for d in map(dashboard, DASHBOARDS)}
    targets = [*links()]
    assert len(targets) >= 3
    for url in targets:
        found = re.fullmatch(r"/d/([\w-]+)\?(.*)", url)
        assert found is not None
        variables = known[found[1]]
        given = re.findall(r"(?:^|&)(?:var-(\w+)=|\$\{(\w+):queryparam\})", found[2])
        assert {a or b for a, b in given} <= variables.keys()
        assert given or found[2] == "${__url_time_range}"
        # An id may hold `&`, `#` or `+`, and Grafana's default leaves them.
        assert ("${__value.raw:percentencode}" in url) == ("var-" in url)


def test_links_take_a_task_id_literally() -> None:
    r"""The box is a regular expression: between ``\Q`` and ``\E`` it is not."""
    urls = [url for url in links() if "var-task_id=" in url]
    assert len(urls) == 2
    for url in urls:
        assert "var-task_id=%5CQ${__value.raw:percentencode}%5CE" in url


def test_a_derived_field_finds_the_one_field_that_it_is_named_after() -> None:
    """Grafana searches names for the pattern: task_id is also in asyncio_task_id."""
    for field in derived_fields():
        assert field["matcherType"] == "label"
        pattern = re.compile(field["matcherRegex"])
        assert [n for n in SENT | DERIVED if pattern.search(n)] == [field["name"]]


def test_a_record_leads_to_its_task_its_trace_and_the_spans() -> None:
    """Fields of one name are links of one field, where all match alike."""
    assert [(f["name"], f.get("datasourceUid")) for f in derived_fields()] == [
        ("task_id", None),
        ("trace_id", None),
        ("trace_id", "tempo"),
    ]
    matchers = {(f["name"], f["matcherRegex"]) for f in derived_fields()}
    assert len(matchers) == 2


def test_a_span_leads_to_its_records() -> None:
    to_logs = data_sources()["tempo"]["jsonData"]["tracesToLogsV2"]
    assert to_logs["customQuery"] is True
    [tag] = to_logs["tags"]
    assert tag["value"] in index_labels()
    query = to_logs["query"].replace("$$", "$")
    # As Grafana fills it in.
    query = query.replace("${__tags}", f'{tag["value"]}="shop"')
    query = query.replace("${__trace.traceId}", "5b8efff798038103d269b633813fc60c")
    assert logql_faults(query, {}) == []


def test_links_name_no_data_source_that_is_not_there() -> None:
    for key, value in walk(load(DEPLOY / "grafana/datasources.yaml")):
        if key == "datasourceUid":
            assert value in data_sources()


# The how-to


def test_the_how_to_names_ports_that_are_published() -> None:
    page = HOW_TO.read_text(encoding="utf-8")
    ports = {int(port) for port in re.findall(r"localhost:(\d+)", page)}
    assert {3000, 4318, 8888, 13133} <= ports
    assert ports <= {host for service in SERVICES for _, host, _ in published(service)}
    for path in DASHBOARDS:
        assert f"http://localhost:{GRAFANA_PORT}/d/{dashboard(path)['uid']}>" in page


def test_the_how_to_names_the_labels_that_loki_makes() -> None:
    page = HOW_TO.read_text(encoding="utf-8")
    config = loki()["distributor"]["otlp_config"]
    for name in config["default_resource_attributes_as_index_labels"]:
        assert f"`{name}`" in page
