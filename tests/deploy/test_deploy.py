"""The Collector, Loki, Grafana and Compose files agree with each other.

No container is started here. What the files refer to is followed from file to file:
mounts to paths, ports to listeners, variables to their readers, data sources and
fields to where they are made.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest
import yaml

import otel_tasklog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from conftest import Harness

ROOT: Final = Path(__file__).resolve().parents[2]
DEPLOY: Final = ROOT / "docs/deploy"
DASHBOARDS: Final = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
HOW_TO: Final = ROOT / "docs/how-to/grafana-loki.md"
MIB: Final = 1 << 20

Tree: TypeAlias = "dict[str, Any]"

# What otel_tasklog sends, by the names that Loki makes of them.
SENT: Final = {
    "task_id",
    "task_parent_id",
    "asyncio_task_id",
    "asyncio_task_name",
    "asyncio_task_parent_id",
    "exception_type",
    "exception_message",
    "exception_stacktrace",
    "code_file_path",
    "code_function_name",
    "code_line_number",
    "code_stacktrace",
    "process_pid",
    "thread_id",
    "thread_name",
}
# What Loki makes of the rest of a record.
DERIVED: Final = {
    "detected_level",
    "severity_text",
    "severity_number",
    "trace_id",
    "span_id",
    "scope_name",
}
LEVELS: Final = {"trace", "debug", "info", "warn", "error", "critical", "fatal"}

# Where the process in an image listens when no file of ours says so.
GRAFANA_PORT: Final = 3000

# Read now: while a test runs, the environment is clean of OTEL_ variables.
VALIDATOR: Final = os.environ.get("OTEL_TASKLOG_COMPOSE_VALIDATOR")


def parse(text: str) -> Tree:
    tree: Tree = yaml.safe_load(text)
    return tree


def load(path: Path) -> Tree:
    return parse(path.read_text(encoding="utf-8"))


def walk(node: object) -> Iterator[tuple[str, object]]:
    """Every key and value below a node, at any depth."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield str(key), value
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)


def expand(text: str, environ: Mapping[str, str], scheme: str = "") -> str:
    """Fill ``${NAME:-default}`` in; anything else with ``${`` is an error.

    Loki takes ``${NAME:default}`` too, and then means something else by it.
    """
    variable = re.compile(r"\$\{" + scheme + r"([A-Z_]+):-([^}]+)\}")
    expanded = variable.sub(lambda m: environ.get(m[1], m[2]), text)
    assert "${" not in expanded
    return expanded


COMPOSE: Final = load(ROOT / "docker-compose.yml")
SERVICES: Final[dict[str, Tree]] = COMPOSE["services"]
STAYING: Final = [n for n in SERVICES if SERVICES[n]["restart"] != "no"]
LOKI_TEXT: Final = (DEPLOY / "loki.yaml").read_text(encoding="utf-8")
COLLECTOR_TEXT: Final = (ROOT / "collector-config.yaml").read_text(encoding="utf-8")


def collector(environ: Mapping[str, str] | None = None) -> Tree:
    return parse(expand(COLLECTOR_TEXT, environ or {}, "env:"))


def loki(environ: Mapping[str, str] | None = None) -> Tree:
    return parse(expand(LOKI_TEXT, environ or {}))


def listeners(environ: Mapping[str, str] | None = None) -> set[tuple[str, int]]:
    """Where the Collector listens, as (host, port)."""
    config = collector(environ)
    addresses = {
        str(value)
        for part in (config["receivers"], config["extensions"])
        for key, value in walk(part)
        if key == "endpoint"
    }
    for reader in config["service"]["telemetry"]["metrics"]["readers"]:
        exporter = reader["pull"]["exporter"]["prometheus"]
        addresses.add(f"{exporter['host']}:{exporter['port']}")
    split = (address.rsplit(":", 1) for address in addresses)
    return {(host, int(port)) for host, port in split}


def published(service: str) -> list[tuple[str, int, int]]:
    """The ports of a service, as (address of the host, its port, the service's)."""
    split = (port.split(":") for port in SERVICES[service].get("ports", []))
    return [(address, int(host), int(target)) for address, host, target in split]


