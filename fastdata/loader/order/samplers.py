"""Samplers that share an epoch among ranks, and resume it anywhere without counting up to there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sized
from operator import index
from typing import Any, SupportsIndex

import numpy as np
import torch
from torch import distributed
from torch.utils.data import RandomSampler, Sampler

from ...errors import OptionError
from .permutation import Permutation, checked_seed, derived_seed

_CHUNK = 4096  # indices computed at a time


class RankSampler(Sampler[int]):
    """This rank's share of each epoch; reshuffles by itself, in constant memory.

    All ranks' shares together are one global order, dealt out in turn: the ranks' k-th batches
    together hold the same samples for any number of ranks with the same global batch size (but
    for the few samples by which ``cover`` adjusts the epoch's end).

    Each iteration is the next epoch (0, 1, …) unless ``set_epoch`` has just chosen one, as with
    fastdata's datasets. It begins when its first index is asked for; the length is read then, so
    the dataset may grow between epochs. The order depends on (length, seed, epoch) alone, so
    ranks agree without talking to each other, and runs with equal seeds see equal orders.

    Args:
        data_source: a dataset with a length, or that length.
        shuffle: False deals out 0, 1, 2, … instead, the same in each epoch.
        seed: 0 ≤ seed < 2⁶⁴, the same on all ranks.
        rank, num_replicas: which share, of how many; give both or neither. By default they are
            looked up each time they are needed, so the sampler may be made before the process
            group: in ``torch.distributed``'s default group if that is initialised, else in
            ``RANK`` and ``WORLD_SIZE``, which torchrun sets, else 0 of 1.
        cover: what is done where the length is no multiple of ``num_replicas``:
            "pad": the order's first samples are repeated (at most ``num_replicas`` − 1 of them), so
            that ranks have equal lengths, as training in step needs;
            "drop": the last ones are left out, to the same end;
            "exact": each sample comes exactly once, and lengths differ by up to one: evaluation.

    Raises:
        OptionError: an argument, or the environment, is not as described.

    Example:
        >>> dataset = fastdata.PackedImageFolder("photos.pack", T.RandomResizedCrop(32))
        >>> shares = [fastdata.RankSampler(dataset, rank=i, num_replicas=2) for i in range(2)]
        >>> sorted(index for share in shares for index in share)
        [0, 1, 2, 3, 4, 5, 6, 7]
        >>> loader = fastdata.DataLoaderX(dataset, 4, sampler=shares[0])
        >>> len(loader)
        1
    """

    def __init__(
        self,
        data_source: Sized | SupportsIndex,
        *,
        shuffle: bool = True,
        seed: int = 0,
        rank: int | None = None,
        num_replicas: int | None = None,
        cover: str = "pad",
    ) -> None:
        if cover not in ("pad", "drop", "exact"):
            raise OptionError(f"cover must be pad, drop or exact, got {cover!r}")
        if (rank is None) != (num_replicas is None):
            raise OptionError("give both rank and num_replicas, or neither")
        self.data_source = data_source
        self.shuffle = shuffle
        self.seed = checked_seed(seed)
        self.cover = cover
        self._place = None if rank is None else _checked_place(rank, num_replicas)
        self._epoch = 0
        self._epoch_is_new = True
        self._length = _length(self.data_source)
        self._start = 0  # of the next iteration; > 0 only to resume
        len(self)  # so that a wrong environment is told here

    @property
    def rank(self) -> int:
        """Which share of an epoch this is."""
        return (self._place or _place_of_process())[0]

    @property
    def num_replicas(self) -> int:
        """The number of shares."""
        return (self._place or _place_of_process())[1]

    @property
    def epoch(self) -> int:
        """The epoch that runs or has last run; before the first, or a chosen one, that one."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the next iteration's epoch (≥ 0); where that is the resumed one, it stays so."""
        if index(epoch) < 0:
            raise OptionError(f"an epoch is a number >= 0, got {epoch}")
        if index(epoch) != self._epoch:
            self._start = 0
        self._epoch, self._epoch_is_new = index(epoch), True

    def __len__(self) -> int:
        """The length of this rank's share of a whole epoch."""
        return len(self._positions(0, _length(self.data_source)))

    def __iter__(self) -> Iterator[int]:
        if not self._epoch_is_new:
            self._epoch += 1
        self._epoch_is_new = False
        if self._start == 0:
            self._length = _length(self.data_source)
        start, self._start = self._start, 0
        yield from self._indices(self._positions(start, self._length))

    def _indices(self, positions: range) -> Iterator[int]:
        """The samples at these positions of the epoch that has just begun."""
        order = None
        if self.shuffle:
            order = Permutation(self._length, derived_seed(self.seed, self._epoch))
        return _elements(order, self._length, positions)

    def state_dict(self) -> dict[str, Any]:
        """State for ``resume``, of the epoch ``self.epoch``; equal on all ranks."""
        fresh = self._epoch_is_new and self._start == 0
        length = _length(self.data_source) if fresh else self._length
        state = {"epoch": self._epoch, "seed": self.seed, "length": length}
        return {**state, **self._settings()}

    def _settings(self) -> dict[str, Any]:
        """The settings that a state is bound to, besides the length."""
        return {"shuffle": self.shuffle, "cover": self.cover}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Run the state's epoch next, from its start: ``resume`` at position 0."""
        self.resume(state, 0)

    def resume(self, state: Mapping[str, Any], position: int) -> None:
        """Run the rest of the state's epoch next, and whole epochs from there on.

        The number of ranks need not be the one that the state comes from. The state's seed becomes
        this sampler's, since a seed is part of what is resumed, not of what the data are.

        Args:
            state: what ``state_dict`` returned.
            position: how many samples of the global order, of all ranks together, have been used;
                a multiple of ``num_replicas``, or no less than the epoch has: then none is left.

        Raises:
            OptionError: the state is of other data or settings, or the position is not as
                described; then nothing has changed.
        """
        length = _length(self.data_source)
        own = {"length": length, **self._settings()}
        start = _start(state, position, {"epoch", "seed"}, own)
        seed = checked_seed(state["seed"])
        self._positions(start, length)
        self.set_epoch(state["epoch"])
        self.seed, self._length, self._start = seed, length, start

    def _positions(self, start: int, length: int) -> range:
        """Positions of this rank's samples in the global order, from ``start`` on."""
        rank, replicas = self._place or _place_of_process()
        end = self._end(length, replicas)
        if start >= min(length, end):
            return range(0)  # whatever a run with more or fewer ranks has added or left out
        if start % replicas:
            raise OptionError(f"position {start} is no multiple of {replicas} ranks, nor the end")
        return range(start + rank, end, replicas)

    def _end(self, length: int, replicas: int) -> int:
        """How many samples all ranks together take in an epoch."""
        end = length if self.cover == "exact" else length - length % replicas
        return end + replicas if self.cover == "pad" and end < length else end


class ShuffleSampler(RandomSampler):
    """torch's ``RandomSampler`` without replacement, in constant memory, and resumable.

    When the first index of an iteration is asked for, one number is drawn from ``generator``, or
    else from torch's global one (as much as ``RandomSampler`` draws there, at the same moment);
    the order is the ``Permutation`` of that seed. The length is read then, too.

    Args:
        data_source: a dataset with a length > 0.
        generator: as in torch; may be replaced between iterations.

    Example:
        >>> sampler = fastdata.ShuffleSampler(range(8), generator=torch.Generator().manual_seed(0))
        >>> sorted(sampler)
        [0, 1, 2, 3, 4, 5, 6, 7]
    """

    def __init__(self, data_source: Sized, *, generator: torch.Generator | None = None) -> None:
        super().__init__(data_source, generator=generator)
        self._running: tuple[int, int] | None = None  # length and seed
        self._start: int | None = None  # where to resume that; None draws anew

    def __iter__(self) -> Iterator[int]:
        start, self._start = self._start, None
        if start is None or self._running is None:
            drawn = torch.empty((), dtype=torch.int64).random_(generator=self.generator)
            self._running = len(self.data_source), int(drawn.item())
        length, seed = self._running
        yield from _elements(Permutation(length, seed), length, range(start or 0, length))

    def state_dict(self) -> dict[str, Any]:
        """State for ``resume``; its seed is None until the first index was asked for."""
        length, seed = self._running or (len(self.data_source), None)
        return {"seed": seed, "length": length}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Run the state's epoch next, from its start: ``resume`` at position 0."""
        self.resume(state, 0)

    def resume(self, state: Mapping[str, Any], position: int) -> None:
        """Run the rest of the state's epoch next, without a draw; later ones draw as ever.

        Args:
            state: what ``state_dict`` returned; if that was before any draw, the next one decides.
            position: how many samples of the epoch have been used; at its end none is left.

        Raises:
            OptionError: the state is of other data, or the position is negative, or not 0 where
                the state has no seed; then nothing has changed.
        """
        length = len(self.data_source)
        start, seed = _start(state, position, {"seed"}, {"length": length}), state["seed"]
        if seed is None and start:
            raise OptionError(f"a state without a seed has no position {position}")
        self._running = None if seed is None else (length, checked_seed(seed))
        self._start = start


def _elements(order: Permutation | None, length: int, positions: range) -> Iterator[int]:
    """The indices at these positions of ``order`` (None: the natural one); it is a ring."""
    for i in range(0, len(positions), _CHUNK):
        part = positions[i : i + _CHUNK]
        wrapped = np.arange(part.start, part.stop, part.step, dtype=np.int64) % length
        yield from (wrapped if order is None else order.take(wrapped)).tolist()


def _length(data_source: Sized | SupportsIndex) -> int:
    if not isinstance(data_source, (Sized, SupportsIndex)):
        raise OptionError(f"a dataset with a length, or a length, is needed, got {data_source!r}")
    length = len(data_source) if isinstance(data_source, Sized) else index(data_source)
    if not 0 <= length < 2**63:
        raise OptionError(f"a length must be from 0 to 2**63 - 1, got {length}")
    return length


def _place_of_process() -> tuple[int, int]:
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    rank, replicas = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if rank is None and replicas is None:
        return 0, 1
    try:
        return _checked_place(int(rank or ""), int(replicas or ""))
    except ValueError:
        found = f"RANK={rank} and WORLD_SIZE={replicas}"
        raise OptionError(f"the environment's {found} must be a rank and more ranks") from None


def _checked_place(rank: Any, replicas: Any) -> tuple[int, int]:
    if not 0 <= index(rank) < index(replicas):
        raise OptionError(f"0 <= rank < num_replicas is needed, got {rank} and {replicas}")
    return index(rank), index(replicas)


def _start(
    state: Mapping[str, Any], position: int, needed: set[str], own: Mapping[str, Any]
) -> int:
    """The position, where the state has what is needed and is of the same data and settings."""
    if missing := sorted({*needed, *own} - {*state}):
        raise OptionError(f"this is no state of this sampler: {', '.join(missing)} missing")
    for name, value in own.items():
        if state[name] != value:
            raise OptionError(f"the state has {name} {state[name]!r}, the sampler {value!r}")
    if index(position) < 0:
        raise OptionError(f"a position is a number >= 0, got {position}")
    return index(position)
