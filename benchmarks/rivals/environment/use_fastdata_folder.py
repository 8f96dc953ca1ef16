"""``fastdata.ImageFolder`` behind ``DataLoaderX``."""

from __future__ import annotations

from benchmarks.contenders.contenders import Batches, Job
from fastdata import ImageFolder

from .use_fastdata import loader, transform


def build(job: Job) -> Batches:
    """Worker threads."""
    return loader(ImageFolder(job.images, transform(job)), job)
