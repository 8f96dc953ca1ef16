"""What is installed: the wheel, the source distribution, and what type checkers see of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from helpers.images import write_tree

import fastdata

for package in ("hatchling", "editables", "twine", "mypy"):
    pytest.importorskip(package, reason="packaging needs pip install fastdata[dev]")

pytestmark = pytest.mark.timeout(600)  # builds, installs, trains, and mypy reads all of torch
ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(*words: object, where: Path) -> str:
    """What a command prints, run outside of the checkout unless ``where`` is in it."""
    command = [*map(str, words)]
    done = subprocess.run(command, cwd=where, env=OUTSIDE, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(target: str, source: Path, out: Path) -> Path:
    run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", out, where=source)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as pip does from what is on an index: from the source distribution."""
    place = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(place, filter="data")
    (source,) = place.iterdir()
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


class Environment:
    """A fresh environment, which has this one's packages, but not its fastdata."""

    def __init__(self, place: Path) -> None:
        venv.create(place, with_pip=False)
        self.bin = place / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.bin / "python"
        paths = {"base": str(place), "platbase": str(place)}
        own = Path(sysconfig.get_path("purelib", "venv", paths))
        # Packages of a directory that is named here are found; what its own .pth files name is not.
        (own / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
        self.place = place

    def install(self, *words: object) -> None:
        options = ["--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed"]
        pip = [sys.executable, "-m", "pip", "--python", self.python, "--disable-pip-version-check"]
        run(*pip, "install", "--quiet", *options, *words, where=self.place)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("installed"))
    environment.install(wheel)
    return environment


@pytest.fixture(scope="module")
def editable(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("editable"))
    environment.install("--editable", ROOT)
    return environment


def library_files(root: Path) -> set[str]:
    """Every file of the library but what Python makes of it, as ``fastdata/…``."""
    found = (path.relative_to(root) for path in (root / "fastdata").rglob("*") if path.is_file())
    return {path.as_posix() for path in found if "__pycache__" not in path.parts}


def test_the_wheel_is_the_library_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    info = f"fastdata-{fastdata.__version__}.dist-info"
    library = {name for name in names if not name.startswith(f"{info}/")}
    assert library == library_files(ROOT)
    assert {"fastdata/py.typed", "fastdata/__init__.pyi", "fastdata/loader/__init__.pyi"} <= library
    assert {"fastdata/docs/index.md", "fastdata/docs/format.md", "fastdata/LICENSE"} <= library
    assert f"{info}/licenses/fastdata/LICENSE" in names


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("dist-info/METADATA"))
        metadata = archive.read(name).decode()
    assert "License-Expression: BSD-3-Clause\n" in metadata
    assert "Classifier: Typing :: Typed\n" in metadata
    assert "Requires-Python: >=3.10\n" in metadata
    assert (ROOT / "README.md").read_text("utf-8") in metadata


def test_the_source_distribution_can_be_tested_and_documented(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert library_files(ROOT) <= names
    assert {"README.md", "pyproject.toml", "PKG-INFO", ".github/CONTRIBUTING.md"} <= names
    assert {"tests/conftest.py", "tests/house/test_packaging.py", "benchmarks/README.md"} <= names
    assert {"tools/docs", "tools/site/conf.py", "tools/examples/train.py"} <= names
    assert not [
        name for name in names if "__pycache__" in name or name.startswith((".venv", "build"))
    ]


def test_an_index_would_take_both(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    said = run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel, where=tmp_path)
    assert said.count("PASSED") == 2


def test_the_installed_library_packs_verifies_and_trains(
    installed: Environment, tmp_path: Path
) -> None:
    write_tree(tmp_path / "photos", classes=2, per_class=8)
    command = installed.bin / "fastdata"
    run(command, "pack", "photos", "photos.pack", where=tmp_path)
    assert "16" in run(command, "verify", "photos.pack", where=tmp_path)
    shutil.copy(ROOT / "tools/examples/train.py", tmp_path)
    options = ["--size", 32, "--workers", 1, "--epochs", 1, "--batch", 8]
    said = run(installed.python, "train.py", "photos.pack", *options, where=tmp_path)
    assert re.match(r"epoch 1: loss \d", said)


WHERE = """
import pkgutil, fastdata
print(fastdata.__file__)
print(*(module.name for module in pkgutil.iter_modules(fastdata.__path__)))
"""


def test_what_is_imported_is_what_was_installed(installed: Environment, tmp_path: Path) -> None:
    file, modules = run(installed.python, "-c", WHERE, where=tmp_path).splitlines()
    assert Path(file).is_relative_to(installed.place)
    assert {"cli", "loader", "store"} <= {*modules.split()}
    assert "docs" not in modules.split()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mypy knows of torch, which takes the most time."""
    return tmp_path_factory.mktemp("mypy")


def mypy(environment: Environment, script: str, where: Path, cache: Path) -> list[str]:
    """What mypy says of a user's script: ``LINE: kind: text``."""
    (where / "user.py").write_text(script)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache)]
    command += ["--python-executable", str(environment.python), "user.py"]
    done = subprocess.run(command, cwd=where, env=OUTSIDE, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return re.findall(r"^user\.py:(\d+: .*)", done.stdout, re.MULTILINE)


USER = """\
import fastdata
from fastdata import DataLoaderX, PackedImageFolder, errors
from fastdata import transforms as T
from fastdata.dali import DALILoader
from fastdata.sources.detect import open_source

dataset = PackedImageFolder("photos.pack", T.Compose([T.RandomResizedCrop(32)]), seed=0)
loader = DataLoaderX(dataset, batch_size=4, shuffle=True)
DataLoaderX(dataset, batch_sise=4)
reveal_type(loader)
reveal_type(dataset.classes)
reveal_type(errors.PackError())
reveal_type(DALILoader)
reveal_type(open_source("photos"))
"""
NAMES = [name for name in fastdata.__all__ if name != "transforms"]


@pytest.mark.parametrize("way", ["installed", "editable"])
def test_a_users_mypy_sees_types(
    way: str, cache: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    script = USER + "".join(f"reveal_type(fastdata.{name})\n" for name in NAMES)
    said = mypy(request.getfixturevalue(way), script, tmp_path, cache)
    errors = [line for line in said if ": error: " in line]
    assert len(errors) == 1
    assert errors[0].startswith("9: ")
    assert '"batch_sise"' in errors[0]
    notes = [
        line.partition("Revealed type is ")[2].strip('"') for line in said if "Revealed" in line
    ]
    assert notes[:2] == [
        "fastdata.loader.loader.DataLoaderX[tuple[Any, Any]]",
        "list[str]",
    ]
    assert len(notes) == 5 + len(NAMES)
    assert not [note for note in notes if note == "Any"]


def test_each_dependency_has_its_reason() -> None:
    """A comment on its line, or above it."""
    section, reason, without = "", False, []
    for line in (ROOT / "pyproject.toml").read_text("utf-8").splitlines():
        section = line if line.startswith("[") else section
        if not section.startswith(("[project]", "[project.optional-dependencies]", "[build")):
            continue
        if re.match(r' {4}"[\w-]+(\[\w+\])?[><=]', line):
            without += [] if reason or "#" in line else [line.strip()]
            reason = False
        else:
            reason = line.strip().startswith("#")
    assert not without
