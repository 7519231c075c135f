"""``otel-tasklog doctor``: why records do not arrive, line by line."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from typing import TYPE_CHECKING, Final

from rich.console import Console  # noqa: TID253 - see _commands
from rich.text import Text  # noqa: TID253

from otel_tasklog._assemble import make_sender
from otel_tasklog._errors import ConfigError, MissingExtraError
from otel_tasklog._text import printable_json, visible
from otel_tasklog.cli._checks_environment import check_variables, check_versions
from otel_tasklog.cli._checks_network import check_network
from otel_tasklog.cli._checks_probe import check_probe
from otel_tasklog.cli._checks_settings import check_settings
from otel_tasklog.cli._checks_spool import check_spool
from otel_tasklog.cli._checks_tls import check_tls
from otel_tasklog.cli._findings import LONGEST_STEP_SECONDS, Finding, failed
from otel_tasklog.cli._way import way_to

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from otel_tasklog._config import Config
    from otel_tasklog._settings import Settings
    from otel_tasklog.cli._findings import Result

__all__ = ["diagnose", "show"]

_STYLES: Final[dict[Result, str]] = {
    "ok": "green",
    "warning": "yellow",
    "failed": "red",
}
_CHECK_WIDTH: Final = 16


def diagnose(
    environ: Mapping[str, str], given: Settings, *, send: bool
) -> Iterator[Finding]:
    """Look at all that stands between a program and its receiver, in that order.

    Args:
        environ: The variables.
        given: What the options decided.
        send: Whether to send a record.

    Raises:
        ConfigError: An option has a value that it cannot have.
    """
    findings, config = check_settings(environ, given)
    yield from findings
    yield from check_variables(environ, given)
    yield from check_versions()
    if config is not None:
        yield from check_spool(config)
        yield from _connection(config, send=send)


def _connection(config: Config, *, send: bool) -> Iterator[Finding]:
    seconds = min(config.timeout_seconds, LONGEST_STEP_SECONDS)
    limited = dataclasses.replace(
        config,
        timeout_seconds=seconds,
        export_timeout_seconds=min(config.export_timeout_seconds, 3 * seconds),
    )
    try:
        sender = make_sender(limited)
    except MissingExtraError as error:
        yield failed(
            "protocol", str(error), "install it, or use protocol http/protobuf"
        )
        return
    except ConfigError as error:  # a proxy that is none
        yield failed("proxy", str(error), f"correct {error.setting}")
        return
    assert sender is not None  # noqa: S101 - the exporter is OTLP
    try:
        way = way_to(limited)
        if way is not None:
            failures = 0
            for finding in check_network(way, seconds):
                yield finding
                failures += finding.result == "failed"
            if failures:  # what follows would fail for the same cause
                return
            if way.tls and way.can_dial:
                for finding in check_tls(way, limited, seconds):
                    yield finding
                    failures += finding.result == "failed"
            if failures:  # the sender has the last word, but the cause is known
                way = None
        if send:
            yield from check_probe(sender, limited, way, seconds)
    finally:
        sender.close()


def show(findings: Iterable[Finding], *, as_json: bool) -> int:
    """Print findings as they come; return the exit status.

    Args:
        findings: The findings.
        as_json: Whether to print each as one JSON object on a line, and nothing else.
    """
    console = Console(highlight=False)
    counts: Counter[Result] = Counter()
    for finding in findings:
        counts[finding.result] += 1
        if as_json:
            line = printable_json(json.dumps(dataclasses.asdict(finding)))
            print(line, flush=True)
        else:
            console.print(_lines(finding), soft_wrap=True)
    if not as_json:
        plural = "" if counts["warning"] == 1 else "s"
        console.print(
            f"\n{counts['ok']} ok, {counts['warning']} warning{plural}, "
            f"{counts['failed']} failed",
            soft_wrap=True,
        )
    return 1 if counts["failed"] else 0


def _lines(finding: Finding) -> Text:
    line = Text(f"{finding.result:<8} ", _STYLES[finding.result])
    line.append(f"{finding.check:<{_CHECK_WIDTH}} ", "bold")
    line.append(visible(finding.said), "default")
    if finding.mend:
        line.append(f"\n{'':9}-> ", "bold")
        line.append(visible(finding.mend), "default")
    return line