def mounts(service: str) -> dict[str, str]:
    """The mounts of a service, from the path inside to the path or name outside."""
    split = (mount.split(":") for mount in SERVICES[service].get("volumes", []))
    return {parts[1]: parts[0] for parts in split}


def mib(size: str) -> int:
    found = re.fullmatch(r"(\d+)(?:m|MiB)", size)
    assert found is not None
    return int(found[1])


# Compose


def test_every_mounted_path_exists() -> None:
    """Compose would make an empty folder in place of a missing file, and go on."""
    outside = [path for s in SERVICES for path in mounts(s).values()]
    files = [path for path in outside if path.startswith(".")]
    assert len(files) >= 5
    assert [path for path in files if not (ROOT / path).exists()] == []


def test_every_mounted_file_is_read_only() -> None:
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            assert mount.startswith(".") == mount.endswith(":ro")


def test_named_volumes_are_the_ones_used() -> None:
    outside = {path for s in SERVICES for path in mounts(s).values()}
    assert {path for path in outside if not path.startswith(".")} == {
        *COMPOSE["volumes"]
    }


def test_every_port_is_published_on_loopback_alone() -> None:
    ports = [port for service in SERVICES for port in published(service)]
    assert len(ports) >= 4
    assert {address for address, _, _ in ports} == {"127.0.0.1"}
    assert "host" not in {s.get("network_mode") for s in SERVICES.values()}


def test_every_image_has_an_exact_version() -> None:
    for service in SERVICES.values():
        assert re.fullmatch(r"[a-z0-9/_-]+:\d+\.\d+\.\d+", service["image"])


def test_the_obsolete_version_key_is_absent() -> None:
    assert "version" not in COMPOSE


@pytest.mark.parametrize("name", STAYING)
def test_a_service_that_stays_is_bounded_and_comes_back(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    # Go collects garbage before the kernel kills, which needs a margin.
    limit = mib(service["mem_limit"])
    assert mib(service["environment"]["GOMEMLIMIT"]) <= 0.8 * limit
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}


def test_a_dependency_can_come_true() -> None:
    """Waiting for a health check needs one, waiting for an end needs a one-shot."""
    conditions = [
        (SERVICES[other], wait["condition"])
        for service in SERVICES.values()
        for other, wait in service.get("depends_on", {}).items()
    ]
    assert len(conditions) >= 2
    for service, condition in conditions:
        if condition == "service_healthy":
            assert "healthcheck" in service
        else:
            assert condition == "service_completed_successfully"
            assert service["restart"] == "no"


def test_health_checks_need_no_shell() -> None:
    """Loki's image has none, and the Collector's has nothing to ask with at all."""
    assert "healthcheck" not in SERVICES["collector"]
    for name in ("loki", "grafana"):
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES["loki"]["healthcheck"]["test"][1:] == ["/usr/bin/loki", "-health"]


def test_the_queue_is_on_a_volume_that_the_collector_may_write() -> None:
    """A new volume belongs to root, and the Collector runs as user 10001."""
    environ = SERVICES["collector"]["environment"]
    storage = collector(environ)["extensions"]["file_storage/queue"]
    for folder in (storage["directory"], storage["compaction"]["directory"]):
        [volume] = [v for p, v in mounts("collector").items() if folder.startswith(p)]
        [(path, handed_over)] = mounts("queue-owner").items()
        assert handed_over == volume
        assert SERVICES["queue-owner"]["command"] == [
            "chown",
            "-R",
            "10001:10001",
            path,
        ]
    assert "queue-owner" in SERVICES["collector"]["depends_on"]


def test_nobody_is_an_administrator_of_the_open_grafana() -> None:
    environ = SERVICES["grafana"]["environment"]
    assert environ["GF_AUTH_ANONYMOUS_ENABLED"] == "true"
    assert environ["GF_AUTH_ANONYMOUS_ORG_ROLE"] in {"Viewer", "Editor"}
    assert environ["GF_AUTH_BASIC_ENABLED"] == "false"


