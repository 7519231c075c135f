"""What the shapes of the API's answers are made of, as JSON Schema."""

from __future__ import annotations

from typing import Any, Final

__all__ = [
    "BY_NAME",
    "COMPLETE",
    "COUNT",
    "NUMBER",
    "RECORD_LIST",
    "SECONDS",
    "SPAN_ID",
    "TEXT",
    "TIME_NS",
    "TRACE_ID",
    "closed",
    "maybe",
]

TEXT: Final = {"type": "string"}
COUNT: Final = {"type": "integer", "minimum": 0}
TIME_NS: Final = {
    "type": "string",
    "pattern": "^-?[0-9]+$",
    "description": "Nanoseconds since 1970: too large for the numbers of JavaScript.",
}
NUMBER: Final = {
    "type": ["integer", "string"],
    "description": "Beyond 2**53 a text of digits.",
}
SECONDS: Final = {"type": "number", "minimum": 0}
BY_NAME: Final = {"type": "object", "additionalProperties": COUNT}
TRACE_ID: Final = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
SPAN_ID: Final = {"type": "string", "pattern": "^[0-9a-f]{16}$"}
RECORD_LIST: Final = {
    "type": "array",
    "items": {"$ref": "#/components/schemas/Record"},
}
COMPLETE: Final = {
    "type": "boolean",
    "description": "False if the time did not suffice to look at all that is kept.",
}


def maybe(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the shape of what may be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def closed(
    properties: dict[str, Any], *, optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the shape of an object that has these members and no others.

    Args:
        properties: The members, by name.
        optional: Those that it need not have.
    """
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }
