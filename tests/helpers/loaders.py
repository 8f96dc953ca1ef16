"""What the tests of DataLoaderX as a drop-in share: both loaders, and datasets for them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from fastdata import DataLoaderX

LOADERS = [pytest.param(DataLoader, id="torch"), pytest.param(DataLoaderX, id="fastdata")]
both = pytest.mark.parametrize("loader_class", LOADERS)

#: torch takes ``in_order``, and warns of pinning without an accelerator (both since 2.6).
SINCE_2_6 = "in_order" in inspect.signature(DataLoader.__init__).parameters

WORKERS = [
    pytest.param({"num_workers": 0}, id="no workers"),
    pytest.param({"num_workers": 2}, id="workers"),
    pytest.param({"num_workers": 2, "persistent_workers": True}, id="persistent"),
]
workers = pytest.mark.parametrize("kind", WORKERS)


class Numbers(Dataset[int]):
    """Item i is i."""

    def __init__(self, count: int = 10) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return index


class Stream(IterableDataset[int]):
    """0, 1, …: all of them from each worker, or each worker's share."""

    def __init__(self, count: int = 10, shared: bool = False) -> None:
        self.count = count
        self.shared = shared

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        info = get_worker_info() if self.shared else None
        yield from range(info.id if info else 0, self.count, info.num_workers if info else 1)


def plain(value: Any) -> Any:
    """``value`` with lists in place of tensors, so that it can be compared."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value


def same(observe: Callable[[type[DataLoader[Any]]], Any]) -> Any:
    """What is observed of DataLoaderX, after a check that torch's loader shows the same."""
    expected, found = observe(DataLoader), observe(DataLoaderX)
    assert found == expected
    return found


def failure(function: Callable[[], Any]) -> tuple[type[BaseException], str]:
    """Type and message of the exception that ``function`` raises.

    The traceback is dropped: it would keep torch's own iterator until a garbage collection, in
    which that one waits 5 s for each worker.
    """
    try:
        function()
    except Exception as error:
        error.__traceback__ = None
        return type(error), str(error)
    pytest.fail("no exception")


def named(arguments: Any) -> str:
    """A test's name from its arguments, the same in each process: without addresses."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(arguments))
