"""Files that lie elsewhere: places behind one narrow interface, and a local cache of whole shards.

Read ``place`` (the interface), ``local`` and ``url`` (its two kinds; ``failures`` and ``retry`` say
what is worth another attempt), ``location`` (which of them a path means), ``shelf`` (the cache's
directory: room and eviction; ``pin`` says which files are in use), ``cache`` (one download for all
processes; ``wanted`` is what is asked of it) and
``prefetch`` (the next shards, ahead of their reader).
"""

from __future__ import annotations

from .ahead import Prefetcher
from .cache import ShardCache
from .defaults import default_directory, default_limit
from .local import LocalPlace
from .location import is_url, open_place
from .pin import Pin
from .place import Place
from .retry import Retry

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
