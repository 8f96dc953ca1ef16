"""The golden packs of ``fastdata/docs/format.md``, and the two samples that they are made of.

``python -m helpers.golden`` in ``tests`` writes them anew: only where the format itself changes.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

import fastdata

GOLDEN = Path(__file__).parents[1] / "house/golden"
CLASSES = ["cat", "dog"]
FIELDS = {
    "image": "image",
    "target": "int",
    "mask": "mask",
    "boxes": "boxes",
    "caption": "str",
    "score": "float",
}


def golden_samples() -> list[dict[str, Any]]:
    """A sliceable JPEG and a PNG that is kept, with a value of their own in each field."""
    wide, small = np.zeros((32, 96), np.uint8), np.full((6, 8), 255, np.uint8)
    wide[8:24, 24:72] = 1
    cat = {
        "key": "cat/0.jpg",
        "image": (GOLDEN / "images/0.jpg").read_bytes(),
        "target": 0,
        "mask": wide,
        "boxes": np.array([[24, 8, 72, 24]], np.float32),
        "caption": "a cat",
        "score": 0.5,
    }
    dog = {
        "key": "dog/1.png",
        "image": (GOLDEN / "images/1.png").read_bytes(),
        "target": 1,
        "mask": small,
        "boxes": np.zeros((0, 4), np.float32),
        "caption": "ein größerer Hund",
        "score": -1.0,
    }
    return [cat, dog]


def pack_golden(directory: Path, storage: str) -> Path:
    """Pack the two samples to ``directory``."""
    fastdata.pack(
        golden_samples(), directory, fields=FIELDS, classes=CLASSES, storage=storage, quiet=True
    )
    return directory


if __name__ == "__main__":
    for storage in ("lmdb", "hdf5"):
        shutil.rmtree(GOLDEN / storage, ignore_errors=True)
        pack_golden(GOLDEN / storage, storage)
