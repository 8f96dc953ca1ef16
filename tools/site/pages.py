"""The pages of the site: those of ``fastdata/docs``, and what they link to in the repository.

Pages are written to be read in the repository, too, where ``../../benchmarks/README.md`` is a link
like any other. Here each page that can be reached becomes a page of the site, each other file is
copied beside them, and the links are changed to fit. A folder has no page: only its text stays.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

DOCS = PurePosixPath("fastdata/docs")
INDEX = DOCS / "index.md"

_CODE = re.compile(r"^ *(?P<fence>```+|~~~+).*?^ *(?P=fence) *$|`[^`\n]+`", re.M | re.S)
_LINK = re.compile(r"(?P<text>!?\[[^\[\]]*\])\((?P<target>[^()\s#:]+)(?P<anchor>#[^()\s]*)?\)")


def gather(root: Path, place: Path, reference: list[str]) -> list[str]:
    """Copy all pages, and the files that they link to, into ``place``.

    Args:
        root: of the repository.
        place: an existing directory.
        reference: pages that are there already, for the table of contents.

    Returns:
        what is wrong, a line for each fault; a link to what is not there is left to Sphinx.
    """
    if not (root / INDEX).is_file():
        return [f"{INDEX} is missing"]
    found = reachable(root)
    pages = [path for path in found if path.suffix == ".md"]
    for path in found:
        target = place / name_of(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            target.write_text(relinked(root, path), "utf-8")
        else:
            shutil.copyfile(root / path, target)
    with open(place / name_of(INDEX), "a", encoding="utf-8") as index:
        index.write(contents(pages, reference))
    written = {PurePosixPath(path.relative_to(root)) for path in (root / DOCS).glob("*.md")}
    return [f"{page}: no page leads to it" for page in sorted(written - {*pages})]


def name_of(path: PurePosixPath) -> PurePosixPath:
    """The place in the site of a file of the repository."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS)
    return PurePosixPath("repository", *(part.lstrip(".") for part in path.parts))


def reachable(root: Path) -> list[PurePosixPath]:
    """The files that the index leads to, the nearest first."""
    found = [INDEX]
    for page in found:  # which grows meanwhile
        if page.suffix == ".md":
            found += [path for path in dict.fromkeys(linked(root, page)) if path not in found]
    return found


def linked(root: Path, page: PurePosixPath) -> Iterator[PurePosixPath]:
    """The files of the repository that a page links to, as often as it does."""
    for link in _LINK.finditer(_CODE.sub("", (root / page).read_text("utf-8"))):
        path = resolved(page, link["target"])
        if (root / path).is_file():
            yield path


def resolved(page: PurePosixPath, target: str) -> PurePosixPath:
    """The path from the root of what is relative to a page; outside of the repository: no file."""
    path = PurePosixPath(os.path.normpath(page.parent / target))
    return path if ".." not in path.parts and not path.is_absolute() else PurePosixPath("\0")


def relinked(root: Path, page: PurePosixPath) -> str:
    """The text of a page whose links lead to where things are in the site."""

    def relink(link: re.Match[str]) -> str:
        path = resolved(page, link["target"])
        if (root / path).is_dir():
            return link["text"][1:-1]
        if not (root / path).is_file():
            return link[0]
        target = os.path.relpath(name_of(path), name_of(page).parent)
        return f"{link['text']}({target}{link['anchor'] or ''})"

    return outside_of_code((root / page).read_text("utf-8"), lambda text: _LINK.sub(relink, text))


def outside_of_code(text: str, change: Callable[[str], str]) -> str:
    """Change a page's text, while what is code in it is kept."""
    code: list[str] = []

    def hide(match: re.Match[str]) -> str:
        code.append(match[0])
        return f"\0{len(code) - 1}\0"

    changed = change(_CODE.sub(hide, text))
    return re.sub(r"\0(\d+)\0", lambda match: code[int(match[1])], changed)


def contents(pages: list[PurePosixPath], reference: list[str]) -> str:
    """The table of contents, for the sidebar."""
    guide = [str(name_of(page)) for page in pages if page != INDEX and page.is_relative_to(DOCS)]
    others = [str(name_of(page)) for page in pages if not page.is_relative_to(DOCS)]
    groups = {"Guide": guide, "Reference": reference, "Repository": others}
    return "".join(
        "\n".join(["", "```{toctree}", ":hidden:", f":caption: {title}", "", *names, "```", ""])
        for title, names in groups.items()
        if names
    )
