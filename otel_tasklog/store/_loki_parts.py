"""More entries of one time than Loki gives at once, in parts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from otel_tasklog.store._logql import LINE, Condition, escaped, is_filterable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_tasklog.store._loki_answers import Entry

__all__ = ["parts_of"]

CLASSES: Final = 16
"""Into so many parts, at most, the entries of a page are divided at once."""


def parts_of(page: Sequence[Entry]) -> list[Condition]:
    """Return conditions of which each entry meets one, and some of *page* each.

    There are none if all entries of the page are alike.
    """
    fields: dict[str, set[str]] = {LINE: {each.line for each in page}}
    for each in page:
        for name, value in (*each.labels.items(), *each.metadata.items()):
            if is_filterable(name):
                fields.setdefault(name, set()).add(value)
    name, texts = max(fields.items(), key=lambda field: len(field[1]))
    if len(texts) < 2:
        return []
    start = os.path.commonprefix([*texts])  # noqa: RUF071 - of characters, as is meant
    letters = sorted({text[len(start)] for text in texts if len(text) > len(start)})
    each_has = -(-len(letters) // CLASSES)
    prefix = escaped(start)
    classes = [
        f"[{''.join(map(escaped, letters[at : at + each_has]))}]"
        for at in range(0, len(letters), each_has)
    ]
    parts = [Condition(name, "=~", f"(?s){prefix}{one}.*") for one in classes]
    parts.append(Condition(name, "=", start))
    others = "|".join(classes)
    parts.append(Condition(name, "!~", f"(?s){prefix}((?:{others}).*)?"))
    return parts
