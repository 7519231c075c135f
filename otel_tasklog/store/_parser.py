"""Reads the text of a query. ``docs/reference/query.md`` has the grammar.

A descent by hand: each method reads from where the one before it ended, and says at
which column it could not.
"""

from __future__ import annotations

import difflib
import logging
import re
from typing import TYPE_CHECKING, Final, NoReturn, cast

from otel_tasklog._config import level_number
from otel_tasklog._errors import ConfigError, QueryError
from otel_tasklog.store._attributes import (
    KEY,
    RUN_ID,
    AnyAttribute,
    Attribute,
    AttributeLike,
)
from otel_tasklog.store._expression import Expression, Not, all_of, any_of
from otel_tasklog.store._matching import Constant, Glob
from otel_tasklog.store._moments import read_moment
from otel_tasklog.store._spelling import (
    FIELDS,
    Field,
    UnfitError,
    field_at,
    keyword_at,
    unquoted,
    word_end,
)
from otel_tasklog.store._terms import (
    Hex,
    Level,
    Like,
    LikeField,
    Message,
    Regex,
    Text,
    Time,
    Under,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_CHARACTERS", "MAX_DEPTH", "parse"]

MAX_CHARACTERS: Final = 10_000
MAX_DEPTH: Final = 50

_OPERATOR: Final = re.compile(r">=|<=|[:><=]")
_COMPARABLE: Final = ("level", "time")
_INTEGER: Final = re.compile(r"-?[0-9]{1,400}")
_REGEX: Final = re.compile(r"/([^/\\]*(?:\\.[^/\\]*)*)/(i?)", re.DOTALL)
_MEANT: Final = {
    "exception": "exc", "severity": "level", "job": "task", "parent": "under",
    "text": "message", "after": "since", "before": "until", "name": "logger",
}  # fmt: skip
"""What others call a field."""


def parse(text: str) -> Expression | None:
    """Return what a text asks for; None if that is every record.

    Raises:
        QueryError: The text means nothing, or it is too long or too deep.
    """
    if len(text) > MAX_CHARACTERS:
        reason = f"a query has at most {MAX_CHARACTERS} characters"
        raise QueryError(text, MAX_CHARACTERS + 1, reason)
    expression = _Parser(text).whole()
    if len(str(expression)) > MAX_CHARACTERS:
        reason = f"written out, this has more than {MAX_CHARACTERS} characters"
        raise QueryError(text, 1, reason)
    return expression


class _Parser:
    """One text while it is read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def whole(self) -> Expression | None:
        """Read all of it."""
        self._skip_spaces()
        if self._at == len(self._text):
            return None
        expression = self._either(0)
        if self._at < len(self._text):
            self._fail("there is no ( for this ); as a part of a text, quote it")
        return expression

    def _either(self, depth: int) -> Expression:
        """Read terms and the ORs between them."""
        first, others = self._every(depth), list[Expression]()
        while self._take("OR"):
            others.append(self._every(depth))
        return any_of(first, others)

    def _every(self, depth: int) -> Expression:
        """Read terms up to an OR, a closing bracket or the end."""
        first, others = self._term(depth), list[Expression]()
        while self._take("AND") or not self._at_end():
            others.append(self._term(depth))
        return all_of(first, others)

    def _term(self, depth: int) -> Expression:
        self._skip_spaces()
        if depth > MAX_DEPTH:
            self._fail(f"brackets and negations are more than {MAX_DEPTH} deep")
        if self._take("NOT"):
            return Not(self._term(depth + 1))
        text, at = self._text, self._at
        character = text[at : at + 1]
        if character in ("", ")"):
            self._fail("expected a term here, such as a word or level>=warning")
        if (keyword := keyword_at(text, at)) is not None:
            self._fail(f'expected a term before {keyword}; the word is "{keyword}"')
        if character == "(":
            return self._group(depth)
        if character == "-" and not text.startswith("--", at):
            return self._negation(depth)
        if character == '"':
            return Text(self._quotes())
        if character == "/":
            return self._regex()
        if character == "@":
            return self._attribute()
        field = field_at(text, at)
        if field is not None:
            return self._field(field)
        self._at = word_end(text, at)
        return Text(text[at : self._at])

    def _group(self, depth: int) -> Expression:
        opened = self._at
        self._at += 1
        inner = self._either(depth + 1)
        if not self._text.startswith(")", self._at):
            self._fail("this ( is not closed; as a part of a text, quote it", opened)
        self._at += 1
        return inner

    def _negation(self, depth: int) -> Expression:
        self._at += 1
        following = self._text[self._at : self._at + 1]
        if following in ("", ")") or following.isspace():
            self._fail('- negates what follows it without a space; a text is "-"')
        return Not(self._term(depth + 1))

    def _regex(self) -> Expression:
        start = self._at
        found = _REGEX.match(self._text, start)
        if found is None:
            self._fail('expected a / at the end of the expression; a text is "/…"')
        self._at = found.end()
        self._end_term('after /…/ only i may follow; a text is "/…"')
        if not found[1]:
            self._fail(
                'expected an expression between the two /; a text is "//"', start
            )
        try:
            return Regex(found[1], bool(found[2]))
        except UnfitError as unfit:
            self._fail(str(unfit), start)

    def _attribute(self) -> Expression:
        start = self._at
        self._at += 1
        if self._text.startswith('"', self._at):
            key, is_any = self._quotes(":<>="), False
        else:
            name = KEY.match(self._text, self._at)
            if name is None:
                self._fail('expected the name of an attribute after @; a text is "@"')
            key, is_any = name[0], name[0] == "*"
            self._at = name.end()
        shown = self._text[start : self._at]
        operator = _OPERATOR.match(self._text, self._at)
        if operator is None:
            self._fail(f"expected : or a comparison; that there is one is {shown}:*")
        if operator[0] == "=":
            self._fail(f"write {shown}: for equal")
        if is_any and operator[0] != ":":
            self._fail("any attribute cannot be compared, only searched: @*:text")
        self._at = operator.end()
        at = self._at
        pieces, is_quoted = self._value()
        if is_any:
            text = "" if Glob(pieces).is_anything else "*".join(pieces)
            return AnyAttribute(text)
        if len(pieces) == 1:
            [text] = pieces
            constant = Constant(text, text) if is_quoted else Constant.read(text)
            return Attribute(key, operator[0], constant)
        if operator[0] != ":":
            self._fail('* compares with nothing; as a character, quote it: "*"', at)
        return AttributeLike(key, Glob(pieces))

    def _field(self, field: Field) -> Expression:
        name, operator, end = field
        if name not in FIELDS:
            self._fail(_unknown(name, operator))
        self._at = end - len(operator)
        if operator == "=" or (operator != ":" and name not in _COMPARABLE):
            self._fail(f"write {name}: (only level, time and attributes compare)")
        if operator == ":" and name == "time":
            self._fail("write since:, until:, or time with one of >= > <= <")
        self._at = end
        pieces, _ = self._value()
        try:
            return _term(name, operator, pieces)
        except UnfitError as unfit:
            self._fail(f"{name}: {unfit}", end)

    def _value(self) -> tuple[tuple[str, ...], bool]:
        """Read a value, which asterisks cut into pieces.

        Returns:
            The pieces, and whether there are quotes around one.
        """
        start, pieces, is_quoted = self._at, list[str](), False
        while True:
            if self._text.startswith('"', self._at):
                pieces.append(self._quotes("*"))
                is_quoted = True
            else:
                end = word_end(self._text, self._at, "*")
                pieces.append(self._text[self._at : end])
                self._at = end
            if not self._text.startswith("*", self._at):
                break
            self._at += 1
        if self._at == start:
            self._fail('expected a value here, without a space before it; none is ""')
        return tuple(pieces), is_quoted

    def _quotes(self, followers: str = "") -> str:
        """Read what is in quotes; what is directly behind them is in *followers*."""
        found = unquoted(self._text, self._at)
        if found is None:
            self._fail('these quotes are not closed; within, \\" is a quote')
        content, self._at = found
        if self._text[self._at : self._at + 1] not in followers:
            self._end_term('expected a space after the quotes; within, \\" is a quote')
        return content

    def _end_term(self, otherwise: str) -> None:
        following = self._text[self._at : self._at + 1]
        if following not in ("", ")") and not following.isspace():
            self._fail(otherwise)

    def _at_end(self) -> bool:
        """Return whether terms that belong together end here."""
        self._skip_spaces()
        following = self._text[self._at : self._at + 1]
        return following in ("", ")") or keyword_at(self._text, self._at) == "OR"

    def _take(self, keyword: str) -> bool:
        self._skip_spaces()
        is_there = keyword_at(self._text, self._at) == keyword
        self._at += len(keyword) * is_there
        return is_there

    def _skip_spaces(self) -> None:
        while self._text[self._at : self._at + 1].isspace():
            self._at += 1

    def _fail(self, reason: str, at: int | None = None) -> NoReturn:
        raise QueryError(self._text, (self._at if at is None else at) + 1, reason)


def _unknown(name: str, operator: str) -> str:
    name = name[:40]
    close = difflib.get_close_matches(name.lower(), FIELDS, n=1)
    meant = _MEANT.get(name.lower(), *close)
    guess = f": did you mean {meant!r}?" if meant else "."
    return (
        f"unknown field {name!r}{guess} An attribute is @{name}{operator}, "
        f"a text with {operator} stands in quotes"
    )


def _term(name: str, operator: str, pieces: Sequence[str]) -> Expression:
    glob, text = Glob(tuple(pieces)), "*".join(pieces)
    match name:
        case "message":
            return Message(text)
        case "level":
            return Level(operator, _level(text))
        case "since":
            return Time(">=", read_moment(text))
        case "until":
            return Time("<", read_moment(text))
        case "time":
            return Time(operator, read_moment(text))
        case "trace" | "span":
            return Hex(name, text.removesuffix("*"))
        case "run":
            return AttributeLike(RUN_ID, glob)
        case "under":
            if glob.literal is None:
                raise UnfitError('expected one job\'s id; * as a character is "*"')
            return Under(text)
        case "asyncio" if not (glob.is_anything or _INTEGER.fullmatch(text)):
            raise UnfitError("expected the number of an asyncio task, or *")
        case _:
            return Like(cast("LikeField", name), glob)


def _level(text: str) -> int:
    if _INTEGER.fullmatch(text):
        return int(text)
    try:
        return level_number("level", text)
    except ConfigError as error:
        names = logging.getLevelNamesMapping()
        close = difflib.get_close_matches(text[:40].upper(), names, n=1)
        guess = f"did you mean {close[0].lower()!r}?" if close else error.expected
        raise UnfitError(f"unknown level {text[:40]!r}: {guess}") from None