def test_values_of_the_environment_are_strings() -> None:
    """YAML's true is not what a program reads from its environment."""
    for service in SERVICES.values():
        assert {type(v) for v in service.get("environment", {}).values()} <= {str}


# The variables between Compose and the files


@pytest.mark.parametrize(
    ("service", "text", "pattern"),
    [
        ("collector", COLLECTOR_TEXT, r"\$\{env:([A-Z_]+):-([^}]+)\}"),
        ("loki", LOKI_TEXT, r"\$\{([A-Z_]+):-([^}]+)\}"),
    ],
    ids=["collector", "loki"],
)
def test_variables_are_read_where_they_are_set(
    service: str, text: str, pattern: str
) -> None:
    defaults = dict(re.findall(pattern, text))
    # GOMEMLIMIT is read by Go's runtime.
    given = {*SERVICES[service]["environment"]} - {"GOMEMLIMIT"}
    assert given
    assert given <= defaults.keys()
    for name, default in defaults.items():
        described = rf"^# +{name} .* {re.escape(default)}$"
        assert re.search(described, text, re.MULTILINE), name


def test_the_collector_listens_on_loopback_unless_told_otherwise() -> None:
    assert {host for host, _ in listeners()} == {"127.0.0.1"}


def test_loki_listens_on_loopback_unless_told_otherwise() -> None:
    server = loki()["server"]
    assert server["http_listen_address"] == "127.0.0.1"
    assert server["grpc_listen_address"] == "127.0.0.1"


def test_what_listens_in_a_container_is_what_is_published() -> None:
    environ = SERVICES["collector"]["environment"]
    server = loki(SERVICES["loki"]["environment"])["server"]
    listening = {
        "collector": listeners(environ),
        "loki": {(server["http_listen_address"], server["http_listen_port"])},
        "grafana": {("0.0.0.0", GRAFANA_PORT)},  # noqa: S104  # inside the container
    }
    for service in STAYING:
        assert {host for host, _ in listening[service]} == {"0.0.0.0"}  # noqa: S104
        targets = {target for _, _, target in published(service)}
        assert targets == {port for _, port in listening[service]}
        assert all(host == target for _, host, target in published(service))


@pytest.mark.parametrize("place", ["container", "host"])
def test_the_collector_sends_to_where_loki_listens(place: str) -> None:
    inside = place == "container"
    environ = SERVICES["collector"]["environment"] if inside else {}
    url = collector(environ)["exporters"]["otlp_http/loki"]["endpoint"]
    port = loki()["server"]["http_listen_port"]
    # The exporter adds /v1/logs.
    assert url == f"http://{'loki' if inside else '127.0.0.1'}:{port}/otlp"


@pytest.mark.parametrize(
    "text", ["${NAME}", "${NAME:default}", "${name:-x}", "${env:NAME:-x}"]
)
def test_the_expansion_refuses_what_loki_would_read_differently(text: str) -> None:
    with pytest.raises(AssertionError):
        expand(text, {"NAME": "x"})


# The Collector


def test_components_are_defined_once_and_all_used() -> None:
    config = collector()
    pipelines: list[dict[str, list[str]]] = [*config["service"]["pipelines"].values()]
    for kind in ("receivers", "processors", "exporters"):
        used = {name for pipeline in pipelines for name in pipeline[kind]}
        assert used == {*config[kind]}
    assert {*config["service"]["extensions"]} == {*config["extensions"]}


def test_memory_is_limited_before_anything_else() -> None:
    config = collector()
    for pipeline in config["service"]["pipelines"].values():
        assert pipeline["processors"][0] == "memory_limiter"
    limiter = config["processors"]["memory_limiter"]
    assert 0 < limiter["spike_limit_mib"] < limiter["limit_mib"]
    assert limiter["limit_mib"] <= 0.8 * mib(SERVICES["collector"]["mem_limit"])


