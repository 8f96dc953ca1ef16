"""fastdata's own contenders: the same loader over the folder and over packs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastdata import DataLoaderX, ImageFolder, PackedImageFolder
from fastdata.transforms import Compose, RandomHorizontalFlip, RandomResizedCrop

from .contenders import RATIO, SCALE, Batches, Job


def folder(job: Job) -> Batches:
    """``fastdata.ImageFolder`` behind ``DataLoaderX``."""
    return _loader(ImageFolder(job.images, _transform(job)), job)


def packed(job: Job) -> Batches:
    """``fastdata.PackedImageFolder`` behind ``DataLoaderX``."""
    if job.pack is None:
        raise ValueError("this contender reads a pack, and the job names none")
    return _loader(PackedImageFolder(job.pack, _transform(job)), job)


def packed_exact(job: Job) -> Batches:
    """``packed`` with the antialiased resize, whatever the run's setting."""
    return packed(replace(job, antialias=True))


def threads(job: Job) -> Batches:
    """``packed`` with worker threads."""
    if job.pack is None:
        raise ValueError("this contender reads a pack, and the job names none")
    dataset = PackedImageFolder(job.pack, _transform(job))
    return DataLoaderX(
        dataset,
        batch_size=job.batch,
        shuffle=True,
        drop_last=True,
        num_workers=job.workers,
        worker_type="thread" if job.workers else "process",
    )


def threads_exact(job: Job) -> Batches:
    """``threads`` with the antialiased resize, whatever the run's setting."""
    return threads(replace(job, antialias=True))


def _transform(job: Job) -> Compose:
    crop = RandomResizedCrop(job.size, scale=SCALE, ratio=RATIO, antialias=job.antialias)
    return Compose([crop, RandomHorizontalFlip()])


def _loader(dataset: Any, job: Job) -> Batches:
    return DataLoaderX(
        dataset,
        batch_size=job.batch,
        shuffle=True,
        drop_last=True,
        num_workers=job.workers,
        persistent_workers=job.workers > 0,
    )
