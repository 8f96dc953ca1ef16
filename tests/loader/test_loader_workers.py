"""Workers, datasets and iterators under DataLoaderX are those of torch's loader."""

from __future__ import annotations

import multiprocessing
import re
import time
import warnings
from collections import namedtuple
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers.loaders import SINCE_2_6, Numbers, Stream, both, failure, plain, same, workers
from torch.utils.data import DataLoader, get_worker_info

from fastdata import DataLoaderX

Pair = namedtuple("Pair", "left right")


class Info(Numbers):
    """What a worker knows of itself; ``mark`` is set by ``_mark`` in each worker."""

    mark: Any = None

    def __getitem__(self, index: int) -> Any:
        info = get_worker_info()
        if info is None:
            return None, self.mark
        return info.id, info.num_workers, type(info.dataset).__name__, self.mark


def _mark(worker: int) -> None:
    get_worker_info().dataset.mark = worker


@both
@workers
def test_worker_info_and_init(loader_class: type[DataLoader[Any]], kind: dict[str, Any]) -> None:
    loader = loader_class(Info(4), None, worker_init_fn=_mark, **kind)
    count = kind["num_workers"]
    expected = [[i % 2, 2, "Info", i % 2] if count else [None, None] for i in range(4)]
    assert [plain(list(loader)) for _ in range(2)] == [expected] * 2
    assert get_worker_info() is None


class Lists(Numbers):
    """Reads whole batches; single samples are an error."""

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError("not to be called")

    def __getitems__(self, indices: list[int]) -> list[Any]:
        assert isinstance(indices, list)
        return [(index, len(indices)) for index in indices]


class NoLists(Numbers):
    __getitems__ = None


@both
@workers
def test_getitems(loader_class: type[DataLoader[Any]], kind: dict[str, Any]) -> None:
    expected = [[[0, 1, 2], [3, 3, 3]], [[3, 4], [2, 2]]]
    assert plain(list(loader_class(Lists(5), 3, **kind))) == expected
    assert plain(list(loader_class(NoLists(3), 2, **kind))) == [[0, 1], [2]]


class Echo(Numbers):
    def __getitem__(self, index: Any) -> Any:
        return str(index), Pair(np.float32(1), index), type(index).__name__


@workers
def test_without_batches_items_are_only_converted(kind: dict[str, Any]) -> None:
    def observe(loader_class: type[DataLoader[Any]]) -> Any:
        keys: Any = [3, (1, 2), "name", [4, 5]]
        items = list(loader_class(Echo(), None, sampler=keys, **kind))
        return plain(items), [type(part) for item in items for part in item]

    same(observe)


@workers
@pytest.mark.parametrize("shared", [False, True])
def test_iterable_datasets(kind: dict[str, Any], shared: bool) -> None:
    def observe(loader_class: type[DataLoader[Any]], **options: Any) -> Any:
        loader = loader_class(Stream(7, shared), **options, **kind)
        epochs = 2 if "persistent_workers" in kind else 1
        # Not list(), which would ask for the length: then longer epochs are warned of.
        return [[plain(batch) for batch in loader] for _ in range(epochs)]

    for options in ({"batch_size": None}, {"batch_size": 3}, {"batch_size": 3, "drop_last": True}):
        same(partial(observe, **options))


@workers
@pytest.mark.parametrize("asked", [False, True])
def test_a_stream_longer_than_it_said(kind: dict[str, Any], asked: bool) -> None:
    class Liar(Stream):
        def __len__(self) -> int:
            return 4

        def __repr__(self) -> str:
            return "Liar"

    def observe(loader_class: type[DataLoader[Any]]) -> list[Any]:
        loader = loader_class(Liar(5), **kind)
        iterator = iter(loader)  # the length that is asked for later does not count
        if asked:
            assert len(loader) == 4
            iterator = iter(loader)
        return [_warnings_of_next(iterator) for _ in range(5 * max(kind["num_workers"], 1))]

    assert any(same(observe)) == asked


def _warnings_of_next(iterator: Iterator[Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        next(iterator)
    numbers = "|".join(re.findall(r"\d+", str([warning.message for warning in caught])))
    return [f"{w.category.__name__} {str(w.message)[:40]} {numbers}" for w in caught]


@both
def test_two_iterators(loader_class: type[DataLoader[Any]]) -> None:
    for count in (0, 1):
        loader = loader_class(Numbers(4), 2, num_workers=count)
        first, second = iter(loader), iter(loader)
        assert plain([next(first), next(second), next(second), next(first)]) == [
            [0, 1],
            [0, 1],
            [2, 3],
            [2, 3],
        ]
        assert [next(first, None), next(second, None)] == [None, None]


@both
@workers
def test_an_iterator_that_has_ended(
    loader_class: type[DataLoader[Any]], kind: dict[str, Any]
) -> None:
    iterator = iter(loader_class(Numbers(2), 2, **kind))
    assert iter(iterator) is iterator
    assert [next(iterator, None) is None for _ in range(3)] == [False, True, True]


class Slow(Numbers):
    """The first item takes its time."""

    def __getitem__(self, index: int) -> int:
        if index == 0:
            time.sleep(0.8)
        return index


@both
@pytest.mark.parametrize("persistent", [False, True])
def test_timeout(loader_class: type[DataLoader[Any]], persistent: bool) -> None:
    options = {"num_workers": 1, "persistent_workers": persistent}
    loader = loader_class(Slow(), timeout=0.2, **options)
    kind, message = failure(lambda: next(iter(loader)))
    assert (kind, message) == (RuntimeError, "DataLoader timed out after 0.2 seconds")


def test_timeout_without_workers() -> None:
    same(lambda c: failure(lambda: list(c(Numbers(), timeout=1))))


@both
def test_order_of_batches(loader_class: type[DataLoader[Any]]) -> None:
    assert plain(list(loader_class(Slow(6), None, num_workers=2))) == list(range(6))
    if not SINCE_2_6:
        return
    found = plain(list(loader_class(Slow(6), None, num_workers=2, in_order=False)))
    assert sorted(found) == list(range(6))
    assert found[0] == 1


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_start_methods(method: str) -> None:
    context: Any = method if method == "spawn" else multiprocessing.get_context(method)
    loader = DataLoaderX(Info(2), None, num_workers=1, multiprocessing_context=context)
    assert plain(list(loader)) == [[0, 1, "Info", None]] * 2