def test_nothing_acknowledges_records_before_they_are_on_disk() -> None:
    """The batch processor would, and leaves the distributions."""
    config = collector()
    assert [n for n in config["processors"] if n.split("/")[0] == "batch"] == []
    for exporter in config["exporters"].values():
        queue = exporter["sending_queue"]
        assert queue["enabled"] is True
        assert queue["storage"] in config["service"]["extensions"]
        assert queue["storage"].split("/")[0] == "file_storage"
        assert config["extensions"][queue["storage"]]["fsync"] is True


def test_exporters_have_their_current_names() -> None:
    """`otlphttp` and `otlp` are aliases that are going to be removed."""
    kinds = {name.split("/")[0] for name in collector()["exporters"]}
    assert kinds <= {"otlp_http", "otlp_grpc"}


def test_retrying_never_ends() -> None:
    """The default gives up after five minutes, whatever the queue can still hold."""
    for exporter in collector()["exporters"].values():
        assert exporter["retry_on_failure"]["enabled"] is True
        assert exporter["retry_on_failure"]["max_elapsed_time"] == 0


def test_a_batch_is_small_enough_to_be_taken_by_any_loki() -> None:
    """Too large a push is answered with 503, and would be retried for ever."""
    for exporter in collector()["exporters"].values():
        queue = exporter["sending_queue"]
        batch = queue["batch"]
        assert batch["sizer"] == queue["sizer"] == "bytes"
        assert 0 < batch["min_size"] <= batch["max_size"] <= queue["queue_size"]
        assert batch["max_size"] <= 4 * MIB  # Loki's own default
        assert batch["max_size"] <= loki()["server"]["grpc_server_max_recv_msg_size"]


# Loki


def index_labels() -> set[str]:
    config = loki()["distributor"]["otlp_config"]
    names: list[str] = config["default_resource_attributes_as_index_labels"]
    return {name.replace(".", "_") for name in names}


def test_labels_have_few_values() -> None:
    """A stream per task or per process is what makes a Loki slow."""
    assert index_labels() == {
        "service_name",
        "service_namespace",
        "deployment_environment_name",
    }


def test_loki_deletes_what_it_says_it_deletes() -> None:
    config = loki()
    assert config["limits_config"]["retention_period"]
    assert config["compactor"]["retention_enabled"] is True


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


# LogQL, as much of it as is written here

STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`')
FILTER: Final = r"\w+ ?(?:=~|!~|!=|>=|<=|=|>|<) ?(?:S|\d+)"
STAGE: Final = rf" (?:\|=|\|~|!=|!~) S| \| {FILTER}(?: (?:or|and) {FILTER})*"
LOG_QUERY: Final = re.compile(rf"\{{(\w+)=~?S\}}((?:{STAGE}| \| line_format S)*)")
BUILT_IN: Final = {"__auto", "__range"}


def unwrap(query: str) -> tuple[str, set[str]]:
    """Take the aggregations off: the log query inside, and the fields to group by."""
    fields: set[str] = set()
    if found := re.fullmatch(r"topk\(\d+, (.*)\)", query):
        query = found[1]
    if found := re.fullmatch(r"sum by \((\w+)\) \((.*)\)", query):
        fields.add(found[1])
        query = found[2]
    if found := re.fullmatch(
        r"count_over_time\((.*) \[(?:\$__auto|\$__range|\d+[smhd])\]\)", query
    ):
        query = found[1]
    return query, fields


def faults(query: str, variables: Mapping[str, bool]) -> list[str]:
    """What is wrong with a query; the variables' values say which are lists."""
    strings: list[str] = STRING.findall(query)
    bare, fields = unwrap(STRING.sub("S", query))
    found = LOG_QUERY.fullmatch(bare)
    if found is None:
        return [f"not a query: {bare}"]
    for text in strings:
        for action in re.findall(r"\{\{(.*?)\}\}", text):
            fields |= {*re.findall(r"(?:^| )\.(\w+)", action)}
    fields |= {*re.findall(r"(\w+) ?[=!<>]", found[2])}
    wrong = [f"not a label: {n}" for n in {found[1]} - index_labels()]
    wrong += [f"not a field: {n}" for n in fields - SENT - DERIVED - index_labels()]
    for name in re.findall(r"\$\{?(\w+)", query):
        if name not in BUILT_IN and name not in variables:
            wrong.append(f"not a variable: {name}")
    # Grafana escapes the values of a list for a string in double quotes, and
    # inserts a single value as it is, which only backticks leave alone.
    for text in strings:
        for name in re.findall(r"\$(\w+)", text):
            if (text[0] == '"') != variables.get(name, False):
                wrong.append(f"wrong quotes around ${name}")
    return wrong


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
    ],
)
def test_a_faulty_query_is_noticed(query: str) -> None:
    assert faults(query, {"service": True, "task_id": False}) != []


def test_the_queries_of_the_how_to_name_fields_that_exist() -> None:
    page = HOW_TO.read_text(encoding="utf-8")
    blocks = re.findall(r"```logql\n(.*?)```", page, re.DOTALL)
    queries = [q for block in blocks for q in block.splitlines() if q[0] != "#"]
    assert len(queries) >= 8
    assert {query: faults(query, {}) for query in queries if faults(query, {})} == {}


# Grafana


def data_sources() -> dict[str, Tree]:
    sources: list[Tree] = load(DEPLOY / "grafana/datasources.yaml")["datasources"]
    return {source["uid"]: source for source in sources}


def dashboard(path: Path) -> Tree:
    tree: Tree = json.loads(path.read_text(encoding="utf-8"))
    return tree


def variables_of(tree: Tree) -> dict[str, bool]:
    return {v["name"]: v.get("multi", False) for v in tree["templating"]["list"]}


def links() -> Iterator[str]:
    """Every address that a click in Grafana can lead to."""
    for source in data_sources().values():
        for field in source["jsonData"]["derivedFields"]:
            # The file doubles the dollar, since Grafana expands variables in it.
            yield re.sub(r"\$\$", "$", field["url"])
    for path in DASHBOARDS:
        for key, value in walk(dashboard(path)):
            if key == "url":
                yield str(value)


each_dashboard = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda p: p.stem)


def test_the_dashboard_is_where_grafana_looks_for_it() -> None:
    assert [dashboard(path)["uid"] for path in DASHBOARDS] == ["otel-tasklog"]
    [provider] = load(DEPLOY / "grafana/dashboards.yaml")["providers"]
    inside = mounts("grafana")
    folder = ROOT / inside[provider["options"]["path"]]
    assert {path.parent for path in DASHBOARDS} == {folder}
    for kind in ("datasources", "dashboards"):
        path = f"/etc/grafana/provisioning/{kind}/otel-tasklog.yaml"
        assert ROOT / inside[path] == DEPLOY / f"grafana/{kind}.yaml"


def test_the_data_source_asks_the_loki_of_the_compose_file() -> None:
    [source] = data_sources().values()
    port = loki()["server"]["http_listen_port"]
    assert source["type"] == "loki"
    assert source["url"] == f"http://loki:{port}"
    assert "loki" in SERVICES["grafana"]["depends_on"]


@each_dashboard
def test_every_data_source_of_a_dashboard_is_provisioned(path: Path) -> None:
    tree = dashboard(path)
    named = [value for key, value in walk(tree) if key == "datasource"]
    assert len(named) > len(tree["panels"])
    for value in named:
        assert isinstance(value, dict)
        assert value["type"] == data_sources()[value["uid"]]["type"]


@each_dashboard
def test_every_query_of_a_dashboard_is_sound(path: Path) -> None:
    tree = dashboard(path)
    queries = [str(value) for key, value in walk(tree) if key == "expr"]
    assert len(queries) == len(tree["panels"])
    known = variables_of(tree)
    assert {q: faults(q, known) for q in queries if faults(q, known)} == {}
    for name in known:
        assert any(f"${name}" in query for query in queries), name


@each_dashboard
def test_boxes_start_with_everything(path: Path) -> None:
    """`.*` also matches a record that has no such field; `service` is a label."""
    for variable in dashboard(path)["templating"]["list"]:
        if variable["type"] == "query":
            assert variable["allValue"] == ".+"  # Loki refuses `.*` alone
            assert variable["query"]["label"] in index_labels()
        else:
            assert re.fullmatch(variable["current"]["value"], "") or (
                variable["current"]["value"] == ""
            )


@each_dashboard
def test_the_choices_of_a_level_are_levels(path: Path) -> None:
    variables = {v["name"]: v for v in dashboard(path)["templating"]["list"]}
    level = variables["level"]
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
        assert given
        assert {a or b for a, b in given} <= variables.keys()
        # An id may hold `&`, `#` or `+`, and Grafana's default leaves them.
        assert "${__value.raw:percentencode}" in url


