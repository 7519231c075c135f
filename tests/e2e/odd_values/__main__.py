"""``cd tests && python -m e2e.odd_values [--write]``: run all, print or write the page."""

from __future__ import annotations

import argparse
import sys

from e2e.odd_values.cases import CASES
from e2e.odd_values.child import OFFICIAL, OURS
from e2e.odd_values.judge import run
from e2e.odd_values.page import PAGE, cells, page


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m e2e.odd_values", description=__doc__
    )
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    arguments = parser.parse_args()
    outcomes = run((OURS, OFFICIAL), range(len(CASES)))
    text = page(outcomes)
    print(text)  # noqa: T201
    if arguments.write:
        PAGE.write_text(text)
    bad = [n for n, came in outcomes[OURS].items() if not came.is_good(CASES[n])]
    for number in bad:
        print("bad:", *cells(number, outcomes).values(), sep=" | ")  # noqa: T201
    print(f"{len(CASES)} rows, {len(bad)} bad of ours")  # noqa: T201
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
