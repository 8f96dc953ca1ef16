"""Stopping in the middle of an epoch, and going on."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.images import write_tree
from helpers.loaders import SINCE_2_6
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    WeightedRandomSampler,
)

import fastdata
from fastdata import DataLoaderX, OptionError, PackedImageFolder, RankSampler
from fastdata import transforms as T

KINDS: list[dict[str, Any]] = [
    {},
    {"prefetch_batches": 0},
    {"num_workers": 2, "worker_type": "thread"},
    {"num_workers": 1},
    {"num_workers": 2, "persistent_workers": True},
]


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("resume")
    write_tree(base / "photos", classes=2, per_class=9)
    fastdata.pack_image_folder(base / "photos", base / "pack", quiet=True)
    return base / "pack"


def images(pack: Path) -> PackedImageFolder:
    return PackedImageFolder(pack, T.RandomResizedCrop(16), seed=7)


class Numbers(Dataset[int]):
    def __len__(self) -> int:
        return 18

    def __getitem__(self, index: int) -> int:
        return index


def as_text(batches: Any) -> list[str]:
    """Each batch as text that tells every value in it."""

    def plain(part: Any) -> Any:
        return part.tolist() if isinstance(part, torch.Tensor) else part

    return [
        str([plain(part) for part in batch]) if isinstance(batch, (list, tuple)) else str(batch)
        for batch in batches
    ]


def through_json(state: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(state)
    assert len(text) < 10_000
    return json.loads(text)  # type: ignore[no-any-return]


Make = Callable[..., DataLoaderX[Any]]


def check_everywhere(make: Make, kinds: Iterator[dict[str, Any]], draws: bool = False) -> None:
    """A loader that is stopped after any batch goes on where it was, and so do later epochs."""
    torch.manual_seed(1)
    whole = make()
    epochs = [as_text(whole), as_text(whole)]
    for stop in range(len(epochs[0]) + 1):
        torch.manual_seed(1)
        first = make(**next(kinds))
        had = as_text(itertools.islice(first, stop)) if stop else []
        assert had == epochs[0][:stop]
        state = through_json(first.state_dict())
        second = make(**next(kinds))
        second.load_state_dict(state)
        assert through_json(second.state_dict()) == state
        if stop or not draws:
            assert as_text(second) == epochs[0][stop:], stop
            assert draws or as_text(second) == epochs[1]


@pytest.mark.parametrize("options", [{"shuffle": True}, {"drop_last": True}, {"batch_size": None}])
def test_a_pack_goes_on_after_every_batch(pack: Path, options: dict[str, Any]) -> None:
    kinds = itertools.cycle(KINDS[:3])
    options = {"batch_size": 4, **options}
    draws = "shuffle" in options  # later epochs depend on torch's generator, too
    check_everywhere(lambda **kind: DataLoaderX(images(pack), **options, **kind), kinds, draws)


def test_a_pack_goes_on_with_other_workers(pack: Path) -> None:
    kinds = itertools.cycle(KINDS)

    def make(**kind: Any) -> DataLoaderX[Any]:
        dataset = images(pack)
        sampler = RankSampler(dataset, seed=3)
        return DataLoaderX(dataset, 7, sampler=sampler, **kind)

    check_everywhere(make, kinds)


def samplers() -> dict[str, Callable[[], dict[str, Any]]]:
    numbers = Numbers()
    weights = torch.arange(18.0)

    def seeded() -> torch.Generator:
        return torch.Generator().manual_seed(11)

    return {
        "random": lambda: {"batch_size": 4, "shuffle": True},
        "generator": lambda: {"batch_size": 4, "shuffle": True, "generator": seeded()},
        "replacement": lambda: {"sampler": RandomSampler(numbers, True, 40, seeded())},
        "weighted": lambda: {"sampler": WeightedRandomSampler(weights.tolist(), 10)},
        "own batches": lambda: {
            "batch_sampler": OwnBatches(RandomSampler(numbers, generator=seeded()), 4, False)
        },
        "own batches of ranks": lambda: {
            "batch_sampler": OwnBatches(RankSampler(numbers, seed=2), 4, False)
        },
        "distributed": lambda: {
            "batch_size": 3,
            "sampler": DistributedSampler(numbers, num_replicas=2, rank=1, seed=5),
        },
        "list": lambda: {"batch_sampler": [[1, 2], [3], [4, 5, 6]]},
        "keys": lambda: {"sampler": [5, 3, 1], "batch_size": None},
    }


class OwnBatches(BatchSampler):
    """Not torch's: nothing is known of how it makes batches."""


@pytest.mark.parametrize("name", samplers())
def test_any_sampler_goes_on(name: str) -> None:
    kinds = itertools.cycle(KINDS[:3])
    draws = name in ("random", "weighted", "generator", "replacement", "own batches")
    check_everywhere(
        lambda **kind: DataLoaderX(Numbers(), **samplers()[name](), **kind), kinds, draws
    )


