"""Nobody asks for an encoding by its name: what is to be known of one stands in its object."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastdata
from fastdata.images import ENCODINGS

ROOT = Path(fastdata.__file__).parent
HOME = ROOT / "images" / "encodings.py"
FORMATS = {"jpeg", "png"}  # which are names of encodings, too


def names_in(node: ast.AST) -> set[str]:
    """Names of encodings that an operand is, or that a tuple, list or set has."""
    items = node.elts if isinstance(node, (ast.Tuple, ast.List, ast.Set)) else [node]
    return {item.value for item in items if isinstance(item, ast.Constant)} & set(ENCODINGS)


def is_about_a_format(node: ast.AST) -> bool:
    """True for ``header.format``, ``format_`` and ``sniff(data)``."""
    node = node.func if isinstance(node, ast.Call) else node
    return ast.unparse(node).split(".")[-1] in ("format", "format_", "sniff")


def questions(code: str) -> Iterator[int]:
    """Lines that compare with the name of an encoding, or look something up by it in a table."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
            found = set[str]().union(*map(names_in, operands))
            if any(map(is_about_a_format, operands)):
                found -= FORMATS
        elif isinstance(node, ast.Dict):
            found = set[str]().union(*(names_in(key) for key in node.keys if key)) - FORMATS
        elif isinstance(node, ast.MatchValue):
            found = names_in(node.value)
        else:
            continue
        if found:
            yield node.lineno if isinstance(node, ast.expr) else node.value.lineno


def test_nobody_asks() -> None:
    asked = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted(ROOT.rglob("*.py"))
        if path != HOME
        for line in questions(path.read_text("utf-8"))
    ]
    assert asked == []


@pytest.mark.parametrize(
    "code",
    [
        'encoding == "raw"',
        'if "keep" != settings.encoding: pass',
        'encoding["name"] in ("keep", "sliceable")',
        'encoding not in {"jpeg"}',
        'a = {"png": 1, "raw": 2}',
        'match name:\n    case "jpeg": pass',
    ],
)
def test_questions_are_seen(code: str) -> None:
    assert list(questions(code)) == [code.count("\n") + 1]


@pytest.mark.parametrize(
    "code",
    ['header.format == "jpeg"', 'sniff(data) != "png"', '{"jpeg": ".jpg"}', 'f("raw") == 3'],
)
def test_others_are_not_meant(code: str) -> None:
    assert list(questions(code)) == []
