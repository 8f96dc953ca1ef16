"""No constructor takes many arguments by position: at the sixth nobody knows which one it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastdata

ROOT = Path(fastdata.__file__).parent
MOST = 5

#: Torch's own signature, which a drop-in has to have.
GIVEN = {"loader/loader.py: DataLoaderX"}

#: Not yet mended. Nothing is to be added here.
LEFT = {
    "datasets/base.py: ImageDataset",
    "datasets/packed.py: PackDataset",
    "inspection/bench/report.py: BenchReport",
    "inspection/bench/report.py: Row",
    "inspection/contact_sheet/_tiles.py: Tile",
    "inspection/info.py: PackInfo",
    "inspection/tune/report.py: TuneReport",
}


def by_position(node: ast.ClassDef) -> int:
    """How many arguments the constructor that a class defines takes by position.

    A ``NamedTuple`` is a tuple: its fields have positions.
    """
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
            return len(inner.args.posonlyargs) + len(inner.args.args) - 1
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    made = [text for text in decorators if text.startswith("dataclass")]
    return 0 if not made or "kw_only=True" in made[0] else len(list(fields(node)))


def fields(node: ast.ClassDef) -> Iterator[str]:
    """The fields of a dataclass's own before ``KW_ONLY``."""
    for inner in node.body:
        if isinstance(inner, ast.AnnAssign):
            kind = ast.unparse(inner.annotation)
            if kind == "KW_ONLY":
                return
            value = "" if inner.value is None else ast.unparse(inner.value)
            if "ClassVar" not in kind and "init=False" not in value:
                yield ast.unparse(inner.target)


def test_no_constructor_takes_more_than_five_arguments_by_position() -> None:
    found = {
        f"{path.relative_to(ROOT).as_posix()}: {node.name}"
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef) and by_position(node) > MOST
    }
    assert found - GIVEN - LEFT == set()


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("class A:\n def __init__(self, a, b, /, c, *d, e, **f): pass", 3),
        ("@dataclass\nclass A:\n a: int\n b: ClassVar[int]\n c: int = 3", 2),
        ("@dataclass(frozen=True)\nclass A:\n a: int\n _: KW_ONLY\n b: int", 1),
        ("@dataclass(kw_only=True)\nclass A:\n a: int\n b: int", 0),
        ("@dataclass\nclass A:\n a: int\n b: int = field(init=False)", 1),
        ("class A(NamedTuple):\n a: int", 0),
    ],
)
def test_arguments_are_counted_in_every_form(code: str, count: int) -> None:
    (node,) = ast.parse(code).body
    assert isinstance(node, ast.ClassDef)
    assert by_position(node) == count
