"""LogQL as far as records are selected by it: read, and asked of an entry.

Written from Loki's documentation and from what Loki 3.7.6 did, and from nothing that
writes LogQL here. What it does not know is an error, as to Loki.

See https://grafana.com/docs/loki/latest/query/log_queries/
"""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

try:
    import re2  # type: ignore[import-untyped]
except ImportError:  # whoever asks has to skip
    re2 = None

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KEYWORDS", "LogQLError", "Pipeline", "read"]

KEYWORDS: Final = frozenset(
    [
        "by",
        "without",
        "or",
        "and",
        "unless",
        "bool",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "offset",
        "json",
        "regexp",
        "logfmt",
        "unpack",
        "unwrap",
        "pattern",
        "line_format",
        "label_format",
        "decolorize",
        "drop",
        "keep",
        "variants",
        "of",
    ]
)
MOST_BYTES: Final = 131_072

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<text>"(?:[^"\\\n]|\\.)*")
      | (?P<raw>`[^`]*`)
      | (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<mark>\|=|\|~|!=|!~|=~|>=|<=|==|[|=<>(){},+-])
    )""",
    re.VERBOSE,
)

_Fields: TypeAlias = "dict[str, str]"
_Test: TypeAlias = "Callable[[_Fields], bool]"


class LogQLError(Exception):
    """It cannot be parsed."""


class Pipeline:
    """A query.

    Attributes:
        labels: Tests labels.
        stages: Each returns the line and the fields, or None for what it leaves out.
    """

    def __init__(
        self,
        labels: _Test,
        stages: list[Callable[[str, _Fields], tuple[str, _Fields] | None]],
    ) -> None:
        self.labels = labels
        self.stages = stages

    def run(
        self, line: str, labels: _Fields, metadata: _Fields
    ) -> tuple[str, _Fields] | None:
        """Return the line and what is parsed of it; None if it is left out."""
        if not self.labels(labels):
            return None
        fields = {**metadata, **labels}
        for stage in self.stages:
            found = stage(line, fields)
            if found is None:
                return None
            line, fields = found
        given = {**metadata, **labels}
        return line, {k: v for k, v in fields.items() if given.get(k) != v}


def _regex(pattern: str, *, anchored: bool) -> Callable[[str], bool]:
    options = re2.Options()
    options.log_errors = False
    try:
        expression = re2.compile(f"^(?s:{pattern})$" if anchored else pattern, options)
    except re2.error as error:
        raise LogQLError(f"parse error : {error}") from None
    # Many entries have the same labels.
    return functools.cache(lambda text: expression.search(text) is not None)


def _line_regex(pattern: str) -> Callable[[str], bool]:
    text = pattern.removeprefix("(?i)")
    if text == pattern or "[" in text:
        return _regex(pattern, anchored=False)
    # It looks for bytes, and knows of the cases of ASCII only: of others here no more
    # is found, though it finds some.
    return re.compile(text, re.IGNORECASE | re.ASCII).search  # type: ignore[return-value]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


class _Reader:
    def __init__(self, text: str) -> None:
        if len(text.encode()) > MOST_BYTES:
            raise LogQLError("parse error : input size too long")
        self.tokens: list[tuple[str, str]] = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None or found.end() == at:
                raise LogQLError(f"parse error at line 1, col {at + 1}")
            kind = found.lastgroup or ""
            self.tokens.append((kind, found[kind]))
            at = found.end()
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def take(self, kind: str = "", *texts: str) -> str:
        if self.at == len(self.tokens):
            raise LogQLError("parse error : syntax error: unexpected $end")
        found, text = self.tokens[self.at]
        if (kind and found != kind) or (texts and text not in texts):
            raise LogQLError(f"parse error : syntax error: unexpected {text}")
        self.at += 1
        return text

    def text(self) -> str:
        kind, text = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        self.take()
        if kind == "raw":
            return text[1:-1]
        if kind != "text":
            raise LogQLError(f"parse error : syntax error: unexpected {text}")
        try:
            found: str = json.loads(text)  # Go's escapes that are not JSON's: an error
        except ValueError:
            raise LogQLError("parse error : invalid char escape") from None
        if "\\u" in text and any(ord(c) > 0xFFFF for c in found):
            raise LogQLError("parse error : half of a pair")  # Go reads two
        return found

    def name(self) -> str:
        name = self.take("name")
        if name in KEYWORDS:
            raise LogQLError(f"parse error : syntax error: unexpected {name}")
        return name


def read(text: str) -> Pipeline:
    """Return a query.

    Raises:
        LogQLError: It is none, or more than this knows.
    """
    reader = _Reader(text)
    labels = _selector(reader)
    stages: list[Callable[[str, _Fields], tuple[str, _Fields] | None]] = []
    while reader.peek():
        sign = reader.take("mark", "|", "|=", "|~", "!=", "!~")
        if sign != "|":
            stages.append(_line_filter(reader, sign))
        elif reader.peek() == "label_format":
            stages.append(_label_format(reader))
        elif reader.peek() in {"drop", "keep"}:
            stages.append(_drop(reader))
        else:
            stages.append(_passing(_either(reader)))
    return Pipeline(labels, stages)


def _selector(reader: _Reader) -> _Test:
    reader.take("mark", "{")
    tests: list[_Test] = []
    useful = False
    while True:
        name, sign = reader.name(), reader.take("mark", "=", "!=", "=~", "!~")
        value = reader.text()
        test = _matcher(name, sign, value)
        tests.append(test)
        useful = useful or (sign in {"=", "=~"} and not test({}))
        if reader.take("mark", ",", "}") == "}":
            break
    if not useful:
        raise LogQLError(
            "parse error : queries require at least one regexp or equality matcher "
            "that does not have an empty-compatible value"
        )
    return lambda labels: all(test(labels) for test in tests)


def _matcher(name: str, sign: str, value: str) -> _Test:
    if sign in {"=", "!="}:
        return lambda fields: (fields.get(name, "") == value) == (sign == "=")
    if "\0" in value and ".*" in value:
        raise LogQLError("parse error : invalid character NUL")
    found = _regex(value, anchored=True)
    return lambda fields: found(fields.get(name, "")) == (sign == "=~")


def _line_filter(
    reader: _Reader, sign: str
) -> Callable[[str, _Fields], tuple[str, _Fields] | None]:
    texts = [reader.text()]
    while reader.peek() == "or":
        reader.take()
        texts.append(reader.text())
    finds: list[Callable[[str], bool]]
    if sign in {"|=", "!="}:
        finds = [lambda line, text=text: text in line for text in texts]  # type: ignore[misc]
    else:
        finds = [_line_regex(text) for text in texts]
    wanted = sign in {"|=", "|~"}

    def stage(line: str, fields: _Fields) -> tuple[str, _Fields] | None:
        return (line, fields) if any(f(line) for f in finds) == wanted else None

    return stage


def _label_format(
    reader: _Reader,
) -> Callable[[str, _Fields], tuple[str, _Fields] | None]:
    reader.take()
    name = reader.name()
    reader.take("mark", "=")
    template = reader.text()
    if template != "{{__line__}}":
        raise LogQLError(f"a template that this does not know: {template}")
    return lambda line, fields: (line, {**fields, name: line})


def _drop(reader: _Reader) -> Callable[[str, _Fields], tuple[str, _Fields] | None]:
    reader.take("name", "drop")
    name = reader.name()
    return lambda line, fields: (
        line, {k: v for k, v in fields.items() if k != name},
    )  # fmt: skip


def _passing(test: _Test) -> Callable[[str, _Fields], tuple[str, _Fields] | None]:
    def stage(line: str, fields: _Fields) -> tuple[str, _Fields] | None:
        fields = fields.copy()
        return (line, fields) if test(fields) else None

    return stage


def _either(reader: _Reader) -> _Test:
    tests = [_both(reader)]
    while reader.peek() == "or":
        reader.take()
        tests.append(_both(reader))
    return lambda fields: any(test(fields) for test in tests)


def _both(reader: _Reader) -> _Test:
    tests = [_one(reader)]
    while reader.peek() in {"and", ","}:
        reader.take()
        tests.append(_one(reader))
    return lambda fields: all(test(fields) for test in tests)


def _one(reader: _Reader) -> _Test:
    if reader.peek() == "(":
        reader.take()
        test = _either(reader)
        reader.take("mark", ")")
        return test
    name = reader.name()
    sign = reader.take("mark", "=", "==", "!=", "=~", "!~", ">", ">=", "<", "<=")
    if sign in {"=", "!=", "=~", "!~"}:
        return _matcher(name, sign, reader.text())
    factor = -1.0 if reader.peek() == "-" else 1.0
    if reader.peek() in {"-", "+"}:
        reader.take()
    return _compared(name, sign, factor * float(reader.take("number")))


def _compared(name: str, sign: str, bound: float) -> _Test:
    compare: Any = {
        ">": float.__gt__, ">=": float.__ge__, "<": float.__lt__, "<=": float.__le__,
        "==": float.__eq__,
    }[sign]  # fmt: skip

    def test(fields: _Fields) -> bool:
        if "__error__" in fields:  # what follows an error passes
            return True
        if name not in fields:
            return False
        number = _number(fields[name])
        if number is None:  # and so does what cannot be compared
            fields["__error__"] = "LabelFilterErr"
            return True
        return bool(compare(number, bound))

    return test
