"""torchvision's ``ImageFolder`` and transforms behind torch's ``DataLoader``."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader

from benchmarks.contenders.contenders import RATIO, SCALE, Batches, Job

from . import pixels
from .torchvision_import import torchvision


def build(job: Job) -> Batches:
    """The loop of PyTorch's ImageNet example, without normalizing."""
    dataset = torchvision.datasets.ImageFolder(job.images, transform(job))
    return DataLoader(dataset, shuffle=pixels.is_shuffled(job), **pixels.options(job))


def transform(job: Job) -> Any:
    """Pillow's bilinear resize, which is antialiased."""
    T = torchvision.transforms
    if pixels.is_shuffled(job):
        geometry = [
            T.RandomResizedCrop(job.size, scale=SCALE, ratio=RATIO),
            T.RandomHorizontalFlip(),
        ]
    else:
        geometry = [T.Resize(job.size * 8 // 7), T.CenterCrop(job.size)]
    return T.Compose([*geometry, T.PILToTensor()])
