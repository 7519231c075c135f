"""Values that a text assigns to a key: ``password=x``, JSON, ``repr``, headers.

Linear in the text's length, whatever it holds: a value is looked through once, and
one that does not end is all the rest. In doubt more goes than had to.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from otel_tasklog._secrets import REDACTED

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Assignments"]

# The key before a sign, read backwards from there: forwards, each word of a text would
# be tried. It is what is in quotes, or a word, perhaps with one before it.
_BACKWARDS: Final = r"""
    [ \t]{0,8}
    ( \]? ["'] \\{0,8} [^"'\n=:\[\]]{1,128}
    | \]? [\w.%$-]{1,128} (?: [ ] [A-Za-z]{2,24} (?![\w.%$-]) | \\ )? )
    """
_KEYS: Final = re.compile(f"[=:]{_BACKWARDS}", re.VERBOSE)
_KEY: Final = re.compile(_BACKWARDS, re.VERBOSE)
_KEY_CHARACTERS: Final = 160
_KEYS_REMEMBERED: Final = 4_096
# These come with their key: ("authorization", "x"), --password x, ["--password", "x"].
# A list is a pair only if it ends there: it may be one of names.
_NAMED: Final = r"""
    (?: \( | \[ (?= [^,\n]{1,130} , [ \t]*+ [bBuU]?
      (?: "[^"\\]*+ (?: \\. [^"\\]*+ )*+ " | '[^'\\]*+ (?: \\. [^'\\]*+ )*+ '
        | [^\[\],"']++ ) \] ) )
      [bBuU]? (?P<quote>["']) (?P<first> [\w.%$-]++ ) (?P=quote) , [ \t]*+
    | - (?<![\w-]-) (?P<option> -[\w-]++ ) (?: [ \t]++ (?![-\s]) | ["'] , [ \t]*+ )
    """
_SIGNS: Final = re.compile(f"(?: =++>?+ | :(?!:)=?+ ) [ \\t]*+ | {_NAMED}", re.VERBOSE)
_OPENING: Final = re.compile(r"[bBuUrRfF]{0,2}(\\{0,8})(\"\"\"|'''|[\"'])")
_TEXTS: Final = {
    quote: re.compile(rf"[^{quote}\\]*+(?:\\.[^{quote}\\]*+)*", re.DOTALL)
    for quote in "\"'"
}
_BRACKETS: Final = re.compile(
    r"""
    " [^"\\]*+ (?: \\. [^"\\]*+ )* (?: " | \\?\Z )
    | ' [^'\\]*+ (?: \\. [^'\\]*+ )* (?: ' | \\?\Z )
    | (?P<open> [\[({] ) | [\])}]
    """,
    re.VERBOSE | re.DOTALL,
)
# A mark that may end a value is part of it if the value goes on behind it, and a
# comma is if no other key stands there.
_BARE: Final = re.compile(
    r"""
    (?: [^\s,;&"'()\[\]{}<>\\] | [)\]}<>](?=\w) | (?<!=)["'](?=\w)
    | (?: [,;&](?=\w) | \\(?!["']) )
      (?! [\w.%$-]{1,64}+ [\\"'\]]{0,8}+ [ \t]{0,8}+ [=:] )
    )++
    """,
    re.VERBOSE,
)
_SCHEME: Final = re.compile(
    r"(?:bearer|basic|token|negotiate|ntlm|apikey)[ \t]+(?=\S)"
    # Their parameters have commas and quotes.
    r"|(?:digest|hawk|oauth|aws4-hmac-sha256)[ \t][^\r\n]*",
    re.IGNORECASE,
)
_MORE: Final = re.compile(r"[ \t]+=[ \t]+(?=\S)")  # of "password: str = 'x'"
_MORE_COOKIES: Final = re.compile(r";[ \t]*(?=\w)")
_NO_SECRETS: Final = frozenset({"none", "null", "nil", "true", "false"})


class Assignments:
    """Cuts out of texts what they assign to secret keys. Safe to call from any thread.

    Args:
        secret: For any key: whether its value is nobody's to read.
    """

    def __init__(self, secret: Mapping[str, bool]) -> None:
        self._secret = secret
        self._known = _KnownKeys(secret)

    def __call__(self, text: str) -> str:
        """Return *text* without the values of secret keys; itself if it has none."""
        # All that most texts cost: no step of the interpreter for each sign.
        signs = "=" in text or ":" in text
        if (
            (signs and any(map(self._known.__getitem__, _KEYS.findall(text[::-1]))))
            or "--" in text
            or "('" in text
            or '("' in text
            or "(b" in text
            or "[['" in text
            or '[["' in text
            or "[[b" in text
        ):
            return self._without(text)
        return text

    def _without(self, text: str) -> str:
        parts: list[str] = []
        done = position = 0
        for sign in _SIGNS.finditer(text):
            if sign.end() < position:  # behind one that a value ends with, is another
                continue
            key = self._secret_key(sign)
            if not key:
                continue
            start, end, position = _value(text, sign.end(), key, done)
            if end > max(start, done):
                if start > done or not parts:
                    parts += text[done:start], REDACTED
                done = end
            if end == len(text):
                break
        return "".join([*parts, text[done:]]) if parts else text

    def _secret_key(self, sign: re.Match[str]) -> str:
        """Return the key of what is assigned, if it is a secret's."""
        if named := sign["first"] or sign["option"]:
            key = named.lstrip("-")
            return key if self._secret[key] else ""
        start = sign.start()
        before = sign.string[max(0, start - _KEY_CHARACTERS) : start]
        found = _KEY.match(before[::-1])
        return "" if found is None else self._known[found[1]]


class _KnownKeys(dict[str, str]):
    """For what was found backwards from a sign: its key if it is a secret's, or ``""``.

    Decided once. At worst two threads decide the same; when it is full, it starts anew.
    """

    def __init__(self, secret: Mapping[str, bool]) -> None:
        super().__init__()
        self._secret = secret

    def __missing__(self, backwards: str) -> str:
        """Decide what is seen for the first time."""
        if len(self) >= _KEYS_REMEMBERED:
            self.clear()
        found = backwards[::-1].rstrip("]")
        key = found.rstrip("\\\"'")
        secret = self._secret
        if key != found:  # what was in quotes
            pass
        elif key.startswith("\\"):  # of a repr: "\npin=1"
            key = key[1:] if secret[key[1:]] else key[2:]
        elif " " in key:
            word, _, last = key.partition(" ")
            if secret[last] or secret[word]:  # "API key: x", not "no token found: x"
                key = last
        self[backwards] = decided = key if secret[key] else ""
        return decided


def _value(text: str, start: int, key: str, done: int) -> tuple[int, int, int]:
    """Return where the value at *start* begins and ends, and where to look on.

    What is in quotes is looked through again: the first may not have been one. What
    goes on behind the quotes, up to *done*, is not: it ends where that ended.
    """
    if text.startswith(REDACTED, start):
        return start, start, start
    cookies = "cookie" in key.lower()
    end = start
    begins = True
    while True:
        if begins and (opening := _OPENING.match(text, end)):
            inner, outer = _quoted(text, opening)
            more = _BARE.match(text, max(outer, done))
            if end == start and not more:
                return opening.end(), inner, opening.end()
            return start, more.end() if more else outer, opening.end()
        if begins and (scheme := _SCHEME.match(text, end)):
            end = scheme.end()
            continue
        begins = False
        if text.startswith(("(", "[", "{"), end):
            end = _bracketed(text, end)
        elif bare := _BARE.match(text, end):
            if end == start and bare[0].lower() in _NO_SECRETS:
                return start, start, start
            end = bare.end()
            begins = text.startswith("=", end - 1)
        elif more := _MORE.match(text, end) or (
            _MORE_COOKIES.match(text, end) if cookies else None
        ):
            end = more.end()
            begins = True
        else:
            return start, end, end


def _quoted(text: str, opening: re.Match[str]) -> tuple[int, int]:
    """Return where the text in quotes ends, without them and with them."""
    slashes, quote = opening.groups()
    start = opening.end()
    if slashes or quote not in _TEXTS:
        # Within another text its quotes are escaped, and those inside of it twice.
        closing = re.compile(rf"(?<!\\)\\{{{len(slashes)}}}{quote}").search(text, start)
        return closing.span() if closing else (len(text), len(text))
    found = _TEXTS[quote].match(text, start)
    end = len(text) if found is None else found.end()
    return (end, end + 1) if text.startswith(quote, end) else (len(text), len(text))


def _bracketed(text: str, start: int) -> int:
    """Return where the bracket that opens at *start* is closed."""
    depth = 0
    for found in _BRACKETS.finditer(text, start):
        if found["open"]:
            depth += 1
        elif found[0] in ")]}":
            depth -= 1
            if depth == 0:
                return found.end()
    return len(text)
