"""Pieces of LogQL: conditions of fields, alone and joined.

Texts are quoted as JSON, which Go reads the same, without escapes for what is not
ASCII: of those, Loki finds nothing. Patterns are Go's; they match a field as a whole.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from otel_tasklog.capture._names import clean_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "LINE",
    "Condition",
    "Group",
    "Tree",
    "alternatives",
    "escaped",
    "group",
    "is_filterable",
    "quoted",
]

LINE: Final = "otel_tasklog_line"
"""The name of the line, where a condition needs one."""

_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_KEYWORDS: Final = frozenset(
    {
        "by", "without", "or", "and", "unless", "bool", "on", "ignoring", "group_left",
        "group_right", "offset", "json", "regexp", "logfmt", "unpack", "unwrap",
        "pattern", "line_format", "label_format", "decolorize", "drop", "keep",
        "variants", "of",
    }
)  # fmt: skip
"""What no condition can name: LogQL has no quotes for names."""

_OPPOSITE: Final = {"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}


class Condition(NamedTuple):
    """A comparison of a field.

    Attributes:
        name: Of the field.
        operator: Of LogQL.
        value: A text, or a number as LogQL has it.
        is_number: Which.
    """

    name: str
    operator: str
    value: str
    is_number: bool = False

    def __str__(self) -> str:
        value = self.value
        if self.operator in ("=~", "!~"):  # Loki 3.7.6 writes some anew, and not NUL
            value = value.replace("\0", r"\x00")
        value = value if self.is_number else quoted(value)
        space = " " * self.is_number
        return f"{self.name}{space}{self.operator}{space}{value}"

    @property
    def reads_line(self) -> bool:
        """Whether it looks at the line."""
        return self.name == LINE

    @property
    def opposite(self) -> Condition:
        """What is true where this is not."""
        return self._replace(operator=_OPPOSITE[self.operator])


class Group(NamedTuple):
    """Several conditions, of which all or any must hold."""

    word: str
    parts: tuple[Tree, ...]

    def __str__(self) -> str:
        return f"({f' {self.word} '.join(map(str, self.parts))})"

    @property
    def reads_line(self) -> bool:
        return any(part.reads_line for part in self.parts)

    @property
    def opposite(self) -> Group:
        word = "or" if self.word == "and" else "and"
        return Group(word, tuple(part.opposite for part in self.parts))


Tree: TypeAlias = "Condition | Group"


def quoted(text: str) -> str:
    """Return a text as LogQL has it."""
    return json.dumps(clean_text(text), ensure_ascii=False)


def is_filterable(name: str) -> bool:
    """Return whether a condition can name a field that Loki calls so."""
    return (
        _NAME.fullmatch(name) is not None
        and name not in _KEYWORDS
        and not name.startswith("__")
    )


def group(word: str, trees: Sequence[Tree]) -> Tree | None:
    """Return conditions as one, if there are any."""
    if len(trees) < 2:
        return trees[0] if trees else None
    return Group(word, tuple(trees))


def escaped(text: str) -> str:
    """Return a text as a pattern has it."""
    return re.escape(clean_text(text))


def alternatives(texts: Iterable[str]) -> str:
    """Return a pattern for any of some texts."""
    return "|".join(map(escaped, sorted(texts)))
