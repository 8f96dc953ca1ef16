"""What each rank runs under torchrun in test_distributed.py; no test by itself.

    torchrun … torchrun_script.py RESULTS CHECK...

Each check is a function of this file; what it returns lands in ``RESULTS/rank-<rank>.json`` under
its name.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.utils.data import Dataset, DistributedSampler

from fastdata import DataLoaderX, RankSampler

LENGTH = 50  # no multiple of 4
GLOBAL_BATCH = 8
SEED = 7
Epochs = list[list[list[int]]]  # epochs of batches of indices


class Indices(Dataset[int]):
    """Item i is i."""

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> int:
        return index


def make_loader(sampler: Any, **options: Any) -> DataLoaderX[torch.Tensor]:
    """A loader with this rank's part of the global batch."""
    size = GLOBAL_BATCH // distributed.get_world_size()
    return DataLoaderX(Indices(), batch_size=size, sampler=sampler, **options)


def one_epoch(loader: DataLoaderX[torch.Tensor]) -> list[list[int]]:
    return [batch.tolist() for batch in loader]


def exact() -> Epochs:
    """Evaluation: each sample once."""
    loader = make_loader(RankSampler(Indices(), cover="exact"), num_workers=1)
    return [one_epoch(loader) for _ in range(2)]


def pad() -> Epochs:
    """Training in step; without set_epoch."""
    loader = make_loader(RankSampler(Indices(), seed=SEED))
    return [in_step(loader) for _ in range(3)]


def drop() -> Epochs:
    """Training in step, each sample at most once; threads make the batches."""
    sampler = RankSampler(Indices(), cover="drop")
    return [in_step(make_loader(sampler, num_workers=2, worker_type="thread"))]


def in_step(loader: DataLoaderX[torch.Tensor]) -> list[list[int]]:
    """One epoch with a collective in each step, as training has it; it checks the batches' sum."""
    seen = []
    for batch in loader:
        total = batch.sum()
        distributed.all_reduce(total)
        seen.append(batch.tolist())
    steps = torch.tensor([len(seen), -len(seen)])
    distributed.all_reduce(steps, op=distributed.ReduceOp.MAX)
    if steps[0] != -steps[1]:
        raise RuntimeError(f"ranks took from {-steps[1]} to {steps[0]} steps")
    return seen


def torchs_sampler() -> Epochs:
    """torch's DistributedSampler with set_epoch, and workers that persist."""
    sampler: DistributedSampler[int] = DistributedSampler(Indices(), seed=SEED)
    loader = make_loader(sampler, num_workers=1, persistent_workers=True)
    epochs = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        epochs.append(in_step(loader))
    return epochs


def looked_up_late() -> list[list[int]]:
    """What a sampler says of its place before there is a process group, and after."""
    return [EARLY, place()]


def place() -> list[int]:
    sampler = RankSampler(Indices())
    return [sampler.rank, sampler.num_replicas]


def die() -> None:
    """The last rank is killed in mid-epoch; the others wait for it in a collective."""
    loader = make_loader(RankSampler(Indices()), num_workers=1)
    last = distributed.get_rank() == distributed.get_world_size() - 1
    for step, batch in enumerate(loader):
        if last and step == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        distributed.all_reduce(batch.sum())


CHECKS: dict[str, Callable[[], Any]] = {
    check.__name__: check for check in (exact, pad, drop, torchs_sampler, looked_up_late, die)
}


def main(results: str, *names: str) -> None:
    distributed.init_process_group("gloo", timeout=timedelta(seconds=30))
    rank = distributed.get_rank()
    found = {name: CHECKS[name]() for name in names}
    Path(results, f"rank-{rank}.json").write_text(json.dumps(found), "utf-8")
    distributed.destroy_process_group()


if __name__ == "__main__":
    EARLY = place()
    main(*sys.argv[1:])
