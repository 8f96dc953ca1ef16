"""DataLoaderX with worker threads on a CUDA device: its pinned memory is bounded and reused."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
from helpers.gpu import BRIEF, GPU, assert_none_wrong, count_wrong, sleep
from torch import Tensor
from torch.utils.data import Dataset

from fastdata import DataLoaderX

pytestmark = GPU

BATCH, BATCHES = 16, 12
WORKERS, FACTOR, AHEAD = 2, 4, 2


class NumberedImages(Dataset[Any]):
    """Images filled with the number of their batch, and that number."""

    def __len__(self) -> int:
        return BATCH * BATCHES

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        number = index // BATCH
        return torch.full((3, 128, 128), number, dtype=torch.uint8), number


def loader(**options: Any) -> DataLoaderX[Any]:
    chosen = {"worker_type": "thread", "num_workers": WORKERS, "prefetch_factor": FACTOR}
    chosen |= {"batch_size": BATCH, "device": "cuda", "prefetch_batches": AHEAD}
    return DataLoaderX(NumberedImages(), **(chosen | options))


def late_counts(batches: Any) -> list[Tensor]:
    """Counts of wrong elements of an epoch, taken late."""
    wrong = []
    for number, (images, targets) in enumerate(batches):
        assert images.is_cuda
        assert targets.is_cuda
        sleep(BRIEF)
        wrong += [count_wrong(images, number), count_wrong(targets, number)]
        del images, targets
    return wrong


@pytest.mark.filterwarnings("ignore:This process")  # is multi-threaded, and forks a worker
@pytest.mark.parametrize("options", [{}, {"worker_type": "process", "num_workers": 1}])
def test_no_stale_batches(options: dict[str, Any]) -> None:
    batches = loader(**options)
    for _ in range(2):
        wrong = late_counts(batches)
        assert_none_wrong(wrong)
        assert len(wrong) == 2 * BATCHES


def test_worker_threads_make_their_batches_in_pinned_memory() -> None:
    images, targets = next(iter(loader(device=None, pin_memory=True)))
    assert images.is_pinned()
    assert targets.is_pinned()


@pytest.mark.skipif(
    not hasattr(torch.cuda, "host_memory_stats"), reason="needs torch's pinned memory statistics"
)
def test_pinned_memory_is_a_bounded_ring() -> None:
    torch.cuda.synchronize()
    gc.collect()
    before = torch.cuda.host_memory_stats()["num_host_alloc"]
    batches = loader()
    for epoch in range(10):
        if epoch % 2:
            assert_none_wrong(late_counts(batches))
        else:  # a consumer as fast as can be
            for images, targets in batches:
                del images, targets
    made = torch.cuda.host_memory_stats()["num_host_alloc"] - before
    alive_at_once = WORKERS * FACTOR + 2 * AHEAD + 4
    # Two tensors a batch; what torch pins for itself, such as for item(), is one block or two.
    assert made <= 2 * alive_at_once + 2


def test_two_loaders_at_once() -> None:
    wrong = []
    for number, (first, second) in enumerate(zip(loader(), loader(), strict=True)):
        sleep(BRIEF)
        wrong += [count_wrong(images, number) for images, _ in (first, second)]
        del first, second
    assert_none_wrong(wrong)
    assert len(wrong) == 2 * BATCHES


def test_an_early_break_leaves_no_batch_on_the_device() -> None:
    torch.cuda.synchronize()
    gc.collect()
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        for images, targets in loader():
            sleep(BRIEF)
            del images, targets
            break
    torch.cuda.synchronize()
    gc.collect()
    assert torch.cuda.memory_allocated() == before
