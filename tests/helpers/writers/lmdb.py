"""LMDB files as BasicSR, mmcv and others write them."""

from __future__ import annotations

import os
from pathlib import Path

import lmdb

Entries = dict[bytes, bytes]


def write_lmdb(path: Path, entries: Entries, *, directory: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    env = lmdb.open(os.fspath(path), subdir=directory, map_size=1 << 26)
    with env, env.begin(write=True) as transaction:
        for key, value in entries.items():
            transaction.put(key, value)
    return path


def basicsr(path: Path, images: dict[str, bytes]) -> Path:
    """``name.png`` to bytes, as BasicSR's and mmcv's scripts lay them out."""
    entries = {name.rsplit(".", 1)[0].encode(): data for name, data in images.items()}
    write_lmdb(path, entries, directory=True)
    (path / "meta_info.txt").write_text("".join(f"{name} (20,30,3) 1\n" for name in images))
    return path
