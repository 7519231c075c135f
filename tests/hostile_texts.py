"""Texts that would steer a terminal, or pass for a record, if they were printed."""

from __future__ import annotations

from typing import Final

__all__ = ["EVERYTHING", "HOSTILE", "unprintable"]

HOSTILE: Final = {
    "a cleared screen": "\x1b[2J\x1b[H",
    "a title": "\x1b]0;owned\a",
    "a link": "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\",
    "a question to the terminal": "\x1bP$qm\x1b\\\x1b[6n",
    "C1": "\x9b31m\x9d0;t\x9c\x90q\x9c",
    "a line rewritten": "fine\rERROR all is lost",
    "another record": "one\n00:00:00.000 ERROR #1 root: two",
    "another record, with CR LF": "one\r\nWARNING:root:two",
    "a continued line": "  | of what comes before",
    "a next line": "one\x85two",
    "line and paragraph separators": "one\u2028two\u2029three",
    "vertical tab and form feed": "one\vtwo\fthree",
    "file, group, record and unit separators": "\x1c\x1d\x1e\x1f",
    "backspaces": "safe\b\b\b\bevil",
    "NUL and DEL": "\0\x7f",
    "a reversed text": "\u202egpj.exe\u202c",
    "other bidirectional marks": "\u200e\u200f\u202a\u202b\u202d\u2066\u2067\u2068\u2069\u061c",
    "nothing to be seen": "\u200b\u200c\u200d\u2060\ufeff\xad",
    "tags": "\U000e0001\U000e0041\U000e007f",
    "a private character": "\ue000\U0010fffd",
    "half a pair": "\ud83d",
    "a byte that was no text": "caf\udce9",
    "markup": "[bold]a[/bold][link=http://evil]b[/link][/] :skull:",
    "spaces up to another line": f"{' ' * 200}00:00:00.000 ERROR #1 root: two",
}  # fmt: skip

EVERYTHING: Final = "\x1b".join(HOSTILE.values())


def unprintable(output: str, allowed: str = "\n") -> set[str]:
    """Return the characters that a terminal does not simply show."""
    return {each for each in output if not each.isprintable()} - {*allowed}
