"""DataLoaderX in the hands of code that reads a loader's attributes, or makes another from them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from helpers.images import write_tree
from helpers.loaders import Numbers, Stream, both, plain
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, RandomSampler, Sampler

import fastdata
from fastdata import DataLoaderX


def _doubled(batch: Any) -> Any:
    return batch * 2


_OURS: dict[str, Any] = {
    "device": torch.device("cpu"),
    "prefetch_batches": 3,
    "batch_transform": _doubled,
    "worker_type": "thread",
    "on_error": "skip",
    "max_errors": 2,
}
_TORCHS: dict[str, Any] = {"num_workers": 1, "timeout": 30, "prefetch_factor": 3}


def _remade(loader: Any, **changes: Any) -> Any:
    """A loader of the same class with changes, as trainers do it that shard the data by themselves.

    They look at the constructor's parameters and at the attributes of the same names. Lightning
    (``_get_dataloader_init_args_and_kwargs``) leaves out private attributes and those that have
    the default, asks for all parameters without one, and takes ``**kwargs`` for torch's alone.
    """
    parameters = inspect.signature(type(loader).__init__).parameters
    kinds = {p.kind for p in parameters.values()}
    assert not kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    known = {k: v for k, v in vars(loader).items() if not k.startswith("_")}
    known["multiprocessing_context"] = loader.multiprocessing_context
    given = {
        name: known[name]
        for name, parameter in parameters.items()
        if name in known and known[name] is not parameter.default
    }
    given.update(changes)
    needed = {n for n, p in parameters.items() if p.default is p.empty and n != "self"}
    assert needed <= set(given)
    return type(loader)(**given)


class Half(DistributedSampler[int]):
    """The even samples."""

    def __init__(self, dataset: Any) -> None:
        super().__init__(dataset, num_replicas=2, rank=0, shuffle=False)


def test_a_loader_made_again_keeps_our_arguments() -> None:
    loader = DataLoaderX(Numbers(8), 2, shuffle=True, **_OURS, **_TORCHS)
    other = _remade(loader, sampler=Half(loader.dataset), shuffle=False, batch_sampler=None)
    for name, value in {**_OURS, **_TORCHS, "batch_size": 2}.items():
        assert getattr(other, name) == value
    assert plain(list(other)) == [[0, 4], [8, 12]]


@both
@pytest.mark.parametrize("size", [None, 2])
def test_another_sampler(loader_class: type[DataLoader[Any]], size: int | None) -> None:
    loader = loader_class(Numbers(8), size, num_workers=1, persistent_workers=True)
    other = _remade(loader, sampler=Half(loader.dataset), shuffle=False, batch_sampler=None)
    assert plain(list(other)) == ([0, 2, 4, 6] if size is None else [[0, 2], [4, 6]])
    assert other.persistent_workers


class Backwards(BatchSampler):
    def __iter__(self) -> Iterator[list[int]]:
        return (batch[::-1] for batch in super().__iter__())


@both
def test_another_batch_sampler(loader_class: type[DataLoader[Any]]) -> None:
    own = Backwards(range(6), 3, False)
    loader = loader_class(Numbers(6), batch_sampler=own)
    assert loader.batch_sampler is own
    again = Backwards(Half(loader.dataset), own.batch_size, own.drop_last)
    changes = {"sampler": None, "shuffle": False, "batch_size": 1, "drop_last": False}
    other = _remade(loader, batch_sampler=again, **changes)
    assert plain(list(other)) == [[4, 2, 0]]


@both
def test_an_iterable_dataset(loader_class: type[DataLoader[Any]]) -> None:
    loader = loader_class(Stream(4), 2)
    other = _remade(loader, sampler=None, batch_sampler=None)
    assert plain(list(other)) == [[0, 1], [2, 3]]


class Named(DataLoaderX[Any]):
    """A user's subclass, with an argument more."""

    def __init__(self, dataset: Any, batch_size: int, name: str, prefetch_batches: int = 1) -> None:
        super().__init__(dataset, batch_size, prefetch_batches=prefetch_batches)
        self.name = name


def test_a_subclass_made_again() -> None:
    loader = Named(Numbers(4), 2, "training", prefetch_batches=5)
    wanted = {name: getattr(loader, name) for name in ("batch_size", "name", "prefetch_batches")}
    other = _remade(loader, dataset=Numbers(2))
    assert (type(other), other.name, other.prefetch_batches) == (Named, "training", 5)
    assert wanted["batch_size"] == 2
    assert plain(list(other)) == [[0, 1]]


