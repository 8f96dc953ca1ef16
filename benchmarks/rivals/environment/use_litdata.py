"""LitData: chunks made by ``optimize`` behind its ``StreamingDataLoader``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import litdata
import torch

from benchmarks.contenders.contenders import Batches, Job

from . import pixels
from .cases import Case


def sample(item: tuple[str, int], case: Case) -> dict[str, Any]:
    """What the chunks hold of one file."""
    file, target = item
    return {"image": pixels.stored(Path(file), case), "target": target}


def prepare(images: Path, target: Path, case: Case) -> None:
    """Chunks of 64 MB, as its documentation has them, by as many workers as there are cores."""
    litdata.optimize(
        fn=partial(sample, case=case),
        inputs=[(str(file), label) for file, label in pixels.samples(images)],
        output_dir=str(target),
        chunk_bytes="64MB",
        verbose=False,
    )


class Images(litdata.StreamingDataset):
    """Samples are (3×size×size uint8 tensor, class index)."""

    def __init__(self, job: Job) -> None:
        shuffle = pixels.is_shuffled(job)
        super().__init__(str(job.pack), shuffle=shuffle, drop_last=True)
        self.read = pixels.reader(job)

    def __getitem__(self, index: Any) -> tuple[torch.Tensor, int]:
        found = super().__getitem__(index)
        return self.read(found["image"]), found["target"]


def build(job: Job) -> Batches:
    """The dataset shuffles by itself."""
    return litdata.StreamingDataLoader(Images(job), **pixels.options(job))
