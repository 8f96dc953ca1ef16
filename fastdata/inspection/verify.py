"""Checking a whole pack: structure, counts, and every byte against its checksum."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..core import (
    TARGET,
    available_cores,
    count_lines,
    crc32,
    open_regular,
    ordered_map,
    sha256_file,
)
from ..errors import DecodeError, FastdataError, PackFormatError
from ..images import MEDIA, EncodedImage, quiet_opencv, single_threaded_opencv
from ..store import (
    KEY_OFFSETS,
    REJECTIONS,
    Access,
    FileEntry,
    PackFiles,
    PackReader,
    Place,
    ShardCache,
    ShardEntry,
)

_CHANGED = "the file's SHA-256 is not the one in pack.json"
_CHUNK = 64


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Result of verifying a pack.

    Attributes:
        path: the pack's directory, or its URL.
        samples: records checked.
        bytes: their size.
        problems: one line for each fault; empty for a sound pack.

    Example:
        >>> from pathlib import Path
        >>> shard = Path("photos.pack/shard-00000.lmdb")
        >>> size = shard.write_bytes(shard.read_bytes()[:-1])
        >>> report = fastdata.verify_pack("photos.pack", quiet=True)
        >>> report.ok, report.problems
        (False, [...])
    """

    path: Path | str
    samples: int
    bytes: int
    problems: list[str]

    @property
    def ok(self) -> bool:
        """True if nothing is wrong."""
        return not self.problems

    def __str__(self) -> str:
        if self.ok:
            return f"{self.path}: {self.samples} samples, {self.bytes / 1e6:.1f} MB, all correct"
        return "\n".join([f"{self.path}: {len(self.problems)} problems", *self.problems])


