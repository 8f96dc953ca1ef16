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

import fastdata

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
    "image_dataset", "dataset", "fields_dataset", "contact_sheet",
    "read_ahead", "fetch", "resume", "processes", "delivering", "threads", "supply", "loader",
    "charts", "trials", "stage_work", "stage_report", "stages",
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
            if own == "cli" and name == "__init__":
                continue  # the command prints the package's version
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


def test_training_imports_no_packing() -> None:
    code = """
import sys, fastdata
from fastdata import *
assert callable(pack)
import torch.utils.data
print(*sys.modules)
"""
    whole = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    part = subprocess.run(
        [sys.executable, "-c", code.replace("from fastdata import *\nassert callable(pack)", "")],
        capture_output=True,
        text=True,
        check=True,
    )
    tools = {"fastdata.packer", "fastdata.tuning", "fastdata.contact_sheet", "fastdata.verify"}
    assert tools <= set(whole.stdout.split())
    assert not tools & set(part.stdout.split())
