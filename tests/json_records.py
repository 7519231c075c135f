"""Finished records that JSON has exactly, and those that OTLP has, too."""

from __future__ import annotations

import logging
from typing import Any, Final

from hypothesis import strategies as st

from otel_tasklog.capture._levels import severity_number
from otel_tasklog.capture._record import NO_REST, Sealed
from otel_tasklog.viewer._record_read import body_text

__all__ = ["RESOURCES", "exact_records", "numbered"]

EXACT: Final = 2**53 - 1
YEAR_2000_NS: Final = 946_684_800 * 10**9

TEXT: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAME: Final = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
COUNT: Final = st.integers(0, EXACT)
ATOM: Final = st.one_of(
    TEXT, st.integers(-EXACT, EXACT), st.booleans(), st.none(),
    st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip
VALUE: Final = st.recursive(
    ATOM,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple), st.dictionaries(NAME, inner, max_size=3)
    ),
    max_leaves=5,
)
ATTRIBUTES: Final = st.dictionaries(
    NAME.map(lambda name: f"a.{name}"), VALUE, max_size=3
)
RESOURCES: Final = st.sampled_from(
    [{"service.name": "shop"}, {"service.name": "bank", "host.cores": 4}, {}]
)


@st.composite
def exact_records(draw: st.DrawFn) -> Sealed:
    """A record, each of its fields there or not; no empty body, which JSON leaves out."""
    level = draw(st.sampled_from([10, 20, 30, 40, 50]))
    body: dict[str, Any] | None = draw(
        st.none() | st.none() | st.dictionaries(NAME, VALUE, min_size=1, max_size=3)
    )
    attributes = draw(ATTRIBUTES)
    rest = (
        draw(st.none() | NAME), draw(st.none() | NAME), draw(st.none() | TEXT),
        draw(st.none() | NAME), draw(st.none() | TEXT),
        draw(st.none() | st.integers(1, 99)),
    )  # fmt: skip
    ids = st.binary(min_size=16, max_size=16).filter(any)
    return (
        draw(COUNT),
        YEAR_2000_NS + draw(st.integers(0, 2**60)),
        (
            draw(TEXT), level, severity_number(level), logging.getLevelName(level),
            draw(TEXT), draw(COUNT), draw(TEXT), draw(COUNT), draw(TEXT), draw(COUNT),
        ),
        (
            draw(st.none() | NAME), draw(st.none() | NAME), draw(st.none() | COUNT),
            draw(st.none() | NAME), draw(st.none() | COUNT),
        ),
        draw(
            st.none()
            | st.tuples(ids, st.binary(min_size=8, max_size=8), st.integers(0, 255))
        ),
        draw(TEXT) if body is None else body_text(body),
        body,
        tuple(attributes),
        tuple(attributes.values()),
        NO_REST if rest == NO_REST else rest,
    )  # fmt: skip


def numbered(records: list[Sealed]) -> list[Sealed]:
    """Return records as one process logs them: each later than the one before."""
    return [
        (number, YEAR_2000_NS + number * 1_000_003, *record[2:])
        for number, record in enumerate(records)
    ]
