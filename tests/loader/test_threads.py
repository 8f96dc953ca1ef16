"""Worker threads: the same order and errors as processes, and bounded."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import cv2
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset

import fastdata
from fastdata.loader.loader import DataLoaderX


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not [t for t in threading.enumerate() if t.name.startswith("fastdata")]


class Slow(Dataset[int]):
    """Item i is i; every third one takes longer, and it counts who is at work."""

    def __init__(self, count: int, bad: int = -1) -> None:
        self.count = count
        self.bad = bad
        self.seen: list[int] = []
        self.threads: set[int] = set()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        self.seen.append(index)
        self.threads.add(threading.get_ident())
        time.sleep(0.004 if index % 3 == 0 else 0)
        if index == self.bad:
            raise TimeoutError(f"item {index}")
        return index


def threads(dataset: Any, batch_size: int | None = 2, **more: Any) -> DataLoaderX[Any]:
    return DataLoaderX(dataset, batch_size, num_workers=2, worker_type="thread", **more)


def test_order_is_kept_while_two_threads_work() -> None:
    dataset = Slow(40)
    assert torch.cat(list(threads(dataset))).tolist() == list(range(40))
    assert len(dataset.threads) == 2
    assert threading.get_ident() not in dataset.threads


def test_no_more_batches_ahead_than_promised() -> None:
    for factor in (1, 3):
        dataset = Slow(200)
        iterator = iter(threads(dataset, prefetch_factor=factor))
        for taken in range(1, 6):
            next(iterator)
            time.sleep(0.05)
            assert len(set(dataset.seen)) // 2 <= taken + 2 * factor
        iterator.close()


def test_an_error_comes_in_its_place_with_its_type() -> None:
    found: list[int] = []
    with pytest.raises(TimeoutError, match="item 6"):
        for batch in threads(Slow(20, bad=6)):
            found += batch.tolist()
    assert found == [0, 1, 2, 3, 4, 5]


def test_an_error_of_the_sampler_comes_after_its_batches() -> None:
    def batches() -> Iterator[list[int]]:
        yield [0, 1]
        raise LookupError("sampler")

    class Sampler:
        def __iter__(self) -> Iterator[list[int]]:
            return batches()

    found = []
    loader = DataLoaderX(Slow(9), batch_sampler=Sampler(), num_workers=2, worker_type="thread")
    with pytest.raises(LookupError, match="sampler"):
        for batch in loader:
            found.append(batch.tolist())
    assert found == [[0, 1]]


def test_timeout_ends_the_wait() -> None:
    class Stuck(Slow):
        def __getitem__(self, index: int) -> int:
            time.sleep(0.4)
            return index

    with pytest.raises(RuntimeError, match=r"timed out after 0\.05 seconds"):
        list(threads(Stuck(4), timeout=0.05))


def test_worker_init_fn_runs_in_each_thread_and_may_fail() -> None:
    started: dict[int, int] = {}
    list(threads(Slow(40), worker_init_fn=lambda i: started.update({i: threading.get_ident()})))
    assert sorted(started) == [0, 1]
    assert len(set(started.values())) == 2

    def fail(_number: int) -> None:
        raise OSError("no licence")

    with pytest.raises(OSError, match="no licence"):
        list(threads(Slow(4), worker_init_fn=fail))


def test_batch_size_none_and_own_collate() -> None:
    assert [int(x) for x in threads(Slow(5), None)] == [0, 1, 2, 3, 4]
    assert list(threads(Slow(4), collate_fn=tuple)) == [(0, 1), (2, 3)]


def test_a_yielded_batch_is_the_users_own() -> None:
    kept = list(threads(Slow(60)))
    assert torch.cat(kept).tolist() == list(range(60))
    assert len({batch.data_ptr() for batch in kept}) == 30


def test_opencv_has_one_thread_for_each_of_ours() -> None:
    before = cv2.getNumThreads()

    class Asking(Slow):
        def __getitem__(self, index: int) -> int:
            return cv2.getNumThreads()

    loader = threads(Asking(8))
    for one, other in zip(loader, loader, strict=True):
        assert one.tolist() == other.tolist() == [1, 1]
    assert cv2.getNumThreads() == before


def test_what_threads_cannot_do_is_refused() -> None:
    class Stream(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            return iter(range(3))

    with pytest.raises(fastdata.OptionError, match="IterableDataset cannot be shared"):
        threads(Stream())
    with pytest.raises(fastdata.OptionError, match="process or thread"):
        DataLoaderX(Slow(3), worker_type="fibre")
