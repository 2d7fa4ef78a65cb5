"""How Sphinx builds these pages."""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_PAGES = Path(__file__).parent
_PROJECT = tomllib.loads(_PAGES.parent.joinpath("pyproject.toml").read_text(encoding="utf-8"))

project = "dv"
author = "The dv authors"
project_copyright = author
release = version = _PROJECT["project"]["version"]

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3  # so that pages can link to each other's headings, and a broken link fails the build

exclude_patterns = ["_build", "json"]

html_theme = "furo"
html_title = f"dv {release}"
html_copy_source = False
html_show_sphinx = False


def leave_out_empty_shelves(_app: "Sphinx", docname: str, source: list[str]) -> None:
    """Take a shelf such as `howto/*` out of the table of contents while there is no page on it."""
    if docname == "index":
        lines = source[0].splitlines()
        kept = [line for line in lines if not line.endswith("/*") or any(_PAGES.glob(f"{line}.md"))]
        source[0] = "\n".join(kept)


def setup(app: "Sphinx") -> None:
    """Called by Sphinx once, before it reads a page."""
    app.connect("source-read", leave_out_empty_shelves)
