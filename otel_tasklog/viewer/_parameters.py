"""What a request asks for, checked against the OpenAPI document."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from otel_tasklog.viewer._problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Asked", "read_parameters"]

Asked: TypeAlias = "dict[str, Any]"
"""The value of each parameter that a route has; those not given have the default."""

_DIGITS: Final = 18
_TRUTHS: Final = {"true": True, "false": False}


def read_parameters(
    parameters: Iterable[dict[str, Any]], given: Iterable[tuple[str, str]]
) -> Asked:
    """Return the value of each parameter of a route.

    Args:
        parameters: The route's, as the document describes them.
        given: Those of the request, as texts.

    Raises:
        Problem: One is not known, is given twice, has a value it cannot have, or is
            not given and has to be.
    """
    schemas: dict[str, dict[str, Any]] = {}
    required: list[str] = []
    for each in parameters:
        schemas[each["name"]] = each["schema"]
        if each["required"]:
            required.append(each["name"])
    asked: Asked = {name: each.get("default") for name, each in schemas.items()}
    seen: set[str] = set()
    for name, text in given:
        if name not in asked:
            raise Problem(
                400, f"no such parameter: {name!r}; {_instead(name, list(schemas))}"
            )
        if name in seen:
            raise Problem(400, f"{name} is given twice; give it once")
        seen.add(name)
        asked[name] = _value(name, text, schemas[name])
    for name in required:
        if name not in seen:
            raise Problem(400, f"{name} is missing: this address needs it")
    return asked


def _value(name: str, text: str, schema: dict[str, Any]) -> object:
    kind = schema["type"]
    if kind == "string":
        choices = schema.get("enum")
        if choices is not None and text not in choices:
            raise Problem(400, f"{name}={text!r}: expected {' or '.join(choices)}")
        if len(text) > schema.get("maxLength", len(text)):
            raise Problem(
                400, f"{name} is too long: at most {schema['maxLength']} characters"
            )
        if "pattern" in schema and not re.search(schema["pattern"], text):
            raise Problem(400, f"{name}={text!r}: expected {schema['pattern']}")
        return text
    if kind == "boolean":
        if text not in _TRUTHS:
            raise Problem(400, f"{name}={text!r}: expected true or false")
        return _TRUTHS[text]
    lowest, highest = schema["minimum"], schema["maximum"]
    number = _number(text, whole=kind == "integer")
    if number is None or not lowest <= number <= highest:
        noun = "whole number" if kind == "integer" else "number"
        expected = f"a {noun} from {lowest} to {highest}"
        raise Problem(400, f"{name}={text!r}: expected {expected}")
    return number


def _number(text: str, *, whole: bool) -> float | None:
    # Python also takes underscores, other scripts' digits and, of a number, NaN.
    if not text.isascii() or len(text) > _DIGITS or "_" in text:
        return None
    try:
        return int(text) if whole else float(text)
    except ValueError:
        return None


def _instead(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are {', '.join(known)}" if known else "this address takes none"
