"""What is deployed: docker-compose.yml, and the files that it mounts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "COLLECTOR_TEXT",
    "COMPOSE",
    "DASHBOARDS",
    "DEPLOY",
    "GRAFANA_PORT",
    "HOW_TO",
    "LOKI_TEXT",
    "ROOT",
    "SERVICES",
    "SIGNALS_TEXT",
    "STAYING",
    "TEMPO_TEXT",
    "Tree",
    "collector",
    "dashboard",
    "data_sources",
    "expand",
    "index_labels",
    "load",
    "loki",
    "mounts",
    "parse",
    "published",
    "signals",
    "tempo",
    "variables_of",
    "walk",
]

ROOT: Final = Path(__file__).resolve().parents[1]
DEPLOY: Final = ROOT / "docs/deploy"
DASHBOARDS: Final = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
HOW_TO: Final = ROOT / "docs/how-to/grafana-loki.md"

GRAFANA_PORT: Final = 3000
"""Where Grafana listens, as no file of ours says."""

Tree: TypeAlias = "dict[str, Any]"


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
COLLECTOR_TEXT: Final = (ROOT / "collector-config.yaml").read_text(encoding="utf-8")
SIGNALS_TEXT: Final = (DEPLOY / "collector-signals.yaml").read_text(encoding="utf-8")
LOKI_TEXT: Final = (DEPLOY / "loki.yaml").read_text(encoding="utf-8")
TEMPO_TEXT: Final = (DEPLOY / "tempo.yaml").read_text(encoding="utf-8")


def collector(environ: Mapping[str, str] | None = None) -> Tree:
    return parse(expand(COLLECTOR_TEXT, environ or {}, "env:"))


def signals(environ: Mapping[str, str] | None = None) -> Tree:
    """What is merged into the Collector's."""
    return parse(expand(SIGNALS_TEXT, environ or {}, "env:"))


def loki(environ: Mapping[str, str] | None = None) -> Tree:
    return parse(expand(LOKI_TEXT, environ or {}))


def tempo(environ: Mapping[str, str] | None = None) -> Tree:
    return parse(expand(TEMPO_TEXT, environ or {}))


def published(service: str) -> list[tuple[str, int, int]]:
    """The ports of a service, as (address of the host, its port, the service's)."""
    split = (port.split(":") for port in SERVICES[service].get("ports", []))
    return [(address, int(host), int(target)) for address, host, target in split]


def mounts(service: str) -> dict[str, str]:
    """The mounts of a service, from the path inside to the path or name outside."""
    split = (mount.split(":") for mount in SERVICES[service].get("volumes", []))
    return {parts[1]: parts[0] for parts in split}


def index_labels() -> set[str]:
    """The labels that Loki makes, by its names."""
    config = loki()["distributor"]["otlp_config"]
    names: list[str] = config["default_resource_attributes_as_index_labels"]
    return {name.replace(".", "_") for name in names}


def data_sources() -> dict[str, Tree]:
    sources: list[Tree] = load(DEPLOY / "grafana/datasources.yaml")["datasources"]
    return {source["uid"]: source for source in sources}


def dashboard(path: Path) -> Tree:
    tree: Tree = json.loads(path.read_text(encoding="utf-8"))
    return tree


def variables_of(tree: Tree) -> dict[str, bool]:
    """The variables of a dashboard, and whether their values are lists."""
    return {v["name"]: v.get("multi", False) for v in tree["templating"]["list"]}
