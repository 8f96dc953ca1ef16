"""FFCV: its own file, decoders and threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ffcv.fields import IntField, RGBImageField
from ffcv.fields.decoders import (
    CenterCropRGBImageDecoder,
    IntDecoder,
    RandomResizedCropRGBImageDecoder,
)
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import RandomHorizontalFlip, Squeeze, ToTensor, ToTorchImage
from ffcv.writer import DatasetWriter
from PIL import Image

from benchmarks.contenders.contenders import RATIO, SCALE, Batches, Job

from . import pixels
from .cases import CASES, Case

JPEG = 0  # the value of "mode" in FFCV's metadata


class JpegField(RGBImageField):
    """Keeps the bytes of a file; FFCV's own field would decode it and compress it once more."""

    def encode(self, destination: Any, image: Path, malloc: Any) -> None:
        data = np.fromfile(image, np.uint8)
        with Image.open(image) as header:
            destination["width"], destination["height"] = header.size
        destination["mode"] = JPEG
        destination["data_ptr"], storage = malloc(data.nbytes)
        storage[:] = data


class Samples:
    """What the writer stores: files or, in the raw case, pixels, with their classes."""

    def __init__(self, images: Path, case: Case) -> None:
        self.samples, self.case = pixels.samples(images), case

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        file, target = self.samples[index]
        return pixels.stored(file, self.case) if self.case.raw else file, target


def prepare(images: Path, target: Path, case: Case) -> None:
    """One file, by as many workers as there are cores."""
    field = RGBImageField(write_mode="raw") if case.raw else JpegField()
    writer = DatasetWriter(str(target), {"image": field, "target": IntField()})
    writer.from_indexed_dataset(Samples(images, case))


def build(job: Job) -> Batches:
    """The file in the page cache, and its own decoders; the first iteration compiles them."""
    size = (job.size, job.size)
    if pixels.is_shuffled(job):
        decoder = RandomResizedCropRGBImageDecoder(size, scale=SCALE, ratio=RATIO)
        steps, order = [decoder, RandomHorizontalFlip()], OrderOption.RANDOM
    else:
        steps, order = [CenterCropRGBImageDecoder(size, 7 / 8)], OrderOption.SEQUENTIAL
    return Loader(
        str(job.pack),
        batch_size=job.batch,
        num_workers=max(1, job.workers),
        order=order,
        os_cache=True,
        drop_last=True,
        seed=job.seed,
        custom_fields={} if CASES[job.case].raw else {"image": JpegField},
        pipelines={
            "image": [*steps, ToTensor(), ToTorchImage()],
            "target": [IntDecoder(), ToTensor(), Squeeze()],
        },
    )
