"""Files that lie elsewhere: places behind one narrow interface, and a local cache of whole shards.

Read ``place`` (the interface, and a directory as one), ``url`` (what fsspec reaches; ``failures``
says what is worth another attempt), ``location`` (which of them a path or a URL means), ``shelf``
(the cache's directory: room and eviction; ``pin`` says which files are in use), ``cache`` (one
download for all processes) and ``ahead`` (the next shards, before they are read).
"""

from __future__ import annotations

from .ahead import Prefetcher
from .cache import ShardCache, default_directory, default_limit
from .failures import Retry
from .location import is_url, open_place
from .pin import Pin
from .place import LocalPlace, Place

__all__ = [
    "LocalPlace",
    "Pin",
    "Place",
    "Prefetcher",
    "Retry",
    "ShardCache",
    "default_directory",
    "default_limit",
    "is_url",
    "open_place",
]
