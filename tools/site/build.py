"""Build the site: gather the pages, write the reference, and let Sphinx make HTML of both."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from pages import gather
from reference import write_reference
from sphinx.cmd.build import main as sphinx

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def main() -> int:
    """Build; return the exit code."""
    parser = argparse.ArgumentParser(prog="tools/docs", description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="where fastdata/docs is")
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="for site/ (%(default)s)")
    options = parser.parse_args()
    return build(options.root.resolve(), options.out.resolve(), write_reference)


def build(root: Path, out: Path, write_reference: Callable[[Path], list[str]]) -> int:
    """Build the pages below ``root`` to ``out/site``; returns 1 if anything is wrong with them.

    ``write_reference`` writes pages into the directory that it is given, and returns their names.
    """
    source, site = out / "pages", out / "site"
    for place in (source, site):  # pages that are gone are not to stay
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
    problems = gather(root, source, write_reference(source))
    if problems:
        print(*problems, sep="\n", file=sys.stderr)
        return 1
    if render(source, site):
        return 1
    print(site / "index.html")
    return 0


def render(source: Path, site: Path) -> int:
    """Run Sphinx; everything that it warns of is an error, and all of them are shown."""
    strict = ["--fail-on-warning", "--keep-going", "--quiet", "--fresh-env"]
    places = ["-c", str(HERE), "-d", str(site.with_name("doctrees"))]
    return sphinx([*strict, *places, "-b", "html", str(source), str(site)])


if __name__ == "__main__":
    sys.exit(main())
