"""How Sphinx builds these pages: ``make docs``. Nothing is fetched; warnings are errors."""

import pymodels

project = "PyModels"
author = "PyModels contributors"
release = version = pymodels.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
root_doc = "index"

# Links such as queries.md#lookups lead to headings, as they do where the pages are read unbuilt.
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
add_module_names = False

html_theme = "furo"
html_title = f"PyModels {release}"
html_copy_source = False
html_show_sourcelink = False
