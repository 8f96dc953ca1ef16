"""Packs of arbitrary records, written without any source or encoder."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable
from pathlib import Path

from fastdata.core.fields import Field
from fastdata.images.stored import StoredMedia
from fastdata.store import Contents, ShardPart, ShardPartWriter, assemble
from fastdata.store.parts import part_name
from fastdata.store.record import Record

IMAGE_ONLY = {"image": Field("image"), "target": Field("int")}


def record(key: str, data: bytes, target: int = 0, height: int = 1, width: int = 1) -> Record:
    """A sample whose only field in the record is an image."""
    media = StoredMedia(data, height, width)
    return Record(key, target, media, data, zlib.crc32(data), {})


def write_pack(
    directory: Path,
    shards: Iterable[Iterable[Record]],
    storage: str = "lmdb",
    *,
    encoding: str = "keep",
    classes: list[str] | None = None,
    source: str = "folder",
) -> Path:
    """Write a pack with these records in these shards, and return its directory."""
    work = directory.with_name(directory.name + ".work")
    for name in ("parts", "pack"):
        (work / name).mkdir(parents=True)
    numbers = []
    for number, records in enumerate(shards):
        writer = ShardPartWriter(work, number, storage, IMAGE_ONLY)
        for one in records:
            writer.add(one)
        writer.commit()
        numbers.append(number)
    contents = Contents(IMAGE_ONLY, storage, {"name": encoding}, source, classes or [])
    parts = (ShardPart.read(work / "parts" / part_name(number)) for number in numbers)
    assemble(work / "pack", contents, parts)
    (work / "pack").rename(directory)
    return directory


def change_manifest(pack: Path, remove: Iterable[str] = (), **values: object) -> None:
    """Change values in pack.json, or remove them, and its checksum with them."""
    found = json.loads((pack / "pack.json").read_text("utf-8"))
    for name in ["sha256", *remove]:
        del found[name]
    changed = {**found, **values, "sha256": "0" * 64}
    text = json.dumps(changed, ensure_ascii=False, indent=1) + "\n"
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    (pack / "pack.json").write_text(text[: -len("0" * 64 + '"\n}\n')] + digest + '"\n}\n', "utf-8")
