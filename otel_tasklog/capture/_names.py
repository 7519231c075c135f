"""Attribute names: as they were logged, but for those that would be lost or mistaken.

Loki, where most records end, makes every character that is no letter or digit of
ASCII an underscore, joins the keys of nested mappings by one, and keeps one of two
attributes that come to the same. So a name must leave something after that, and no
name may come to what the record has already.

See https://grafana.com/docs/loki/latest/get-started/labels/structured-metadata/
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from otel_tasklog.capture._plain import named
from otel_tasklog.capture._values import short_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from collections.abc import Set as AbstractSet

__all__ = ["CREATED", "AttributeNames", "clean_text", "distinct", "no_secret", "normal"]

CREATED: Final = "otel_tasklog.created"
"""The attribute that says what a record's time was, if it was not believed."""

# Loki takes the level from the first of these that a record carries, and its
# own names lose against an attribute that normalises to the same.
TAKEN: Final = frozenset(
    {
        "level", "lvl", "log_level", "severity", "severitytext", "severity_number",
        "severity_text", "detected_level", "trace_id", "span_id", "flags",
        "observed_timestamp", "scope_name", "scope_version",
        "dropped_attributes_count", "scope_dropped_attributes_count", "service_name",
        "task_id", "task_parent_id", "asyncio_task_id", "asyncio_task_name",
        "asyncio_task_parent_id", "exception_type", "exception_message",
        "exception_stacktrace", "code_file_path", "code_function_name",
        "code_line_number", "code_stacktrace", "thread_id", "thread_name",
        "process_pid",
    }
)  # fmt: skip
_NAMES_REMEMBERED: Final = 4_096
_OTHERS: Final = re.compile(r"[^A-Za-z0-9]+")


def _bare(name: str) -> str:
    return normal(name).strip("_").lower()


def clean_text(text: str) -> str:
    """Return *text* as valid Unicode; of a lone surrogate its number is shown."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def normal(name: str) -> str:
    """Return what Loki makes of a name."""
    return _OTHERS.sub("_", name)


def distinct(name: str, seen: AbstractSet[str], around: str = "") -> str:
    """Return *name*, numbered if it comes to the same as one that is there.

    Args:
        name: Not empty.
        seen: What the others come to, by `normal`.
        around: What comes before it, of the keys around it.
    """
    numbered, number = name, 1
    while normal(f"{around}{numbered}") in seen:
        number += 1 if number < 10 else len(seen)  # a thousand may be alike
        numbered = f"{name}_{number}"
    return numbered


def no_secret(key: str) -> bool:
    """Say of each key that its value may be read."""
    del key
    return False


class AttributeNames(dict[str, "tuple[str, bool]"]):
    """For each key that was ever logged: its name, and if its value is a secret.

    Decided once per key. Reading from several threads is safe: at worst two of
    them decide the same. Keys are often few; should an application make them up,
    the table starts anew.

    Args:
        is_secret: Says it of a key.
        others: Further names that records have already: their resource's.

    Attributes:
        taken: What a name must not come to.
        begun: What the keys around another must come to, for it to matter.
    """

    def __init__(
        self,
        is_secret: Callable[[str], bool] = no_secret,
        others: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self._is_secret = is_secret
        self.taken: Collection[str] = TAKEN.union(map(_bare, others))
        self.begun: Collection[str] = frozenset(
            start
            for name in self.taken
            for start in accumulate(name.split("_"), "{}_{}".format)
        )

    def __missing__(self, key: str) -> tuple[str, bool]:
        """Decide for a key that is seen for the first time."""
        if len(self) >= _NAMES_REMEMBERED:
            self.clear()
        whole = named(key)
        name = clean_text(short_key(whole))
        if not _bare(name):  # Loki refuses the whole request for one such key
            name = f"attribute.{name.encode('ascii', 'backslashreplace').decode()}"
            name = name.replace("\\", "").rstrip("_.") or "attribute"
        decided = name, self._is_secret(whole)
        self[key] = decided
        return decided

    def unmistaken(self, key: str, around: str = "") -> str:
        """Return a key's name, with ``extra.`` before it where it could be mistaken.

        Args:
            key: The key.
            around: What comes before it in Loki, of the keys around it.
        """
        name = self[key][0]
        if around and _bare(around) not in self.begun:  # the usual case
            return name
        return f"extra.{name}" if _bare(f"{around}{name}") in self.taken else name
