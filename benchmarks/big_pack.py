"""Packs with a table of any length, made in a second: their shards repeat."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fastdata.sample import TABLE_DTYPE, Record
from fastdata.shards import PackWriter
from fastdata.shards._files import sha256_file
from fastdata.shards.manifest import KEY_OFFSETS, KEYS, TABLE, FileEntry, Manifest, ShardEntry

RECORDS = 100_000  # in a shard, and different ones in a pack
SIDE = 8
READS = 20_000
KEY_BYTES = 16
CLASSES = 1000


def make(folder: Path, rows: int) -> Path:
    """Make a pack of ``rows`` raw images of 8×8 pixels; beyond RECORDS, its shard repeats."""
    folder.mkdir()
    writer = PackWriter(folder, "lmdb", 1 << 40)
    pixels = np.random.default_rng(0).integers(0, 256, (min(rows, RECORDS), SIDE * SIDE * 3))
    for i, image in enumerate(pixels.astype(np.uint8)):
        content = image.tobytes()
        writer.add(key(i), i % CLASSES, Record(content, SIDE, SIDE, 1, zlib.crc32(content)))
    classes = [f"class{i:04d}" for i in range(CLASSES)]
    manifest = writer.finish(encoding={"name": "raw"}, source="folder", classes=classes)
    if rows > RECORDS:
        lengthen(folder, manifest, rows)
    return folder


def key(index: int) -> str:
    """A name of KEY_BYTES bytes."""
    return f"c/{index:0{KEY_BYTES - 6}d}.png"


def lengthen(folder: Path, manifest: Manifest, rows: int) -> None:
    """Repeat table, keys and shard until there are ``rows``, a multiple of RECORDS."""
    repeats = -(-rows // RECORDS)
    rows = repeats * RECORDS
    repeat_array(folder / TABLE, TABLE_DTYPE, repeats)
    np.save(folder / KEY_OFFSETS, np.arange(rows + 1, dtype="<i8") * KEY_BYTES)
    names = (folder / KEYS).read_bytes()
    with (folder / KEYS).open("wb") as file:
        for _ in range(repeats):
            file.write(names)
    shard = manifest.shards[0]
    shards = [replace(shard, first=i * RECORDS) for i in range(repeats)]
    publish(folder, manifest, rows, shards)


def repeat_array(path: Path, dtype: np.dtype[Any], repeats: int) -> None:
    """The rows of a .npy file, again and again."""
    part = np.load(path)
    whole = np.lib.format.open_memmap(path, "w+", dtype, (repeats * len(part),))
    for i in range(repeats):
        whole[i * len(part) : (i + 1) * len(part)] = part
    whole.flush()


def publish(folder: Path, manifest: Manifest, rows: int, shards: list[ShardEntry]) -> None:
    """The manifest of the longer pack."""
    files = dict(manifest.files)
    for name in (TABLE, KEYS, KEY_OFFSETS):
        path = folder / name
        files[name] = FileEntry(path.stat().st_size, sha256_file(path))
    replace(manifest, samples=rows, files=files, shards=shards).write(folder)
