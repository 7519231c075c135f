"""The page with the table: what came of each case, of both pipelines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from e2e.odd_values.cases import CASES, GROUPS
from e2e.odd_values.child import NEIGHBOURS, OFFICIAL, OURS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from e2e.odd_values.case import Case
    from e2e.odd_values.judge import Outcome

    Outcomes = Mapping[str, Mapping[int, Outcome]]

__all__ = ["PAGE", "cells", "page", "written"]

PAGE: Final = Path(__file__).parents[3] / "docs" / "reference" / "odd-values.md"
_START: Final = "<!-- what `python -m e2e.odd_values --write` writes begins here -->\n"
_ROW: Final = re.compile(r"^\| (.*) \|$", re.MULTILINE)
_COLUMNS: Final = "| what is odd | it becomes | ours | official |\n|---|---|---|---|\n"


def code(text: str) -> str:
    """Return a text as it is, in a cell of a table."""
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}".replace("|", "\\|")


def _cell(case: Case, outcome: Outcome) -> str:
    parts = [f"**{fault}**" for fault in outcome.harm(case)]
    if outcome.differs(case):
        parts.append(f"becomes {code(outcome.became)}")
    parts = parts or ["yes"]
    if outcome.lines:
        parts.append(f"{outcome.lines} line{'s' if outcome.lines > 1 else ''}")
    return ", ".join(parts)


def _expected(case: Case) -> str:
    return f"the caller gets `{case.raises}`" if case.raises else code(case.becomes)


def cells(number: int, outcomes: Outcomes) -> dict[str, str]:
    """Return the cells of a case, by their columns; those of what was run."""
    case = CASES[number]
    run = {
        name: _cell(case, of[number]) for name, of in outcomes.items() if number in of
    }
    return {"case": case.name, "becomes": _expected(case), **run}


def _counts(outcomes: Mapping[int, Outcome]) -> list[int]:
    pairs = [(CASES[number], outcome) for number, outcome in outcomes.items()]
    return [
        sum(o.raised != c.raises or not o.ended for c, o in pairs),
        sum(o.is_lost(c) for c, o in pairs),
        sum(o.neighbours < len(NEIGHBOURS) for _, o in pairs),
        sum(o.differs(c) for c, o in pairs),
        sum(bool(o.refused) for _, o in pairs),
        sum(o.lines for _, o in pairs),
    ]


_SUMMARY: Final = (
    "the caller gets an exception, or waits for ever",
    "the record is lost",
    "the records around it are lost",
    "the record says something else",
    "a default Loki refuses it, or changes it silently",
    "lines of diagnostics, in all",
)


def _table(outcomes: Outcomes) -> str:
    parts = [f"Of {len(CASES)} records:\n\n| | ours | official |\n|---|---|---|\n"]
    both = zip(_counts(outcomes[OURS]), _counts(outcomes[OFFICIAL]), strict=True)
    for what, (ours, official) in zip(_SUMMARY, both, strict=True):
        parts.append(f"| {what} | {ours} | {official} |\n")
    number = 0
    for title, group in GROUPS.items():
        parts.append(f"\n## {title}\n\n{_COLUMNS}")
        for _ in group:
            parts.append(f"| {' | '.join(cells(number, outcomes).values())} |\n")
            number += 1
    return "".join(parts)


def page(outcomes: Outcomes) -> str:
    """Return the page with the table of these outcomes."""
    return PAGE.read_text().partition(_START)[0] + _START + "\n" + _table(outcomes)


def written() -> list[dict[str, str]]:
    """Return the rows that the page has, their cells by columns."""
    columns = ("case", "becomes", OURS, OFFICIAL)
    rows = [re.split(r"(?<!\\) \| ", row) for row in _ROW.findall(PAGE.read_text())]
    found = [dict(zip(columns, row, strict=True)) for row in rows if len(row) == 4]
    return [row for row in found if row["case"] != "what is odd"]
