"""Where the transforms' randomness comes from."""

from __future__ import annotations

import numpy as np
import torch

Generator = np.random.Generator


def sample_generator(seed: int, epoch: int, index: int) -> Generator:
    """The generator of one sample in one epoch: equal arguments, equal draws, in any process.

    Philox is counter-based (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11):
    epoch and index fill the upper half of its 256-bit counter, so no two samples share a number.
    """
    counter = np.array([0, 0, epoch, index], np.uint64)
    return Generator(np.random.Philox(key=seed, counter=counter))


def torch_seeded_generator() -> Generator:
    """A generator seeded by one draw from torch's global RNG, for calls outside of a dataset."""
    return sample_generator(int(torch.randint(2**63 - 1, ()).item()), 0, 0)


def draw_below(rng: Generator, limit: int) -> int:
    """A uniform integer in ``[0, limit)``; three times as fast as ``Generator.integers``."""
    return int(rng.random() * limit)
