"""How the documentation is built; `bash script/docs.sh` does it."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import smaf  # noqa: E402

project = "SMAF"
author = "the SMAF contributors"
version = release = smaf.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "command_tables",
    "formulas",
]
html_math_renderer = "mathml"
exclude_patterns = ["_build"]

# Pages in Markdown; the notebook is shown as it is committed
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"

# Docstrings are read without PyTorch and other large packages; where they are installed, with them
_LARGE = (
    "torch torchvision timm numba onnx onnxruntime onnxscript pycocotools tqdm matplotlib "
    "tensorboard"
)
autodoc_mock_imports = [name for name in _LARGE.split() if importlib.util.find_spec(name) is None]
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say shapes and ranges
autodoc_preserve_defaults = True
default_role = "code"
napoleon_use_rtype = False
napoleon_custom_sections = [("Raises", "returns_style")]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"SMAF {release}"
html_copy_source = False
html_show_sphinx = False
copybutton_exclude = ".linenos, .gp, .go"
linkcheck_timeout = 20
linkcheck_anchors = False

# Links to the repository's other files, which this site does not have as pages, give the file
_OUTSIDE = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\./[^)#]+)\)")


def _outside(_app: Any, _page: str, source: list[str]) -> None:
    source[0] = _OUTSIDE.sub(
        lambda link: f"{{download}}`{link[1].replace('`', '')} <{link[2]}>`", source[0]
    )


def setup(app: Any) -> None:
    """Let Sphinx call what is above."""
    app.connect("source-read", _outside)
