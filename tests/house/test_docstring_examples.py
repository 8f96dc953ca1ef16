"""The examples in docstrings: each public name has one, and each gives what it shows."""

from __future__ import annotations

import ast
import doctest
import inspect
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
from helpers.images import encoded, picture

import fastdata
import fastdata.dali
import fastdata.sources.detect
import fastdata.transforms as T

PACKAGE = Path(fastdata.__file__).parent
DALI_IS_HERE = bool(find_spec("nvidia") and find_spec("nvidia.dali"))

# Tuning and DALI start processes, threads and pipelines, on machines that have other work, too.
pytestmark = pytest.mark.timeout(150)


def documented(file: Path) -> Iterator[tuple[str, str, int]]:
    """(name, docstring, line) of everything in the file that has a docstring."""
    pending: list[tuple[str, ast.AST]] = [("", ast.parse(file.read_text("utf-8")))]
    while pending:
        name, node = pending.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                pending.append((f"{name}.{child.name}", child))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.Module):
            text = ast.get_docstring(node, clean=True)
            if text is not None:
                yield name, text, node.body[0].lineno - 1


class Example(NamedTuple):
    """A docstring with ``>>>`` lines, and where it stands."""

    name: str
    text: str
    file: str = "docstring"
    line: int = 0


def examples() -> Iterator[Example]:
    """All docstrings of the package that show something, as ``loader/loader.py DataLoaderX``."""
    for file in sorted(PACKAGE.rglob("*.py")):
        place = file.relative_to(PACKAGE).as_posix()
        for name, text, line in documented(file):
            if ">>>" in text:
                yield Example(f"{place} {name[1:]}".strip(), text, str(file), line)


def run(example: Example) -> None:
    """Run an example; the AssertionError tells what it gives instead of what it shows."""
    names = {"fastdata": fastdata, "T": T, "np": np, "torch": torch, "__name__": "__main__"}
    lines = doctest.DocTestParser().get_doctest(
        example.text, names, example.name, example.file, example.line
    )
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(lines, out=said.append)
    assert not result.failed, "".join(said)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ``photos``, eight JPEGs in the classes cat and dog, and ``photos.pack``."""
    place = tmp_path_factory.mktemp("examples")
    for number in range(8):
        folder = place / "photos" / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.jpg").write_bytes(encoded(picture(48, 64, number)))
    fastdata.pack(place / "photos", place / "photos.pack", quiet=True)
    return place


@pytest.fixture
def here(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with copies of the photographs and their pack."""
    shutil.copytree(photos, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    return tmp_path


@pytest.mark.parametrize("example", list(examples()), ids=lambda example: example.name)
def test_an_example_gives_what_it_shows(example: Example, here: Path) -> None:
    if example.name.startswith("dali/") and not DALI_IS_HERE:
        pytest.skip("DALI is not installed")
    run(example)


def public() -> dict[str, object]:
    """What users import by name, less errors and what has no docstring of its own."""
    found = {f"fastdata.{name}": getattr(fastdata, name) for name in fastdata.__all__}
    found |= {f"transforms.{name}": getattr(T, name) for name in T.__all__}
    found |= {f"dali.{name}": getattr(fastdata.dali, name) for name in fastdata.dali.__all__}
    found["sources.detect.open_source"] = fastdata.sources.detect.open_source
    methods = ("errors", "stats", "state_dict", "load_state_dict")
    found |= {f"DataLoaderX.{name}": getattr(fastdata.DataLoaderX, name) for name in methods}
    return {name: value for name, value in found.items() if needs_example(value)}


def needs_example(value: object) -> bool:
    if isinstance(value, ModuleType) or (inspect.isclass(value) and issubclass(value, Exception)):
        return False
    code = value.fget if isinstance(value, property) else value
    return str(getattr(code, "__module__", "")).startswith("fastdata")


@pytest.mark.parametrize("name", list(public()))
def test_a_public_name_has_an_example(name: str) -> None:
    assert has_example(public()[name]), f"{name}: its docstring needs a short example (>>>)"


def has_example(value: object) -> bool:
    return ">>>" in (value.__doc__ or "")


def test_a_missing_example_is_noticed() -> None:
    def undocumented() -> None:
        """Nothing is shown here."""

    assert not has_example(undocumented)
    assert len(public()) > 40


BROKEN = {
    "another value": ">>> len(fastdata.PackedImageFolder('photos.pack'))\n9",
    "an error": ">>> fastdata.PackedImageFolder('no.pack')",
    "output that is not shown": ">>> 1 + 1",
    "an error that does not come": ">>> None\nTraceback (most recent call last):\nValueError",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_example_fails(text: str, here: Path) -> None:
    with pytest.raises(AssertionError, match="Failed example"):
        run(Example("broken", text))


def test_examples_see_real_images(here: Path) -> None:
    """What examples show is about photographs that decode, not about placeholders."""
    files = sorted(here.glob("photos/*/*.jpg"))
    assert [cv2.imread(str(file)).shape for file in files] == [(48, 64, 3)] * 8
