"""Credentials that a text betrays by their form alone.

Each search is linear in the text's length, whatever it holds: quantifiers are
possessive or bounded, and what can begin a match cannot be inside another. Most look
for a literal first, which most texts lack.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final

from otel_tasklog._secrets import REDACTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["CREDENTIALS"]

# Not within a word, but behind an escaped character: "\ntoken" in a repr, "%3Dtoken".
_START: Final = r"(?:(?<![A-Za-z0-9_-])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))"

# To the end if the other mark is missing: the text was cut.
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY.*?"
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
# Three parts if it is signed, five if it is encrypted; the first is `{"` in base64.
_JWT: Final = re.compile(rf"{_START}eyJ[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]*+){{2,4}}")
_AWS_ID: Final = re.compile(
    rf"{_START}(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{{16}}(?![A-Za-z0-9])"
)
_AWS_SECRET: Final = re.compile(
    r"(?<![A-Za-z0-9/+])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"
)
_BEARER: Final = re.compile(
    r"(?<![a-z0-9])(bearer|basic)[ \t]{1,4}+([a-z0-9._~+/-]{8,}+=*+)",
    re.IGNORECASE,
)
_AUTHORIZATION_CHARACTERS: Final = 24
# Networks' numbers, grouped as they are printed or not at all.
_CARD: Final = re.compile(
    r"[2-6](?<![\w.-][2-6])(?:"
    r"[0-9]{3}([ -]?)[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{3})?"
    r"|(?<=3)[0-9]{3}([ -]?)[0-9]{6}\2[0-9]{4,5}"
    r"|(?<=4)[0-9]{12}"
    r")(?![\w-]|\.[0-9])"
)
_CARD_NETWORK: Final = re.compile(
    r"4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|3(?:[47689]|0[0-5]|5[2-8])"
    r"|6(?:011|4[4-9]|5|2)"
)
_USER: Final = re.compile(r"[^\s:/?#@\"'<>]*+:(?![0-9]{1,5}[/?#])")
_AUTHORITY_END: Final = re.compile(r"[\s/?#\"'<>]|\Z")
_RUN_END: Final = re.compile(r"[\s\"'<>]|\Z")

# Each by what it begins with, the rest of it.
_ISSUERS: Final[Mapping[str, str]] = {
    "ghp_": r"[A-Za-z0-9]{30,}+",  # GitHub
    "gho_": r"[A-Za-z0-9]{30,}+",
    "ghu_": r"[A-Za-z0-9]{30,}+",
    "ghs_": r"[A-Za-z0-9._-]{30,}+",
    "ghr_": r"[A-Za-z0-9]{30,}+",
    "github_pat_": r"\w{22,}+",
    "glpat-": r"[\w.-]{20,}+",  # GitLab
    "xox": r"[a-z]-(?=[\w-]*[0-9])[\w-]{10,}+",  # Slack
    "xapp-": r"[\w-]{20,}+",
    "hooks.slack.com/services/": r"[\w/]{20,}+",
    "sk_live_": r"\w{16,}+",  # Stripe
    "sk_test_": r"\w{16,}+",
    "rk_live_": r"\w{16,}+",
    "rk_test_": r"\w{16,}+",
    "whsec_": r"[\w+/]{24,}+=*+",
    "AIza": r"[\w-]{35}",  # Google
    "GOCSPX-": r"[\w-]{20,}+",
    "ya29.": r"[\w.-]{20,}+",
    "sk-": r"(?=[\w-]*[0-9])[\w-]{32,}+",  # services of language models
    "hf_": r"[A-Za-z0-9]{30,}+",  # Hugging Face
    "npm_": r"[A-Za-z0-9]{30,}+",
    "pypi-": r"[\w-]{50,}+",
    "SG.": r"[\w-]{16,}+\.[\w-]{16,}+",  # SendGrid
}
# The sooner a text is known to have none of them: most lack these two characters.
_MARKS: Final = {
    mark: [s for s in _ISSUERS if next((m for m in "_-" if m in s), "") == mark]
    for mark in ("_", "-", "")
}
_ISSUED: Final = re.compile(
    f"{_START}(?:{'|'.join(re.escape(k) + v for k, v in _ISSUERS.items())})",
    re.ASCII,
)


def _without_private_keys(text: str) -> str:
    return _PRIVATE_KEY.sub(REDACTED, text) if "PRIVATE KEY" in text else text


def _without_jwts(text: str) -> str:
    return _JWT.sub(REDACTED, text) if "eyJ" in text else text


def _without_issued(text: str) -> str:
    for mark, starts in _MARKS.items():
        if mark in text:
            for start in starts:
                if start in text:
                    return _ISSUED.sub(REDACTED, text)
    return text


def _without_aws(text: str) -> str:
    without = text
    if "AKIA" in text or "ASIA" in text or "ABIA" in text or "ACCA" in text:
        without = _AWS_ID.sub(REDACTED, text)
    # A secret key is any 40 characters, as is many a path: not without its context.
    if without is not text or "aws" in text or "AWS" in text:
        return _AWS_SECRET.sub(_if_mixed, without)
    return without


def _if_mixed(found: re.Match[str]) -> str:
    text = found[0]
    mixed = not (text.islower() or text.isupper()) and any(map(str.isdigit, text))
    return REDACTED if mixed else text


def _without_bearers(text: str) -> str:
    lower = text.lower()
    if "bearer" in lower or "basic" in lower:
        return _BEARER.sub(_if_credentials, text)
    return text


def _if_credentials(found: re.Match[str]) -> str:
    scheme, credentials = found.groups()
    start = found.start()
    before = found.string[max(0, start - _AUTHORIZATION_CHARACTERS) : start]
    if "authori" in before.lower() or (
        _has_colon(credentials)
        if scheme.lower() == "basic"
        # No word of a sentence about tokens.
        else any(map(str.isdigit, credentials))
    ):
        return found[0][: -len(credentials)] + REDACTED
    return found[0]


def _has_colon(credentials: str) -> bool:
    try:
        return b":" in base64.b64decode(credentials, validate=True)
    except ValueError:
        return False


def _without_cards(text: str) -> str:
    return _CARD.sub(_if_card, text)


def _if_card(found: re.Match[str]) -> str:
    digits = found[0].replace(" ", "").replace("-", "")
    if not _CARD_NETWORK.match(digits):
        return found[0]
    total = 0
    for index, digit in enumerate(map(int, reversed(digits))):  # Luhn's check
        total += digit if index % 2 == 0 else sum(divmod(2 * digit, 10))
    return REDACTED if total % 10 == 0 else found[0]


def _without_passwords_of_urls(text: str) -> str:
    if "://" not in text or "@" not in text:
        return text
    parts: list[str] = []
    done = run_end = last = 0
    start = text.find("://") + 3
    while start >= 3:
        if start >= run_end:
            run_end = _end(_RUN_END, text, start)
            last = text.rfind("@", start, run_end)
        user = _USER.match(text, start, run_end)
        if user is not None and last >= user.end():
            # A password should not hold these characters, but some do.
            end = _end(_AUTHORITY_END, text, user.end())
            end = text.rfind("@", user.end(), end)
            end = last if end < 0 else end
            if end > user.end():
                parts += text[done : user.end()], REDACTED
                done = start = end
        start = text.find("://", start) + 3
    return "".join([*parts, text[done:]]) if parts else text


def _end(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.search(text, start)
    return len(text) if found is None else found.start()


CREDENTIALS: Final[Mapping[str, Callable[[str], str]]] = {
    "private_key": _without_private_keys,
    "jwt": _without_jwts,
    "vendor_token": _without_issued,
    "aws": _without_aws,
    "url": _without_passwords_of_urls,
    "bearer": _without_bearers,
    "card": _without_cards,
}
"""By their names: return a text without them, itself if it has none."""
