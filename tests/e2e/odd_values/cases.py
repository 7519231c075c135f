"""All rows of the table, in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2e.odd_values.dynamic import DYNAMIC
from e2e.odd_values.exceptions import EXC_INFOS, EXCEPTIONS, STACKS
from e2e.odd_values.records import FIELDS, LEVELS, TIMES
from e2e.odd_values.texts import BODIES, KEYS, NAMES
from e2e.odd_values.values import CONTAINERS, LARGE, NUMBERS, OBJECTS, TEXTS

if TYPE_CHECKING:
    from e2e.odd_values.case import Case

__all__ = ["CASES", "GROUPS"]

GROUPS: Final[dict[str, tuple[Case, ...]]] = {
    "Numbers": NUMBERS,
    "Texts and what becomes one": TEXTS,
    "Containers": CONTAINERS,
    "Objects": OBJECTS,
    "Many and large": LARGE,
    "Keys": KEYS,
    "The body": BODIES,
    "Names": NAMES,
    "The time": TIMES,
    "The level": LEVELS,
    "Exceptions": (*EXCEPTIONS, *EXC_INFOS),
    "Stacks": STACKS,
    "While it is logged": DYNAMIC,
    "Fields that somebody changed": FIELDS,
}

CASES: Final = tuple(case for group in GROUPS.values() for case in group)
