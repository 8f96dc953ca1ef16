"""How the GPU tests make a race certain instead of rare.

Each batch is filled with its own number, and the consumer counts on the device, late, the elements
that are different: a batch that was handed over too early, or whose memory was reused too soon, has
wrong elements. Sleeping kernels delay the consumer, and ``churn`` overwrites what is free.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

SIZE = 1 << 22  # elements of a batch: 16 MiB, a size for which the allocator adds no slack
BATCH_BYTES = SIZE * 4
BRIEF = 20_000_000  # clock cycles, some 10 ms
LONG = 2_000_000_000  # clock cycles, a second or more


def sleep(cycles: int) -> None:
    """Queue a kernel that does nothing for so many clock cycles."""
    torch.cuda._sleep(cycles)


def numbered(length: int, pinned: bool = True) -> Iterator[Tensor]:
    """Batches in host memory, each filled with its number."""
    for number in range(length):
        batch = torch.full((SIZE,), number, dtype=torch.int32)
        yield batch.pin_memory() if pinned else batch
        del batch


def count_wrong(batch: Tensor, expected: int) -> Tensor:
    """How many elements are not ``expected``, on the device."""
    return (batch != expected).sum()


def churn() -> None:
    """Take and give back memory of a batch's size, filled with a number that no batch has."""
    for _ in range(3):
        torch.full((SIZE,), -1, dtype=torch.int32, device="cuda")


def assert_none_wrong(wrong: list[Tensor]) -> None:
    """Wait for the device, then look at the counts."""
    torch.cuda.synchronize()
    assert [int(count) for count in wrong] == [0] * len(wrong)
