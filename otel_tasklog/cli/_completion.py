"""``otel-tasklog completion``: what a shell needs to complete a command line."""

from __future__ import annotations

import click  # noqa: TID253 - see _commands
from click.shell_completion import get_completion_class  # noqa: TID253

from otel_tasklog.cli._failures import COMPLETION_VARIABLE, PROGRAM

__all__ = ["completion"]


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script by which a shell completes commands, options and processes.

    \b
    bash: eval "$(otel-tasklog completion bash)" in ~/.bashrc
    zsh:  eval "$(otel-tasklog completion zsh)" in ~/.zshrc, after compinit
    fish: otel-tasklog completion fish > ~/.config/fish/completions/otel-tasklog.fish

    Exit status: 0, or 2 for bad usage.
    """  # noqa: D301 - click reads the mark
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has these three
    cli = context.find_root().command
    click.echo(kind(cli, {}, PROGRAM, COMPLETION_VARIABLE).source())
