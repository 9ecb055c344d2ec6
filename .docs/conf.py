"""The site: ``sphinx-build -W --keep-going -n .docs FOLDER``, where a warning is an error, and names are checked."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

project = "trio-actors"
author = "the authors of trio-actors"
version = release = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "checkout", "public"]
exclude_patterns = ["examples"]
highlight_language = "text"
templates_path = ["templates"]

myst_enable_extensions = ["attrs_inline", "colon_fence"]
myst_heading_anchors = 4
# A link to a file of the checkout, which the site shows below ``source/``; checkout.py makes them.
myst_url_schemes = {
    "http": None,
    "https": None,
    "source": {"url": "source/{{path}}.html", "classes": ["source"]},
}

autodoc_member_order = "bysource"
# A default as it is written: the repr of a function is no expression, and spoils the whole signature.
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
python_display_short_literal_types = True
python_maximum_signature_line_length = 88
add_module_names = False
# Names are looked up (-n). Those of other packages lead nowhere, because no index can be fetched where this is built.
# Of this package's own, public.py takes those that exist and that applications do not write.
nitpick_ignore_regex = [
    ("py:.*", r"(_asyncio|asyncio|collections|contextlib|enum|msgspec|opentelemetry|os|pathlib|random|ssl|trio)\..*")
]
nitpick_ignore = [("py:class", "actors.asgi.realtime.WebSocket")]  # imported for type checkers alone

html_theme = "furo"
html_title = f"trio-actors {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_favicon = "../actors/web/icon.svg"
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_theme_options = {"source_repository": "", "navigation_with_keys": True}