def test_arguments_recorded_by_a_replaced_constructor(monkeypatch: pytest.MonkeyPatch) -> None:
    """While Lightning calls a user's hook, constructors of loaders note what they were given."""
    init = DataLoaderX.__init__

    def noting(self: Any, *args: Any, **kwargs: Any) -> None:
        object.__setattr__(self, "noted", (args, kwargs))
        init(self, *args, **kwargs)

    monkeypatch.setattr(DataLoaderX, "__init__", noting)
    loader: Any = DataLoaderX(Numbers(8), 2, prefetch_batches=3)
    monkeypatch.undo()
    args, kwargs = loader.noted
    other = DataLoaderX(*args, **kwargs, sampler=Half(loader.dataset))
    assert other.prefetch_batches == 3
    assert plain(list(other)) == [[0, 2], [4, 6]]


class Share(BatchSampler):
    """Every second batch of another batch sampler, as Accelerate shares them out."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches
        self.sampler = batches.sampler
        self.batch_size = batches.batch_size
        self.drop_last = batches.drop_last

    def __len__(self) -> int:
        return len(self.batches) // 2

    def __iter__(self) -> Iterator[list[int]]:
        return (batch for number, batch in enumerate(self.batches) if number % 2 == 0)


class Shard(DataLoader[Any]):
    """What Accelerate (``DataLoaderShard``) puts in place of the user's loader."""

    def __init__(self, loader: Any) -> None:
        names = set(inspect.signature(DataLoader.__init__).parameters) & set(vars(loader))
        names -= {"batch_size", "sampler", "batch_sampler", "drop_last"}
        kept = {name: getattr(loader, name) for name in names}
        super().__init__(batch_sampler=Share(loader.batch_sampler), **kept)


@both
@pytest.mark.parametrize("count", [0, 1])
def test_a_share_of_the_batches(loader_class: type[DataLoader[Any]], count: int) -> None:
    shard = Shard(loader_class(Numbers(8), 2, num_workers=count, prefetch_factor=count or None))
    assert plain(list(shard)) == [[0, 1], [4, 5]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = write_tree(tmp_path_factory.mktemp("folder"), classes=4, per_class=4, sizes=((9, 9),))
    return fastdata.ImageFolder(path)


def _targets(loader: Any) -> list[list[int]]:
    return [targets.tolist() for _, targets in loader]


@both
@pytest.mark.parametrize("own", [False, True], ids=["foreign", "fastdata"])
def test_shuffling_is_seen_and_seeded(
    loader_class: type[DataLoader[Any]], own: bool, folder: Any
) -> None:
    """Accelerate gives the random sampler a generator, which all ranks seed alike."""
    dataset = folder if own else Numbers(16)
    loader = loader_class(dataset, 4, shuffle=True)
    sampler: Any = loader.batch_sampler.sampler  # type: ignore[union-attr]
    assert sampler is loader.sampler
    assert isinstance(sampler, RandomSampler)
    assert (sampler.data_source, sampler.replacement) == (dataset, False)
    assert (sampler.num_samples, sampler.generator) == (16, None)
    orders = []
    for seed in (3, 3, 4):
        sampler.generator = torch.Generator().manual_seed(seed)
        before = torch.get_rng_state()
        orders.append(list(sampler))
        assert torch.equal(torch.get_rng_state(), before)
        assert sorted(orders[-1]) == list(range(16))
    assert orders[0] == orders[1] != orders[2]


def test_a_share_of_a_shuffled_dataset_of_fastdata(folder: Any) -> None:
    loader = DataLoaderX(folder, 4, shuffle=True)
    sampler: Any = loader.sampler
    found = []
    for _ in range(2):
        sampler.generator = torch.Generator().manual_seed(5)
        found.append(_targets(Shard(loader)))
    sampler.generator = torch.Generator().manual_seed(5)
    assert found[0] == found[1] == _targets(loader)[::2]


@both
def test_set_epoch_through_the_loader(loader_class: type[DataLoader[Any]]) -> None:
    sampler: Sampler[int] = DistributedSampler(Numbers(8), num_replicas=1, rank=0)
    loader: Any = loader_class(Numbers(8), 8, sampler=sampler)
    orders = []
    for epoch in (1, 2, 1):
        loader.sampler.set_epoch(epoch)
        orders += plain(list(loader))
    assert orders[0] == orders[2] != orders[1]


class Outside:
    """A wrapper that is no loader itself."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            yield batch + 1


@both
@pytest.mark.parametrize("count", [0, 1])
def test_a_wrapper_around_it(loader_class: type[DataLoader[Any]], count: int) -> None:
    wrapper = Outside(loader_class(Numbers(4), 2, num_workers=count))
    for _ in range(2):
        assert next(iter(wrapper)).tolist() == [1, 2]
    assert plain(list(wrapper)) == [[1, 2], [3, 4]]
    assert (len(wrapper), wrapper.batch_size, wrapper.dataset.count) == (2, 2, 4)
