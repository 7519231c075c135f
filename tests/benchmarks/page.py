"""The generated parts of the page about performance.

Each stands between two comments that name it; everything outside of them is written
by hand, and stays as it is.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from otel_tasklog.capture import _call

__all__ = ["DIFFERENCES", "PAGE", "THIS_BUILD", "replaced", "write"]

PAGE: Final = Path(__file__).parents[2] / "docs" / "explanation" / "performance.md"
DIFFERENCES: Final = "differences"
COMPILED: Final = not str(_call.__file__).endswith(".py")
THIS_BUILD: Final = (
    f"Python {sys.version_info.major}.{sys.version_info.minor}"
    f"{', compiled' if COMPILED else ''}"
)


def replaced(page: str, part: str, text: str) -> str:
    """Return the page with another text between the comments of a part.

    Raises:
        ValueError: The page has no such part, or has it twice.
    """
    begin, end = f"<!-- generated: {part} -->\n", f"<!-- end: {part} -->\n"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"not one pair of {begin.strip()} and {end.strip()}")
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{text.strip()}\n\n{end}{after}"


def write(parts: dict[str, str]) -> None:
    """Write the parts into the page."""
    page = PAGE.read_text(encoding="utf-8")
    for part, text in parts.items():
        page = replaced(page, part, text)
    PAGE.write_text(page, encoding="utf-8")
