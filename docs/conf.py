"""Settings of Sphinx for the site, which `make docs` builds (tools/site/build.py)."""

from __future__ import annotations

import cnn

project = "cnn"
author = "The cnn developers"
copyright = "The cnn developers"
version = release = cnn.__version__
language = "en"

extensions = ["myst_nb", "sphinx.ext.viewcode"]  # myst_nb brings myst_parser
myst_enable_extensions = ["colon_fence", "fieldlist", "attrs_inline"]
myst_heading_anchors = 4
exclude_patterns = ["gallery/*/*.ipynb"]  # which are there to be taken away
nb_execution_mode = "off"  # notebooks keep their outputs
highlight_language = "python"
templates_path: list[str] = []
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries = True
toc_object_entries_show_parents = "hide"
viewcode_line_numbers = True

html_theme = "furo"
html_title = "cnn"
html_static_path = ["_static"]  # beside this file
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_favicon = "_static/icon.svg"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "navigation_with_keys": False,  # arrow keys are the reader's
    "light_css_variables": {
        "color-brand-primary": "#0b5cad",
        "color-brand-content": "#0b5cad",
        "color-brand-visited": "#6b3fa0",
    },
    "dark_css_variables": {
        "color-brand-primary": "#7cb8f7",
        "color-brand-content": "#7cb8f7",
        "color-brand-visited": "#c3a6ee",
    },
}
