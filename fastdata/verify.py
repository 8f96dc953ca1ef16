"""Checking a whole pack: structure, counts, and every byte against its checksum."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .errors import FastdataError, PackFormatError
from .shards import Manifest, PackReader, ShardEntry
from .shards._files import sha256_file
from .shards.manifest import KEY_OFFSETS, KEYS, MANIFEST, REJECTED, TABLE

_MOST_CRASHES = 10
_CHANGED = "the file's SHA-256 is not the one in pack.json"
_UNREADABLE = "the file cannot be read"


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


def verify_pack(path: str | os.PathLike[str], *, quiet: bool = False) -> VerifyReport:
    """Check the pack's structure, its counts, every record's CRC-32 and every file's SHA-256.

    The records of a shard whose SHA-256 is wrong are read in a process of their own, since the
    storage libraries trust their files and may crash on a damaged one. Progress bars show where
    standard error is a terminal, unless ``quiet``.

    Raises:
        PackNotFoundError: there is no pack at ``path``.
        PackFormatError: its pack.json is damaged.
    """
    place = Path(path)
    manifest = Manifest.read(place)
    faults = dict(_bad_files(place, manifest, quiet))
    problems = [f"{name}: {fault}" for name, fault in faults.items()]
    missing = {TABLE, KEYS, KEY_OFFSETS, REJECTED} - set(manifest.files)
    problems += [f"{MANIFEST} has no checksum of {name}" for name in sorted(missing)]
    try:
        reader = PackReader(place)
    except FastdataError as error:
        return VerifyReport(place, 0, 0, [*problems, f"no record can be read: {error}"])
    try:
        problems += _bad_rows(reader)
        with tqdm(total=len(reader), unit="img", disable=True if quiet else None) as bar:
            for shard in manifest.shards:
                risky = faults.get(shard.file, "").startswith((_CHANGED, _UNREADABLE))
                problems += (_check_apart if risky else _check_records)(reader, shard, bar)
    finally:
        reader.close()
    return VerifyReport(place, len(reader), int(reader.table["bytes"].sum()), problems)


def _bad_files(place: Path, manifest: Manifest, quiet: bool) -> Iterator[tuple[str, str]]:
    expected = {name: (entry.bytes, entry.sha256) for name, entry in manifest.files.items()}
    expected |= {shard.file: (shard.bytes, shard.sha256) for shard in manifest.shards}
    total = sum(size for size, _ in expected.values())
    with tqdm(total=total, unit="B", unit_scale=True, disable=True if quiet else None) as bar:
        for name, (size, digest) in expected.items():
            fault = _fault(place, name, size, digest)
            if fault is not None:
                yield name, fault
            bar.update(size)


def _fault(place: Path, name: str, size: int, digest: str) -> str | None:
    file = place / name
    if Path(name).name != name:
        return "not a plain file name"
    try:
        found = file.stat().st_size
        if found != size:
            return f"expected {size} bytes, found {found}"
        return None if sha256_file(file) == digest else _CHANGED
    except FileNotFoundError:
        return "the file is missing"
    except OSError as error:
        return f"{_UNREADABLE}: {error.strerror or error}"


def _bad_rows(reader: PackReader) -> Iterator[str]:
    """Counts and ranges that a checksum cannot know."""
    manifest, targets = reader.manifest, reader.table["target"]
    known = len(manifest.classes)
    for index in np.flatnonzero((targets < 0) | (targets >= known)) if known else ():
        yield f"{_sample(reader, int(index))}: target {targets[index]}, there are {known} classes"
    if np.any(np.diff(reader.keys.offsets) < 0) or reader.keys.offsets[0] != 0:
        yield f"{KEY_OFFSETS}: the offsets do not ascend from 0"
    with suppress(OSError):
        lines = (reader.path / REJECTED).read_bytes().count(b"\n")
        if lines != manifest.rejected:
            yield f"{REJECTED}: expected {manifest.rejected} lines, found {lines}"


def _check_records(reader: PackReader, shard: ShardEntry, bar: Any) -> Iterator[str]:
    for index in range(shard.first, shard.first + shard.count):
        problem = _problem(reader, index)
        if problem is not None:
            yield f"{_sample(reader, index)}: {problem}"
        bar.update()


def _problem(reader: PackReader, index: int) -> str | None:
    try:
        found = zlib.crc32(reader.read(index))
    except PackFormatError as error:
        return str(error)
    except Exception as error:  # what a storage library makes of a damaged file is its own affair
        return f"{type(error).__name__}: {error}"
    expected = int(reader.table["crc32"][index])
    if found != expected:
        return f"the record's CRC-32 is {found:08x}, the table says {expected:08x}"
    return None


def _sample(reader: PackReader, index: int) -> str:
    try:
        key = repr(reader.keys[index])
    except UnicodeDecodeError:
        key = "its key is damaged"
    return f"sample {index} ({key})"


def _check_apart(reader: PackReader, shard: ShardEntry, bar: Any) -> Iterator[str]:
    """``_check_records`` in other processes: what they found, and where they crashed."""
    start, stop = shard.first, shard.first + shard.count
    for _ in range(_MOST_CRASHES):
        done = _run_checks(reader.path, start, stop)
        index = None
        for index, problem in map(json.loads, done.stdout.splitlines()):
            if problem is not None:
                yield f"{_sample(reader, index)}: {problem}"
        if done.returncode == 0:
            break
        if index is None:
            yield f"{shard.file}: its records cannot be checked: {done.stderr.strip()[-500:]}"
            break
        yield f"{_sample(reader, index)}: the process that read it crashed ({done.returncode})"
        start = index + 1
    else:
        yield f"{shard.file}: samples {start} to {stop - 1} are unchecked after so many crashes"
    bar.update(shard.count)


def _run_checks(path: Path, start: int, stop: int) -> subprocess.CompletedProcess[str]:
    code = "import sys; from fastdata.verify import print_checks; print_checks(*sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-c", code, os.fspath(path), str(start), str(stop)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        check=False,
    )


def print_checks(path: str, start: str, stop: str) -> None:
    """Check samples ``start`` to ``stop`` − 1 and print lines of JSON: [index, null] before each
    record, and [index, problem] after a bad one.

    For ``verify_pack`` alone, in the processes that it starts.
    """
    reader = PackReader(path)
    for index in range(int(start), int(stop)):
        print(json.dumps([index, None]), flush=True)
        problem = _problem(reader, index)
        if problem is not None:
            print(json.dumps([index, problem]), flush=True)
