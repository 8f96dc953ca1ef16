"""Where COCO-style annotations and their images lie, found without reading all of a file."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ...core import existing_directory
from ...errors import SourceError, SourceNotFoundError

_PREFIX_BYTES = 1 << 16
# A string counts without its closing quote, too: the matches then never overlap, and the time is
# linear whatever the text.
_TOKEN = re.compile(rb'"((?:[^"\\]|\\.)*)"?|[\[\]{}]', re.DOTALL)
_LIST = re.compile(rb"\s*:\s*\[")


def detect_coco(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a COCO-style JSON file, or a folder with one where COCO has it.

    A file is read up to 64 KiB: its name ends in .json, and in the outermost object "images" or
    "annotations" is a list. A folder has annotations/instances_*.json, or _annotations.coco.json
    as Roboflow writes it.
    """
    path = Path(path)
    return _is_coco_json(path) if path.is_file() else bool(_annotation_files(path))


def _is_coco_json(path: Path) -> bool:
    if path.suffix.lower() != ".json":
        return False
    try:
        with path.open("rb") as file:
            prefix = file.read(_PREFIX_BYTES)
    except OSError:
        return False
    return bool(lists_in(prefix) & {b"images", b"annotations"})


def lists_in(prefix: bytes) -> set[bytes]:
    """The keys of lists in the outermost object of a JSON text that begins like this."""
    if not prefix.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return set()
    depth, found = 0, set()
    for token in _TOKEN.finditer(prefix):
        if token[0] in (b"{", b"["):
            depth += 1
        elif token[0] in (b"}", b"]"):
            depth -= 1
        elif depth == 1 and _LIST.match(prefix, token.end()):
            found.add(token[1])
    return found


def annotation_file(path: Path) -> Path:
    """The file itself, or the only one of a folder.

    Raises:
        SourceNotFoundError: there is no such file or folder, or none in it.
        SourceError: the folder has several.
    """
    if path.is_file():
        return path
    if not path.exists():
        raise SourceNotFoundError(f"no annotations at {path}")
    found = _annotation_files(path)
    if not found:
        raise SourceNotFoundError(f"{path} has no annotations/instances_*.json")
    if len(found) > 1:
        names = ", ".join(str(file) for file in found)
        raise SourceError(f"{path} has several annotation files; give one of {names}")
    return found[0]


def _annotation_files(folder: Path) -> list[Path]:
    single = folder / "_annotations.coco.json"
    return sorted(folder.glob("annotations/instances_*.json")) or [single] * single.is_file()


def image_root(given: str | os.PathLike[str] | None, annotations: Path, name: str) -> Path:
    """The directory that file names are relative to.

    It is looked for where COCO and others have it, and has to hold the file ``name``: of
    annotations/instances_train2017.json in train2017, images/train2017, images and "." beside
    the directory annotations, and of each also inside of it.

    Raises:
        SourceNotFoundError: the given directory does not exist, or none was found.
    """
    if given is not None:
        return existing_directory(given)
    split = annotations.stem.removeprefix("instances_")
    places = (split, f"images/{split}", "images", ".")
    parents = (annotations.parent.parent, annotations.parent)
    tried = [parent / place for parent in parents for place in places]
    for directory in tried:
        if os.path.isfile(directory / name):  # False, not an error, whatever the name
            return directory
    raise SourceNotFoundError(
        f"{annotations}: its first image {name} is in none of {', '.join(map(str, tried))}; give "
        "the directory of the images"
    )
