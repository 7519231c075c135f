"""Log text made safe to show in a terminal."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["visible"]

# C0 but tab, DEL, C1, and what changes the direction or the order of text, or is
# a line break to somebody. A record must not be able to look like two.
_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def visible(text: object) -> str:
    r"""Return *text* on one line, its control characters as ``\n``, ``\x1b`` ..."""
    return _UNSAFE.sub(_escape, str(text))
