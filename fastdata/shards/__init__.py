"""Packs on disk: storage formats behind one narrow interface, and the directory that holds them.

Read ``base`` (the interface), ``_lmdb`` and ``_hdf5`` (its two formats), ``manifest`` (pack.json),
then ``store`` (a whole pack: many shards, one table, one list of names).
"""

from __future__ import annotations

from .base import STORAGES, ShardReader, ShardWriter, storage
from .manifest import Manifest, ShardEntry
from .store import PackReader, PackWriter

__all__ = [
    "STORAGES",
    "Manifest",
    "PackReader",
    "PackWriter",
    "ShardEntry",
    "ShardReader",
    "ShardWriter",
    "storage",
]
