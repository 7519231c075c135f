"""Which keys and texts are nobody's to read: the defaults, and the check of others."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from otel_tasklog._errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["REDACTED", "SECRET_KEYS", "SECRET_PATTERNS", "check_redaction"]

REDACTED: Final = "[redacted]"
"""What stands for a secret."""

# They are searched in the key as it is and in its words joined by "_". What is no
# secret must fit neither, so a lookahead says each separator there may be.
SECRET_KEYS: Final[tuple[str, ...]] = (
    r"pass[-_. ]?(wor[dt]|wd|phrase|code|key)",
    r"(?<![a-z])(db|database|user|admin|root|smtp|mail|ftp|ldap|proxy|auth)[-_. ]?pass$",
    r"(?<![a-z])pwd|(?<!old)pwd$",
    r"(?<![a-z0-9])(pin|ssn|iban|(cvv|cvc|cvn)2?)(?![a-z0-9])|social[-_. ]?security",
    r"(?<![a-z0-9])[ht]?otp(?![a-z0-9])",
    r"(security|verification|recovery|backup|mfa|2fa|one[-_. ]?time)[-_. ]?codes?",
    r"secret(?!ar)|credential|(?<![a-z])creds?(?![a-z])|(seed|recovery)[-_. ]?phrase",
    # A number of tokens, or what is to be known of one, is how the clients of
    # language models, rate limiters and parsers use the word.
    r"(access|refresh|auth|api|bearer|id|session|device)[-_. ]?tokens$",
    (
        r"token(?!s|i[sz]|[-_. ]?(count|type|limit|usage|budget|len|size|cost|price|rate"
        r"|ratio|index|position|offset|total|per|bucket|expir|ttl|lifetime|status|ur[il]"
        r"|endpoint))"
    ),
    r"authori[sz]ation|(?<![a-z])(auth|bearer|jwt)$|(?<![a-z])auth[-_. ]?(header|data)",
    r"cookie(?!cutter|[-_. ]?(consent|policy|banner|domain|path|name))|[cx]srf",
    (
        r"(api|access|private|secret|signing|encryption|decryption|session|master|account"
        r"|shared|auth|app|license|hmac)[-_. ]?keys?"
        r"(?![a-z]|[-_. ]?(file|path|name|size|len|type|alg))"
    ),
    r"sess(ion)?[-_. ]?ids?(?![a-z])|^session$",
    r"card[-_. ]?(number|num|no)(?![a-z])|(credit|debit)[-_. ]?cards?$",
    r"connection[-_. ]?string|code[-_. ]?verifier|amz[-_. ]?signature",
)
"""Regular expressions. A key is a secret's if one is found in it, whatever the case."""

SECRET_PATTERNS: Final[tuple[str, ...]] = (
    "private_key",
    "assignment",
    "jwt",
    "vendor_token",
    "aws",
    "url",
    "bearer",
    "card",
)
"""Names of the patterns for texts, in the order in which they are searched."""


def check_redaction(settings: Mapping[str, object]) -> None:
    """Refuse what cannot say which keys and texts to redact.

    Args:
        settings: With ``redact_keys`` and ``redact_patterns``.

    Raises:
        ConfigError: One of them is no sequence; a key is no regular expression; a
            pattern is neither a built-in one's name nor compiled.
    """
    for key in _each("redact_keys", settings, "regular expressions, () for none"):
        _check_expression(key)
    for pattern in _each("redact_patterns", settings, "names or compiled patterns"):
        _check_pattern(pattern)


def _each(
    setting: str, settings: Mapping[str, object], expected: str
) -> Iterable[object]:
    value = settings[setting]
    if not isinstance(value, Collection) or isinstance(value, str | bytes):
        raise ConfigError(setting, value, f"a sequence of {expected}")
    return value  # pyright: ignore[reportUnknownVariableType]


def _check_expression(key: object) -> None:
    if not isinstance(key, str) or not key:  # the empty one is found in every key
        raise ConfigError("redact_keys", key, "a regular expression as a text")
    try:
        re.compile(key, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(
            "redact_keys", key, f"a regular expression that compiles; {error}"
        ) from None


def _check_pattern(pattern: object) -> None:
    if isinstance(pattern, re.Pattern):
        compiled: re.Pattern[str] | re.Pattern[bytes] = pattern  # pyright: ignore[reportUnknownVariableType]
        if isinstance(compiled.pattern, bytes):
            expected = "a pattern for texts, not for bytes"
            raise ConfigError("redact_patterns", compiled, expected)
    elif not isinstance(pattern, str) or pattern not in SECRET_PATTERNS:
        close = difflib.get_close_matches(str(pattern), SECRET_PATTERNS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        expected = f"a name out of {sorted(SECRET_PATTERNS)} or a compiled pattern"
        raise ConfigError("redact_patterns", pattern, f"{expected}{hint}")
