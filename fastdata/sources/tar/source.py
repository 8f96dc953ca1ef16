"""Tar archives: WebDataset shards, and plain archives of images in class directories."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core import KINDS, NPY_HEAD, TARGET, Field, Kind, kind_of, parse_fields
from ...errors import DecodeError, EmptySourceError, OptionError, SourceError
from ..archives.base import ArchiveSource, distinct_keys, numbered_classes, repeated_key
from ..archives.paths import (
    Paths,
    archive_paths,
    common_directory,
    open_archive,
    root_of,
    stamps_of,
)
from ..base import Findings, Item, SpanBlob
from ..sidecar import ARCHIVES, Sidecar, sidecar_path
from .grouping import Groups, group_class_tree, group_webdataset, is_class_tree
from .members import read_members

_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")  # all but one refused
_USTAR_AT, _USTAR = 257, b"ustar"  # "magic" of a header block
_INTEGER = re.compile(rb"\s*[+-]?[0-9]{1,18}\s*")


def detect_tar(path: Paths) -> bool:
    """True if ``path`` looks like tar archives: by name, or by the first header's magic."""
    try:
        found = archive_paths(path, _is_named_tar, "tar archive")
    except SourceError:
        return False
    return all(_is_named_tar(name) or _has_magic(name) for name in found)


def list_tar(path: Paths) -> TarSource:
    """List the samples of tar archives, in the archives' order, by reading headers only.

    WebDataset's convention: neighbours with the same name up to the first dot are one sample, and
    the rest of the name says the field: an image's extension ``image``, ``cls`` the ``target``,
    ``txt`` or ``text`` the str ``text``, ``json`` itself, ``seg.png`` or ``mask.png`` the ``mask``,
    ``npy`` an array, anything else bytes of that name. The names of classes may stand in a file
    beside the archives (see ``fastdata.sources.sidecar``); else they are "0", "1", …

    Where a sample has none, ``text`` is "", ``json`` null, and bytes are empty; each of the other
    fields must be in all samples or in none.

    An archive of nothing but images in directories is read as by ``list_folder``: a sample is a
    file, its target the first directory.

    Args:
        path: a file, a directory, a pattern, or several; see ``Paths``.

    Raises:
        SourceNotFoundError: there is no such file.
        EmptySourceError: there are no images.
        SourceError: an archive is damaged, cut off or compressed, or its members do not make
            samples; see above.
    """
    paths = archive_paths(path, _is_named_tar, "tar archive")
    stamps, findings = stamps_of(paths), Findings()
    members = read_members(paths, findings)
    group = group_class_tree if is_class_tree(members) else group_webdataset
    groups = group(members, findings)
    _check_samples(groups, paths)
    columns: dict[str, NDArray[Any]] = dict(groups.spans)
    targets = groups.targets
    if targets is None and TARGET in columns:
        targets = _read_targets(paths, groups)
    if targets is not None:
        columns[TARGET] = targets
    return TarSource(
        root=root_of(path, paths),
        paths=paths,
        fields=_fields(paths, groups),
        classes=groups.classes or ([] if targets is None else _class_names(targets, groups, paths)),
        findings=findings,
        keys=distinct_keys(groups.keys, groups.archives, paths),
        sizes=np.sum([np.maximum(span[:, 1], 0) for span in groups.spans.values()], axis=0),
        stamps=stamps[groups.archives],
        archives=groups.archives,
        columns=columns,
    )


class TarSource(ArchiveSource):
    """Samples in tar archives. Columns: ``target``, and offset and size of each other field."""

    name = "tar"

    def item(self, index: int) -> Item:
        """Sample ``index``; text, JSON and arrays are read, images and bytes are spans.

        Raises:
            SourceError: a value is not what its field says; the message names the sample.
            OSError: the archive cannot be read.
        """
        values = {name: self._value(name, field, index) for name, field in self.fields.items()}
        return Item(self.keys[index], values)

    def _value(self, name: str, field: Field, index: int) -> Any:
        if name == TARGET:
            return int(self.columns[TARGET][index])
        offset, size = (int(number) for number in self.columns[name][index])
        kind = kind_of(field)
        if size < 0:
            return kind.empty
        blob = SpanBlob(self.path_of(index), offset, size)
        if kind.is_file:
            return blob
        return _read(blob, kind, f"{blob.path}: {name} of sample {self.keys[index]!r}")


