"""How the documentation is built: ``sphinx-build -n -W -b html docs build/docs``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pygments.lexers.special import TextLexer

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "otel_tasklog"
project_copyright = "the otel_tasklog authors, Apache-2.0"
extensions = ["myst_parser"]
exclude_patterns = ["deploy", "examples"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
html_theme = "alabaster"  # comes with Sphinx; nothing is loaded from elsewhere
html_theme_options = {"description": "Task-aware asyncio logging"}
html_show_sourcelink = False


def setup(app: Sphinx) -> None:
    # Pygments has no lexer for Loki's query language.
    app.add_lexer("logql", TextLexer)
