"""docker-compose.yml keeps the Compose Specification, and its own promises.

No container is started here. What it refers to is followed from file to file: mounts to
paths, ports to listeners, dependencies to what can come true.
"""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Final

import pytest
from deployed import (
    COMPOSE,
    ROOT,
    SERVICES,
    STAYING,
    collector,
    loki,
    mounts,
    parse,
    published,
    tempo,
    walk,
)

if TYPE_CHECKING:
    from pathlib import Path

# Read now: while a test runs, the environment is clean of OTEL_ variables.
VALIDATOR: Final = os.environ.get("OTEL_TASKLOG_COMPOSE_VALIDATOR")


CHECKED: Final = {
    "loki": ["CMD", "/usr/bin/loki"],
    "prometheus": ["CMD", "promtool"],
    "tempo": ["CMD", "/tempo"],
    "grafana": ["CMD", "wget"],
}
"""Who asks in a health check: something that is in the image."""

OWNED: Final = {
    "loki": "/loki",
    "prometheus": "/prometheus",
    "tempo": "/var/tempo",
    "grafana": "/var/lib/grafana",
}
"""The folder of each image that belongs to the image's user."""


def mib(size: str) -> int:
    found = re.fullmatch(r"(\d+)(?:m|MiB)", size)
    assert found is not None
    return int(found[1])


def test_every_mounted_path_exists() -> None:
    """Compose would make an empty folder in place of a missing file, and go on."""
    outside = [path for s in SERVICES for path in mounts(s).values()]
    files = [path for path in outside if path.startswith(".")]
    assert len(files) >= 8
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
        assert re.fullmatch(r"[a-z0-9/_-]+:v?\d+\.\d+\.\d+", service["image"])


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
    assert len(conditions) >= 3
    for service, condition in conditions:
        if condition == "service_healthy":
            assert "healthcheck" in service
        else:
            assert condition == "service_completed_successfully"
            assert service["restart"] == "no"


def test_health_checks_need_no_shell() -> None:
    """Most images have none; the Collector's has nothing to ask with at all."""
    checks = {n: s["healthcheck"]["test"] for n, s in SERVICES.items() if n in CHECKED}
    assert checks.keys() == {*STAYING} - {"collector"}
    assert "healthcheck" not in SERVICES["collector"]
    assert {name: check[:2] for name, check in checks.items()} == CHECKED


def test_what_belongs_to_a_profile_is_needed_by_nobody() -> None:
    """Compose would start it without its profile, or refuse to start at all."""
    optional = {name for name, s in SERVICES.items() if s.get("profiles")}
    assert optional == {"tempo"}
    needed = {n for s in SERVICES.values() for n in s.get("depends_on", {})}
    assert needed & optional == set()


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


@pytest.mark.parametrize("name", OWNED)
def test_data_is_in_the_folder_that_the_image_gives_to_its_user(name: str) -> None:
    """A new volume there takes the folder's owner over; elsewhere it is root's."""
    environ = SERVICES[name]["environment"]
    config = {"loki": loki(environ), "tempo": tempo(environ)}.get(name, {})
    paths = [str(v) for k, v in walk(config) if k.endswith(("path", "_dir"))]
    paths += [str(v) for k, v in walk(config) if k.endswith("directory")]
    paths += re.findall(r"path=(\S+)", " ".join(SERVICES[name].get("command", [])))
    assert [
        p for p in paths if p != OWNED[name] and not p.startswith(OWNED[name] + "/")
    ] == []
    assert paths or name == "grafana"
    assert mounts(name)[OWNED[name]] == name


def test_nobody_is_an_administrator_of_the_open_grafana() -> None:
    environ = SERVICES["grafana"]["environment"]
    assert environ["GF_AUTH_ANONYMOUS_ENABLED"] == "true"
    assert environ["GF_AUTH_ANONYMOUS_ORG_ROLE"] in {"Viewer", "Editor"}
    assert environ["GF_AUTH_BASIC_ENABLED"] == "false"


def test_values_of_the_environment_are_strings() -> None:
    """YAML's true is not what a program reads from its environment."""
    for service in SERVICES.values():
        assert {type(v) for v in service.get("environment", {}).values()} <= {str}


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
