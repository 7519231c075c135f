"""The command line's grammar; what each command does is in its own module."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import click  # noqa: TID253 - this module is imported by main() alone

import otel_tasklog
from otel_tasklog.cli._demo import Demo
from otel_tasklog.cli._receive import receive

__all__ = ["make_cli"]


def make_cli() -> click.Group:
    """Return the command group."""

    @click.group(context_settings={"help_option_names": ["-h", "--help"]})
    @click.version_option(otel_tasklog.__version__, prog_name="otel-tasklog")
    def cli() -> None:
        """Task-aware asyncio logging, bridged to OpenTelemetry."""

    cli.add_command(_demo)
    cli.add_command(_receive)
    return cli


@click.command("demo")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.5, max=3_600),
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
    sys.exit(asyncio.run(Demo(seconds=seconds, monitor=monitor).run()))


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
    # A closed pipe ends it, as it does any other program that prints lines.
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        receive(host=host, port=port, as_json=as_json)
    except OSError as error:
        raise click.UsageError(
            f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}; "
            "choose another with --port, or 0 for a free one"
        ) from error
