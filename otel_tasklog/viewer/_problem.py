"""What a request is answered that cannot be served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RETRY", "Problem"]

RETRY: Final = {"Retry-After": "1"}


class Problem(Exception):  # noqa: N818 - it is an answer, and nobody's mistake here
    """A request that cannot be served; the answer says what to do instead.

    Args:
        status: The HTTP status.
        error: One line.
        column: Where in the query the mistake is, from 1 on.
        headers: Of the answer, beside those of every answer.
    """

    def __init__(
        self,
        status: int,
        error: str,
        *,
        column: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.column = column
        self.headers: Mapping[str, str] = headers or {}
