"""The plan of the house: rooms import only what they may, and only through each other's faces."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from helpers.images import write_tree

import fastdata
from fastdata import verify_pack

#: What each room may import, besides itself and ``errors``. Data flow from top to bottom.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "core": set(),
    "images": set(),
    "store": {"core", "images"},
    "sources": {"core", "images", "store"},
    "packing": {"core", "images", "store", "sources"},
    "transforms": {"core", "images"},
    "datasets": {"core", "images", "store", "sources", "transforms"},
    "loader": {"core", "images", "store", "datasets"},
    "dali": {"core", "images", "transforms", "datasets", "loader"},
    "inspection": {"core", "images", "store", "transforms", "datasets", "loader"},
    "cli": {"core", "images", "store", "sources", "packing", "inspection"},
    "__main__": {"cli"},
}
ROOT = Path(fastdata.__file__).parent
PAGE = ROOT / "docs/house.md"
ROOMS = sorted(set(MAY_IMPORT) - {"errors", "__main__"})


def imports(code: str, package: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each module of fastdata that code imports something from, at any depth, and that name.

    ``import fastdata.a.b`` has the name "".
    """
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield tuple(alias.name.split(".")), ""
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            for alias in node.names:
                yield module, alias.name


def across_walls(code: str, path: Path) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """The imports of a file from other rooms: the room, the path inside of it, and the name."""
    package = ("fastdata", *path.relative_to(ROOT).parts[:-1])
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for module, name in imports(code, package):
        if module == ("fastdata",):  # "from .. import transforms" means a room
            module, name = ("fastdata", name), ""
        if module[0] == "fastdata" and len(module) > 1 and module[1] != own:
            yield module[1], module[2:], name


FILES = [path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "__init__.py"]


def test_every_room_has_its_place() -> None:
    found = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in FILES}
    assert found == set(MAY_IMPORT)


def test_rooms_import_what_they_may() -> None:
    wrong = []
    for path in FILES:
        own = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for room, _, name in across_walls(path.read_text("utf-8"), path):
            if room not in MAY_IMPORT[own] | {"errors"}:
                wrong.append(f"{path.relative_to(ROOT)} imports {name} from {room}")
    assert wrong == []


def test_the_page_says_the_same() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*)\|$", PAGE.read_text("utf-8"), re.MULTILINE)
    said = {room: set(re.findall(r"\w+", allowed)) for room, allowed in rows}
    assert said == {room: MAY_IMPORT[room] for room in [*ROOMS, "errors"]}


def test_rooms_use_only_faces() -> None:
    """Nobody reaches past a room's face: not for a private module, nor for any other."""
    wrong = []
    for path in FILES:
        for room, inside, name in across_walls(path.read_text("utf-8"), path):
            face = import_module(f"fastdata.{room}")
            if inside or (room != "errors" and name and name not in face.__all__):
                wrong.append(f"{path.relative_to(ROOT)} imports {name} of {(room, *inside)}")
    assert wrong == []


def test_faces_are_not_wider_than_what_is_used() -> None:
    """A name in a face is used by another room, or is public."""
    used = {
        (room, name)
        for path in [*FILES, ROOT / "__init__.pyi"]
        for room, _, name in across_walls(path.read_text("utf-8"), path)
    }
    public = {"transforms", "dali", "sources"}
    unused = [
        f"{room}.{name}"
        for room in ROOMS
        if room not in public
        for name in import_module(f"fastdata.{room}").__all__
        if (room, name) not in used
    ]
    assert unused == ["cli.main"]  # of the tests


@pytest.mark.parametrize("room", ["", *ROOMS])
def test_a_face_has_its_names(room: str) -> None:
    module = import_module(f"fastdata.{room}".rstrip("."))
    assert module.__doc__
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("room", sorted(set(ROOMS) - {"dali"}))
def test_a_room_tells_its_reading_order(room: str) -> None:
    """Each module and folder of a room is named in its docstring."""
    path = ROOT / room
    inside = {
        entry.stem
        for entry in path.iterdir()
        if entry.suffix == ".py" or (entry / "__init__.py").exists()
    }
    doc = import_module(f"fastdata.{room}").__doc__ or ""
    assert {name for name in inside - {"__init__"} if f"``{name}``" not in doc} == set()


def test_only_decode_decodes() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for path in FILES
        if "imdecode(" in path.read_text("utf-8")
    }
    assert users == {"images/decode.py"}


def test_imports_across_walls_are_seen_in_every_form() -> None:
    code = (
        "import fastdata.cli\nfrom . import pack\nfrom .shards._base import x\nimport numpy\n"
        "from .. import transforms\nfrom fastdata import dali\n"
        "def f():\n    from fastdata.loader.loader import y\n"
    )
    assert list(across_walls(code, ROOT / "store" / "reader.py")) == [
        ("cli", (), ""),
        ("transforms", (), ""),
        ("dali", (), ""),
        ("loader", ("loader",), "y"),
    ]
    assert list(across_walls("from .shards._base import x", ROOT / "errors.py")) == [
        ("shards", ("_base",), "x")
    ]


def test_no_module_hides_a_public_name() -> None:
    for path in FILES:
        if path.stem != "__main__":
            parts = path.relative_to(ROOT).with_suffix("").parts
            import_module(".".join(["fastdata", *(part for part in parts if part != "__init__")]))
    hidden = [name for name in fastdata.__all__ if isinstance(getattr(fastdata, name), ModuleType)]
    assert hidden == ["transforms"]
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        fastdata.no_such_name  # noqa: B018


def imported(code: str) -> set[str]:
    """The modules that a fresh process has imported after running this code."""
    code += "\nimport sys\nprint(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return set(found.stdout.splitlines()[-1].split())


def test_packing_needs_no_torch(tmp_path: Path) -> None:
    pytest.importorskip("numba")  # without it torch shrinks
    pack, more = tmp_path / "a.pack", tmp_path / "b.pack"
    commands = [
        ["pack", write_tree(tmp_path / "photos"), pack],
        ["append", pack, tmp_path / "photos"],
        ["convert", pack, more, "--encoding", "jpeg", "--resize-short", "8"],
        ["verify", more, "--deep"],
        ["info", more],
        ["unpack", more, tmp_path / "out"],
        ["unpack", more, tmp_path / "tars", "--to", "tar"],
        ["merge", pack, tmp_path / "c.pack"],
        ["subset", pack, tmp_path / "d.pack", "--count", "2"],
        ["pack", tmp_path / "photos", tmp_path / "e.pack", "--dry-run"],
    ]
    words = [list(map(str, command)) for command in commands]
    code = f"from fastdata.cli import main\nfor words in {words!r}: assert main(words) == 0"
    assert "torch" not in imported(code)
    assert verify_pack(more).ok


def test_training_needs_no_packing() -> None:
    tools = {
        "fastdata.packing.pack",
        "fastdata.inspection.tune.tune",
        "fastdata.inspection.contact_sheet",
        "fastdata.inspection.verify",
    }
    found = imported("from fastdata import DataLoaderX, PackedImageFolder, transforms")
    assert "fastdata.loader.loader" in found
    assert not found & {*tools, "lmdb", "h5py", "numba"}
    assert tools <= imported("from fastdata import *")