def _read(blob: SpanBlob, kind: Kind, where: str) -> Any:
    if blob.size > kind.longest_file:
        raise SourceError(
            f"{where}: {blob.size} bytes; at most {kind.longest_file} of a {kind.name} are read"
        )
    try:
        return kind.from_file(blob.read())
    except DecodeError as error:
        raise SourceError(f"{where}: {error}") from error


def _check_samples(groups: Groups, paths: list[str]) -> None:
    if not len(groups.keys):
        raise EmptySourceError(f"no images in {', '.join(paths[:3])}")
    again = repeated_key(groups.keys, groups.archives)
    if again is not None:
        raise SourceError(
            f"{paths[int(groups.archives[again])]}: sample {groups.keys[again]!r} occurs twice; a "
            "sample's members must follow one another, as in an archive written in sorted order"
        )


def _read_targets(paths: list[str], groups: Groups) -> NDArray[np.int64]:
    targets = np.empty(len(groups.keys), np.int64)
    bounds = np.searchsorted(groups.archives, np.arange(len(paths) + 1))
    for archive, path in enumerate(paths):
        with open_archive(path) as file:
            for index in range(bounds[archive], bounds[archive + 1]):
                offset, size = groups.spans[TARGET][index]
                file.seek(offset)
                data = file.read(min(size, 64))
                if size > 64 or not _INTEGER.fullmatch(data):
                    raise SourceError(
                        f"{path}: cls of sample {groups.keys[index]!r}: expected an integer, found "
                        f"{data!r}"
                    )
                targets[index] = int(data)
    return targets


def _class_names(targets: NDArray[np.int64], groups: Groups, paths: list[str]) -> list[str]:
    """The names in the file beside the archives, if there is one, else numbers."""
    named = _named(paths)
    if named is None:
        return numbered_classes(targets)
    path, names = named
    wrong = np.flatnonzero((targets < -1) | (targets >= len(names)))
    if len(wrong):
        first = int(wrong[0])
        raise SourceError(
            f"{paths[int(groups.archives[first])]}: cls of sample {groups.keys[first]!r} is "
            f"{targets[first]}, and {path} names {len(names)} classes: correct one of them"
        )
    return names


def _named(paths: list[str]) -> tuple[Path, list[str]] | None:
    """A file with class names, and these: above all archives, or beside each, if they agree."""
    found: list[tuple[Path, list[str]]] = []
    beside = {os.path.dirname(os.path.abspath(path)) for path in paths}
    for directory in [common_directory(paths), *sorted(beside)]:
        archives = Path(directory, ARCHIVES)
        known, path = Sidecar.of(archives), sidecar_path(archives)
        if known.column or known.fields:
            raise SourceError(f"{path}: of archives it tells nothing but the classes")
        if known.classes:
            found.append((path, known.classes))
    for path, names in found[1:]:
        if names != found[0][1]:
            raise SourceError(f"{found[0][0]} and {path} name different classes: correct one")
    return found[0] if found else None


def _fields(paths: list[str], groups: Groups) -> dict[str, Field]:
    fields = {name: _field(name, kind, paths, groups) for name, kind in groups.kinds.items()}
    if groups.targets is not None:
        fields[TARGET] = "int"
    try:
        return parse_fields(fields)
    except OptionError as error:
        raise SourceError(f"{paths[0]}: an extension does not name a field: {error}") from error


def _field(name: str, kind: str, paths: list[str], groups: Groups) -> str:
    """The text of a field, which for some kinds the first sample's file tells."""
    if not KINDS[kind].has_type:
        return kind
    offset, size = (int(number) for number in groups.spans[name][0])
    head = SpanBlob(paths[int(groups.archives[0])], offset, min(size, NPY_HEAD))
    try:
        found = KINDS[kind].type_of_file(head.read())
        Field.parse(found)
    except (DecodeError, OptionError) as error:
        raise SourceError(f"{head.path}: {name} of {groups.keys[0]!r}: {error}") from error
    return found


def _is_named_tar(path: str) -> bool:
    return path.lower().endswith(_SUFFIXES) and os.path.isfile(path)


def _has_magic(path: str) -> bool:
    try:
        with open_archive(path) as file:
            return file.read(512)[_USTAR_AT : _USTAR_AT + len(_USTAR)] == _USTAR
    except (SourceError, OSError):
        return False
