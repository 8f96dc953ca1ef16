"""How a sampler can begin in the middle of an epoch: by itself, or by drawing as it did before."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.utils.data import BatchSampler, DistributedSampler, SequentialSampler

from .samplers import RankSampler, ShuffleSampler


class Randomness(NamedTuple):
    """States of the generator that a sampler draws from, at the beginning of an epoch.

    ``at_first`` is that of the moment when the first batch was asked for; ``at_iter``, when the
    sampler's ``iter`` was called, or None if it drew nothing then.
    """

    at_iter: str | None
    at_first: str


def inner_sampler(sampler: Any) -> Any:
    """The sampler of samples behind a plain batch sampler; any other is returned as it is."""
    return sampler.sampler if is_plain(sampler) else sampler


def is_plain(sampler: Any) -> bool:
    """True of a batch sampler whose batches are consecutive runs of ``batch_size`` samples."""
    return type(sampler) is BatchSampler


def is_positioned(sampler: Any) -> bool:
    """True if the sampler, or the one behind its batches, can begin anywhere by itself."""
    return isinstance(inner_sampler(sampler), (RankSampler, ShuffleSampler))


def is_deterministic(sampler: Any) -> bool:
    """True if the epoch's number alone tells the order, so that no random state is kept."""
    return isinstance(inner_sampler(sampler), (SequentialSampler, DistributedSampler))


def random_source(sampler: Any) -> torch.Generator | None:
    """The generator that a sampler draws from; None for torch's global one."""
    found = getattr(inner_sampler(sampler), "generator", None)
    return found if isinstance(found, torch.Generator) else None


def random_state(generator: torch.Generator | None) -> str:
    """The state of a generator, or of the global one, as text."""
    state = torch.get_rng_state() if generator is None else generator.get_state()
    return base64.b85encode(state.numpy().tobytes()).decode("ascii")


def set_random_state(generator: torch.Generator | None, text: str) -> None:
    """Put back what ``random_state`` gave."""
    state = torch.frombuffer(bytearray(base64.b85decode(text)), dtype=torch.uint8)
    torch.set_rng_state(state) if generator is None else generator.set_state(state)


@contextmanager
def replaying(state: Randomness | None, generator: torch.Generator | None) -> Iterator[None]:
    """Within it a sampler may draw again; the global generator stays as the caller has it."""
    if state is None or generator is not None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        yield
