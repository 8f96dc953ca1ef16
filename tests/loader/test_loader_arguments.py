"""DataLoaderX takes, checks, keeps and guards the arguments of torch's loader as torch does."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.images import write_tree
from helpers.loaders import (
    SINCE_2_6,
    Numbers,
    Stream,
    both,
    failure,
    named,
    plain,
    same,
    workers,
)
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

import fastdata
from fastdata import DataLoaderX

TORCH = inspect.signature(DataLoader.__init__).parameters
OURS = {"device", "prefetch_batches", "batch_transform", "worker_type", "on_error", "max_errors"}

_SAMPLER = SequentialSampler(Numbers())
_BATCHES = BatchSampler(_SAMPLER, 3, False)
_WRONG: list[dict[str, Any]] = [
    {"num_workers": -1},
    {"timeout": -1},
    {"prefetch_factor": 2},
    {"prefetch_factor": -1, "num_workers": 1},
    {"persistent_workers": True},
    {"batch_size": 0},
    {"batch_size": -2},
    {"batch_size": True},
    {"batch_size": 2.5},
    {"drop_last": 3},
    {"batch_size": None, "drop_last": True},
    {"multiprocessing_context": "fork"},
    {"multiprocessing_context": "bad", "num_workers": 1},
    {"multiprocessing_context": 7, "num_workers": 1},
    {"sampler": _SAMPLER, "shuffle": True},
    {"sampler": _SAMPLER, "batch_sampler": _BATCHES},
    {"sampler": _SAMPLER, "batch_sampler": _BATCHES, "shuffle": 3},
    {"batch_sampler": _BATCHES, "batch_size": 11},
    {"batch_sampler": _BATCHES, "batch_size": None},
    {"batch_sampler": _BATCHES, "shuffle": True},
    {"batch_sampler": _BATCHES, "drop_last": True},
]
_WRONG_FOR_STREAMS: list[dict[str, Any]] = [
    {"shuffle": True},
    {"shuffle": 3},
    {"sampler": 3},
    {"sampler": _SAMPLER},
    {"batch_sampler": 3},
    {"sampler": 3, "batch_sampler": 3, "shuffle": True},
]


def test_the_signature_is_torchs_with_more_behind() -> None:
    ours = inspect.signature(DataLoaderX.__init__).parameters
    assert list(ours)[: len(TORCH)] == list(TORCH)
    for name, parameter in TORCH.items():
        assert ours[name].kind == parameter.kind
        assert ours[name].default == parameter.default or name == "pin_memory"
    more = [ours[name] for name in list(ours)[len(TORCH) :]]
    assert {parameter.name for parameter in more} - {"in_order"} == OURS  # torch >= 2.6 has that
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in more)


@pytest.mark.parametrize("wrong", _WRONG, ids=named)
def test_wrong_arguments(wrong: dict[str, Any]) -> None:
    same(lambda loader_class: failure(lambda: loader_class(Numbers(), **wrong)))


@pytest.mark.parametrize("wrong", _WRONG_FOR_STREAMS, ids=named)
def test_wrong_arguments_for_an_iterable_dataset(wrong: dict[str, Any]) -> None:
    same(lambda loader_class: failure(lambda: loader_class(Stream(), **wrong)))


@pytest.mark.parametrize("wrong", [w for w in _WRONG if "shuffle" in w], ids=named)
def test_wrong_ways_to_shuffle_a_dataset_of_fastdata(wrong: dict[str, Any], tmp_path: Path) -> None:
    write_tree(tmp_path, classes=1, per_class=2)
    dataset = fastdata.ImageFolder(tmp_path)
    same(lambda loader_class: failure(lambda: loader_class(dataset, **wrong)))


@both
def test_wrong_calls(loader_class: type[DataLoader[Any]]) -> None:
    call: Any = loader_class
    for arguments, options in [
        ((), {}),
        ((Numbers(),), {"no_such_argument": 1}),
        ((Numbers(), 1), {"batch_size": 1}),
        ((Numbers(), *(p.default for p in list(TORCH.values())[2:13]), None, 2), {}),
    ]:
        with pytest.raises(TypeError, match="__init__"):
            call(*arguments, **options)


def test_a_dataset_that_has_no_length() -> None:
    class NoLength:
        def __getitem__(self, index: int) -> int:
            return index

    for options in ({}, {"shuffle": True}):
        same(lambda loader_class, o=options: failure(lambda: list(loader_class(NoLength(), **o))))


def test_every_argument_by_position() -> None:
    def observe(loader_class: Any) -> Any:
        loader = loader_class(
            Numbers(9), 2, False, None, None, 0, list, False, True, 0, None, None, None
        )
        return list(loader), len(loader), loader.collate_fn, loader.drop_last

    same(observe)


@both
def test_lengths(loader_class: type[DataLoader[Any]]) -> None:
    for dataset in (Numbers(10), Stream(10)):
        for size, drop_last, expected in [
            (1, False, 10),
            (3, False, 4),
            (3, True, 3),
            (20, True, 0),
        ]:
            loader = loader_class(dataset, size, drop_last=drop_last)
            assert len(loader) == expected == len(list(loader))
        assert len(loader_class(dataset, None)) == 10
    assert len(loader_class(Numbers(10), batch_sampler=[[1], [2, 3]])) == 2
    assert len(loader_class(Numbers(10), 2, sampler=range(3))) == 2
    assert len(iter(loader_class(Numbers(10), 3))) == 4


def test_length_of_what_has_none() -> None:
    class Endless(Stream):
        __len__ = None  # type: ignore[assignment]

    same(lambda loader_class: failure(lambda: len(loader_class(Endless())))[0])
    batches = ([i] for i in range(2))
    same(lambda c: failure(lambda: len(c(Numbers(), batch_sampler=batches))))


@both
@workers
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_growing_dataset(
    loader_class: type[DataLoader[Any]], kind: dict[str, Any], shuffle: bool
) -> None:
    dataset = [0, 1, 2]
    loader = loader_class(dataset, shuffle=shuffle, **kind)  # type: ignore[arg-type]
    dataset.append(3)
    assert len(loader) == 4
    assert sorted(plain(list(loader))) == [[0], [1], [2], [3]]


@both
def test_warns_of_too_many_workers(loader_class: type[DataLoader[Any]]) -> None:
    with pytest.warns(UserWarning, match="This DataLoader will create 10000 worker processes"):
        loader_class(Numbers(), num_workers=10000)


@both
@pytest.mark.skipif(torch.cuda.is_available(), reason="of machines without a GPU")
@pytest.mark.skipif(not SINCE_2_6, reason="torch says nothing before 2.6")
def test_warns_of_pinning_without_an_accelerator(loader_class: type[DataLoader[Any]]) -> None:
    with pytest.warns(UserWarning, match="pin"):
        assert plain(list(loader_class(Numbers(2), 2, pin_memory=True))) == [[0, 1]]
