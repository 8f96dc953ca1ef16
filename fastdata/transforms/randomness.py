"""Generators of the transforms' randomness."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.random.bit_generator import ISeedSequence

Generator = np.random.Generator


class _Key(ISeedSequence):
    """A seed as Philox's key. Given as a number, Philox would first ask the system for entropy."""

    def __init__(self, seed: int) -> None:
        self._words = np.array([seed, 0], np.uint64)

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        """The key: Philox asks for two words of 64 bits."""
        return self._words


_key: Any = lru_cache(16)(_Key)  # as Any: NumPy's annotations know its own class only


def sample_generator(seed: int, epoch: int, index: int) -> Generator:
    """The generator of one sample in one epoch: equal arguments, equal draws, in any process.

    Philox is counter-based (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11):
    epoch and index fill the upper half of its 256-bit counter, so no two samples share a number.

    Example:
        >>> draws = [T.sample_generator(seed=0, epoch=3, index=7).random() for _ in range(2)]
        >>> draws[0] == draws[1]
        True
    """
    counter = np.array([0, 0, epoch, index], np.uint64)
    return Generator(np.random.Philox(_key(seed), counter=counter))


def torch_seeded_generator() -> Generator:
    """A generator seeded by one draw from torch's global RNG, for calls outside of a dataset."""
    return sample_generator(int(torch.randint(2**63 - 1, ()).item()), 0, 0)


def draw_below(rng: Generator, limit: int) -> int:
    """A uniform integer in ``[0, limit)``; three times as fast as ``Generator.integers``."""
    return int(rng.random() * limit)
