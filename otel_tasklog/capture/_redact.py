"""Redaction: which keys' values nobody may read, and what is cut out of texts.

Runs where a record is resolved, and so before any query, follower, spool or wire.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

from otel_tasklog._secrets import REDACTED, SECRET_KEYS, SECRET_PATTERNS
from otel_tasklog.capture._assigned import Assignments
from otel_tasklog.capture._credentials import CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["REDACTED", "SECRET_KEYS", "SECRET_PATTERNS", "Redactor"]

_KEY_CHARACTERS: Final = 256
_KEYS_REMEMBERED: Final = 4_096
_ROUNDS: Final = 4  # what was cut out can change what the text beside it looks like
# Where a word begins in accessToken, APIKey, Set-Cookie and db.password.
_BETWEEN_WORDS: Final = re.compile(
    r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[\W_]+"
)


class Redactor:
    """Decides what is secret. Safe to ask from any thread; nothing of it raises.

    Args:
        keys: Regular expressions, searched without regard to case.
        patterns: Names out of `SECRET_PATTERNS`, and compiled patterns, of which
            the group named ``secret`` is cut out, or all that matches.

    Attributes:
        has_patterns: Whether `text` searches at all.
    """

    def __init__(
        self,
        keys: Sequence[str] = SECRET_KEYS,
        patterns: Sequence[str | re.Pattern[str]] = (),
    ) -> None:
        self._secret_keys = _SecretKeys(keys)
        self._built_in: list[Callable[[str], str]] = [
            Assignments(self._secret_keys)
            if name == "assignment"
            else CREDENTIALS[name]
            for name in SECRET_PATTERNS
            if name in patterns
        ]
        self._own: list[Callable[[str], str]] = [
            partial(
                each.sub,
                partial(_cut_out, "secret" if "secret" in each.groupindex else 0),
            )
            for each in patterns
            if not isinstance(each, str)
        ]
        self.has_patterns: bool = bool(self._built_in or self._own)

    def is_secret(self, key: str) -> bool:
        """Return whether the value of *key* is nobody's to read.

        A key is searched as it is and in its words joined by ``_``: ``accessToken``
        and ``Access-Token`` are ``access_token``, too.
        """
        return self._secret_keys[key]

    def text(self, text: str) -> str:
        """Return *text* without what the patterns find; itself if they find nothing.

        Of a text that cannot be searched nothing is left but a marker that says why.
        """
        try:
            left = self._without(text)
        except Exception as error:  # noqa: BLE001 - it may hold what they would find
            return f"[redacted: {type(error).__name__} while searching for secrets]"
        return text if left == text else left

    def _without(self, text: str) -> str:
        for _ in range(_ROUNDS):
            left = text
            for search in self._built_in:
                left = search(left)
            if left == text:
                break
            text = left
        for search in self._own:
            text = search(text)
        return text


def _cut_out(group: str | int, found: re.Match[str]) -> str:
    start, end = found.span(group)
    text, mark = found.string, len(REDACTED)
    if start == end or REDACTED in text[max(end - mark, 0) : start + mark]:
        return found[0]  # nothing, or a part of the mark
    return f"{text[found.start() : start]}{REDACTED}{text[end : found.end()]}"


class _SecretKeys(dict[str, bool]):
    """For each key that was ever asked for: whether its value is nobody's to read.

    Decided once. At worst two threads decide the same. Keys are often few; should an
    application make them up, the table starts anew.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__()
        # Lower case on both sides is twice as fast as to ignore it.
        self._keys = [
            re.compile(key, re.NOFLAG if key.islower() else re.IGNORECASE)
            for key in keys
        ]

    def __missing__(self, key: str) -> bool:
        """Decide for a key that is asked for the first time."""
        if len(self) >= _KEYS_REMEMBERED:
            self.clear()
        if len(key) > 2 * _KEY_CHARACTERS:
            key = f"{key[:_KEY_CHARACTERS]} {key[-_KEY_CHARACTERS:]}"
        forms = [key.lower()]
        if not key.islower() or not key.isidentifier():
            forms.append(_BETWEEN_WORDS.sub("_", key).lower())
        if key[-1:].isdigit():  # "auth_2" is the second "auth"
            forms.append(forms[-1].rstrip("_0123456789"))
        decided = any(k.search(form) for form in forms for k in self._keys)
        self[key] = decided
        return decided
