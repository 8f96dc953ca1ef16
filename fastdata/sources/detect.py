"""Which kind of source a path is, and opening it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import OptionError, SourceNotFoundError
from ..store import MANIFEST
from .base import Source
from .coco.source import detect_coco, list_coco
from .folder.source import list_image_folder
from .lmdb.source import detect_lmdb, list_lmdb
from .pairs.source import detect_pairs, list_pairs
from .recordio.source import detect_recordio, list_recordio
from .sidecar import sidecar_path
from .table.source import list_table
from .tar.source import detect_tar, list_tar
from .tfrecord.source import detect_tfrecord, list_tfrecord

_TABLES = (".csv", ".jsonl", ".ndjson")
_UNPACKED = ("manifest.jsonl", "labels.csv")
_ARCHIVES: dict[str, Callable[[str], bool]] = {
    "lmdb": detect_lmdb,
    "tar": detect_tar,
    "tfrecord": detect_tfrecord,
    "recordio": detect_recordio,
}

#: By name: what opens the source, and the options that it takes besides the path.
SOURCES: dict[str, tuple[Callable[..., Source], tuple[str, ...]]] = {
    "folder": (list_image_folder, ("allow_empty",)),
    "flat": (lambda path: list_image_folder(path, flat=True), ()),
    "table": (list_table, ("images", "fields")),
    "pairs": (list_pairs, ("masks", "split", "allow_missing")),
    "coco": (list_coco, ("images",)),
    "tar": (list_tar, ()),
    "tfrecord": (list_tfrecord, ()),
    "recordio": (list_recordio, ()),
    "lmdb": (list_lmdb, ()),
}


def open_source(path: str | os.PathLike[str], kind: str | None = None, **options: Any) -> Source:
    """List what is at ``path``.

    Args:
        path: a directory, a file, or for archives a pattern such as ``train-{000..012}.tar``.
        kind: a name in ``SOURCES``; None finds out what is there.
        options: those that the kind takes, such as ``masks`` for "pairs"; None is as if not given.

    Raises:
        OptionError: there is no such kind, or it does not take an option.
        SourceError: the source cannot be listed.
    """
    place = os.fspath(path)
    given = {name: value for name, value in options.items() if value not in (None, False)}
    if kind is None:
        kind = "pairs" if "masks" in given else detect(place)
    if kind not in SOURCES:
        raise OptionError(f"source must be one of {', '.join(SOURCES)}; got {kind!r}")
    opener, known = SOURCES[kind]
    unknown = sorted(given.keys() - set(known))
    if unknown:
        takers = [name for name, (_, names) in SOURCES.items() if unknown[0] in names]
        raise OptionError(
            f"{unknown[0]} does not apply to a source of kind {kind!r}, but to {', '.join(takers)}"
        )
    if kind == "table" and "images" in given:
        given["root"] = given.pop("images")
    return opener(place, **given)


def detect(path: str) -> str:
    """The kind of source at ``path``, from names and first bytes.

    Raises:
        OptionError: it is a pack already, was unpacked from one with a table, or is unknown.
        SourceNotFoundError: there is nothing.
    """
    if os.path.isdir(path):
        return _detect_directory(path)
    suffix = Path(path).suffix.lower()
    if suffix in _TABLES:
        return "table"
    if suffix == ".json":
        return "coco" if detect_coco(path) else "table"
    for kind, is_kind in _ARCHIVES.items():
        if is_kind(path):
            return kind
    if not os.path.lexists(path):
        raise SourceNotFoundError(f"no source of images: {path} does not exist")
    raise OptionError(f"{path}: no kind of source is known by it; say which (--source)")


def _detect_directory(path: str) -> str:
    if os.path.lexists(os.path.join(path, MANIFEST)):
        raise OptionError(f"{path} is a pack: convert, merge or subset makes another one of it")
    for table in _UNPACKED:
        if os.path.lexists(sidecar_path(Path(path, table))):
            raise OptionError(
                f"{path} has been unpacked from a pack, with a table: pack {Path(path, table)}, or "
                "say what the directory is (--source)"
            )
    if detect_coco(path):
        return "coco"
    if detect_pairs(path):
        return "pairs"
    with os.scandir(path) as entries:
        has_directories = any(entry.is_dir() for entry in entries)
    if has_directories and not path.rstrip("/").endswith(".lmdb"):
        return "folder"
    return next((kind for kind, is_kind in _ARCHIVES.items() if is_kind(path)), "folder")
