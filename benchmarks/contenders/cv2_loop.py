"""The floor of a full decode: OpenCV in one process, without dataset, loader or workers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from .contenders import RATIO, SCALE, Batches, Job

FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


class Loop:
    """Each iteration is an epoch: shuffled files, decoded straight into batches."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.rng = np.random.default_rng(job.seed)
        self.paths = sorted(p for p in Path(job.images).rglob("*") if p.is_file())

    def __iter__(self) -> Iterator[tuple[torch.Tensor, None]]:
        size, batch = self.job.size, self.job.batch
        order = self.rng.permutation(len(self.paths))
        for start in range(0, len(order) - batch + 1, batch):
            images = np.empty((batch, size, size, 3), np.uint8)
            for row, index in zip(images, order[start : start + batch], strict=True):
                self.fill(row, self.paths[index])
            yield torch.from_numpy(images).permute(0, 3, 1, 2), None

    def fill(self, row: NDArray[np.uint8], path: Path) -> None:
        """Decode, crop, resize and perhaps mirror one file into ``row``."""
        pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), FLAGS)
        top, left, h, w = self.crop(*pixels.shape[:2])
        size = self.job.size
        cv2.resize(pixels[top : top + h, left : left + w], (size, size), dst=row)
        if self.rng.random() < 0.5:
            cv2.flip(row, 1, dst=row)

    def crop(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width, drawn up to ten times; else the whole image."""
        for _ in range(10):
            share, aspect, x, y = self.rng.random(4)
            area = width * height * (SCALE[0] + share * (SCALE[1] - SCALE[0]))
            ratio = RATIO[0] * (RATIO[1] / RATIO[0]) ** aspect
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return int(y * (height - h + 1)), int(x * (width - w + 1)), h, w
        return 0, 0, height, width


def build(job: Job) -> Batches:
    """The loop, with OpenCV's own threads off."""
    cv2.setNumThreads(0)
    return Loop(job)
