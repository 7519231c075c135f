"""The Collector, Loki, Prometheus and Tempo: their files agree with each other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest
from deployed import (
    COLLECTOR_TEXT,
    DEPLOY,
    GRAFANA_PORT,
    LOKI_TEXT,
    SERVICES,
    SIGNALS_TEXT,
    STAYING,
    TEMPO_TEXT,
    Tree,
    collector,
    expand,
    index_labels,
    load,
    loki,
    mounts,
    published,
    signals,
    tempo,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

MIB: Final = 1 << 20
PROMETHEUS_PORT: Final = 9090  # its default
COLLECTORS: Final = r"\$\{env:([A-Z_]+):-([^}]+)\}"
OTHERS: Final = r"\$\{([A-Z_]+):-([^}]+)\}"


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


# The variables between Compose and the files


@pytest.mark.parametrize(
    ("service", "texts", "pattern"),
    [
        ("collector", [COLLECTOR_TEXT, SIGNALS_TEXT], COLLECTORS),
        ("loki", [LOKI_TEXT], OTHERS),
        ("tempo", [TEMPO_TEXT], OTHERS),
    ],
    ids=["collector", "loki", "tempo"],
)
def test_variables_are_read_where_they_are_set(
    service: str, texts: list[str], pattern: str
) -> None:
    # GOMEMLIMIT is read by Go's runtime.
    given = {*SERVICES[service]["environment"]} - {"GOMEMLIMIT"}
    assert given
    assert given <= {name for text in texts for name, _ in re.findall(pattern, text)}
    for text in texts:
        for name, default in re.findall(pattern, text):
            described = rf"^# +{name} .* {re.escape(default)}$"
            assert re.search(described, text, re.MULTILINE), name


def test_the_collector_listens_on_loopback_unless_told_otherwise() -> None:
    assert {host for host, _ in listeners()} == {"127.0.0.1"}


def test_loki_listens_on_loopback_unless_told_otherwise() -> None:
    server = loki()["server"]
    assert server["http_listen_address"] == "127.0.0.1"
    assert server["grpc_listen_address"] == "127.0.0.1"


def test_tempo_listens_on_loopback_unless_told_otherwise() -> None:
    config = tempo()
    receiver = config["distributor"]["receivers"]["otlp"]["protocols"]["http"]
    assert config["server"]["http_listen_address"] == "127.0.0.1"
    assert config["server"]["grpc_listen_address"] == "127.0.0.1"
    assert config["memberlist"]["bind_addr"] == ["127.0.0.1"]
    assert receiver["endpoint"].startswith("127.0.0.1:")


def test_what_listens_in_a_container_is_what_is_published() -> None:
    """But for Prometheus and Tempo: nobody on the host has to ask them."""
    environ = SERVICES["collector"]["environment"]
    server = loki(SERVICES["loki"]["environment"])["server"]
    listening = {
        "collector": listeners(environ),
        "loki": {(server["http_listen_address"], server["http_listen_port"])},
        "grafana": {("0.0.0.0", GRAFANA_PORT)},  # noqa: S104  # inside the container
    }
    assert {n for n in STAYING if not published(n)} == {"prometheus", "tempo"}
    for service, addresses in listening.items():
        assert {host for host, _ in addresses} == {"0.0.0.0"}  # noqa: S104
        targets = {target for _, _, target in published(service)}
        assert targets == {port for _, port in addresses}
        assert all(host == target for _, host, target in published(service))


@pytest.mark.parametrize("place", ["container", "host"])
def test_the_collector_sends_to_where_loki_listens(place: str) -> None:
    inside = place == "container"
    environ = SERVICES["collector"]["environment"] if inside else {}
    url = collector(environ)["exporters"]["otlp_http/loki"]["endpoint"]
    port = loki()["server"]["http_listen_port"]
    # The exporter adds /v1/logs.
    assert url == f"http://{'loki' if inside else '127.0.0.1'}:{port}/otlp"


def test_all_can_be_on_one_host() -> None:
    """Where they all listen on one address, each port is one program's."""
    receiver = tempo()["distributor"]["receivers"]["otlp"]["protocols"]["http"]
    ports: list[object] = [number for _, number in listeners()]
    ports += [value for key, value in walk(loki()["server"]) if key.endswith("_port")]
    ports += [value for key, value in walk(tempo()["server"]) if key.endswith("_port")]
    ports += [int(receiver["endpoint"].rpartition(":")[2])]
    ports += [PROMETHEUS_PORT, GRAFANA_PORT]
    assert len(ports) == len({*ports}) == 11


