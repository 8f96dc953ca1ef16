"""WebDataset: tar shards, a shuffle buffer, batches made in the workers."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset

from benchmarks.contenders.contenders import Batches, Job

from . import pixels
from .cases import Case

BUFFER = 1000
SHARDS = 16  # or more, so that they can be dealt to as many workers


def prepare(images: Path, target: Path, case: Case) -> None:
    """Shards in a shuffled order, as its documentation asks."""
    samples = pixels.samples(images)
    target.mkdir()
    count = min(BUFFER, math.ceil(len(samples) / SHARDS))
    with webdataset.ShardWriter(f"{target}/%06d.tar", maxcount=count, verbose=0) as writer:
        for i in np.random.default_rng(0).permutation(len(samples)):
            file, label = samples[i]
            extension = "npy" if case.raw else "jpg"
            image = pixels.stored(file, case)  # the writer turns arrays into .npy files
            writer.write({"__key__": f"{i:08d}", "cls": label, extension: image})


def build(job: Job) -> Batches:
    """Batches of bytes are decoded, so that nothing is decoded for a short one."""
    shards = sorted(map(str, Path(str(job.pack)).glob("*.tar")))
    shuffled = pixels.is_shuffled(job)
    dataset = webdataset.WebDataset(shards, shardshuffle=len(shards) if shuffled else False)
    if shuffled:
        dataset = dataset.shuffle(BUFFER)
    dataset = dataset.to_tuple("jpg;npy", "cls")
    dataset = dataset.batched(job.batch, collation_fn=list, partial=False).map(Decode(job))
    options = pixels.options(job)
    return webdataset.WebLoader(
        dataset, **options | {"batch_size": None, "drop_last": False}, shuffle=False
    )


class Decode:
    """A list of undecoded samples to a batch."""

    def __init__(self, job: Job) -> None:
        self.read = pixels.reader(job)

    def __call__(self, samples: list[tuple[bytes, bytes]]) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.stack([self.read(content(data)) for data, _ in samples])
        return images, torch.tensor([int(label) for _, label in samples])


def content(data: bytes) -> Any:
    """Pixels of an .npy file; a JPEG's bytes as they are."""
    return np.load(io.BytesIO(data)) if data.startswith(b"\x93NUMPY") else data
