"""Nobody asks which storage it is: a storage says itself what the rest has to know."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastdata
from fastdata.store import STORAGES

ROOT = Path(fastdata.__file__).parent
OWN = ROOT / "store" / "storages"
WORDS = {word for kind in STORAGES.values() for word in (kind.name, kind.suffix)}


def constants(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


def questions(code: str) -> Iterator[tuple[int, str]]:
    """Lines where a text is compared with, or looked up by, the name or suffix of a storage."""
    for node in ast.walk(ast.parse(code)):
        asked: list[ast.AST] = []
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.match_case):
            asked = [node.pattern]
        elif isinstance(node, ast.Subscript):
            asked = [node.slice]
        for part in asked:
            yield from ((part.lineno, word) for word in constants(part) if word in WORDS)  # type: ignore[attr-defined]


def test_no_name_or_suffix_of_a_storage_is_asked_for() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{line}: {word}"
        for path in ROOT.rglob("*.py")
        if OWN not in path.parents
        for line, word in questions(path.read_text("utf-8"))
    }
    assert found == set()


@pytest.mark.parametrize(
    "code",
    [
        'storage == "lmdb"',
        '"hdf5" != manifest.storage',
        'path.suffix in (".h5", ".lmdb")',
        'SIZES["hdf5"]',
        'match storage:\n    case "lmdb" | "other":\n        pass',
    ],
)
def test_questions_are_seen_in_every_form(code: str) -> None:
    assert list(questions(code))


def test_defaults_and_other_words_are_none() -> None:
    code = 'def f(storage="lmdb", kind="hdf5"): return storage == "zip", KINDS["tar"]'
    assert list(questions(code)) == []