def test_links_take_a_task_id_literally() -> None:
    r"""The box is a regular expression: between ``\Q`` and ``\E`` it is not."""
    urls = [url for url in links() if "var-task_id=" in url]
    assert len(urls) == 2
    for url in urls:
        assert "var-task_id=%5CQ${__value.raw:percentencode}%5CE" in url


def test_a_derived_field_finds_the_one_field_that_it_is_named_after() -> None:
    """Grafana searches names for the pattern: task_id is also in asyncio_task_id."""
    for source in data_sources().values():
        for field in source["jsonData"]["derivedFields"]:
            assert field["matcherType"] == "label"
            pattern = re.compile(field["matcherRegex"])
            assert [n for n in SENT | DERIVED if pattern.search(n)] == [field["name"]]


def test_derived_fields_name_no_data_source_that_is_not_there() -> None:
    for key, value in walk(load(DEPLOY / "grafana/datasources.yaml")):
        if key == "datasourceUid":
            assert value in data_sources()


# The how-to


def test_the_how_to_names_ports_that_are_published() -> None:
    page = HOW_TO.read_text(encoding="utf-8")
    ports = {int(port) for port in re.findall(r"localhost:(\d+)", page)}
    assert {3000, 4318, 8888, 13133} <= ports
    assert ports <= {host for service in SERVICES for _, host, _ in published(service)}
    assert f"http://localhost:{GRAFANA_PORT}/d/otel-tasklog" in page


def test_the_how_to_names_the_labels_that_loki_makes() -> None:
    page = HOW_TO.read_text(encoding="utf-8")
    config = loki()["distributor"]["otlp_config"]
    for name in config["default_resource_attributes_as_index_labels"]:
        assert f"`{name}`" in page


# The Compose Specification's own validator


@pytest.fixture
def validator() -> str:
    if not VALIDATOR:
        pytest.skip(
            "OTEL_TASKLOG_COMPOSE_VALIDATOR is not set; to enable: "
            "GOBIN=$HOME/.local/bin go install "
            "github.com/compose-spec/compose-go/v2/cmd@v2.16.2 && "
            "export OTEL_TASKLOG_COMPOSE_VALIDATOR=$HOME/.local/bin/cmd"
        )
    return VALIDATOR


def validate(validator: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [validator, path], capture_output=True, text=True, timeout=30, check=False
    )


def test_the_compose_specification_is_kept(validator: str) -> None:
    result = validate(validator, ROOT / "docker-compose.yml")
    assert result.returncode == 0, result.stderr
    assert {*parse(result.stdout)["services"]} == {*SERVICES}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    mem_limit: 640m", "    memory_limit: 640m"),
        ("127.0.0.1:3000:3000", "127.0.0.1:three:3000"),
        ("condition: service_healthy", "condition: healthy"),
        ("    mem_limit: 640m", "    mem_limit: [640m]"),
    ],
    ids=["unknown key", "port", "condition", "type"],
)
def test_the_validator_refuses_a_broken_copy(
    validator: str, tmp_path: Path, old: str, new: str
) -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert old in text
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(text.replace(old, new), encoding="utf-8")
    result = validate(validator, broken)
    assert result.returncode != 0
    assert result.stderr
