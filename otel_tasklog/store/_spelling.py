"""How a query is spelled: what its parser and its printer must agree on."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

__all__ = [
    "FIELDS",
    "Field",
    "UnfitError",
    "field_at",
    "is_balanced",
    "keyword_at",
    "quoted",
    "spelled_value",
    "spelled_word",
    "unquoted",
    "word_end",
]

FIELDS: Final = (
    "task", "under", "run", "level", "logger", "trace", "span", "thread", "asyncio",
    "exc", "event", "message", "since", "until", "time",
)  # fmt: skip

_FIELD: Final = re.compile(r"([^\W\d][\w.]*)(>=|<=|[:><=])")
_KEYWORD: Final = re.compile(r"(AND|OR|NOT)(?=[\s()]|\Z)")
_QUOTED: Final = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_ESCAPE: Final = re.compile(r'\\([\\"])')
_TO_ESCAPE: Final = re.compile(r'"|\\(?=[\\"]|\Z)')


class UnfitError(Exception):
    """A value does not fit where it stands. The message says what would.

    Raised in this room alone: whoever knows the place makes it an error for others.
    """


class Field(NamedTuple):
    """The start of a term such as ``level>=warning``, and where it ends."""

    name: str
    operator: str
    end: int


def field_at(text: str, at: int) -> Field | None:
    """Return the field that starts here; None for a word.

    ``name=value`` is a word, as log lines have them; but not after the name of a
    field, where it is a slip of whoever wrote it.
    """
    found = _FIELD.match(text, at)
    if found is None or (found[2] == "=" and found[1] not in FIELDS):
        return None
    return Field(found[1], found[2], found.end())


def keyword_at(text: str, at: int) -> str | None:
    """Return ``AND``, ``OR`` or ``NOT`` if that stands here, as a word of its own."""
    found = _KEYWORD.match(text, at)
    return found[1] if found is not None else None


def word_end(text: str, at: int, stop: str = "") -> int:
    """Return where a word ends: at a space, at one of *stop*, or at a ``)`` too many.

    So ``f(x)`` is a word, also within brackets.
    """
    depth = 0
    for end in range(at, len(text)):
        character = text[end]
        if character.isspace() or character in stop:
            return end
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth < 0:
                return end
    return len(text)


def unquoted(text: str, at: int) -> tuple[str, int] | None:
    """Return what is in the quotes that open here, and where they end; or None."""
    found = _QUOTED.match(text, at)
    return (_ESCAPE.sub(r"\1", found[1]), found.end()) if found is not None else None


def quoted(text: str) -> str:
    """Return *text* in quotes. What need not be escaped is not."""
    return '"' + _TO_ESCAPE.sub(r"\\\g<0>", text) + '"'


def is_balanced(text: str) -> bool:
    """Return whether a word that begins with *text* can end where that does."""
    return word_end(text, 0) == len(text) and text.count("(") == text.count(")")


def spelled_word(text: str) -> str:
    """Return *text* as a term of its own, in quotes if need be."""
    bare = (
        text != ""
        and text[0] not in '-"/@('
        and is_balanced(text)
        and field_at(text, 0) is None
        and keyword_at(text, 0) is None
    )
    return text if bare else quoted(text)


def spelled_value(text: str) -> str:
    """Return *text* as the value of a field, in quotes if need be."""
    bare = text[:1] not in ("", '"', "=") and "*" not in text and is_balanced(text)
    return text if bare else quoted(text)
