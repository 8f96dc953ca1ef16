"""The site that ``tools/docs`` builds: complete, and built from sound pages only."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastdata
import fastdata.transforms

for package in ("sphinx", "myst_parser", "furo"):
    pytest.importorskip(package, reason="the site needs pip install fastdata[docs]")

pytestmark = pytest.mark.timeout(300)  # two processes import torch, and read every page
ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools/site"


def python(*words: object) -> subprocess.CompletedProcess[str]:
    """Run Python, which sees the fastdata of this checkout."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TOOLS), str(ROOT)])}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of this checkout, built by what ``tools/docs`` runs in its environment."""
    out = tmp_path_factory.mktemp("built")
    done = python(TOOLS / "build.py", "--out", out)
    assert done.returncode == 0, done.stderr
    return out / "site"


def test_each_page_is_in_the_site(site: Path) -> None:
    pages = {page.stem for page in (ROOT / "fastdata/docs").glob("*.md")}
    assert pages <= {page.stem for page in site.glob("*.html")}
    contents = (site / "index.html").read_text("utf-8")
    assert not [page for page in pages if f'href="{page}.html"' not in contents if page != "index"]


def test_each_public_name_has_an_entry(site: Path) -> None:
    html = "".join(page.read_text("utf-8") for page in site.glob("reference/*.html"))
    entries = {*re.findall(r'<dt [^>]*id="([\w.]+)"', html)}
    names = {f"fastdata.{name}" for name in fastdata.__all__}
    names -= {"fastdata.transforms", "fastdata.__version__"}
    names |= {"fastdata.transforms.Resize", "fastdata.dali.DALILoader"}
    names |= {"fastdata.DataLoaderX.state_dict", "fastdata.PackedImageFolder.set_epoch"}
    assert not names - entries


def test_the_command_is_described(site: Path) -> None:
    page = (site / "reference/command.html").read_text("utf-8")
    assert re.findall(r"<h2>fastdata (\w+)", page)[:2] == ["pack", "append"]
    assert "--encoding" in page


def test_the_site_can_be_searched(site: Path) -> None:
    index = (site / "searchindex.js").read_text("utf-8")
    assert '"sliceabl"' in index or "sliceabl:" in index
    assert 'name="q"' in (site / "search.html").read_text("utf-8")


def test_the_site_needs_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        if "_downloads" not in page.parts:
            loaded = re.findall(
                r"<(?:script|link|img)[^>]+(?:src|href)=\"(http[^\"]+)", page.read_text("utf-8")
            )
            assert not loaded, page


# Of the sites below each has one fault; they have no reference, which takes the most time.
SMALL = """
import pathlib, sys, build
sys.exit(build.build(*map(pathlib.Path, sys.argv[1:]), lambda place: []))
"""
SOUND = {
    "index.md": "# Pages\n\n[one](one.md), [its end](one.md#the-end), [tools](../../tools)\n",
    "one.md": "# One\n\nSee `[two](two.md)` and [others](../../other/README.md).\n\n## The end\n",
}
FAULTS = {
    "a page that is missing": ("index.md", "[two](two.md)", "two.md"),
    "a link from another page": ("one.md", "[two](two.md#end)", "two.md"),
    "a heading that is missing": ("index.md", "[one](one.md#the-start)", "the-start"),
    "a file that is missing": ("one.md", "[file](../../other/file.py)", "file.py"),
    "a page that no page leads to": ("two.md", "# Two", "two.md: no page leads to it"),
    "a name without an entry": ("one.md", "`DataLoaderX`", "fastdata.DataLoaderX"),
    "an image that is missing": ("one.md", "![grid](grid.png)", "grid.png"),
}


def build_small(root: Path, extra: dict[str, str]) -> subprocess.CompletedProcess[str]:
    docs = root / "fastdata/docs"
    for folder in (docs, root / "other", root / "tools"):
        folder.mkdir(parents=True)
    (root / "other/README.md").write_text("# Other\n\n[back](../fastdata/docs/index.md)\n")
    for name in {**SOUND, **extra}:
        (docs / name).write_text(SOUND.get(name, "") + extra.get(name, ""))
    return python("-c", SMALL, root, root / "build")


def test_sound_pages_are_built_with_what_they_link_to(tmp_path: Path) -> None:
    done = build_small(tmp_path, {})
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "build/site/one.html").read_text("utf-8")
    assert 'href="repository/other/README.html"' in page
    assert "[two](two.md)" in page  # code stays as it is
    other = (tmp_path / "build/site/repository/other/README.html").read_text("utf-8")
    assert 'href="../../index.html"' in other


@pytest.mark.parametrize(("page", "text", "said"), FAULTS.values(), ids=FAULTS)
def test_a_fault_stops_the_build(page: str, text: str, said: str, tmp_path: Path) -> None:
    done = build_small(tmp_path, {page: f"\n{text}\n"})
    assert done.returncode == 1
    assert said in done.stderr
