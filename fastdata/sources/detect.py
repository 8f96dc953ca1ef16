"""Kinds of sources, which of them a path is, and opening it."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import OptionError, SourceNotFoundError
from ..store import MANIFEST
from .base import Source
from .coco.source import OPTIONS as COCO_OPTIONS
from .coco.source import detect_coco, list_coco
from .folder.source import OPTIONS as FOLDER_OPTIONS
from .folder.source import detect_folder, list_image_folder
from .kinds import SourceKind
from .lmdb.source import detect_lmdb, list_lmdb
from .pairs.source import OPTIONS as PAIR_OPTIONS
from .pairs.source import detect_pairs, list_pairs
from .recordio.source import detect_recordio, list_recordio
from .sidecar import sidecar_path
from .table.source import OPTIONS as TABLE_OPTIONS
from .table.source import detect_table, open_table
from .tar.source import detect_tar, list_tar
from .tfrecord.source import detect_tfrecord, list_tfrecord

_UNPACKED = ("manifest.jsonl", "labels.csv")

#: By name, in the order in which a path is asked whether it is one.
SOURCES: dict[str, SourceKind] = {
    kind.name: kind
    for kind in (
        SourceKind("coco", list_coco, detect_coco, COCO_OPTIONS),
        SourceKind("pairs", list_pairs, detect_pairs, PAIR_OPTIONS),
        SourceKind("table", open_table, detect_table, TABLE_OPTIONS),
        SourceKind("folder", list_image_folder, detect_folder, FOLDER_OPTIONS),
        SourceKind("flat", partial(list_image_folder, flat=True)),
        SourceKind("lmdb", list_lmdb, detect_lmdb),
        SourceKind("tar", list_tar, detect_tar),
        SourceKind("tfrecord", list_tfrecord, detect_tfrecord),
        SourceKind("recordio", list_recordio, detect_recordio),
    )
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

    Example:
        >>> from fastdata.sources.detect import open_source
        >>> source = open_source("photos", allow_empty=True)
        >>> len(source), source.classes
        (8, ['cat', 'dog'])
        >>> fastdata.pack(source, "new.pack", quiet=True).images
        8
    """
    place = os.fspath(path)
    given = {name: value for name, value in options.items() if value not in (None, False)}
    if kind is None:
        kind = _implied(given) or detect(place)
    if kind not in SOURCES:
        raise OptionError(f"source must be one of {', '.join(SOURCES)}; got {kind!r}")
    _check_options(SOURCES[kind], given)
    return SOURCES[kind].list(place, **given)


def detect(path: str) -> str:
    """The kind of source at ``path``, from names and first bytes.

    Raises:
        OptionError: it is a pack already, was unpacked from one with a table, or is unknown.
        SourceNotFoundError: there is nothing.
    """
    if os.path.isdir(path):
        _check_no_pack(path)
    for kind in SOURCES.values():
        if kind.detect is not None and kind.detect(path):
            return kind.name
    if os.path.isdir(path):
        return "folder"  # it tells best what there should be
    if not os.path.lexists(path):
        raise SourceNotFoundError(f"no source of images: {path} does not exist")
    raise OptionError(f"{path}: no kind of source is known by it; say which (--source)")


def _check_no_pack(path: str) -> None:
    if os.path.lexists(os.path.join(path, MANIFEST)):
        raise OptionError(f"{path} is a pack: convert, merge or subset makes another one of it")
    for table in _UNPACKED:
        if os.path.lexists(sidecar_path(Path(path, table))):
            raise OptionError(
                f"{path} has been unpacked from a pack, with a table: pack {Path(path, table)}, or "
                "say what the directory is (--source)"
            )


def _implied(given: dict[str, Any]) -> str | None:
    """The kind that one of the options says; OptionError if others say another."""
    said = {
        option: kind.name
        for kind in SOURCES.values()
        for option in kind.options
        if option.implies and option.name in given
    }
    if len(set(said.values())) > 1:
        what = (f"{option} means a source of kind {kind!r}" for option, kind in said.items())
        raise OptionError(f"{', '.join(what)}: give one of them")
    return next(iter(said.values()), None)


def _check_options(kind: SourceKind, given: dict[str, Any]) -> None:
    known = {option.name for option in kind.options}
    for name in sorted(given.keys() - known):
        takers = [k.name for k in SOURCES.values() if any(o.name == name for o in k.options)]
        to = f", but to {', '.join(takers)}" if takers else ""
        raise OptionError(f"{name} does not apply to a source of kind {kind.name!r}{to}")
