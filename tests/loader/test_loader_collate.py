"""Batches have the types that torch's loader gives them."""

from __future__ import annotations

import itertools
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from helpers.loaders import Numbers, both, failure, same
from torch.utils.data import DataLoader

Pair = namedtuple("Pair", "left right")


class Custom(dict[Any, Any]):
    pass


class CustomList(list[Any]):
    pass


class Strange:
    """Nothing that can be collated, with its own way to be pinned."""

    def __init__(self, samples: Any) -> None:
        self.samples = samples

    def pin_memory(self) -> Strange:
        return self


_ITEMS: dict[str, Callable[[], Any]] = {
    "named tuple": lambda: Pair(Pair(1, "a"), torch.ones(2)),
    "mapping": lambda: OrderedDict(b=1, a=np.float16(2)),
    "own mapping": lambda: Custom(x=[1, 2.5]),
    "own list": lambda: CustomList([1, b"x"]),
    "tuple": lambda: (1, (2, True)),
    "range": lambda: range(3),
    "array": lambda: np.arange(3, dtype=np.int16),
    "scalar": lambda: np.uint8(3),
    "big": lambda: torch.zeros(3, dtype=torch.bfloat16),
    "empty": lambda: {},
    "strings": lambda: "text",
}


class Items(Numbers):
    def __init__(self, name: str) -> None:
        super().__init__(4)
        self.name = name

    def __getitem__(self, index: int) -> Any:
        return _ITEMS[self.name]()


def _shape(value: Any) -> Any:
    """Types, dtypes and values, all the way down."""
    if isinstance(value, torch.Tensor):
        return value.dtype, value.tolist()
    if isinstance(value, dict):
        return type(value), {key: _shape(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value), [_shape(part) for part in value]
    return type(value), value


@pytest.mark.parametrize("name", _ITEMS)
def test_collating_keeps_types(name: str) -> None:
    for count, size in itertools.product((0, 1), (None, 3)):
        same(lambda c, n=count, s=size: _shape(list(c(Items(name), s, num_workers=n))))


@both
def test_what_collate_fn_returns_arrives(loader_class: type[DataLoader[Any]]) -> None:
    for count in (0, 1):
        found = list(loader_class(Numbers(3), 2, collate_fn=Strange, num_workers=count))
        assert [type(batch) for batch in found] == [Strange, Strange]
        assert [batch.samples for batch in found] == [[0, 1], [2]]


@pytest.mark.parametrize(
    "samples", [[["X"], ["X", "X"]], [object()], [torch.ones(2), torch.ones(3)]]
)
def test_what_cannot_be_collated(samples: list[Any]) -> None:
    same(lambda c: failure(lambda: list(c(samples, len(samples))))[0])
