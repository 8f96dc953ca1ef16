"""MosaicML Streaming: local MDS shards behind torch's ``DataLoader``."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.utils.data import DataLoader

from benchmarks.contenders.contenders import Batches, Job

from . import pixels
from .cases import Case
from .torchvision_import import torchvision  # before streaming, which imports it, too

assert torchvision

from streaming import MDSWriter, StreamingDataset  # noqa: E402
from streaming.base.util import clean_stale_shared_memory  # noqa: E402


def prepare(images: Path, target: Path, case: Case) -> None:
    """Shards of the default size, without compression."""
    columns = {"image": "ndarray" if case.raw else "bytes", "target": "int"}
    with MDSWriter(out=str(target), columns=columns) as writer:
        for file, label in pixels.samples(images):
            writer.write({"image": pixels.stored(file, case), "target": label})


class Images(StreamingDataset):
    """Samples are (3×size×size uint8 tensor, class index)."""

    def __init__(self, job: Job) -> None:
        shuffle = pixels.is_shuffled(job)
        super().__init__(local=str(job.pack), batch_size=job.batch, shuffle=shuffle)
        self.read = pixels.reader(job)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        sample = super().__getitem__(index)
        return self.read(sample["image"]), sample["target"]


def build(job: Job) -> Batches:
    """The dataset shuffles by itself."""
    clean_stale_shared_memory()  # of a run that was killed; its names would be taken
    return DataLoader(Images(job), **pixels.options(job))
