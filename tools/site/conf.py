"""Sphinx's settings. One thing is added: a public name in a text is a link to its entry.

Docstrings and pages write names as code, ``DataLoaderX``, as they are also read where nothing
makes links of them.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

import fastdata

project = "fastdata"
author = copyright = "the fastdata maintainers"
version = release = fastdata.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]

html_theme = "furo"
html_title = f"fastdata {version}"
html_show_sourcelink = False
html_copy_source = False

myst_heading_anchors = 4  # links to headings, as in the repository

autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_param = False  # one line may describe several parameters
napoleon_custom_sections = [("Attributes", "params_style")]  # which have no entries of their own
napoleon_use_rtype = False

# What cannot be resolved is an error; but types of others are described elsewhere, and those that
# only the code itself names, by their modules, nowhere.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!fastdata\.).*|fastdata\.\w+\..+")]


def linked_names() -> dict[str, str]:
    """Names that nobody else uses, as a text may write them; and what the entry of each is called.

    A "Resize" or an "ImageFolder" in a text may well be torchvision's.
    """
    names = {name: f"fastdata.{name}" for name in fastdata.__all__ if name[0].isupper()}
    own = ("transforms.DeviceNormalize", "transforms.GeometricTransform", "dali.DALILoader")
    names |= {name.split(".")[1]: f"fastdata.{name}" for name in own}
    return {name: full for name, full in names.items() if name != "ImageFolder"}


def link_names(app: Sphinx, document: nodes.document) -> None:
    """Let each public name that stands as code in a text lead to its entry."""
    names = linked_names()
    for literal in list(document.findall(nodes.literal)):
        target = names.get(literal.astext())
        if target is None or is_linked(literal):
            continue
        link = addnodes.pending_xref(
            "", literal.deepcopy(), refdomain="py", reftype="obj", reftarget=target, refwarn=True
        )
        literal.replace_self(link)


def is_linked(node: nodes.Node) -> bool:
    """Whether a node is part of a link or of a heading."""
    while node.parent is not None:
        node = node.parent
        if isinstance(node, nodes.reference | nodes.title | addnodes.pending_xref):
            return True
    return False


def with_defaults(*found: Any) -> tuple[str, str] | None:
    """A signature that is Python, where a dataclass makes an argument's default anew."""
    signature, returns = found[-2:]
    return signature and (signature.replace("<factory>", "..."), returns)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register both; Sphinx calls this."""
    app.connect("doctree-read", link_names)
    app.connect("autodoc-process-signature", with_defaults)
    return {"parallel_read_safe": True}
