"""Checking a whole pack: structure, counts, and every byte against its checksum."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .checksum import crc32
from .decode import decode
from .errors import DecodeError, FastdataError, PackFormatError
from .fields import TARGET
from .masks import decode_mask
from .opencv import quiet_opencv, single_threaded_opencv
from .parallel import available_cores, ordered_map
from .sample import EncodedImage
from .shards import FileEntry, PackReader, ShardEntry
from .shards._files import count_lines, open_regular, sha256_file
from .shards.manifest import KEY_OFFSETS, REJECTIONS, Manifest

_CHANGED = "the file's SHA-256 is not the one in pack.json"
_CHUNK = 64


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What verifying found.

    Attributes:
        path: the pack.
        samples: records checked.
        bytes: their size.
        problems: one line for each fault; empty for a sound pack.
    """

    path: Path
    samples: int
    bytes: int
    problems: list[str]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
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
) -> VerifyReport:
    """Check the pack's structure, its counts, every record's CRC-32 and every file's SHA-256.

    No byte of a pack can change without being found: the files' checksums stand in pack.json,
    and its own stands in its last line.

    Args:
        path: the pack.
        deep: decode every image and mask, too, and parse every other value.
        workers: threads; default: the cores this process may use.
        quiet: no progress bars, which otherwise show where standard error is a terminal.

    Raises:
        PackNotFoundError: there is no pack at ``path``.
        PackFormatError: its pack.json is damaged.
    """
    place = Path(path)
    manifest = Manifest.read(place)
    with ThreadPoolExecutor(workers or available_cores(), "fastdata-verify") as pool:
        problems = list(_bad_files(place, manifest, pool, quiet))
        try:
            reader = PackReader(place)
        except FastdataError as error:
            return VerifyReport(place, 0, 0, [*problems, f"no record can be read: {error}"])
        problems += _bad_rows(reader)
        with quiet_opencv(), single_threaded_opencv:
            problems += _bad_records(reader, pool, deep, quiet)
    return VerifyReport(place, len(reader), int(reader.table["bytes"].sum(dtype="i8")), problems)


def _bad_files(
    place: Path, manifest: Manifest, pool: ThreadPoolExecutor, quiet: bool
) -> Iterator[str]:
    entries = manifest.entries
    total = sum(entry.bytes for entry in entries)
    with (
        tqdm(total=total, unit="B", unit_scale=True, disable=True if quiet else None) as bar,
        closing(ordered_map(pool, lambda entry: _fault(place, entry), entries, 64)) as results,
    ):
        for entry, fault in results:
            if fault is not None:
                yield f"{entry.file}: {fault}"
            bar.update(entry.bytes)


def _fault(place: Path, entry: FileEntry | ShardEntry) -> str | None:
    file = place / entry.file
    try:
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
    except OSError as error:
        return f"the file cannot be read: {error.strerror or error}"


def _bad_rows(reader: PackReader) -> Iterator[str]:
    """Counts and ranges that a checksum cannot know."""
    manifest, targets = reader.manifest, reader.targets
    known = len(manifest.classes)
    for index in np.flatnonzero((targets < 0) | (targets >= known)) if known else ():
        yield f"{_sample(reader, int(index))}: target {targets[index]}, there are {known} classes"
    for index in np.flatnonzero((reader.orientations < 1) | (reader.orientations > 8)):
        yield f"{_sample(reader, int(index))}: orientation {reader.orientations[index]}"
    if np.any(np.diff(reader.keys.offsets) < 0):
        yield f"{manifest.files[KEY_OFFSETS].file}: the offsets do not ascend"
    entry = manifest.files[REJECTIONS]
    try:
        lines = count_lines(reader.path / entry.file)
    except (OSError, PackFormatError):  # which has been reported
        return
    if lines != manifest.rejected:
        yield f"{entry.file}: expected {manifest.rejected} lines, found {lines}"


def _bad_records(
    reader: PackReader, pool: ThreadPoolExecutor, deep: bool, quiet: bool
) -> Iterator[str]:
    def check(start: int) -> list[str]:
        return list(_problems(reader, start, min(start + _CHUNK, len(reader)), deep))

    starts = range(0, len(reader), _CHUNK)
    with (
        tqdm(total=len(reader), unit="img", disable=True if quiet else None) as bar,
        closing(ordered_map(pool, check, starts, 64)) as results,
    ):
        for start, found in results:
            yield from found
            bar.update(min(_CHUNK, len(reader) - start))


def _problems(reader: PackReader, start: int, stop: int, deep: bool) -> Iterator[str]:
    for index in range(start, stop):
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
    for name, field in reader.fields.items():
        try:
            if field.kind in ("image", "mask"):
                _decode_media(reader, index, name, record)
            elif name != TARGET:
                reader.value(index, name, record)
        except (DecodeError, PackFormatError) as error:
            yield f"field {name!r}: {error}"


def _decode_media(reader: PackReader, index: int, name: str, record: memoryview) -> Any:
    data, row = reader.read_field(index, name, record), reader.media(name)[index]
    height, width = int(row["height"]), int(row["width"])
    if reader.fields[name].kind == "mask":
        return decode_mask(data, height, width)
    raw = reader.manifest.encoding["name"] == "raw"
    return decode(EncodedImage(data, height, width, raw=raw))


def _sample(reader: PackReader, index: int) -> str:
    try:
        key = repr(reader.keys[index])
    except PackFormatError:
        key = "its key is damaged"
    return f"sample {index} ({key})"
