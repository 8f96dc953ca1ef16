"""Packs with a table of any length, made in a second: their shards repeat."""

from __future__ import annotations

import os
import shutil
import tempfile
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fastdata.core.checksum import sha256_file
from fastdata.core.fields import TARGET, Field
from fastdata.images.stored import StoredMedia
from fastdata.store import Contents, ShardPart, ShardPartWriter, assemble
from fastdata.store.manifest import KEY_OFFSETS, KEYS, TABLE, FileEntry, Manifest, ShardEntry
from fastdata.store.parts import part_name
from fastdata.store.record import Record
from fastdata.store.table import TABLE_DTYPE

RECORDS = 100_000  # in a shard, and different ones in a pack
SIDE = 8
READS = 20_000
KEY_BYTES = 16
CLASSES = 1000
FIELDS = {"image": Field("image"), TARGET: Field("int")}


def make(folder: Path, rows: int) -> Path:
    """Make a pack of ``rows`` raw images of 8×8 pixels; beyond RECORDS, its shard repeats."""
    pixels = np.random.default_rng(0).integers(0, 256, (min(rows, RECORDS), SIDE * SIDE * 3))
    images = (image.tobytes() for image in pixels.astype(np.uint8))
    manifest = write(folder, (record(i, image) for i, image in enumerate(images)))
    if rows > RECORDS:
        lengthen(folder, manifest, rows)
    return folder


def record(index: int, content: bytes) -> Record:
    """Sample ``index``, a raw image of SIDE×SIDE pixels."""
    media = StoredMedia(content, SIDE, SIDE)
    return Record(key(index), index % CLASSES, media, content, zlib.crc32(content), {})


def write(folder: Path, records: Iterable[Record]) -> Manifest:
    """Write a pack of one shard of raw images; ``folder`` is new."""
    with tempfile.TemporaryDirectory(prefix="packing-", dir=folder.parent) as temporary:
        work = Path(temporary)
        for name in ("pack", "parts"):
            (work / name).mkdir()
        writer = ShardPartWriter(work, 0, "lmdb", FIELDS)
        for one in records:
            writer.add(one)
        writer.commit()
        classes = [f"class{i:04d}" for i in range(CLASSES)]
        contents = Contents(FIELDS, "lmdb", {"name": "raw"}, "folder", classes)
        manifest = assemble(
            work / "pack", contents, [ShardPart.read(work / "parts" / part_name(0))]
        )
        shutil.move(work / "pack", folder)
    return manifest


def key(index: int) -> str:
    """A name of KEY_BYTES bytes."""
    return f"c/{index:0{KEY_BYTES - 6}d}.png"


def lengthen(folder: Path, manifest: Manifest, rows: int) -> None:
    """Repeat table, keys and shard until there are ``rows``, a multiple of RECORDS."""
    repeats = -(-rows // RECORDS)
    rows = repeats * RECORDS
    path = {role: folder / entry.file for role, entry in manifest.files.items()}
    repeat_array(path[TABLE], TABLE_DTYPE, repeats)
    np.save(path[KEY_OFFSETS], np.arange(rows + 1, dtype="<i8") * KEY_BYTES)
    names = path[KEYS].read_bytes()
    with path[KEYS].open("wb") as file:
        for _ in range(repeats):
            file.write(names)
    shards = [repeat_shard(folder, manifest.shards[0], i) for i in range(repeats)]
    publish(folder, manifest, rows, shards)


def repeat_array(path: Path, dtype: np.dtype[Any], repeats: int) -> None:
    """The rows of a .npy file, again and again."""
    part = np.load(path)
    whole = np.lib.format.open_memmap(path, "w+", dtype, (repeats * len(part),))
    for i in range(repeats):
        whole[i * len(part) : (i + 1) * len(part)] = part
    whole.flush()


def repeat_shard(folder: Path, shard: ShardEntry, number: int) -> ShardEntry:
    """Shard ``number``, which is another name of the first one's file."""
    name = shard.file.replace("00000", f"{number:05d}")
    if number:
        os.link(folder / shard.file, folder / name)
    return replace(shard, file=name, first=number * RECORDS)


def publish(folder: Path, manifest: Manifest, rows: int, shards: list[ShardEntry]) -> None:
    """The manifest of the longer pack."""
    files = {role: described(folder / entry.file) for role, entry in manifest.files.items()}
    replace(manifest, samples=rows, files=files, shards=shards).write(folder)


def described(path: Path) -> FileEntry:
    """A side file as it is now."""
    return FileEntry(path.name, path.stat().st_size, sha256_file(path))