def test_resuming_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    loader = DataLoaderX(Numbers(), 4, shuffle=True)
    next(iter(loader))
    state = loader.state_dict()

    torch.manual_seed(2)
    resumed = DataLoaderX(Numbers(), 4, shuffle=True)
    resumed.load_state_dict(state)
    list(resumed)
    after = torch.rand(3)
    torch.manual_seed(2)
    list(DataLoader(Numbers(), 4))  # draws the seed of its workers, as every loader does
    assert torch.equal(after, torch.rand(3))


def test_an_iterable_dataset_goes_on() -> None:
    class Stream(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            return iter(range(10))

    for kind in ({}, {"num_workers": 2}):
        whole = as_text(DataLoaderX(Stream(), 3, **kind))
        first = DataLoaderX(Stream(), 3, **kind)
        had = as_text(itertools.islice(first, 2))
        second = DataLoaderX(Stream(), 3, **kind)
        second.load_state_dict(through_json(first.state_dict()))
        assert had + as_text(second) == whole
        assert as_text(second) == whole


@pytest.mark.skipif(not SINCE_2_6, reason="in_order needs torch 2.6")
def test_batches_out_of_order_are_not_given_twice() -> None:
    loader = DataLoaderX(Uneven(), 2, num_workers=2, in_order=False)
    for stop in (1, 3, 5):
        had = [set(batch.tolist()) for batch in itertools.islice(loader, stop)]
        resumed = DataLoaderX(Uneven(), 2, num_workers=2, in_order=False)
        resumed.load_state_dict(through_json(loader.state_dict()))
        rest = [set(batch.tolist()) for batch in resumed]
        assert len(had) == stop
        assert set.union(*had, *rest) == set(range(18))
        assert sum(map(len, had + rest)) == 18


class Uneven(Numbers):
    def __getitem__(self, index: int) -> int:
        if index == 0:
            torch.ones(400, 400).matrix_power(200)
        return index


def test_batches_made_ahead_do_not_count(pack: Path) -> None:
    loader = DataLoaderX(images(pack), 2, num_workers=2, worker_type="thread", prefetch_factor=4)
    batches = iter(loader)
    for number in range(1, 4):
        next(batches)
        assert loader.state_dict()["batches"] == number


def test_after_an_early_break_the_next_epoch_is_whole(pack: Path) -> None:
    loader = DataLoaderX(images(pack), 4)
    for _ in loader:
        break
    state = loader.state_dict()
    assert len(list(loader)) == len(loader) == 5
    loader.load_state_dict(state)
    loader.load_state_dict(state)  # twice is once
    assert len(list(loader)) == 4
    assert len(list(loader)) == 5


def test_at_the_end_of_an_epoch(pack: Path) -> None:
    reference = DataLoaderX(images(pack), 4)
    epochs = [as_text(reference) for _ in range(3)]
    loader = DataLoaderX(images(pack), 4)
    last_step = None
    for _ in loader:
        last_step = loader.state_dict()
    after_the_loop = loader.state_dict()
    assert last_step is not None

    resumed = DataLoaderX(images(pack), 4)
    resumed.load_state_dict(last_step)
    assert [as_text(resumed) for _ in range(2)] == [[], epochs[1]]
    resumed.load_state_dict(after_the_loop)
    assert [as_text(resumed) for _ in range(2)] == epochs[1:]


def test_the_epoch_after_the_end_has_the_order_of_the_state(pack: Path) -> None:
    def loader(seed: int) -> DataLoaderX[Any]:
        return DataLoaderX(Numbers(), 4, sampler=RankSampler(Numbers(), seed=seed))

    first, second = loader(1), loader(2)
    list(first)
    second.load_state_dict(through_json(first.state_dict()))
    assert as_text(second) == as_text(first)


def test_before_the_first_epoch(pack: Path) -> None:
    state = DataLoaderX(images(pack), 4).state_dict()
    loader = DataLoaderX(images(pack), 4)
    list(loader)
    loader.load_state_dict(state)
    assert as_text(loader) == as_text(DataLoaderX(images(pack), 4))


def test_crops_go_on_with_the_seed_of_the_state(pack: Path) -> None:
    def loader(seed: int) -> DataLoaderX[Any]:
        dataset = PackedImageFolder(pack, T.RandomResizedCrop(16), seed=seed)
        return DataLoaderX(dataset, 4, num_workers=1, persistent_workers=True)

    first, second = loader(7), loader(8)
    list(second)  # its workers run already
    batches = iter(first)
    next(batches)
    second.load_state_dict(first.state_dict())
    assert as_text(second) == as_text(batches)


def test_wrapped_datasets_go_on_too(pack: Path) -> None:
    def loader() -> DataLoaderX[Any]:
        parts = [Subset(images(pack), range(5)), images(pack)]
        return DataLoaderX(ConcatDataset(parts), 4, shuffle=True)

    first, second = loader(), loader()
    batches = iter(first)
    next(batches)
    second.load_state_dict(first.state_dict())
    assert as_text(second) == as_text(batches)


@pytest.mark.parametrize("ranks", [(1, 2), (2, 1), (2, 4), (4, 1)])
@pytest.mark.parametrize("kind", [RankSampler, DistributedSampler])
def test_with_another_number_of_ranks(pack: Path, ranks: tuple[int, int], kind: Any) -> None:
    """Three global batches of 4 samples, then the other number of ranks."""

    def loaders(replicas: int) -> list[DataLoaderX[Any]]:
        dataset = images(pack)
        made = []
        for rank in range(replicas):
            sampler = kind(dataset, rank=rank, num_replicas=replicas, seed=3)
            made.append(DataLoaderX(images(pack), 4 // replicas, sampler=sampler))
        return made

    def steps(every_rank: list[DataLoaderX[Any]]) -> list[set[str]]:
        batches = zip(*every_rank, strict=True)
        return [{str(image.tolist()) for batch in step for image in batch[0]} for step in batches]

    whole = steps(loaders(1))
    before, after = (loaders(count) for count in ranks)
    iterators = [iter(loader) for loader in before]
    had = [
        {str(image.tolist()) for iterator in iterators for image in next(iterator)[0]}
        for _ in range(3)
    ]
    state = through_json(before[0].state_dict())
    for loader in after:
        loader.load_state_dict(state)
    rest = steps(after)
    assert had == whole[:3]
    assert rest[0] == whole[3]
    # The last one is not full: padding may repeat samples of the epoch's beginning.
    assert rest[1] >= whole[4]
    assert len(rest) == 2


def test_a_state_that_does_not_fit_is_refused(pack: Path) -> None:
    loader = DataLoaderX(images(pack), 4)
    next(iter(loader))
    state = loader.state_dict()
    with pytest.raises(OptionError, match="with 4 samples in a batch of all ranks, here it is 3"):
        DataLoaderX(images(pack), 3).load_state_dict(state)
    with pytest.raises(OptionError, match="with 18 samples in the dataset, here it is 5"):
        DataLoaderX(Subset(images(pack), range(5)), 4).load_state_dict(state)
    with pytest.raises(OptionError, match="1 fastdata datasets"):
        DataLoaderX(Numbers(), 4).load_state_dict(state)
    with pytest.raises(OptionError, match="version"):
        loader.load_state_dict({})
    assert len(list(loader)) == 5  # what was refused changed nothing


def test_a_state_that_the_sampler_refuses_changes_nothing(pack: Path) -> None:
    def loader(cover: str, seed: int) -> DataLoaderX[Any]:
        dataset = PackedImageFolder(pack, T.RandomResizedCrop(16), seed=seed)
        return DataLoaderX(dataset, 4, sampler=RankSampler(dataset, cover=cover))

    first, second = loader("pad", 7), loader("exact", 8)
    expected = as_text(loader("exact", 8))
    next(iter(first))
    with pytest.raises(OptionError, match="cover"):
        second.load_state_dict(first.state_dict())
    assert as_text(second) == expected


def test_at_the_beginning_of_an_epoch_everything_may_be_new(pack: Path) -> None:
    loader = DataLoaderX(images(pack), 4)
    list(loader)
    other = DataLoaderX(images(pack), 3)
    other.load_state_dict(loader.state_dict())
    assert len(list(other)) == 6


def test_resuming_reads_nothing_again() -> None:
    class Counting(Numbers):
        def __init__(self) -> None:
            self.read: list[int] = []

        def __getitem__(self, index: int) -> int:
            self.read.append(index)
            return index

    for shuffle in (False, True):
        first, second = DataLoaderX(Counting(), 4, shuffle), DataLoaderX(Counting(), 4, shuffle)
        had = [i for batch in itertools.islice(first, 3) for i in batch.tolist()]
        second.load_state_dict(first.state_dict())
        rest = [i for batch in second for i in batch.tolist()]
        assert second.dataset.read == rest  # type: ignore[attr-defined]
        assert sorted(had + rest) == list(range(18))


def test_a_sampler_in_order_is_not_run_through() -> None:
    class Huge(Dataset[int]):
        def __len__(self) -> int:
            return 10**12

        def __getitem__(self, index: int) -> int:
            return index

    for sampler in (SequentialSampler(Huge()), RankSampler(Huge(), seed=1)):
        loader = DataLoaderX(Huge(), 4, sampler=sampler)
        next(iter(loader))
        state = {**loader.state_dict(), "batches": 10**11}
        loader.load_state_dict(state)
        assert len(next(iter(loader))) == 4
        assert loader.state_dict()["batches"] == 10**11 + 1
