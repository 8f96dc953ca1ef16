"""The package's modules import only from modules above them in this list."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from images import write_tree

import fastdata
from fastdata import verify_pack

ORDER = [
    # L0
    "version", "errors", "closable", "checksum", "sizes", "fields", "sample",
    "plan", "jit", "permutation", "worker", "delivery", "display",
    # L1
    "header", "apng", "jpeg", "resample", "structure", "background", "prefetch", "parallel",
    "channels", "endings", "folder", "remote", "shards", "publish",
    "limits", "boxes", "opencv", "render", "decoders", "decode", "masks", "encode", "sources",
    "records", "lease", "upload", "job", "run_workspace", "workspace", "url_workspace", "target",
    "transforms", "batch",
    "sampler", "shard_sampler", "progress", "stats", "failures", "epoch",
    # L2
    "sample_encoding", "shard_stream", "packing", "shard_tasks", "pack_report", "pack_run",
    "packer", "pack_sample", "pack_advice", "pack_plan_report", "pack_plan", "operations",
    "appender", "verify", "unpack_values", "unpack_tar", "unpacker", "histogram", "info",
    "image_dataset", "dataset", "fields_dataset", "charts", "contact_sheet",
    "read_ahead", "fetch", "resume", "processes", "delivering", "threads", "supply", "loader",
    "trials", "stage_work", "stage_report", "stages",
    "tune_report", "tune_search", "tuning",
    "dali",
    # L3
    "scheduler", "cli_showing", "cli_arguments", "cli_measuring", "cli", "__init__", "__main__",
]  # fmt: skip
ROOT = Path(fastdata.__file__).parent


def imported_modules(path: Path) -> set[str]:
    """Names of the package's top modules that a file imports, at any depth of its code."""
    package = ["fastdata", *path.relative_to(ROOT).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            parent = ".".join(base + ([node.module] if node.module else []))
            names = [parent] if parent != "fastdata" else [f"fastdata.{a.name}" for a in node.names]
        parts = [name.split(".") for name in names]
        found |= {p[1] if len(p) > 1 else "__init__" for p in parts if p[0] == "fastdata"}
    return found


def test_every_module_has_a_place_in_the_order() -> None:
    found = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in ROOT.rglob("*.py")}
    assert found == set(ORDER)


def test_imports_point_up_the_list_only() -> None:
    wrong = []
    for path in ROOT.rglob("*.py"):
        own = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for name in imported_modules(path) - {own}:
            if name not in ORDER or ORDER.index(name) > ORDER.index(own):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_only_decode_decodes() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if "imdecode(" in path.read_text("utf-8")
    }
    assert users == {"decode.py"}


def test_imported_modules_sees_every_form(tmp_path: Path) -> None:
    code = (
        "import fastdata.cli\nfrom . import pack\nfrom .shards.base import x\n"
        "def f():\n    from fastdata.loader import y\n"
    )
    path = ROOT / "sample.py"
    original = ast.parse
    try:
        ast.parse = lambda _text: original(code)  # type: ignore[assignment]
        assert imported_modules(path) == {"cli", "pack", "shards", "loader"}
    finally:
        ast.parse = original


def test_no_module_hides_a_public_name() -> None:
    modules = [module.name for module in pkgutil.iter_modules([str(ROOT)])]
    for name in modules:
        if name != "__main__":
            import_module(f"fastdata.{name}")
    hidden = [name for name in fastdata.__all__ if isinstance(getattr(fastdata, name), ModuleType)]
    assert hidden == ["transforms"]
    assert set(fastdata.__all__) <= set(dir(fastdata))
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        fastdata.no_such_name  # noqa: B018


def test_type_checkers_see_the_names_that_there_are() -> None:
    block, *_ = [
        node
        for node in ast.parse((ROOT / "__init__.py").read_text("utf-8")).body
        if isinstance(node, ast.If)
    ]
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(seen) | {"__version__"} == set(fastdata.__all__)
    for name, module in seen.items():
        if module is not None:
            found = getattr(import_module(f"fastdata.{module}"), name)
            assert getattr(fastdata, name) is found


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
    tools = {"fastdata.packer", "fastdata.tuning", "fastdata.contact_sheet", "fastdata.verify"}
    found = imported("from fastdata import DataLoaderX, PackedImageFolder, transforms")
    assert "fastdata.loader" in found
    assert not found & {*tools, "lmdb", "h5py", "numba"}
    assert tools <= imported("from fastdata import *")
