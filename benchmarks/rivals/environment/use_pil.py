"""An image folder behind torch's own ``DataLoader``, decoded by Pillow or by OpenCV."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.contenders.contenders import Batches, Job

from . import pixels


class Folder(Dataset[tuple[torch.Tensor, int]]):
    """Samples are (3×size×size uint8 tensor, class index)."""

    def __init__(self, job: Job) -> None:
        self.samples = [(str(file), target) for file, target in pixels.samples(Path(job.images))]
        self.read = pixels.reader(job)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        file, target = self.samples[index]
        return self.read(Path(file).read_bytes()), target


def build(job: Job) -> Batches:
    """Process workers that outlive an epoch."""
    return DataLoader(Folder(job), shuffle=pixels.is_shuffled(job), **pixels.options(job))
