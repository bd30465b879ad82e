"""Sphinx configuration: `sphinx-build -W --keep-going docs build/docs` makes the site, without a network."""

import importlib.metadata

project = "overfly"
author = "The overfly developers"
project_copyright = author
version = release = importlib.metadata.version("overfly")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
source_suffix = {".md": "markdown"}
html_extra_path = ["report.schema.json"]

# `--option` must not become a dash.
smartquotes = False
# A link to a heading, `page.md#heading`, is checked like any other.
myst_heading_anchors = 3
# Commands and printed tables are no program text.
highlight_language = "text"

napoleon_google_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"

html_theme = "furo"
html_title = f"overfly {release}"
html_copy_source = False
