"""Nobody reaches into another's objects: a ``_name`` is used in the file that defines it."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import fastdata

ROOT = Path(fastdata.__file__).parent
#: Names of others' that one of ours happens to share: named tuples', multiprocessing's, torch's.
FOREIGN = {"_make", "_thread", "_IterableDataset_len_called"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def defined(tree: ast.AST) -> Iterator[str]:
    """The private names of a file's functions, methods, classes and attributes."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                yield name


def reached(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Uses of private names of anything but ``self``, ``cls`` and ``super()``: line, code, name."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass
            case ast.Attribute(value=ast.Call(func=ast.Name(id="super"))):
                pass
            case ast.Attribute(attr=name) if is_private(name):
                yield node.lineno, ast.unparse(node), name


def intrusions(code: Mapping[str, str]) -> list[str]:
    """Uses of what another file keeps to itself; what no file here defines is not ours to judge."""
    trees = {file: ast.parse(text) for file, text in code.items()}
    homes: dict[str, set[str]] = defaultdict(set)
    for file, tree in trees.items():
        for name in defined(tree):
            if is_private(name) and name not in FOREIGN:
                homes[name].add(file)
    return [
        f"{file}:{line}: {use}"
        for file, tree in trees.items()
        for line, use, name in sorted(reached(tree))
        if homes.get(name) and file not in homes[name]
    ]


def test_private_names_are_used_at_home_only() -> None:
    files = sorted(ROOT.rglob("*.py"))
    code = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in files}
    assert intrusions(code) == []


def test_intrusions_are_seen_in_every_form() -> None:
    home = (
        "class A:\n    _kind: int = 0\n    def _work(self): self._left = 1\n"
        "def _helper(): pass\ndef same_file(a): return a._left\n"
    )
    inherits = "class B(A):\n    def go(self): return super()._work(), self._left, self._kind\n"
    foreign = "def f(record, queue): return record._replace(x=1), queue._buffer, record.__dict__\n"
    reaches = (
        "def f(x, home):\n    x.y._work()\n    x._left = 2\n    return x()._kind, home._helper\n"
    )
    code = {"home": home, "inherits": inherits, "foreign": foreign, "reaches": reaches}
    assert intrusions(code) == [
        "reaches:2: x.y._work",
        "reaches:3: x._left",
        "reaches:4: home._helper",
        "reaches:4: x()._kind",
    ]
