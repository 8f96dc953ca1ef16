"""timm's ``create_dataset`` and ``create_loader``, on Pillow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.contenders.contenders import RATIO, SCALE, Batches, Job

from . import pixels
from .torchvision_import import torchvision  # before timm, which imports it, too


class FullBatches:
    """Without the short last batch, which timm keeps outside of training."""

    def __init__(self, loader: Any, batch: int) -> None:
        self.loader, self.batch = loader, batch

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return (pair for pair in self.loader if len(pair[0]) == self.batch)


def build(job: Job) -> Batches:
    """Its batches of uint8 as they reach its ``PrefetchLoader``, which would normalize them."""
    assert torchvision
    from timm.data import create_dataset, create_loader

    training = pixels.is_shuffled(job)
    loader = create_loader(
        create_dataset("", root=job.images, is_training=training),
        input_size=job.size,
        batch_size=job.batch,
        is_training=training,
        scale=SCALE,
        ratio=RATIO,
        color_jitter=None,
        interpolation="bilinear",
        num_workers=job.workers,
        device=torch.device("cpu"),
    )
    return FullBatches(loader.loader, job.batch)
