"""Each term of a query as conditions of the fields that Loki has.

A condition finds at least what its term does. Not quite the same is found where letters
have no case or several forms in lower case, where levels share a severity, and where a
number is compared: Loki counts what is no number as a match.

Each pattern with a ``.*`` says ``(?s)``, and not for line breaks alone: without it Loki
3.7.6 takes one that begins or ends so for a text that may stand anywhere in the field.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from otel_tasklog.capture._levels import severity_number
from otel_tasklog.store._logql import LINE, Condition, Group, escaped, group, quoted
from otel_tasklog.store._matching import Glob, is_exact
from otel_tasklog.store._terms import Message, Regex, Text

if TYPE_CHECKING:
    from otel_tasklog.store._attributes import Attribute
    from otel_tasklog.store._logql import Tree
    from otel_tasklog.store._terms import Level, Like

__all__ = ["comparison", "glob_of", "level_of", "like", "line_filter", "texts"]

_EXACT_FLOAT: Final = 2**53
_TEXTS: Final = (LINE, "exception_message", "exception_stacktrace")


def _pattern(glob: Glob, anything: str = ".*") -> str:
    return anything.join(map(escaped, glob.pieces))


def glob_of(name: str, glob: Glob) -> Condition:
    if glob.literal is not None:
        return Condition(name, "=", glob.literal)
    if glob.is_anything:
        return Condition(name, "!=", "")
    return Condition(name, "=~", f"(?s){_pattern(glob)}")


def like(term: Like) -> Tree:
    glob = term.glob
    match term.field:
        case "task":
            return glob_of("task_id", glob)
        case "asyncio":
            return glob_of("asyncio_task_id", glob)
        case "event":
            return glob_of("event_name", glob)
        case "thread":
            names = ("thread_name", "thread_id")
            return Group("or", tuple(glob_of(name, glob) for name in names))
        case "logger":
            if glob.literal is None:
                return glob_of("scope_name", glob)
            return Condition("scope_name", "=~", rf"(?s){_pattern(glob)}(\..*)?")
        case "exc":
            if glob.is_anything:
                return Condition("exception_type", "!=", "")
            last = rf"|(.*\.)?{_pattern(glob, '[^.]*')}"
            if any("." in piece for piece in glob.pieces):
                last = ""
            return Condition("exception_type", "=~", f"(?s){_pattern(glob)}{last}")


def level_of(level: Level, *, wanted: bool) -> Tree | None:
    """Return conditions of the severity, in which some levels are one."""
    number = level.number
    match level.operator:
        case ">=":
            return _severity(number) if wanted else _severity(None, number - 1)
        case ">":
            return _severity(number + 1) if wanted else _severity(None, number)
        case "<":
            return _severity(None, number - 1) if wanted else _severity(number)
        case "<=":
            return _severity(None, number) if wanted else _severity(number + 1)
        case _ if wanted:
            return _severity(number, number)
        case _:  # a severity has one level or several
            around = [severity_number(number + step) for step in (-1, 0, 1)]
            if around[1] == 0 or len({*around}) < 3:
                return None
            return Condition("severity_number", "!=", str(around[1]))


def _severity(least: int | None, most: int | None = None) -> Tree | None:
    """Return conditions for levels of a range. Without a severity, it is 0 or less."""
    trees: list[Tree] = []
    if least == most and least is not None and severity_number(least):
        return Condition("severity_number", "=", str(severity_number(least)))
    if least is not None and severity_number(least):
        number = str(severity_number(least))
        trees.append(Condition("severity_number", ">=", number, is_number=True))
    if most is not None:
        number = str(severity_number(most))
        below = Condition("severity_number", "<=", number, is_number=True)
        trees.append(Group("or", (below, Condition("severity_number", "=", ""))))
    return group("and", trees)


def comparison(part: Attribute) -> Condition | None:
    """Return at least what compares so with a number; of others, what is there."""
    value = part.constant.value
    if not isinstance(value, int | float):
        return Condition(part.key, "!=", "")
    number = float(value) if abs(value) < 1e300 else math.inf
    if not math.isfinite(number):
        return Condition(part.key, "!=", "")
    operator = part.operator
    if abs(number) >= _EXACT_FLOAT:  # Loki's numbers have no more digits
        operator = operator[0] + "="
    text = repr(number).removesuffix(".0")
    return Condition(part.key, operator, text, is_number=True)


def line_filter(text: str, *, wanted: bool) -> str:
    if is_exact(text):
        return f"{'|=' if wanted else '!='} {quoted(text)}"
    return f"{'|~' if wanted else '!~'} {quoted(_any_case(text, more=wanted))}"


def texts(part: Text | Regex | Message, *, wanted: bool) -> Tree:
    """Return conditions of the line and of what an exception says."""
    if isinstance(part, Regex):
        inner = f"(?i:{part.pattern})" if part.ignore_case else part.pattern
    elif is_exact(part.text):
        inner = escaped(part.text)
    else:
        inner = _any_case(part.text, more=wanted)
    whole = f"(?s:.*)(?:{inner})(?s:.*)"
    names = _TEXTS[:1] if isinstance(part, Message) else _TEXTS
    if wanted:
        return Group("or", tuple(Condition(name, "=~", whole) for name in names))
    # A field that is not there is an empty text to Loki, and none to us.
    trees: list[Tree] = [Condition(LINE, "!~", whole)]
    for name in names[1:]:
        missing = Condition(name, "=", "")
        trees.append(Group("or", (missing, Condition(name, "!~", whole))))
    return Group("and", tuple(trees))


def _any_case(text: str, *, more: bool) -> str:
    """Return a pattern for a text in lower case.

    Python makes a text lower-case and Go compares letters one by one. They agree on
    all but a few: of U+0130 Go has no other case, and Python two characters; of the
    Greek sigma Python has two lower-case forms, by what stands around it.

    A line filter that is a text without case is no pattern to Loki 3.7.6: it compares
    bytes, and misses other forms of letters that are not ASCII. A class keeps it one.

    Args:
        text: The text.
        more: Whether it may find more than is meant, or rather less.
    """
    if more:
        return "(?i)" + "".join(map(_folded, text))
    return "".join(map(_forms, text))


def _folded(letter: str) -> str:
    """Return a pattern for what may have this lower-case form, within ``(?i)``."""
    if letter == "i":
        return "[i\u0130]"
    if letter == "\u0307":
        return "\u0307?"
    has_others = letter == "k" or not (letter.isascii() or letter == letter.upper())
    return f"[{letter}]" if has_others else escaped(letter)


def _forms(letter: str) -> str:
    """Return a pattern for what has this lower-case form, and no other."""
    others = {letter.upper(), letter.title(), *_ODD.get(letter, "")} - {"\u03a3"}
    forms = [each for each in others if each.lower() == letter and len(each) == 1]
    if not forms or forms == [letter]:
        return escaped(letter)
    return f"[{''.join(map(escaped, sorted({letter, *forms})))}]"


_ODD: Final = {"k": "\u212a", "\u00e5": "\u212b", "\u03c9": "\u2126", "\u00df": "\u1e9e",
               "\u03b8": "\u03f4"}  # fmt: skip
"""Further letters whose lower-case form is this one."""
