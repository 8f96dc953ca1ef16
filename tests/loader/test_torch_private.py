"""The private names of torch that the loader uses: listed, there, and used in one folder only."""

from __future__ import annotations

import ast
import multiprocessing
import re
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from types import CodeType
from typing import Any, NamedTuple

import pytest
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

import fastdata
from fastdata.loader import torch_private

ROOT = Path(fastdata.__file__).parent
FOLDER = Path(torch_private.__file__).parent

#: Private names of torch, but not of its loader. No public one does the same without a copy.
ELSEWHERE = {("datasets/batch.py", "torch.UntypedStorage._new_shared")}


class Use(NamedTuple):
    owner: str
    name: str
    modules: tuple[str, ...]


def listed() -> Iterator[Use]:
    """The names in the folder's docstring, under what has them, with the modules that use them."""
    owner = ""
    for line in (torch_private.__doc__ or "").splitlines():
        if found := re.fullmatch(r"    (torch\S+)", line):
            owner = found[1]
        elif found := re.fullmatch(r"      (\w+)  +(\w+: .+)", line):
            yield Use(owner, found[1], tuple(re.findall(r"(\w+): ", found[2])))


USES = list(listed())


def names_in(kind: type) -> set[str]:
    """The names that a class and its bases, within torch, define or use in their code."""
    names: set[str] = set()
    for base in kind.__mro__:
        if base.__module__.startswith("torch"):
            names |= set(vars(base))
            for value in vars(base).values():
                names |= names_of_code(getattr(getattr(value, "fget", value), "__code__", None))
    return names


def names_of_code(code: Any) -> set[str]:
    inner = [names_of_code(const) for const in getattr(code, "co_consts", ())]
    own = set(code.co_names) if isinstance(code, CodeType) else set()
    return own.union(*inner)


@pytest.mark.parametrize("use", USES, ids=[f"{use.owner}.{use.name}" for use in USES])
def test_a_listed_name_is_there_and_used(use: Use) -> None:
    owner = resolve_name(use.owner)
    there = names_in(owner) if isinstance(owner, type) else set(vars(owner))
    assert use.name in there, f"this torch has no {use.owner}.{use.name}: see fastdata/{HERE}"
    for module in use.modules:
        assert use.name in (FOLDER / f"{module}.py").read_text("utf-8")


HERE = FOLDER.relative_to(ROOT).as_posix()


def test_the_list_can_be_read() -> None:
    assert len(USES) > 20
    doc = torch_private.__doc__ or ""
    assert len(re.findall(r"^      \w", doc, re.MULTILINE)) == len(USES)


def test_the_names_of_multiprocessing_are_there() -> None:
    names = set(re.findall(r"``(_\w+)``", (torch_private.__doc__ or "").split("``Queue``")[1]))
    queue = multiprocessing.get_context().Queue()
    assert names >= {"_reader", "_writer"}
    assert {name for name in names if not hasattr(queue, name)} == set()
    queue.close()


def own_names(path: Path, base: str) -> set[str]:
    """Private names that the classes with this base use of themselves."""
    return {
        inner.attr if isinstance(inner, ast.Attribute) else inner.name
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef) and base in map(base_name, node.bases)
        for inner in ast.walk(node)
        if (isinstance(inner, ast.Attribute) and ast.unparse(inner.value) in ("self", "super()"))
        or isinstance(inner, ast.FunctionDef)
        if is_private(inner.attr if isinstance(inner, ast.Attribute) else inner.name)
    }


def base_name(node: ast.expr) -> str:
    return ast.unparse(node).split("[")[0]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


@pytest.mark.parametrize(
    ("file", "base", "of_torch"),
    [
        ("torch_private/processes.py", "_MultiProcessingDataLoaderIter", True),
        ("torch_private/iterators.py", "DataLoader", True),
        ("loader.py", "DataLoader", False),
        ("../dali/loader.py", "DataLoaderX", False),
    ],
)
def test_no_name_of_ours_is_torchs_by_chance(file: str, base: str, of_torch: bool) -> None:
    """A class that extends one of torch's shares with it only names that are listed."""
    kind = _MultiProcessingDataLoaderIter if "_" in base else DataLoader
    own = own_names(ROOT / "loader" / file, base)
    assert own
    known = {use.name for use in USES} if of_torch else set()
    assert own & names_in(kind) - known == set()


def private_uses(code: str) -> Iterator[str]:
    """Uses of private names of torch: imports, attributes, and names in strings."""
    of_loaders = {use.name for use in USES if use.owner.endswith("DataLoader")}
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Import(names=aliases):
                full = [alias.name for alias in aliases]
            case ast.ImportFrom(module=str(module), names=aliases, level=0):
                full = [f"{module}.{alias.name}" for alias in aliases]
            case ast.Attribute(attr=name) if name in of_loaders:
                yield ast.unparse(node)
                continue
            case ast.Attribute():
                full = [ast.unparse(node)]
            case ast.Constant(value=str(text)) if text in of_loaders:
                yield text
                continue
            case _:
                continue
        for name in full:
            first, *rest = name.split(".")
            if first == "torch" and any(map(is_private, rest)):
                yield name


def test_private_names_of_torch_are_used_in_one_folder() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), use)
        for path in ROOT.rglob("*.py")
        if path.parent != FOLDER
        for use in private_uses(path.read_text("utf-8"))
    }
    assert found == ELSEWHERE
    assert hasattr(resolve_name("torch.UntypedStorage"), "_new_shared")


def test_private_uses_are_seen_in_every_form() -> None:
    code = (
        "import torch._C\nfrom torch.utils.data import _utils, Dataset\nimport numpy._core\n"
        "from torch._utils import ExceptionWrapper\nfrom ._names import x\n"
        "def f(loader):\n    loader.__dict__['_DataLoader__multiprocessing_context'] = 1\n"
        "    return loader._index_sampler, torch.multiprocessing._x, torch.zeros, self._x\n"
    )
    assert sorted(private_uses(code)) == [
        "_DataLoader__multiprocessing_context",
        "loader._index_sampler",
        "torch._C",
        "torch._utils.ExceptionWrapper",
        "torch.multiprocessing._x",
        "torch.utils.data._utils",
    ]


def test_the_oldest_torch_that_is_allowed_is_tried() -> None:
    allowed = re.search(r'"torch>=([\d.]+)"', (ROOT.parent / "pyproject.toml").read_text("utf-8"))
    assert allowed is not None
    workflow = (ROOT.parent / ".github/workflows/tests.yml").read_text("utf-8")
    assert f'version: ["{allowed[1]}.0", newest]' in workflow
    assert (ROOT.parent / "tools/test-torch").stat().st_mode & 0o100
