"""What terminals are given of texts that others wrote."""

from __future__ import annotations

import json
import math

import pytest
from hostile_texts import EVERYTHING, HOSTILE, unprintable
from hypothesis import given
from hypothesis import strategies as st

from otel_tasklog._text import CONTINUED, marked, printable_json, visible

# Also lone surrogates, and the separators that split lines for some.
ANY = st.text(st.characters(codec=None) | st.sampled_from(EVERYTHING))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY,
    lambda inner: st.lists(inner) | st.dictionaries(ANY, inner),
)


@given(ANY)
def test_a_visible_text_is_one_printable_line_that_stays_as_it_is(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert visible(shown) == shown
    assert (shown == text) is text.isprintable()


@given(ANY.filter(lambda text: "\\" not in text))
def test_a_visible_text_tells_what_the_text_was(text: str) -> None:
    spelled = visible(text).encode("latin-1", "backslashreplace")
    assert spelled.decode("unicode_escape") == text


@pytest.mark.parametrize("text", HOSTILE.values(), ids=[*HOSTILE])
def test_whatever_a_terminal_obeys_is_spelled_out(text: str) -> None:
    assert not unprintable(visible(text), allowed="")
    assert not unprintable(marked(text), allowed="\n\t")


def test_a_long_text_of_distinct_characters_takes_no_time_that_grows_with_both() -> (
    None
):
    private = "".join(map(chr, range(0xE000, 0xF8FF))) * 20
    assert len(visible(private)) == 6 * len(private)


@given(ANY)
def test_a_marked_text_has_one_line_without_the_mark(text: str) -> None:
    first, *others = marked(text).split("\n")
    assert not unprintable(f"{first}{others}", allowed="\t")
    assert not first.startswith(CONTINUED)
    assert all(line.startswith(CONTINUED) for line in others)


@given(ANY)
def test_a_marked_text_is_not_marked_again(text: str) -> None:
    assert marked(marked(text)) == marked(text)


def test_a_marked_text_keeps_its_lines_and_tabs() -> None:
    assert marked("one\n\ttwo\r\n  | three\n\nfour\r\n") == (
        "one\n  | \ttwo\n  | three\n  | \n  | four"
    )
    assert marked("  | mine") == r"\x20 | mine"


@pytest.mark.parametrize("ascii_only", [True, False], ids=["ascii", "unicode"])
@given(value=VALUES)
def test_printable_json_is_one_printable_line_that_says_the_same(
    value: object, *, ascii_only: bool
) -> None:
    text = printable_json(json.dumps(value, ensure_ascii=ascii_only))
    assert text.isprintable()
    assert text.isascii() or not ascii_only
    read = json.loads(text, parse_constant=pytest.fail)
    assert read == json.loads(json.dumps(value), parse_constant=str)


def test_numbers_that_json_has_not_are_texts() -> None:
    text = json.dumps([math.nan, math.inf, -math.inf, "NaN", 1.5])
    assert json.loads(printable_json(text)) == [
        "NaN",
        "Infinity",
        "-Infinity",
        "NaN",
        1.5,
    ]
