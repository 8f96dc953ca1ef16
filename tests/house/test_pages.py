"""The pages: each example runs, each link leads somewhere, each name and each message exists."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.golden import GOLDEN
from helpers.images import picture, write_tree
from helpers.pages import Page
from helpers.servers import s3_server

import fastdata

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "fastdata/docs"
README = Page(ROOT / "README.md")
PAGES = [README, *map(Page, sorted(DOCS.glob("*.md"))), Page(ROOT / ".github/CONTRIBUTING.md")]
NAMES = [page.path.name for page in PAGES]

#: Dotted words that begin like a public name and are none: what the profiler shows.
NO_NAMES = {"fastdata.wait"}
SUBJECTS = {
    *("packing", "sources", "remote", "loader", "transforms", "pixels", "sliceable-jpeg", "dali"),
    *("format", "coming-from", "frameworks", "troubleshooting", "house", "changes"),
}


def test_every_subject_has_its_page() -> None:
    assert {page.path.stem for page in PAGES if page.path.parent == DOCS} == SUBJECTS | {"index"}


def test_the_readme_is_short() -> None:
    assert len(README.text.splitlines()) <= 150


def test_every_page_is_found_from_the_readme_and_from_the_index() -> None:
    index = next(page for page in PAGES if page.path == DOCS / "index.md")
    assert {f"{subject}.md" for subject in SUBJECTS} <= index.links
    assert {f"fastdata/docs/{subject}.md" for subject in SUBJECTS} <= README.links


def broken(page: Page) -> Iterator[str]:
    for link in page.links:
        name, _, anchor = link.partition("#")
        target = page.path.parent / name if name else page.path
        if not target.exists() or (anchor and anchor not in Page(target).anchors):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Page) -> None:
    assert list(broken(page)) == []


def resolve(dotted: str) -> Any:
    """What a public dotted name stands for; ``T`` is ``fastdata.transforms``."""
    first, *names = dotted.split(".")
    found: Any = fastdata.transforms if first == "T" else fastdata
    for name in names:
        try:
            found = getattr(found, name)
        except AttributeError:
            found = import_module(f"{found.__name__}.{name}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_names_exist(page: Page) -> None:
    names = set(re.findall(r"\b(?:fastdata|T)(?:\.[A-Za-z_]\w*)+", page.checked)) - NO_NAMES
    missing = []
    for name in sorted(names):
        try:
            resolve(name)
        except ImportError:
            missing.append(name)
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_that_are_named_exist(page: Page) -> None:
    named = re.findall(r"`((?:fastdata|tests|tools|benchmarks)/[\w./-]*)`", page.prose)
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_few_examples_do_not_run(page: Page) -> None:
    reasons = [block.marks["not run"] for block in page.blocks if "not run" in block.marks]
    assert all(len(reason) > 5 for reason in reasons)
    assert len(reasons) <= 3


def messages() -> set[str]:
    """Every text in the package, with "…" where a value stands in it."""
    found = set()
    for path in (ROOT / "fastdata").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else "…" for v in node.values]
                found.add("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def test_messages_are_verbatim() -> None:
    """Of the tables whose first column is called "it says"."""
    page = next(page for page in PAGES if page.path.stem == "troubleshooting")
    tables = re.findall(r"^\| it says .*\n((?:\|.*\n)+)", page.text, re.MULTILINE)
    quoted = [m[1] for table in tables for m in re.finditer(r"^\| `([^`]+)`", table, re.MULTILINE)]
    known = messages()
    assert len(quoted) > 20
    assert [text for text in quoted if not any(text in message for message in known)] == []


#: What ``<!-- given: … -->`` may name, and how it is made in the current directory.
def _photos() -> None:
    write_tree(Path("photos"), 2, 24, formats=(".jpg",))
    for number, name in enumerate(("cat", "dog")):
        Path(f"photos/class_{number}").rename(f"photos/{name}")


def _photos_pack() -> None:
    if not Path("photos").exists():
        _photos()
    fastdata.pack("photos", "photos.pack", quiet=True)


def _things_pack() -> None:
    """Images of one size with masks, boxes, captions and classes."""
    samples = [
        {
            "key": f"thing{number}",
            "image": picture(96, 128, number),
            "target": number % 2,
            "mask": np.full((96, 128), number, np.uint8),
            "boxes": np.array([[10, 20, 60, 80]], np.float32),
            "caption": f"thing number {number}",
        }
        for number in range(16)
    ]
    kinds = {"image": "image", "target": "int", "mask": "mask", "boxes": "boxes", "caption": "str"}
    fastdata.pack(samples, "things.pack", fields=kinds, classes=["cat", "dog"], quiet=True)


def _labels() -> None:
    rows = [
        f"{path.relative_to('photos')},{len(path.name)}" for path in Path("photos").rglob("*.*")
    ]
    Path("labels.csv").write_text("\n".join(["path,target", *rows]) + "\n")


def _pairs() -> None:
    for number in range(4):
        for name, pixels in (("images", picture(40, 60, number)), ("masks", np.eye(40, 60))):
            Path("pairs", name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(f"pairs/{name}/{number}.png", pixels.astype(np.uint8))


def _golden() -> None:
    for storage in ("lmdb", "hdf5"):
        shutil.copytree(GOLDEN / storage, f"golden-{storage}.pack")
    shutil.copytree(GOLDEN / "images", "golden-images")


#: For a page whose examples add to the library's own tables.
OWN_PROCESS = "own process"

GIVEN = {
    "photos": _photos,
    "photos.pack": _photos_pack,
    "things.pack": _things_pack,
    "labels.csv": _labels,
    "pairs": _pairs,
    "golden": _golden,
}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes what a page is given; the current directory is one of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTDATA_CACHE", str(tmp_path / "cache"))
    for path in (ROOT / "tests", ROOT):
        monkeypatch.setenv("PYTHONPATH", os.fspath(path), prepend=os.pathsep)
    with ExitStack() as stack:

        def give(names: set[str]) -> None:
            for name, make in GIVEN.items():
                if name in names:
                    make()
            if "s3" in names:
                _set_environment(stack.enter_context(s3_server()), monkeypatch)

        yield give


def _set_environment(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user of an own S3 server does; with a bucket called "bucket"."""
    import s3fs

    s3fs.S3FileSystem(**options).mkdir("bucket")
    monkeypatch.setenv("AWS_ENDPOINT_URL", options["client_kwargs"]["endpoint_url"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", options["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", options["secret"])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_examples_run(page: Page, world: Any) -> None:
    assert page.given <= {*GIVEN, "s3", OWN_PROCESS}
    world(page.given)
    if OWN_PROCESS in page.given:
        command = [sys.executable, "-W", "error", "-m", "helpers.pages", os.fspath(page.path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
    else:
        page.run()
