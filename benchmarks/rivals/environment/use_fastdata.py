"""A fastdata pack behind ``DataLoaderX``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.contenders.contenders import RATIO, SCALE, Batches, Job
from fastdata import DataLoaderX, PackedImageFolder
from fastdata import transforms as T

from . import pixels
from .cases import Case


def prepare(images: Path, target: Path, case: Case) -> None:
    """A sliceable pack, or one of pixels."""
    from fastdata import pack_image_folder  # which training does without

    encoding = "raw" if case.raw else "sliceable"
    pack_image_folder(images, target, encoding=encoding, quiet=True)


def build(job: Job) -> Batches:
    """Worker threads."""
    return loader(PackedImageFolder(str(job.pack), transform(job)), job)


def loader(dataset: Any, job: Job) -> Batches:
    """``DataLoaderX`` with a thread a worker."""
    return DataLoaderX(
        dataset,
        batch_size=job.batch,
        shuffle=pixels.is_shuffled(job),
        drop_last=True,
        num_workers=job.workers,
        worker_type="thread" if job.workers else "process",
    )


def transform(job: Job) -> T.Compose:
    """What the case asks for."""
    if pixels.is_shuffled(job):
        crop = T.RandomResizedCrop(job.size, scale=SCALE, ratio=RATIO, antialias=job.antialias)
        return T.Compose([crop, T.RandomHorizontalFlip()])
    resize = T.Resize(job.size * 8 // 7, antialias=job.antialias)
    return T.Compose([resize, T.CenterCrop(job.size)])
