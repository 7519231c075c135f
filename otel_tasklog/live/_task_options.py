"""Options that the commands for live tasks have in a shell and in a telnet session.

Imported only by those commands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, get_args

import click  # noqa: TID253 - this module is imported inside a function

from otel_tasklog.live._tasks import Order
from otel_tasklog.live._tree import Branches

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = [
    "branches_option",
    "limit_option",
    "order_option",
    "records_option",
    "waiting_option",
]

_Option: TypeAlias = "Callable[[Callable[..., Any]], Callable[..., Any]]"

waiting_option: Final[_Option] = click.option(
    "--waiting", is_flag=True, help="Only tasks that wait for something."
)

order_option: Final[_Option] = click.option(
    "--sort",
    "order",
    type=click.Choice(get_args(Order)),
    default="number",
    show_default=True,
    help="What comes first: what is oldest, has the most records or the worst level, "
    "or is silent for the longest; or by name.",
)

branches_option: Final[_Option] = click.option(
    "--by",
    "branches",
    type=click.Choice(get_args(Branches)),
    default="waits",
    show_default=True,
    help="What is below a task: those that it waits for, or those that it made.",
)


def limit_option(what: str, most: int, *, default: int) -> _Option:
    """Return the option ``-n``: how many to show at most.

    Args:
        what: Of what.
        most: Its highest value.
        default: Its default.
    """
    return click.option(
        "-n",
        "--limit",
        type=click.IntRange(1, most),
        default=default,
        show_default=True,
        help=f"How many {what} to show at most.",
    )


def records_option(most: int) -> _Option:
    """Return the option ``-n`` of what tells of one task: how many of its records.

    Args:
        most: Its highest value.
    """
    return click.option(
        "-n",
        "--records",
        type=click.IntRange(0, most),
        default=10,
        show_default=True,
        help="How many of its newest records to show at most.",
    )
