"""Packs on disk: storage formats behind one narrow interface, and the directory that holds them.

Read ``base`` (what a storage format does), ``_lmdb`` and ``_hdf5`` (the two), ``manifest``
(pack.json), ``columns`` (the fields beside the records), ``reader`` (a whole pack), then ``parts``
and ``assembly`` (how shards are written, each by itself, and become a pack).
"""

from __future__ import annotations

from .assembly import Contents, assemble
from .base import STORAGES, ShardWriter, storage
from .manifest import FileEntry, Manifest, ShardEntry
from .parts import ShardPart, ShardPartWriter
from .reader import VERIFY, PackReader

__all__ = [
    "STORAGES",
    "VERIFY",
    "Contents",
    "FileEntry",
    "Manifest",
    "PackReader",
    "ShardEntry",
    "ShardPart",
    "ShardPartWriter",
    "ShardWriter",
    "assemble",
    "storage",
]
