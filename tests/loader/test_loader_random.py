"""DataLoaderX draws from random generators what torch's loader draws, when it does."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.images import write_tree
from helpers.loaders import Numbers, Stream, plain, same, workers
from torch.utils.data import (
    DataLoader,
    Dataset,
    RandomSampler,
    Sampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
    get_worker_info,
)

import fastdata
from fastdata import DataLoaderX

generators = pytest.mark.parametrize("own", [False, True], ids=["global", "generator"])


def _state(generator: torch.Generator | None) -> list[int]:
    """One number for the global state, and one for the generator's."""
    states = [torch.get_rng_state()] + ([generator.get_state()] if generator else [])
    return [hash(bytes(state.numpy())) for state in states]


def _draws(
    loader_class: type[DataLoader[Any]], dataset: Any, own: bool, each: bool, **options: Any
) -> list[Any]:
    """The states of the generators in two epochs, after ``each`` step, and what was loaded."""
    torch.manual_seed(11)
    generator = torch.Generator().manual_seed(12) if own else None
    loader = loader_class(dataset, generator=generator, **options)
    seen: list[Any] = [_state(generator)]
    for _ in range(2):
        iterator = iter(loader)
        seen.append(_state(generator))
        for batch in iterator:
            seen.append((plain(batch), _state(generator) if each else None))
        seen.append(_state(generator))
    return seen


@workers
@generators
@pytest.mark.parametrize("options", [{}, {"shuffle": True, "batch_size": 3}], ids=str)
def test_states_are_torchs(kind: dict[str, Any], own: bool, options: dict[str, Any]) -> None:
    # With workers, the sampler is asked ahead of the training: its draws may come earlier.
    each = kind["num_workers"] == 0
    same(partial(_draws, dataset=Numbers(8), own=own, each=each, **options, **kind))


@workers
def test_states_are_torchs_with_an_iterable_dataset(kind: dict[str, Any]) -> None:
    dataset = Stream(8, shared=True)
    for own in (False, True):
        same(partial(_draws, dataset=dataset, own=own, each=True, batch_size=3, **kind))


@workers
@generators
def test_an_iterator_draws_one_number(kind: dict[str, Any], own: bool) -> None:
    torch.manual_seed(5)
    generator = torch.Generator().manual_seed(6) if own else None
    loader = DataLoaderX(Numbers(4), generator=generator, **kind)
    iterator = iter(loader)
    found = _state(generator)
    del iterator
    torch.manual_seed(5)
    again = torch.Generator().manual_seed(6) if own else None
    torch.empty((), dtype=torch.int64).random_(generator=again)
    assert found == _state(again)


class Eager(Sampler[Any]):
    """Draws the whole order when it is asked for an iterator."""

    def __init__(self, batched: bool) -> None:
        self.batched = batched

    def __len__(self) -> int:
        return 6

    def __iter__(self) -> Iterator[Any]:
        order = torch.randperm(6).tolist()
        return iter([order[:4], order[4:]] if self.batched else order)


_SAMPLERS = {
    "replacement": lambda: {"sampler": RandomSampler(Numbers(50), replacement=True)},
    "more than once": lambda: {"sampler": RandomSampler(Numbers(5), num_samples=12)},
    "subset": lambda: {"sampler": SubsetRandomSampler(range(3, 9))},
    "weighted": lambda: {"sampler": WeightedRandomSampler([1.0, 2, 3], 7)},
    "eager": lambda: {"sampler": Eager(batched=False)},
    "eager, alone": lambda: {"sampler": Eager(batched=False), "batch_size": None},
    "eager batches": lambda: {"batch_sampler": Eager(batched=True)},
    "eager batches, alone": lambda: {"sampler": Eager(batched=True), "batch_size": None},
}


class Row(Numbers):
    """Takes lists of indices, too."""

    def __getitem__(self, index: Any) -> Any:
        return torch.as_tensor(index)


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("name", _SAMPLERS)
def test_samplers_draw_as_under_torch(count: int, name: str) -> None:
    def observe(loader_class: type[DataLoader[Any]]) -> list[Any]:
        options = {**_SAMPLERS[name](), "num_workers": count}
        return _draws(loader_class, Row(50), own=False, each=count == 0, **options)

    same(observe)


@pytest.mark.parametrize("name", ["eager", "eager batches"])
def test_eager_samplers_over_persistent_workers(name: str) -> None:
    options = {"num_workers": 1, "persistent_workers": True}
    same(lambda c: _draws(c, Row(50), own=False, each=False, **_SAMPLERS[name](), **options))


class Drawing(Sampler[int]):
    """Draws each index from the global generator when it is asked for."""

    def __len__(self) -> int:
        return 24

    def __iter__(self) -> Iterator[int]:
        for _ in range(24):
            yield int(torch.randint(100, ()))


@pytest.mark.parametrize(
    "options",
    [{}, {"num_workers": 1, "prefetch_batches": 0}],
    ids=str,
)
def test_a_sampler_and_the_training_draw_from_one_generator(options: dict[str, Any]) -> None:
    def observe(loader_class: type[DataLoader[Any]]) -> list[Any]:
        torch.manual_seed(3)
        known = loader_class is DataLoaderX
        chosen = {k: v for k, v in options.items() if known or k != "prefetch_batches"}
        loader = loader_class(Numbers(100), 2, sampler=Drawing(), **chosen)
        return [(plain(batch), float(torch.rand(()))) for batch in loader]

    same(observe)


class Noise(Dataset[Any]):
    """Numbers from the three global generators, and the seed torch tells a worker."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        info = get_worker_info()
        seeds = (info.id, info.seed, torch.initial_seed()) if info else None
        return torch.rand(2), np.random.random(), random.random(), seeds


@workers
@generators
def test_global_generators_in_the_dataset(kind: dict[str, Any], own: bool) -> None:
    def observe(loader_class: type[DataLoader[Any]]) -> list[Any]:
        torch.manual_seed(1)
        np.random.seed(2)
        random.seed(3)
        generator = torch.Generator().manual_seed(4) if own else None
        loader = loader_class(
            Noise(), 2, shuffle=True, collate_fn=list, generator=generator, **kind
        )
        found = [plain(batch) for _ in range(2) for batch in loader]
        return [*found, np.random.random(), random.random(), float(torch.rand(()))]

    same(observe)


def test_worker_seeds_follow_the_drawn_number() -> None:
    torch.manual_seed(9)
    base = int(torch.empty((), dtype=torch.int64).random_())
    torch.manual_seed(9)
    found = [tuple(seeds) for *_, seeds in DataLoaderX(Noise(), None, num_workers=2)]
    assert found == [(i % 2, base + i % 2, base + i % 2) for i in range(8)]


@workers
def test_each_epoch_has_its_own_order(kind: dict[str, Any]) -> None:
    loader = DataLoaderX(Numbers(30), None, shuffle=True, **kind)
    first, second = list(loader), list(loader)
    assert first != second
    assert sorted(first) == sorted(second) == list(range(30))


@workers
def test_shuffling_datasets_of_fastdata_draws_as_much(kind: dict[str, Any], tmp_path: Path) -> None:
    write_tree(tmp_path, classes=1, per_class=6, sizes=((16, 16),))
    dataset = fastdata.ImageFolder(tmp_path)

    def states(loader_class: type[DataLoader[Any]]) -> list[Any]:
        torch.manual_seed(11)
        loader = loader_class(dataset, 3, shuffle=True, collate_fn=len, **kind)
        found = []
        for _ in range(2):
            assert list(loader) == [3, 3]
            found.append(_state(None))
        return found

    same(states)
