"""A whole pack: shards, the table of samples, their keys and the manifest, in one directory."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import PackFormatError
from ..sample import TABLE_DTYPE, KeyTable, Record
from ._files import NpyStream, allow_open_files, fsync_directory, sha256_file
from .base import ShardReader, ShardWriter, storage
from .manifest import (
    KEY_OFFSETS,
    KEYS,
    REJECTED,
    TABLE,
    FileEntry,
    Manifest,
    ShardEntry,
)


class PackWriter:
    """Writes a pack into an existing empty directory; nothing is a pack before ``finish``.

    Args:
        directory: where the files go; the caller publishes it by renaming.
        storage_name: "lmdb" or "hdf5".
        shard_size: bytes of records after which a new shard begins.
    """

    def __init__(self, directory: Path, storage_name: str, shard_size: int) -> None:
        self._directory = directory
        self._storage = storage(storage_name)
        self._shard_size = shard_size
        self._shard: ShardWriter | None = None
        self._shard_bytes = 0
        self._shards: list[tuple[str, int]] = []
        self._table = NpyStream(directory / TABLE, TABLE_DTYPE)
        self._offsets = NpyStream(directory / KEY_OFFSETS, np.dtype("<i8"))
        self._keys = (directory / KEYS).open("wb")
        self._key_end = 0
        self._offsets.append(np.zeros(1, np.int64))
        self.samples = 0
        self.bytes = 0

    def add(self, key: str, target: int, record: Record) -> None:
        """Append a sample; its index is the number of samples added before."""
        self._shard_for(len(record.data)).add(record.data)
        size = len(record.data)
        shape = (record.height, record.width, record.orientation)
        row = (target, size, record.crc32, *shape, 0, 0, record.slice_index)
        self._table.append(np.array([row], TABLE_DTYPE))
        name = key.encode("utf-8")
        self._keys.write(name)
        self._key_end += len(name)
        self._offsets.append(np.array([self._key_end]))
        self.samples += 1
        self.bytes += size

    def finish(
        self,
        *,
        encoding: dict[str, Any],
        source: str,
        classes: list[str],
        rejected: Iterable[str] = (),
    ) -> Manifest:
        """Complete every file and write the manifest; ``rejected`` are lines of JSON."""
        self._close_shard()
        for stream in (self._table, self._offsets, self._keys):
            stream.close()
        lines = list(rejected)
        (self._directory / REJECTED).write_text("".join(line + "\n" for line in lines), "utf-8")
        fsync_directory(self._directory)
        manifest = Manifest(
            samples=self.samples,
            storage=self._storage.name,
            encoding=encoding,
            source=source,
            classes=classes,
            rejected=len(lines),
            files={name: self._entry(name) for name in (TABLE, KEYS, KEY_OFFSETS, REJECTED)},
            shards=self._shard_entries(),
        )
        manifest.write(self._directory)
        return manifest

    def abort(self) -> None:
        """Close what is open after a failure; the files are incomplete and to be deleted."""
        for stream in (self._shard, self._table, self._offsets, self._keys):
            if stream is not None:
                try:
                    stream.close()
                except Exception:  # the failure that led here is the one to report
                    continue

    def _shard_for(self, size: int) -> ShardWriter:
        if self._shard is not None and self._shard_bytes + size > self._shard_size:
            self._close_shard()
        if self._shard is None:
            name = f"shard-{len(self._shards):05d}{self._storage.suffix}"
            self._shard = self._storage.writer(self._directory / name)
            self._shards.append((name, self.samples))
            self._shard_bytes = 0
        self._shard_bytes += size
        return self._shard

    def _close_shard(self) -> None:
        if self._shard is not None:
            self._shard.close()
            self._shard = None

    def _shard_entries(self) -> list[ShardEntry]:
        ends = [first for _, first in self._shards[1:]] + [self.samples]
        entries = []
        for (name, first), end in zip(self._shards, ends, strict=True):
            file = self._entry(name)
            entries.append(ShardEntry(name, first, end - first, file.bytes, file.sha256))
        return entries

    def _entry(self, name: str) -> FileEntry:
        path = self._directory / name
        return FileEntry(path.stat().st_size, sha256_file(path))


class PackReader:
    """Reads a pack by sample index, from any thread, in any process.

    Opening reads the manifest and maps the table and the keys; a shard is opened when a record of
    it is first read. The object may be pickled (it opens again where it arrives) and used in a
    forked child. It is the owner of the views that ``read`` returns: they end with ``close``.

    Attributes:
        path: the pack's directory.
        manifest: the content of pack.json.
        table: memory-mapped array of ``TABLE_DTYPE``, one row a sample, read-only.
        targets, heights, widths, orientations, slice_indices: columns of ``table``.
        keys: the samples' names, by index.

    Raises:
        PackNotFoundError: no pack at ``path``.
        PackFormatError: the pack is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.manifest = Manifest.read(self.path)
        self.table: NDArray[np.void] = self._map(TABLE, TABLE_DTYPE, self.manifest.samples)
        # Columns by name are looked up here, once: it costs more than reading one number.
        self.targets: NDArray[np.int64] = self.table["target"]
        self.heights: NDArray[np.uint32] = self.table["height"]
        self.widths: NDArray[np.uint32] = self.table["width"]
        self.orientations: NDArray[np.uint8] = self.table["orientation"]
        self.slice_indices: NDArray[np.uint32] = self.table["slice_index"]
        self._sizes: NDArray[np.uint32] = self.table["bytes"]
        offsets = self._map(KEY_OFFSETS, np.dtype("<i8"), self.manifest.samples + 1)
        self.keys = KeyTable(offsets, self._map_keys(int(offsets[-1])))
        self._storage = storage(self.manifest.storage)
        allow_open_files(2 * len(self.manifest.shards))
        self._firsts = [shard.first for shard in self.manifest.shards]
        self._readers: dict[int, ShardReader] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.manifest.samples

    def read(self, index: int) -> memoryview:
        """The record of sample ``index`` (0 ≤ index < len) as a read-only view.

        Raises:
            PackFormatError: the shard is missing or damaged, or the record's size is not the one
                that the table gives.
        """
        number = bisect_right(self._firsts, index) - 1
        reader = self._readers.get(number)
        if reader is None:
            reader = self._open_shard(number)
        record = reader.read(index - self._firsts[number])
        if len(record) != self._sizes.item(index):
            raise PackFormatError(
                f"{self.path}: record {index} has {len(record)} bytes in "
                f"{self.manifest.shards[number].file}, the table says {self._sizes[index]}"
            )
        return record

    def close(self) -> None:
        """Close the shards that are open; a later read opens them again."""
        with self._lock:
            readers, self._readers = self._readers, {}
        for reader in readers.values():
            reader.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        PackReader.__init__(self, state["path"])

    def _open_shard(self, number: int) -> ShardReader:
        with self._lock:
            if number not in self._readers:
                entry = self.manifest.shards[number]
                path = self.path / entry.file
                self._check_size(path, entry.bytes)
                reader = self._storage.reader(path)
                if len(reader) != entry.count:
                    found = f"{len(reader)} records, expected {entry.count}"
                    reader.close()
                    raise PackFormatError(f"{path}: found {found}")
                self._readers[number] = reader
            return self._readers[number]

    def _check_size(self, path: Path, expected: int) -> None:
        try:
            found = path.stat().st_size
        except OSError as error:
            raise PackFormatError(f"{path}: the shard cannot be opened: {error}") from error
        if found != expected:
            raise PackFormatError(f"{path}: expected {expected} bytes, found {found}")

    def _map(self, name: str, dtype: np.dtype[Any], rows: int) -> NDArray[Any]:
        path = self.path / name
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise PackFormatError(f"{path}: cannot be mapped: {error}") from error
        if array.dtype != dtype or array.shape != (rows,):
            raise PackFormatError(
                f"{path}: expected {rows} rows of {dtype}, found {array.shape} of {array.dtype}"
            )
        # A memmap object costs microseconds at each indexing; the plain view maps the same pages.
        view: NDArray[Any] = array.view(np.ndarray)
        return view

    def _map_keys(self, size: int) -> NDArray[np.uint8]:
        path = self.path / KEYS
        try:
            self._check_size(path, size)
            if size == 0:  # an empty file cannot be mapped
                return np.zeros(0, np.uint8)
            return np.memmap(path, np.uint8, mode="r").view(np.ndarray)
        except (OSError, ValueError) as error:
            raise PackFormatError(f"{path}: cannot be mapped: {error}") from error
