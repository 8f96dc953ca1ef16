"""Reading a pack: records by sample index, as slices of mapped shards."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from ..core import TARGET, Field, KeyTable, allow_open_files, crc32, kind_of, will_need
from ..errors import OptionError, PackFormatError
from ..images import ENCODINGS, Encoding
from .columns import RecordLayout, column_types, parse_value
from .files import DEFAULT_ACCESS, Access, PackFiles
from .manifest import KEY_OFFSETS, KEYS, TABLE, Manifest, column_role
from .npy import as_npy
from .table import TABLE_DTYPE

VERIFY = ("never", "first-read", "always")
_ATTEMPTS = 10
_LARGE = 64 << 10  # smaller records are better read together with their neighbours


class PackReader:
    """Reads a pack by sample index, from any thread, in any process.

    Opening reads the manifest and maps the table, the keys and the columns; a shard is mapped when
    a record of it is first read. No storage library is involved, so nothing has to be reopened in
    a forked child, and damaged files give errors, not crashes. The object may be pickled: it opens
    again where it arrives, with as many samples as it had. Views that ``read`` returns stay valid
    as long as they live.

    Of a pack behind a URL the table, the keys and the columns are downloaded into the local cache
    at opening, and each shard when it is first read; all are checked against pack.json. A shard
    that the cache evicts is let go of when the next one is mapped, and downloaded again if it is
    read again.

    Args:
        path: the pack's directory, or its URL.
        verify: whether ``read`` compares records with their CRC-32: "never", at the "first-read"
            of each in this process, or "always".
        access: options for a pack behind a URL.

    Attributes:
        path: the pack's directory, or its URL without a password.
        files: where the pack's files are.
        manifest: the content of pack.json.
        fields: the kinds of the samples' fields, the image first.
        kinds: by field, the object that has all that is done with its values.
        table: mapped array of ``TABLE_DTYPE``, one row a sample, read-only.
        targets, heights, widths, orientations, slice_indices: columns of ``table``.
        columns: by name, the rows of all other fields; see ``fastdata.store.columns``.
        keys: the samples' names, by index.
        image_name: the field that ``table`` describes.
        layout: where in its record each field lies.

    Raises:
        PackNotFoundError: no pack at ``path``.
        PackFormatError: the pack is damaged.
        OptionError: ``verify`` is none of the three, or an option is wrong.
        RemoteError: the URL cannot be read.
        CacheError: the cache cannot be written, or is full of files in use.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        verify: str = "never",
        access: Access = DEFAULT_ACCESS,
    ) -> None:
        if verify not in VERIFY:
            raise OptionError(f"verify must be one of {', '.join(VERIFY)}; got {verify!r}")
        self.files: PackFiles = access.files(path)
        self.verify = verify
        self._open()

    @classmethod
    def of(cls, files: PackFiles, verify: str = "never") -> Self:
        """A reader of a pack whose files are known."""
        reader = cls.__new__(cls)
        reader.files, reader.verify = files, verify
        reader._open()
        return reader

    @property
    def path(self) -> Path | str:
        """The pack's directory, or its URL without a password."""
        return self.files.path

    def _open(self, samples: int | None = None) -> None:
        for attempt in range(_ATTEMPTS):
            manifest = self.files.manifest()
            try:
                self._map(manifest)
                break
            except PackFormatError:
                # Samples that are being appended replace the side files, then delete the old ones.
                if attempt == _ATTEMPTS - 1 or self.files.manifest() == manifest:
                    raise
        self.manifest = manifest
        if samples is not None:
            self._shorten(samples)
        # Columns by name are looked up here, once: it costs more than reading one number.
        self.targets: NDArray[np.int64] = self.table["target"]
        self.heights: NDArray[np.uint32] = self.table["height"]
        self.widths: NDArray[np.uint32] = self.table["width"]
        self.orientations: NDArray[np.uint8] = self.table["orientation"]
        self.slice_indices: NDArray[np.uint32] = self.table["slice_index"]
        self._sizes: NDArray[np.uint32] = self.table["bytes"]
        self._offsets: NDArray[np.uint64] = self.table["offset"]
        self._checksums: NDArray[np.uint32] = self.table["crc32"]
        self.image_name = next(iter(self.fields))
        self.layout = RecordLayout(self.fields, self.columns)
        self._firsts = [shard.first for shard in self.manifest.shards]
        self._shards: dict[int, memoryview] = {}
        self._lock = threading.Lock()
        # One bit a sample. Of two threads that set bits of one byte at once, one may be forgotten:
        # then that record is checked again.
        self._checked = bytearray(len(self) // 8 + 1 if self.verify == "first-read" else 0)
        allow_open_files(len(self.manifest.shards))

    @property
    def encoding(self) -> Encoding:
        """The form of the images; PackFormatError for one that only a later version knows."""
        name = self.manifest.encoding["name"]
        if name not in ENCODINGS:
            raise PackFormatError(f"{self.path}: unknown encoding {name!r}; upgrade fastdata")
        return ENCODINGS[name]

    @property
    def shard_lengths(self) -> list[int]:
        """Number of samples in each shard; none of those appended since this was pickled."""
        counts = [min(shard.count, len(self) - shard.first) for shard in self.manifest.shards]
        return [count for count in counts if count > 0]

    def __len__(self) -> int:
        return self.manifest.samples

    def read(self, index: int) -> memoryview:
        """The record of sample ``index`` (0 ≤ index < len) as a read-only view of mapped memory.

        Raises:
            PackFormatError: the shard is missing or damaged, or the record is not where the table
                says, or its checksum is wrong.
        """
        number = bisect_right(self._firsts, index) - 1
        shard = self._shards.get(number)
        if shard is None:
            shard = self._map_shard(number)
        start, size = self._offsets.item(index), self._sizes.item(index)
        record = shard[start : start + size]
        if len(record) != size:
            raise PackFormatError(
                f"{self.files.describe(self.manifest.shards[number])}: record {index} should be "
                f"{size} bytes at {start}, but the file has {len(shard)}"
            )
        if size >= _LARGE:
            will_need(shard, start, size)
        if self.verify != "never":
            self._check(index, record)
        return record

    def read_field(self, index: int, name: str, record: memoryview | None = None) -> memoryview:
        """The part of a sample's record that is an image, a mask, or another field that lies in it.

        Args:
            index: of the sample.
            name: of the field.
            record: what ``read`` gave, where several fields are wanted.

        Raises:
            PackFormatError: as ``read``, or the sizes of the fields do not suit the record.
        """
        record = self.read(index) if record is None else record
        start, stop = self.layout.span(index, name, len(record))
        if not 0 <= start <= stop <= len(record):
            raise PackFormatError(f"{self.path}: the fields of sample {index} exceed its record")
        return record[start:stop]

    def value(self, index: int, name: str, record: memoryview | None = None) -> Any:
        """The value of a field that is no media; arguments as for ``read_field``.

        Raises:
            PackFormatError: as ``read_field``, or the bytes are not such a value.
        """
        if name == TARGET:
            return self.targets.item(index)
        kind = self.kinds[name]
        if not kind.in_record:
            return kind.from_row(self.columns[name][index])
        try:
            return parse_value(kind, self.read_field(index, name, record))
        except PackFormatError as error:
            raise PackFormatError(
                f"{self.path}: sample {index}, field {name!r}: {error}"
            ) from error

    def media(self, name: str) -> NDArray[np.void]:
        """The rows with the height, width and orientation of an image or mask field."""
        return self.table if name == self.image_name else self.columns[name]

    def close(self) -> None:
        """Let go of the shards; a later read maps them again."""
        with self._lock:
            self._shards = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"files": self.files, "verify": self.verify, "samples": len(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.files, self.verify = state["files"], state["verify"]
        self._open(state["samples"])

    def _check(self, index: int, record: memoryview) -> None:
        byte, bit = index >> 3, 1 << (index & 7)
        if self._checked and self._checked[byte] & bit:
            return
        found, expected = crc32(record), self._checksums.item(index)
        if found != expected:
            raise PackFormatError(
                f"{self.path}: the record of sample {index} is damaged: its CRC-32 is "
                f"{found:08x}, the table says {expected:08x} (fastdata verify lists all that are)"
            )
        if self._checked:
            self._checked[byte] |= bit

    def _map(self, manifest: Manifest) -> None:
        samples = manifest.samples
        self.fields: dict[str, Field] = manifest.parsed_fields
        self.kinds = {name: kind_of(field) for name, field in self.fields.items()}
        self.table: NDArray[np.void] = self._npy(manifest, TABLE, TABLE_DTYPE, (samples,))
        offsets = self._npy(manifest, KEY_OFFSETS, np.dtype("<i8"), (samples + 1,))
        entry = manifest.files[KEYS]
        blob = np.frombuffer(self.files.map(entry), np.uint8)
        if offsets[0] != 0 or offsets[-1] != len(blob):
            raise PackFormatError(
                f"{self.files.describe(entry)}: expected {offsets[-1]} bytes, found {len(blob)}"
            )
        self.keys = KeyTable(offsets, blob)
        self.columns: dict[str, NDArray[Any]] = {
            name: self._npy(manifest, column_role(name), dtype, (samples, *shape))
            for name, (dtype, shape) in column_types(self.fields).items()
        }

    def _npy(
        self, manifest: Manifest, role: str, dtype: np.dtype[Any], shape: tuple[int, ...]
    ) -> NDArray[Any]:
        entry = manifest.files[role]
        return as_npy(self.files.map(entry), dtype, shape, self.files.describe(entry))

    def _shorten(self, samples: int) -> None:
        """See only the samples that there were before others were appended."""
        if samples > len(self.table):
            raise PackFormatError(f"{self.path}: expected {samples} samples, found {len(self)}")
        self.manifest = self.manifest.shortened(samples)
        self.table = self.table[:samples]
        self.keys = KeyTable(self.keys.offsets[: samples + 1], self.keys.blob)
        self.columns = {name: column[:samples] for name, column in self.columns.items()}

    def _map_shard(self, number: int) -> memoryview:
        # Not under the lock: of several threads each may have a shard to wait for.
        shard = self.files.map(self.manifest.shards[number])
        with self._lock:
            for other in self.files.evicted(self._shards, self.manifest.shards):
                del self._shards[other]
            return self._shards.setdefault(number, shard)
