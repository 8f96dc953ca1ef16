"""From parts to a pack: the side files, and pack.json at the end."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core import Closable, Field, count_lines, fsync_directory, fsync_file, sha256_file
from .columns import column_types
from .manifest import (
    KEY_OFFSETS,
    KEYS,
    REJECTED,
    REJECTIONS,
    TABLE,
    FileEntry,
    Manifest,
    ShardEntry,
    column_role,
)
from .npy import NpyStream
from .parts import PartInfo, Rejection, ShardPart
from .table import TABLE_DTYPE


class SideFiles(Closable):
    """The table, the keys and the columns of a pack, written part by part.

    Args:
        directory: where they go.
        fields: the samples' fields, the image first.
        generation: 0, or how often samples have been appended; it makes names that are new.
    """

    def __init__(self, directory: Path, fields: dict[str, Field], generation: int = 0) -> None:
        self._directory = directory
        mark = f".{generation}" if generation else ""
        self._names = {
            TABLE: f"table{mark}.npy",
            KEYS: f"keys{mark}.bin",
            KEY_OFFSETS: f"keys{mark}.npy",
            REJECTIONS: REJECTED if not generation else f"rejected{mark}.jsonl",
        }
        # The mark stands in front: a field may be called "a.1".
        self._names |= {
            column_role(name): f"field{mark}-{name}.npy" for name in column_types(fields)
        }
        self._table = NpyStream(self._path(TABLE), TABLE_DTYPE)
        self._offsets = NpyStream(self._path(KEY_OFFSETS), np.dtype("<i8"))
        self._offsets.append(np.zeros(1, np.int64))
        self._keys = self._path(KEYS).open("wb")
        self._rejected = self._path(REJECTIONS).open("wb")
        self._columns = {
            name: NpyStream(self._path(column_role(name)), dtype, shape)
            for name, (dtype, shape) in column_types(fields).items()
        }
        self._key_end = 0
        self.samples = 0
        self.rejected = 0

    def add(self, part: ShardPart) -> None:
        """Append what a part knows."""
        self.add_rows(part.table, part.keys.offsets, part.keys.blob, part.columns)
        self.reject(part.rejections)

    def add_rows(
        self,
        table: Any,
        key_offsets: Any,
        key_blob: Any,
        columns: dict[str, Any],
    ) -> None:
        """Append samples."""
        first, last = int(key_offsets[0]), int(key_offsets[-1])
        self._table.append(table)
        self._offsets.append(key_offsets[1:] - first + self._key_end)
        self._keys.write(np.ascontiguousarray(key_blob[first:last]).data if last > first else b"")
        for name, stream in self._columns.items():
            stream.append(columns[name])
        self._key_end += last - first
        self.samples += len(table)

    def reject(self, rejections: Iterable[Rejection]) -> None:
        """Append samples that were left out."""
        for rejection in rejections:
            line = json.dumps(rejection._asdict(), ensure_ascii=False) + "\n"
            self._rejected.write(line.encode("utf-8", "backslashreplace"))
            self.rejected += 1

    def copy_rejected(self, lines: memoryview) -> None:
        """Append lines of another ``rejected.jsonl``."""
        self._rejected.write(lines)
        self.rejected += count_lines(lines)

    def finish(self) -> dict[str, FileEntry]:
        """Complete all files, durably, and describe them by role."""
        self.close()
        for role in (KEYS, REJECTIONS):
            fsync_file(self._path(role))
        fsync_directory(self._directory)
        return {role: self._entry(role) for role in self._names}

    def close(self) -> None:
        """Close all files."""
        with ExitStack() as stack:
            for file in (self._keys, self._rejected):
                stack.callback(file.close)
            for stream in (self._table, self._offsets, *self._columns.values()):
                stack.callback(stream.close)

    def _entry(self, role: str) -> FileEntry:
        path = self._path(role)
        return FileEntry(path.name, path.stat().st_size, sha256_file(path))

    def _path(self, role: str) -> Path:
        return self._directory / self._names[role]


@dataclass(frozen=True, slots=True)
class Contents:
    """Those values of pack.json that the shards do not tell; see ``Manifest``."""

    fields: dict[str, Field]
    storage: str
    encoding: dict[str, Any]
    source: str
    classes: list[str]


def assemble(
    directory: Path,
    contents: Contents,
    parts: Iterable[ShardPart],
    rejected: Iterable[Rejection] = (),
) -> Manifest:
    """Make a pack of the shards in ``directory``: write the side files, and pack.json at the end.

    Args:
        directory: where the parts' shards lie.
        contents: what the pack is.
        parts: in order; each is read when its turn has come, and not kept.
        rejected: samples that were left out before any shard was begun.
    """
    infos = []
    with SideFiles(directory, contents.fields) as side:
        side.reject(rejected)
        for part in parts:
            side.add(part)
            infos.append(part.info)
        files = side.finish()
    manifest = Manifest(
        samples=side.samples,
        storage=contents.storage,
        encoding=contents.encoding,
        source=contents.source,
        classes=contents.classes,
        fields={name: str(kind) for name, kind in contents.fields.items()},
        rejected=side.rejected,
        files=files,
        shards=shard_entries(infos),
    )
    manifest.write(directory)
    return manifest


def shard_entries(infos: Iterable[PartInfo], first: int = 0) -> list[ShardEntry]:
    """Entries of pack.json for parts, the first of which begins with sample ``first``."""
    entries = []
    for info in infos:
        if info.count:
            entries.append(ShardEntry(info.file, first, info.count, info.bytes, info.sha256))
            first += info.count
    return entries
