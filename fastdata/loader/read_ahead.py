"""Downloading the shards of a remote pack before they are read, in the order of the sampler.

It is done by the loader's process alone, into the cache that all processes share: a worker finds
its shard there, or waits for the download, or does it itself if that has failed, and has the error.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import SequentialSampler

from ..datasets import PackDataset
from ..store import PackReader, Prefetcher, ShardCache
from .order.replay import inner_sampler
from .order.shard_sampler import ShardShuffleSampler
from .tasks import Watcher


class ReadAhead(Watcher):
    """Keeps the shards of the running window in the cache, and downloads those of the next one.

    Args:
        pack: one behind a URL.
        cache: of its files.
        order: numbers of shards as they will be needed; read on as they are.
        window: how many shards are read at the same time.
    """

    def __init__(
        self, pack: PackReader, cache: ShardCache, order: Iterator[int], window: int
    ) -> None:
        self._firsts = np.array([shard.first for shard in pack.manifest.shards], np.int64)
        self._window = window
        self._met: deque[int] = deque()
        self._shards = Prefetcher(
            cache, pack.files.place, pack.manifest.shards, order, ahead=2 * window
        )

    def see(self, indices: Any) -> None:
        """Note which shards are read now; of those met before, the last ``window`` stay."""
        numbers = np.searchsorted(self._firsts, np.atleast_1d(indices), "right") - 1
        for number in np.unique(numbers).tolist():
            if number not in self._met:
                self._met.append(number)
        while len(self._met) > self._window:
            self._shards.release(self._met.popleft())

    def close(self) -> None:
        """Stop downloading."""
        self._shards.close()


def read_ahead(dataset: Any, sampler: Any) -> Watcher:
    """The watcher of one epoch, which has begun; it does nothing for local packs."""
    if not isinstance(dataset, PackDataset) or dataset.pack.files.cache is None:
        return Watcher()
    pack, cache, inner = dataset.pack, dataset.pack.files.cache, inner_sampler(sampler)
    window, order = 1, iter(range(len(pack.shard_lengths)))
    if isinstance(inner, ShardShuffleSampler):
        window, order = inner.window, inner.shard_order()
    elif type(inner) is not SequentialSampler:
        _warn_of_thrashing(pack, cache, len(pack.shard_lengths), inner)
        return Watcher()
    _warn_of_thrashing(pack, cache, window, inner)
    return ReadAhead(pack, cache, order, window)


def _warn_of_thrashing(pack: PackReader, cache: ShardCache, window: int, sampler: Any) -> None:
    sizes = sorted((shard.bytes for shard in pack.manifest.shards), reverse=True)
    needed = sum(sizes[:window])
    if needed <= cache.limit_bytes:
        return
    way = "lower its window" if isinstance(sampler, ShardShuffleSampler) else _ADVICE
    warnings.warn(
        f"{pack.path}: {type(sampler).__name__} reads {window} shards ({needed} bytes) at the same "
        f"time, and the cache may have {cache.limit_bytes}, so shards will be downloaded "
        f"again and again: {way}, or raise cache_limit",
        stacklevel=2,
    )


_ADVICE = "use sampler=fastdata.ShardShuffleSampler(dataset)"
