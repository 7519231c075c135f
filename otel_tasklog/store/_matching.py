"""What the terms of a query compare with: wildcards, values, texts, expressions."""

from __future__ import annotations

import dataclasses
import operator
import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from otel_tasklog._errors import MissingExtraError
from otel_tasklog.capture._values import snapshot
from otel_tasklog.store._spelling import UnfitError, quoted, spelled_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tasklog.capture._values import Value

__all__ = ["OPERATORS", "Constant", "Glob", "containing", "is_exact", "searching"]

OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    ":": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}

_TextTest: TypeAlias = "Callable[[str], bool]"

# As many digits as any float has, and no more than int() takes.
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,4})?")
_EXPRESSION_BYTES: Final = 1 << 20
"""RE2 may take so much for an expression; it keeps the last 128 of a process."""

_TRUTHS: Final = {"true": True, "True": True, "false": False, "False": False}


@dataclasses.dataclass(frozen=True, slots=True)
class Glob:
    """A text in which ``*`` stands for any characters, also none.

    Attributes:
        pieces: What is between the asterisks; one piece if there is none.
    """

    pieces: tuple[str, ...]

    def __post_init__(self) -> None:
        first, *others = self.pieces
        if others:  # two asterisks in a row are one
            inner = [piece for piece in others[:-1] if piece]
            object.__setattr__(self, "pieces", (first, *inner, others[-1]))

    @property
    def literal(self) -> str | None:
        """The text if it has no asterisk, else None."""
        return self.pieces[0] if len(self.pieces) == 1 else None

    @property
    def is_anything(self) -> bool:
        """Whether it is a ``*`` alone."""
        return self.pieces == ("", "")

    def test(self) -> _TextTest:
        """Return what tells whether a whole text is like this, in linear time."""
        first, *inner = self.pieces
        if not inner:
            return lambda text: text == first
        last = inner.pop()
        least = sum(map(len, self.pieces))

        def like(text: str) -> bool:
            if len(text) < least or not text.startswith(first):
                return False
            at, end = len(first), len(text) - len(last)
            for piece in inner:
                found = text.find(piece, at, end)
                if found < 0:
                    return False
                at = found + len(piece)
            return text.endswith(last)

        return like

    def __str__(self) -> str:
        if self.literal is not None:
            return spelled_value(self.literal)
        return "*".join(spelled_value(piece) if piece else "" for piece in self.pieces)


@dataclasses.dataclass(frozen=True, slots=True)
class Constant:
    """What an attribute is compared with.

    Attributes:
        text: As it was written.
        value: What it means: a number, a truth, a text; from a keyword any value.
    """

    text: str
    value: Value

    @classmethod
    def read(cls, text: str) -> Constant:
        """Return what a text without quotes means."""
        number = _number(text)
        return cls(text, _TRUTHS.get(text, text) if number is None else number)

    @classmethod
    def of(cls, value: object) -> Constant:
        """Return a value as it would have been logged.

        A list as a tuple, a member of an Enum as its name. So no code of the
        application runs where a follower's filters do.
        """
        return cls(str(value), snapshot(value))

    def test(self, comparison: str) -> Callable[[Any], bool]:
        """Return what compares the value of an attribute with this."""
        compare, text, value = OPERATORS[comparison], self.text, self.value
        if comparison == ":":
            return lambda found: bool(found == value) or str(found) == text
        if isinstance(value, int | float):
            return lambda found: _compares(compare, found, value)
        return lambda found: compare(str(found), text)

    def __str__(self) -> str:
        meant = Constant.read(self.text).value
        if type(meant) is type(self.value) and meant == self.value:
            return spelled_value(self.text)
        # Quotes say that it is no number.
        return quoted(str(self.value))


def _number(text: str) -> int | float | None:
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    return int(text) if found[1] is found[2] is None else float(text)


def _compares(
    compare: Callable[[Any, Any], bool], found: object, number: float
) -> bool:
    if isinstance(found, str):
        found = _number(found)
    return isinstance(found, int | float) and compare(found, number)


def is_exact(text: str) -> bool:
    """Return whether case counts: whether *text* has an upper-case letter."""
    return text != text.lower()


def containing(text: str) -> _TextTest:
    """Return what tells whether a text has this in it, by smart case."""
    if is_exact(text):
        return lambda found: text in found
    return lambda found: text in found.lower()


def searching(pattern: str, *, ignore_case: bool) -> _TextTest:
    """Return what tells whether a regular expression finds something in a text.

    By RE2, in time linear in the text: Python's ``re`` may take for ever, and lets
    nothing else run meanwhile.

    Raises:
        UnfitError: It is no expression that RE2 knows, or RE2 is not installed.
    """
    try:
        import re2  # type: ignore[import-untyped]
    except ImportError:
        needed = MissingExtraError("a regular expression", "regex")
        raise UnfitError(str(needed)) from None
    engine: Any = re2
    options = engine.Options()
    options.log_errors = False  # RE2 would write them to stderr
    options.max_mem = _EXPRESSION_BYTES
    options.case_sensitive = not ignore_case
    try:
        expression = engine.compile(pattern, options)
    except UnicodeEncodeError:
        raise UnfitError("a regular expression has no lone surrogates") from None
    except engine.error as error:
        reason = error.args[0].decode("utf-8", "replace")
        raise UnfitError(f"not a regular expression of RE2: {reason}") from None
    # In bytes: RE2 counts no characters then.
    search = expression.search
    return lambda text: search(text.encode("utf-8", "replace")) is not None