def verify_pack(
    path: str | os.PathLike[str],
    *,
    deep: bool = False,
    workers: int | None = None,
    quiet: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> VerifyReport:
    """Check the pack's structure, its counts, every record's CRC-32 and every file's SHA-256.

    No byte of a pack can change without being found: the files' checksums stand in pack.json,
    and its own stands in its last line.

    Of a pack behind a URL every file is downloaded, one shard after the other, into a temporary
    directory, which needs room for two of them. The local cache is neither trusted nor filled.

    Args:
        path: the pack, or its URL.
        deep: decode every image and mask, too, and parse every other value.
        workers: threads; default: the cores this process may use.
        quiet: no progress bars, which otherwise show where standard error is a terminal.
        storage_options: as for ``PackedImageFolder``.

    Raises:
        PackNotFoundError: there is no pack at ``path``.
        PackFormatError: its pack.json is damaged.
        RemoteError: the URL cannot be read.

    Example:
        >>> report = fastdata.verify_pack("photos.pack", deep=True, quiet=True)
        >>> report.ok, report.samples
        (True, 8)
    """
    place = Access(storage_options=storage_options).place(path)
    threads = workers or available_cores()
    with (
        _files_of(place) as files,
        ThreadPoolExecutor(threads, "fastdata-verify") as pool,
        quiet_opencv(),
        single_threaded_opencv,
    ):
        return _Check(files, pool, deep, quiet).run()


@contextmanager
def _files_of(place: Place) -> Iterator[PackFiles]:
    """The files of a pack as they are in their place, whatever the cache may hold of them."""
    if place.directory is not None:
        yield PackFiles(place)
        return
    with tempfile.TemporaryDirectory(prefix="fastdata-verify-") as directory:
        manifest = PackFiles(place, ShardCache(directory)).manifest()
        side = sum(entry.bytes for entry in manifest.files.values())
        most = side + 2 * max((shard.bytes for shard in manifest.shards), default=0)
        yield PackFiles(place, ShardCache(directory, most))


class _Check:
    """Checks one pack."""

    def __init__(self, files: PackFiles, pool: ThreadPoolExecutor, deep: bool, quiet: bool) -> None:
        self._files = files
        self._pool = pool
        self._deep = deep
        self._disable = True if quiet else None
        self._manifest = files.manifest()

    def run(self) -> VerifyReport:
        """All checks."""
        manifest, path = self._manifest, self._files.path
        local = self._files.cache is None
        total = sum(entry.bytes for entry in manifest.entries)
        with (
            tqdm(total=total, unit="B", unit_scale=True, disable=self._disable) as bytes_bar,
            tqdm(total=manifest.samples, unit="img", disable=self._disable) as bar,
        ):
            first = manifest.entries if local else list(manifest.files.values())
            problems = list(self._bad_files(first, bytes_bar))
            try:
                reader = PackReader.of(self._files)
            except FastdataError as error:
                problems.append(f"no record can be read: {error}")
                return VerifyReport(path, 0, 0, problems)
            problems += _bad_rows(reader)
            if local:
                problems += self._bad_records(reader, range(len(reader)), bar)
            else:
                problems += self._bad_shards(reader, bytes_bar, bar)
        size = int(reader.table["bytes"].sum(dtype="i8"))
        return VerifyReport(path, len(reader), size, problems)

    def _bad_files(
        self, entries: Sequence[FileEntry | ShardEntry], bar: tqdm[Any]
    ) -> Iterator[str]:
        def check(entry: FileEntry | ShardEntry) -> str | None:
            return _fault(self._files, entry)

        with closing(ordered_map(self._pool, check, entries, 64)) as results:
            for entry, fault in results:
                if fault is not None:
                    yield f"{entry.file}: {fault}"
                bar.update(entry.bytes)

    def _bad_shards(
        self, reader: PackReader, bytes_bar: tqdm[Any], bar: tqdm[Any]
    ) -> Iterator[str]:
        """Faults of shards that are downloaded one after the other, and of their records."""
        for shard in self._manifest.shards:
            faults = list(self._bad_files([shard], bytes_bar))
            yield from faults
            if faults:  # nothing is kept of it: each record would be another download
                bar.update(shard.count)
                continue
            yield from self._bad_records(reader, range(shard.first, shard.first + shard.count), bar)

    def _bad_records(self, reader: PackReader, samples: range, bar: tqdm[Any]) -> Iterator[str]:
        def check(part: range) -> list[str]:
            return list(_problems(reader, part, self._deep))

        parts = [samples[i : i + _CHUNK] for i in range(0, len(samples), _CHUNK)]
        with closing(ordered_map(self._pool, check, parts, 64)) as results:
            for part, found in results:
                yield from found
                bar.update(len(part))


def _fault(files: PackFiles, entry: FileEntry | ShardEntry) -> str | None:
    try:
        if files.place.directory is None:
            files.map(entry)  # which checks it
            return None
        file = files.place.directory / entry.file
        if not os.path.lexists(file):
            return "the file is missing"
        descriptor = open_regular(file)
        found = os.fstat(descriptor).st_size
        os.close(descriptor)
        if found != entry.bytes:
            return f"expected {entry.bytes} bytes, found {found}"
        return None if sha256_file(file) == entry.sha256 else _CHANGED
    except PackFormatError as error:
        return str(error)
    except FastdataError:
        raise  # the network's fault is not one of the pack
    except OSError as error:
        return f"the file cannot be read: {error.strerror or error}"


def _bad_rows(reader: PackReader) -> Iterator[str]:
    """Counts and ranges that a checksum cannot know."""
    manifest, targets = reader.manifest, reader.targets
    known = len(manifest.classes)
    for index in np.flatnonzero((targets < -1) | (targets >= known)) if known else ():  # −1: none
        yield f"{_sample(reader, int(index))}: target {targets[index]}, there are {known} classes"
    for index in np.flatnonzero((reader.orientations < 1) | (reader.orientations > 8)):
        yield f"{_sample(reader, int(index))}: orientation {reader.orientations[index]}"
    if np.any(np.diff(reader.keys.offsets) < 0):
        yield f"{manifest.files[KEY_OFFSETS].file}: the offsets do not ascend"
    entry = manifest.files[REJECTIONS]
    try:
        lines = count_lines(reader.files.map(entry))
    except PackFormatError:  # which has been reported
        return
    if lines != manifest.rejected:
        yield f"{entry.file}: expected {manifest.rejected} lines, found {lines}"


def _problems(reader: PackReader, samples: range, deep: bool) -> Iterator[str]:
    for index in samples:
        try:
            reader.keys[index]
            record = reader.read(index)
        except PackFormatError as error:
            yield f"{_sample(reader, index)}: {error}"
            continue
        found, expected = crc32(record), int(reader.table["crc32"][index])
        if found != expected:
            yield (
                f"{_sample(reader, index)}: the record's CRC-32 is {found:08x}, the table says "
                f"{expected:08x}"
            )
        elif deep:
            for problem in _bad_values(reader, index, record):
                yield f"{_sample(reader, index)}: {problem}"


def _bad_values(reader: PackReader, index: int, record: memoryview) -> Iterator[str]:
    for name, kind in reader.kinds.items():
        try:
            if kind.media:
                _check_media(reader, index, name, record)
            elif name != TARGET:
                reader.value(index, name, record)
        except (DecodeError, PackFormatError) as error:
            yield f"field {name!r}: {error}"


def _check_media(reader: PackReader, index: int, name: str, record: memoryview) -> None:
    data, row = reader.read_field(index, name, record), reader.media(name)[index]
    raw = reader.encoding.is_pixels
    stored = EncodedImage(data, int(row["height"]), int(row["width"]), raw=raw)
    MEDIA[reader.kinds[name].name].check(stored)


def _sample(reader: PackReader, index: int) -> str:
    try:
        key = repr(reader.keys[index])
    except PackFormatError:
        key = "its key is damaged"
    return f"sample {index} ({key})"
