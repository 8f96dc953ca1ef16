"""``fastdata.ImageFolder`` behind ``DataLoaderX``."""

from __future__ import annotations

import fastdata
from benchmarks.contenders import Batches, Job

from .use_fastdata import loader, transform


def build(job: Job) -> Batches:
    """Worker threads."""
    return loader(fastdata.ImageFolder(job.images, transform(job)), job)
