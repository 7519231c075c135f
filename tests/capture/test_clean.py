"""What goes out of a record: limits, names and Unicode."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tasklog.capture._clean import Cleaner, Limits
from otel_tasklog.capture._names import AttributeNames, normal
from otel_tasklog.capture._redact import REDACTED, Redactor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_tasklog.capture._values import Value


def cleaner(*, patterns: tuple[str, ...] = (), **limits: int) -> Cleaner:
    redactor = Redactor(patterns=patterns)
    return Cleaner(AttributeNames(redactor.is_secret), redactor, Limits(**limits))


def cleaned(
    attributes: Mapping[str, Value], clean: Cleaner | None = None
) -> dict[str, Value]:
    names, values, _ = (clean or cleaner()).attributes(
        tuple(attributes), tuple(attributes.values()), 0
    )
    return dict(zip(names, values, strict=True))


def test_attributes_beyond_the_limit_are_left_out_the_last_ones_and_counted() -> None:
    names = tuple(f"k{i}" for i in range(10))
    kept = cleaner(attributes=7).attributes(names, tuple(range(10)), 0)
    assert kept == (names[:7], tuple(range(7)), 3)


def test_each_leaf_of_a_nested_mapping_counts() -> None:
    given: dict[str, Value] = {"a": {"b": 1, "c": {"d": 2, "e": 3}}, "f": 4, "g": 5}
    names, values, dropped = cleaner(attributes=3).attributes(
        tuple(given), tuple(given.values()), 0
    )
    assert dict(zip(names, values, strict=True)) == {"a": given["a"]}
    assert dropped == 2


def test_what_others_take_is_not_there_for_attributes() -> None:
    clean = cleaner(attributes_bytes=2_000)
    names, values, dropped = clean.attributes(("a", "b"), ("x" * 500, "y" * 500), 1_200)
    assert (names, values, dropped) == (("a",), ("x" * 500,), 1) or "cut]" in str(
        values
    )
    assert sum(map(len, values)) <= 800  # type: ignore[arg-type]


def test_a_text_that_does_not_fit_is_cut_if_enough_of_it_stays() -> None:
    kept = cleaned(
        {"a": "x" * 3_000, "b": "y" * 3_000}, cleaner(attributes_bytes=4_000)
    )
    assert kept["a"] == "x" * 3_000
    assert re.fullmatch(r"y{900,}… \[\d+ characters cut\]", str(kept["b"]))


def test_limits_are_of_bytes_for_what_is_no_ascii() -> None:
    kept = cleaned({"a": "😀" * 16_000}, cleaner(attributes_bytes=8_000))
    assert len(str(kept["a"]).encode()) <= 8_000
    assert len(cleaner(body_bytes=1_000).message("é" * 1_000).encode()) <= 1_050


def test_a_large_sequence_keeps_its_start_at_every_depth() -> None:
    kept = cleaned({"rows": ((("x" * 100,) * 100,),)}, cleaner(attributes_bytes=2_000))
    text = json.dumps(kept["rows"])
    assert 1_000 < len(text) <= 2_000
    assert "items cut]" in text


def test_a_large_body_keeps_its_start_and_its_form() -> None:
    clean = cleaner(body_bytes=1_000)
    text, body = clean.body({"user": "ada", "rows": ("x" * 50,) * 100, "z": 1})
    assert body["user"] == "ada"
    assert len(text) <= 1_050
    assert json.loads(text)["rows"][0] == "x" * 50


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"task": {"id": 5}}, {"task": {"extra.id": 5}}),
        ({"code": {"line": {"number": 1}}}, {"code": {"line": {"extra.number": 1}}}),
        ({"http": {"level": 5}}, {"http": {"level": 5}}),
        ({"log": {"level": "x"}}, {"log": {"extra.level": "x"}}),
        ({"a": {"b": 1}, "a_b": 2}, {"a": {"b_2": 1}, "a_b": 2}),
        ({"a": {"x y": 1, "x_y": 2}}, {"a": {"x y": 1, "x_y_2": 2}}),
        ({"a": {"日本": 1}}, {"a": {"attribute.u65e5u672c": 1}}),
        ({"a": {"": 1}}, {"a": {"attribute": 1}}),
        ({"a": {"password": 1}}, {"a": {"password": REDACTED}}),
        ({"a": ({"password": 1},)}, {"a": ({"password": REDACTED},)}),
        ({"a": (("authorization", "x"),)}, {"a": (("authorization", REDACTED),)}),
        ({"a": ((b"cookie", b"x"),)}, {"a": ((b"cookie", REDACTED),)}),
        ({"a": ("session", "token")}, {"a": ("session", "token")}),
        ({"a": ({"": 1, "\ud800": 2},)}, {"a": ({"": 1, "\\ud800": 2},)}),
    ],
    ids=str,
)
def test_nested_keys_are_kept_but_for_what_loki_would_lose_or_mistake(
    given: dict[str, Value], kept: dict[str, Value]
) -> None:
    assert cleaned(given) == kept


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("a\udcff", b"a\xff"),  # as os.fsdecode() makes of what is no UTF-8
        ("a\ud800", b"a\xed\xa0\x80"),
        ("é", "é"),
    ],
    ids=ascii,
)
def test_a_value_that_is_no_unicode_becomes_the_bytes_it_was(
    text: str, sent: Value
) -> None:
    assert cleaned({"a": text, "b": (text,)}) == {"a": sent, "b": (sent,)}


def test_what_names_something_shows_the_number_of_a_lone_surrogate() -> None:
    assert cleaner().name("a\udcff") == "a\\udcff"
    assert cleaner().message("a\udcff") == "a\\udcff"


def test_patterns_are_searched_in_texts_at_every_depth_and_in_bytes() -> None:
    clean = cleaner(patterns=("url",))
    url, hidden = "https://ada:hunter2@shop/", "https://ada:[redacted]@shop/"
    assert clean.redacts
    assert clean.message(url) == hidden
    kept = cleaned({"a": url, "b": {"c": (url,)}, "d": url.encode()}, clean)
    assert kept == {"a": hidden, "b": {"c": (hidden,)}, "d": hidden.encode()}
    assert clean.body({"a": url}) == (json.dumps({"a": hidden}), {"a": hidden})


leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=25,
)


def flattened(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if type(value) is dict:
        return [
            leaf
            for key, item in value.items()
            for leaf in flattened(item, normal(f"{path}_{key}" if path else key))
        ]
    return [(path, value)]


@given(st.dictionaries(st.text(max_size=5), values, max_size=8), st.integers(0, 12))
def test_whatever_comes_no_two_leaves_come_to_the_same_name_and_no_more_than_the_limit(
    attributes: dict[str, Any], limit: int
) -> None:
    clean = cleaner(attributes=limit, attributes_bytes=600)
    names: dict[str, Any] = {}
    for key, value in attributes.items():
        names.setdefault(normal(AttributeNames()[key][0]), (key, value))
    given = dict(names.values())
    keys = tuple(AttributeNames().unmistaken(key) for key in given)
    kept_names, kept, _ = clean.attributes(keys, tuple(given.values()), 0)
    leaves = flattened(dict(zip(kept_names, kept, strict=True)))
    found = [name for name, value in leaves if value != {}]
    assert len(found) <= limit
    assert len(set(found)) == len(found)
    assert all(name.strip("_") for name in found)
