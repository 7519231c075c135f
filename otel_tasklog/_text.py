"""Log text on a terminal: harmless, and never wider than it should be.

What was logged is untrusted. An escape sequence could repaint the screen, a
carriage return could rewrite the line before it, a bidirectional override could
reverse what is read. Only printable characters pass; all others are shown.
"""

from __future__ import annotations

import itertools
import json
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

__all__ = [
    "CONTINUED",
    "continued",
    "count_of",
    "cut",
    "fold",
    "marked",
    "narrowed",
    "printable_json",
    "visible",
    "width_of",
]

CONTINUED: Final = "  | "
"""Starts each line that continues another: log text can never start a line."""


def visible(value: object) -> str:
    r"""Return a value's text on one line, ``\n``, ``\x1b``, ``\u202e`` spelled out."""
    text = str(value)
    if text.isprintable():
        return text
    return text.translate(_unprintable(text, _in_python))


def marked(text: str) -> str:
    """Return a text of any lines; each after the first is marked as a continuation.

    Its tabs stay, and so do the marks of lines that have one. That of the first is
    spoilt: it continues nothing.
    """
    first, *others = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if first.startswith(CONTINUED):
        first = f"\\x20{first[1:]}"
    marks = ("" if each.startswith(CONTINUED) else CONTINUED for each in others)
    lines = [first, *map("".join, zip(marks, others, strict=True))]
    return "\n".join("\t".join(map(visible, each.split("\t"))) for each in lines)


def printable_json(text: str) -> str:
    """Return JSON of one line, as ``json.dumps`` makes it, harmless on a terminal.

    Its numbers are those that every parser knows: NaN and the infinities become
    texts, as in OTLP/JSON.
    """
    if "NaN" in text or "Infinity" in text:
        value = json.loads(text, parse_constant=str)
        text = json.dumps(value, ensure_ascii=text.isascii())
    return text if text.isprintable() else text.translate(_unprintable(text, _in_json))


def _unprintable(text: str, spelled: Callable[[str], str]) -> dict[int, str]:
    return {ord(each): spelled(each) for each in {*text} if not each.isprintable()}


def _in_python(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _in_json(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def count_of(records: int) -> str:
    """Return ``1 record``, ``2 records``."""
    return f"{records} record" if records == 1 else f"{records} records"


def width_of(text: str) -> int:
    """Return how many terminal cells *text* takes at most."""
    if text.isascii():
        return len(text)
    return sum(map(_cells, text))


def _cells(character: str) -> int:
    # Combining characters take none. Counted as one they only make a line shorter.
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fold(text: str, first: int, others: int) -> Iterator[str]:
    """Yield *text* in pieces that fit.

    Args:
        text: Printable text; the empty one is one empty piece.
        first: The cells that the first piece may take.
        others: The cells that each of the others may take, at least 2.
    """
    if text.isascii():  # the usual case, without a look at each character
        yield text[:first]
        for start in range(first, len(text), others):
            yield text[start : start + others]
        return
    start, room = 0, first
    for end, character in enumerate(text):
        cells = _cells(character)
        if cells > room:
            yield text[start:end]
            start, room = end, others
        room -= cells
    yield text[start:]


def cut(text: str, width: int) -> str:
    """Return the start of printable *text* that fits, with a mark if it is cut."""
    if len(text) <= width and width_of(text) <= width:
        return text
    return next(fold(text, max(width - 1, 0), 2)) + "…"


def narrowed(
    widths: Sequence[int], excess: int, giving: Collection[int], least: int
) -> list[int]:
    """Return the widths of columns, less an excess: the widest gives way first.

    Args:
        widths: The widths.
        excess: By how much their sum is too high; none if it is below 0.
        giving: The columns that may give way, by index.
        least: None of those becomes narrower than this.
    """
    fitted = [*widths]
    for _ in itertools.repeat(None, max(excess, 0)):
        widest = max(giving, key=fitted.__getitem__)
        fitted[widest] = max(fitted[widest] - 1, min(least, fitted[widest]))
    return fitted


def continued(text: str, width: int) -> Iterator[str]:
    """Yield lines that fit into *width*, each marked as a continuation."""
    room = width - len(CONTINUED)
    for line in text.replace("\r\n", "\n").split("\n"):
        for piece in fold(visible(line.expandtabs(4)), room, room):
            yield CONTINUED + piece
