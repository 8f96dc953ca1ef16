"""The baseline: an image folder read by Pillow through torch's own DataLoader.

A portable stand-in for ``torchvision.datasets.ImageFolder`` with ``RandomResizedCrop``,
``RandomHorizontalFlip`` and ``PILToTensor``, written from torchvision's documented rules. It draws
its random numbers more cheaply than torchvision does: about 0.02 ms an image in favour of the
baseline (torchvision 0.29).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from .contenders import RATIO, SCALE, Batches, Job

Box = tuple[int, int, int, int]


class PilImageFolder(Dataset[tuple[torch.Tensor, int]]):
    """Samples are (3×size×size uint8 RGB tensor, class index); classes are sorted directories."""

    def __init__(self, root: str, size: int) -> None:
        self.size = size
        classes = sorted(path for path in Path(root).iterdir() if path.is_dir())
        self.samples = [
            (str(path), target)
            for target, folder in enumerate(classes)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, target = self.samples[index]
        with open(path, "rb") as file:
            image = Image.open(file).convert("RGB")
        image = image.crop(crop_box(*image.size))
        image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        if torch.rand(()).item() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1), target


def crop_box(width: int, height: int) -> Box:
    """A random (left, top, right, bottom) by torchvision's rule, from torch's random generator.

    Up to ten times draw a share of the area uniformly and an aspect ratio log-uniformly, and place
    the box uniformly if it fits; else take the largest central box of an allowed aspect ratio.
    """
    for _ in range(10):
        share, aspect, x, y = torch.rand(4).tolist()
        area = width * height * (SCALE[0] + share * (SCALE[1] - SCALE[0]))
        ratio = RATIO[0] * (RATIO[1] / RATIO[0]) ** aspect
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(x * (width - w + 1)), int(y * (height - h + 1))
            return left, top, left + w, top + h
    return central_box(width, height)


def central_box(width: int, height: int) -> Box:
    """The largest central box whose aspect ratio is allowed."""
    w = max(1, min(width, round(height * RATIO[1])))
    h = max(1, min(height, round(width / RATIO[0])))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def build(job: Job) -> Batches:
    """The dataset behind ``torch.utils.data.DataLoader``, with process workers."""
    return DataLoader(
        PilImageFolder(job.images, job.size),
        batch_size=job.batch,
        shuffle=True,
        drop_last=True,
        num_workers=job.workers,
        persistent_workers=job.workers > 0,
    )