@pytest.mark.parametrize("place", ["container", "host"])
def test_the_other_signals_go_to_where_somebody_listens(place: str) -> None:
    inside = place == "container"
    environ = SERVICES["collector"]["environment"] if inside else {}
    exporters = signals(environ)["exporters"]
    other = tempo(SERVICES["tempo"]["environment"] if inside else {})
    receiver = other["distributor"]["receivers"]["otlp"]["protocols"]["http"]
    port = receiver["endpoint"].rpartition(":")[2]
    # The exporter adds /v1/metrics and /v1/traces.
    assert {name: each["endpoint"] for name, each in exporters.items()} == {
        "otlp_http/prometheus": f"http://{'prometheus' if inside else '127.0.0.1'}"
        f":{PROMETHEUS_PORT}/api/v1/otlp",
        "otlp_http/tempo": f"http://{'tempo' if inside else '127.0.0.1'}:{port}",
    }


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
    limit = SERVICES["collector"]["mem_limit"].removesuffix("m")
    assert limiter["limit_mib"] <= 0.8 * int(limit)


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


def test_the_other_signals_are_added_to_what_there_is() -> None:
    """What both files have, the second would replace; lists are not joined."""
    first, second = collector(), signals()
    assert {*second} == {"exporters", "service"}
    assert {*second["service"]} == {"pipelines"}
    pipelines: dict[str, Tree] = second["service"]["pipelines"]
    assert pipelines.keys() & first["service"]["pipelines"].keys() == set()
    assert second["exporters"].keys() & first["exporters"].keys() == set()
    assert {*pipelines} == {"metrics", "traces"}
    for pipeline in pipelines.values():
        assert pipeline["receivers"] == [*first["receivers"]]
        assert pipeline["processors"] == [*first["processors"]]
    used = [name for each in pipelines.values() for name in each["exporters"]]
    assert used == [*second["exporters"]]


def test_nothing_is_taken_of_the_other_signals_that_nobody_stores() -> None:
    """Where there is no Tempo, a queue would fill up, and no sender would know."""
    for exporter in signals()["exporters"].values():
        assert exporter["sending_queue"] == {"enabled": False}
        assert exporter["retry_on_failure"] == {"enabled": False}


def test_both_files_are_given_to_the_collector() -> None:
    given = [word.partition("=")[2] for word in SERVICES["collector"]["command"]]
    assert [mounts("collector")[path] for path in given] == [
        "./collector-config.yaml",
        "./docs/deploy/collector-signals.yaml",
    ]


# Prometheus


def test_prometheus_asks_the_collector_where_it_answers() -> None:
    [job] = load(DEPLOY / "prometheus.yaml")["scrape_configs"]
    [static] = job["static_configs"]
    telemetry = collector(SERVICES["collector"]["environment"])["service"]["telemetry"]
    [reader] = telemetry["metrics"]["readers"]
    port = reader["pull"]["exporter"]["prometheus"]["port"]
    assert static["targets"] == [f"collector:{port}"]
    assert job["job_name"] == "collector"  # the dashboard's `up`


def test_prometheus_takes_what_programs_send() -> None:
    """By names with units and types, and with the scope: others use the same."""
    assert "--web.enable-otlp-receiver" in SERVICES["prometheus"]["command"]
    assert load(DEPLOY / "prometheus.yaml")["otlp"] == {
        "translation_strategy": "UnderscoreEscapingWithSuffixes",
        "promote_scope_metadata": True,
    }


# Loki and Tempo


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


def test_all_is_kept_for_as_long() -> None:
    kept = {
        value
        for config in (loki(), tempo())
        for key, value in walk(config)
        if key in {"retention_period", "block_retention"}
    }
    assert kept == {"168h"}
    storage = load(DEPLOY / "prometheus.yaml")["storage"]
    assert storage["tsdb"]["retention"] == {"time": "7d"}
