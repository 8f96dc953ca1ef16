"""A small input of every kind that can be listed, and the source that lists it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from helpers.images import encoded, picture, write_image, write_tree
from helpers.writers.lmdb import write_lmdb
from helpers.writers.recordio import image_record, write_rec
from helpers.writers.tar import npy, write_tar
from helpers.writers.tfrecord import example, write_records
from PIL import Image

import fastdata
from fastdata.sources import Source
from fastdata.sources.detect import open_source
from fastdata.sources.packs import PackSource
from fastdata.store import PackReader

COUNT = 12


def _images() -> list[bytes]:
    return [encoded(picture(20 + i, 40 - i, i)) for i in range(COUNT)]


def folder(root: Path) -> Source:
    """Three classes, formats and sizes taking turns, and a file that is no image."""
    write_tree(root / "photos", per_class=COUNT // 3)
    (root / "photos" / "class_1" / "broken.jpg").write_bytes(b"no image")
    return open_source(root / "photos")


def table(root: Path) -> Source:
    """Rows with a name, a number and a list besides path and target."""
    lines = []
    for i in range(COUNT):
        write_image(root / f"{i}.jpg", 20 + i, 40, i)
        row = {"path": f"{i}.jpg", "label": "ab"[i % 2], "name": f"n{i}", "x": i / 2, "l": [i] * i}
        lines.append(json.dumps(row) + "\n")
    (root / "rows.jsonl").write_text("".join(lines))
    return open_source(root / "rows.jsonl")


def pairs(root: Path) -> Source:
    """Images and masks of their sizes."""
    for i in range(COUNT):
        write_image(root / "images" / f"{i:02d}.jpg", 20 + i, 40, i)
        mask = np.arange(40, dtype=np.uint8)[None] // 7 * np.ones((20 + i, 1), np.uint8)
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(root / "masks" / f"{i:02d}.png")
    return open_source(root)


def coco(root: Path) -> Source:
    """Images with 0 to 3 boxes."""
    images, boxes = [], []
    for i in range(COUNT):
        write_image(root / "val" / f"{i}.jpg", 30, 40, i)
        images.append({"id": i, "file_name": f"{i}.jpg", "height": 30, "width": 40})
        boxes += [
            {"id": 10 * i + j, "image_id": i, "category_id": 1, "bbox": [j, i, 5, 6.5]}
            for j in range(i % 4)
        ]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_val.json").write_text(json.dumps(content))
    return open_source(root)


def tar(root: Path) -> Source:
    """Two archives in WebDataset's convention."""
    for shard in range(2):
        members = []
        for i, data in enumerate(_images()[shard::2]):
            array = np.full(3, i, np.float32)
            parts = {"jpg": data, "cls": b"%d" % (i % 3), "txt": b"text", "npy": npy(array)}
            members += [(f"{shard}{i:02d}.{suffix}", part) for suffix, part in parts.items()]
        write_tar(root / f"train-{shard}.tar", members)
    return open_source(root)


def tfrecord(root: Path) -> Source:
    """One file of Examples."""
    records = [
        example({"image/encoded": data, "image/class/label": i % 3})
        for i, data in enumerate(_images())
    ]
    write_records(root / "a.tfrecord", records)
    return open_source(root / "a.tfrecord")


def recordio(root: Path) -> Source:
    """One file whose labels are lists of different lengths."""
    records = [image_record([0.5] * (i % 3 + 1), i, data) for i, data in enumerate(_images())]
    return open_source(write_rec(root / "a.rec", records))


def lmdb(root: Path) -> Source:
    """One file of images."""
    entries = {b"%03d" % i: data for i, data in enumerate(_images())}
    return open_source(write_lmdb(root / "a.lmdb", entries), "lmdb")


def packs(root: Path) -> Source:
    """Two packs, one after the other."""
    readers = []
    for i in range(2):
        write_tree(root / f"photos{i}", classes=2, per_class=COUNT // 4, seed=i)
        fastdata.pack_image_folder(root / f"photos{i}", root / f"{i}.pack", quiet=True)
        readers.append(PackReader(root / f"{i}.pack", verify="first-read"))
    return PackSource(readers, again=True)


INPUTS: Sequence[Callable[[Path], Source]] = (
    folder, table, pairs, coco, tar, tfrecord, recordio, lmdb, packs,
)  # fmt: skip
