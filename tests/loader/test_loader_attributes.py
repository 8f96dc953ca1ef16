"""DataLoaderX shows, guards and copies the attributes of torch's loader."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from typing import Any

import pytest
import torch
from helpers.loaders import Numbers, both, named, plain, same, workers
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, get_worker_info

from fastdata import DataLoaderX

_SAMPLER = SequentialSampler(Numbers())
_BATCHES = BatchSampler(_SAMPLER, 3, False)


def _public(loader: DataLoader[Any]) -> dict[str, Any]:
    return {name: value for name, value in vars(loader).items() if not name.startswith("_")}


_DATASET = Numbers()
_SETTINGS: list[dict[str, Any]] = [
    {},
    {"batch_size": None},
    {"sampler": _SAMPLER},
    {"batch_sampler": _BATCHES},
    {"batch_size": 4, "drop_last": True, "collate_fn": list, "generator": torch.Generator()},
    {"num_workers": 1, "timeout": 2.5, "worker_init_fn": print, "persistent_workers": True},
    {"num_workers": 1, "prefetch_factor": 3, "pin_memory": True, "pin_memory_device": "cuda"},
]


@pytest.mark.parametrize("settings", _SETTINGS, ids=named)
def test_attributes_are_torchs(settings: dict[str, Any]) -> None:
    expected = _public(DataLoader(_DATASET, **settings))
    found = _public(DataLoaderX(_DATASET, **settings))
    for name, value in expected.items():
        if name in ("sampler", "batch_sampler") and name not in settings:
            assert type(found[name]) is type(value)
        else:
            assert found[name] == value, name


def test_own_arguments_are_attributes() -> None:
    given = {"device": "cpu", "prefetch_batches": 4, "batch_transform": abs, "max_errors": 3}
    given |= {"worker_type": "thread", "on_error": "skip"}
    loader = DataLoaderX(Numbers(), **given)
    found = {name: getattr(loader, name) for name in given}
    assert found == {**given, "device": torch.device("cpu")}


def test_multiprocessing_context_becomes_a_context() -> None:
    context = multiprocessing.get_context("fork")
    for given in ("fork", context):
        loader = DataLoaderX(Numbers(), num_workers=1, multiprocessing_context=given)
        assert loader.multiprocessing_context.get_start_method() == "fork"
    assert DataLoaderX(Numbers()).multiprocessing_context is None


def _setting(loader_class: type[DataLoader[Any]], name: str) -> Any:
    loader = loader_class(_DATASET)
    try:
        setattr(loader, name, getattr(loader, name))
    except Exception as error:
        return type(error).__name__, str(error).replace(loader_class.__name__, "*")
    return "can be set"


@pytest.mark.parametrize("name", [*_public(DataLoader(_DATASET)), "multiprocessing_context"])
def test_the_same_attributes_are_frozen(name: str) -> None:
    same(lambda loader_class: _setting(loader_class, name))


def test_some_attributes_are_frozen() -> None:
    for name in ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset"):
        assert _setting(DataLoaderX, name)[0] == "ValueError"


class Doubling:
    """A collate_fn."""

    def __call__(self, samples: list[int]) -> list[int]:
        return [2 * sample for sample in samples]


def _negative(_: int) -> None:
    get_worker_info().dataset.__class__ = Negative


class Negative(Numbers):
    def __getitem__(self, index: int) -> int:
        return -index


@both
@workers
def test_settings_replaced_after_construction(
    loader_class: type[DataLoader[Any]], kind: dict[str, Any]
) -> None:
    loader = loader_class(Numbers(4), 2, **kind)
    loader.collate_fn = Doubling()
    expected = [[0, 2], [4, 6]]
    if kind["num_workers"]:
        loader.worker_init_fn = _negative
        expected = [[0, -2], [-4, -6]]
    assert list(loader) == expected


def test_it_is_a_loader() -> None:
    assert isinstance(DataLoaderX(Numbers()), DataLoader)
    assert DataLoaderX[int] is not None


@both
@pytest.mark.parametrize("used", [False, True])
def test_copies_and_pickles(loader_class: type[DataLoader[Any]], used: bool) -> None:
    loader = loader_class(Numbers(5), 2, num_workers=0)
    if used:
        list(loader)
    for other in (copy.copy(loader), copy.deepcopy(loader), pickle.loads(pickle.dumps(loader))):
        assert plain(list(other)) == [[0, 1], [2, 3], [4]]
    assert plain(list(loader)) == [[0, 1], [2, 3], [4]]
