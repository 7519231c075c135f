"""The command line's grammar; what each command does is in its own module.

Whatever takes long to import is imported by the command that needs it: those that ask
a process are typed again and again.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, cast

import click  # noqa: TID253 - this module is imported by main() alone

import otel_tasklog
from otel_tasklog._connection import GRPC, HTTP
from otel_tasklog._errors import ConfigError
from otel_tasklog.cli._completion import completion
from otel_tasklog.cli._export import export
from otel_tasklog.cli._failures import BAD_USAGE, PROGRAM
from otel_tasklog.cli._findings import LONGEST_STEP_SECONDS
from otel_tasklog.cli._live_command import live
from otel_tasklog.cli._ps import ps
from otel_tasklog.cli._query_command import query
from otel_tasklog.cli._seconds import Seconds
from otel_tasklog.cli._stats_command import stats
from otel_tasklog.cli._tail import tail
from otel_tasklog.cli._tasks_command import tasks
from otel_tasklog.cli._tree_command import tree
from otel_tasklog.cli._why_command import why

if TYPE_CHECKING:
    from otel_tasklog._settings import Settings

__all__ = ["make_cli"]


def make_cli() -> click.Group:
    """Return the command group."""

    @click.group(
        context_settings={"help_option_names": ["-h", "--help"]},
        invoke_without_command=True,
    )
    @click.version_option(otel_tasklog.__version__, prog_name=PROGRAM)
    @click.pass_context
    def cli(context: click.Context) -> None:
        """Task-aware asyncio logging, bridged to OpenTelemetry.

        Ask running processes for their log, send a demo's log anywhere, receive any
        program's log, and find out why records do not arrive.
        """
        if context.invoked_subcommand is None:
            click.echo(context.get_help(), err=True)
            context.exit(BAD_USAGE)

    for command in (
        ps,
        tail,
        query,
        tasks,
        live,
        tree,
        why,
        stats,
        export,
        _demo,
        _doctor,
        _receive,
        completion,
    ):
        cli.add_command(command)
    return cli


@click.command("demo")
@click.option(
    "--seconds",
    type=Seconds(0.5, 3_600),
    default=10.0,
    show_default=True,
    help="How long to run; Ctrl-C ends it sooner.",
)
@click.option(
    "--monitor/--no-monitor",
    default=None,
    help="Whether to open the telnet monitor. Default: if aiomonitor is installed.",
)
def _demo(seconds: float, monitor: bool | None) -> None:  # noqa: FBT001
    """Run a small shop and watch its log records travel.

    With OTEL_EXPORTER_OTLP_ENDPOINT set the records go there; without, to a
    receiver of our own in another process.

    Exit status: 0 if everything captured arrived, 1 if not, 2 for bad usage.
    """
    from otel_tasklog.cli._demo import Demo

    sys.exit(asyncio.run(Demo(seconds=seconds, monitor=monitor).run()))


@click.command("doctor")
@click.option("--endpoint", help="Where to send, instead of what the variables say.")
@click.option(
    "--protocol",
    type=click.Choice([HTTP, GRPC]),
    help="What to speak, instead of what the variables say.",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="NAME=VALUE",
    help="A header, instead of those of the variables; may be given more than once.",
)
@click.option(
    "--certificate",
    metavar="FILE",
    help="The authorities to trust, instead of what the variables say.",
)
@click.option(
    "--timeout",
    type=Seconds(0.1, LONGEST_STEP_SECONDS),
    metavar="SECONDS",
    help="How long each step may take, instead of what the variables say.",
)
@click.option(
    "--spool-dir", metavar="DIRECTORY", help="Also look at this spool directory."
)
@click.option("--no-send", is_flag=True, help="Connect, but send no record.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def _doctor(
    headers: tuple[str, ...],
    timeout: float | None,
    no_send: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    **options: str | None,
) -> None:
    """Find out why log records do not arrive.

    Resolves the settings of OTLP as a program would, looks at the variables and the
    installed versions, looks up the receiver, connects, shakes hands, sends one marked
    record and reads the answer. Each line says how it is and what to do.

    Exit status: 0 if nothing failed, 1 if something did, 2 for bad usage, 130 after
    Ctrl-C.
    """
    from otel_tasklog.cli._checks_settings import OPTIONS
    from otel_tasklog.cli._doctor import diagnose, show

    given: dict[str, object] = {
        "endpoint": options["endpoint"],
        "protocol": options["protocol"],
        "certificate_file": options["certificate"],
        "spool_dir": options["spool_dir"],
        "timeout_seconds": timeout,
        "headers": dict(map(_header, headers)) or None,
    }
    settings = {name: value for name, value in given.items() if value is not None}
    try:
        findings = diagnose(os.environ, cast("Settings", settings), send=not no_send)
        sys.exit(show(findings, as_json=as_json))
    except ConfigError as error:
        raise click.UsageError(f"{OPTIONS[error.setting]}: {error}") from error


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.UsageError(f"--header: expected NAME=VALUE, got {name!r} alone")
    return name, value


@click.command("receive")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=4318,
    show_default=True,
    help="0 takes a free one.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def _receive(host: str, port: int, as_json: bool) -> None:  # noqa: FBT001
    """Print the log records that any program sends over OTLP/HTTP.

    Runs until Ctrl-C. Exit status: 0, or 2 if the port cannot be had.
    """
    from otel_tasklog.cli._receive import receive

    try:
        receive(host=host, port=port, as_json=as_json)
    except OSError as error:
        raise click.UsageError(
            f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}; "
            "choose another with --port, or 0 for a free one"
        ) from error
