"""A shuffled order that reads a few shards at a time, for packs that do not fit into the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ...errors import OptionError
from .permutation import Permutation, derived_seed
from .samplers import RankSampler

_CHUNK = 4096  # indices computed at a time

_Int64s = NDArray[np.int64]


@runtime_checkable
class Sharded(Protocol):
    """A dataset that knows how many samples each of its shards has, in the samples' order."""

    @property
    def shard_lengths(self) -> Sequence[int]: ...

    def __len__(self) -> int: ...


class ShardShuffleSampler(RankSampler):
    """This rank's share of each epoch, shuffled within a window of shards.

    The shards are put into random order, and cut into windows of ``window`` of them; within each,
    the samples come in random order. So at any time the samples of no more than ``window`` shards
    are mixed, and each shard is read in one go: what MosaicML Streaming calls a block shuffle. A
    cache that holds a few windows hardly downloads a shard twice in an epoch, and with
    ``DataLoaderX`` the next window is downloaded while one is read.

    Each rank has a run of the shuffled shards to itself; the shards at its two ends may be shared
    with its neighbours. All else is as with ``RankSampler``: the order depends on the shards'
    lengths, the seed and the epoch alone; it can be resumed anywhere, though with the same number
    of ranks only; epochs count by themselves; nothing is stored but a few numbers for each shard.

    Args:
        data_source: a dataset over a pack, or the shards' lengths.
        window: how many shards are mixed, at least 1.
        seed, rank, num_replicas, cover: as for ``RankSampler``.

    Raises:
        OptionError: an argument, or the environment, is not as described.

    Example:
        >>> sampler = fastdata.ShardShuffleSampler([3, 3, 3], window=1)
        >>> order = list(sampler)
        >>> [len({index // 3 for index in order[i : i + 3]}) for i in (0, 3, 6)]  # shards
        [1, 1, 1]
        >>> dataset = fastdata.PackedImageFolder("photos.pack", T.RandomResizedCrop(32))
        >>> loader = fastdata.DataLoaderX(dataset, 4, sampler=fastdata.ShardShuffleSampler(dataset))
    """

    def __init__(
        self,
        data_source: Sharded | Sequence[int],
        *,
        window: int = 8,
        seed: int = 0,
        rank: int | None = None,
        num_replicas: int | None = None,
        cover: str = "pad",
    ) -> None:
        if index(window) < 1:
            raise OptionError(f"a window has at least 1 shard, got {window}")
        self.window = index(window)
        self._sharded = data_source if isinstance(data_source, Sharded) else _Lengths(data_source)
        self._first_position = 0
        super().__init__(
            self._sharded, seed=seed, rank=rank, num_replicas=num_replicas, cover=cover
        )

    def shard_order(self) -> Iterator[int]:
        """The shards of the running epoch in the order in which this rank needs them, from where
        it began or was resumed."""
        share = self._share()
        first = share.window_at(self._first_position) * self.window
        return iter(share.shards[first:].tolist())

    def _indices(self, positions: range) -> Iterator[int]:
        share = self._share()
        self._first_position = share.length - len(positions)
        return share.indices(self._first_position)

    def _settings(self) -> dict[str, Any]:
        lengths = np.asarray(self._sharded.shard_lengths, np.int64)
        return {
            **super()._settings(),
            "window": self.window,
            "num_replicas": self.num_replicas,
            "shards": hashlib.sha256(lengths.tobytes()).hexdigest()[:16],
        }

    def _share(self) -> _Share:
        rank, replicas = self.rank, self.num_replicas
        base, extra = divmod(self._end(self._length, replicas), replicas)
        start = rank * base + min(rank, extra)
        lengths = np.asarray(self._sharded.shard_lengths, np.int64)
        seed = derived_seed(self.seed, self._epoch)
        pieces = _pieces(lengths, seed, start, start + base + (rank < extra))
        return _Share(*pieces, self.window, derived_seed(seed, rank))


@dataclass(frozen=True)
class _Share:
    """One rank's part of an epoch: pieces of shards, in order.

    Attributes:
        shards: number of the shard that each piece belongs to.
        firsts: index of each piece's first sample.
        counts: samples in each piece.
        window: how many pieces are mixed.
        seed: of the orders within the windows.
    """

    shards: _Int64s
    firsts: _Int64s
    counts: _Int64s
    window: int
    seed: int

    @property
    def length(self) -> int:
        return int(self.counts.sum())

    def window_at(self, position: int) -> int:
        """The number of the window in which a position lies."""
        return int(np.searchsorted(self._window_ends(), position, "right"))

    def indices(self, position: int) -> Iterator[int]:
        """The samples from a position on."""
        ends = self._window_ends()
        for number in range(self.window_at(position), len(ends)):
            start = int(ends[number - 1]) if number else 0
            yield from self._of_window(number, max(position - start, 0))

    def _of_window(self, number: int, skipped: int) -> Iterator[int]:
        part = slice(number * self.window, (number + 1) * self.window)
        counts = self.counts[part]
        ends = np.cumsum(counts)
        shift = self.firsts[part] - (ends - counts)
        order = Permutation(int(ends[-1]), derived_seed(self.seed, number))
        for start in range(skipped, len(order), _CHUNK):
            places = order[start : start + _CHUNK]
            yield from (places + shift[np.searchsorted(ends, places, "right")]).tolist()

    def _window_ends(self) -> _Int64s:
        if not len(self.counts):
            return np.zeros(0, np.int64)
        starts = np.arange(0, len(self.counts), self.window)
        return np.asarray(np.cumsum(np.add.reduceat(self.counts, starts)))


def _pieces(lengths: _Int64s, seed: int, start: int, stop: int) -> tuple[_Int64s, _Int64s, _Int64s]:
    """Shard, first sample and length of each piece between two positions of the shuffled shards;
    behind their end they begin anew."""
    order = Permutation(len(lengths), seed)[:]
    ends = np.cumsum(lengths[order])
    total = int(ends[-1]) if len(ends) else 0
    begins = ends - lengths[order]
    firsts = (np.cumsum(lengths) - lengths)[order]
    parts = [np.zeros((3, 0), np.int64)]
    while start < stop:
        base = start - start % total
        low = np.clip(start - base - begins, 0, lengths[order])
        high = np.clip(stop - base - begins, 0, lengths[order])
        some = np.flatnonzero(high > low)
        parts.append(np.stack([order[some], (firsts + low)[some], (high - low)[some]]))
        start = base + total
    shards, first, count = np.concatenate(parts, axis=1)
    return shards, first, count


class _Lengths:
    """Shards of which only the lengths are known."""

    def __init__(self, lengths: Sequence[int]) -> None:
        try:
            self.shard_lengths = [index(length) for length in lengths]
        except TypeError as error:
            raise OptionError(
                f"a dataset over a pack, or its shards' lengths, is needed, got {lengths!r}"
            ) from error
        if any(length < 0 for length in self.shard_lengths):
            raise OptionError(f"a shard's length is >= 0, got {min(self.shard_lengths)}")

    def __len__(self) -> int:
        return sum(self.shard_lengths)
